//! What the log of rules says of them, on SQLite and on PostgreSQL alike.

use std::path::Path;

use watchpost::store::rules::{By, Kept, Upload};
use watchpost::store::{Place, Store};
use watchpost_policies::{Digest, Kind};
use watchpost_tests::postgres;

/// The same promise, held by both.
fn on_both(check: impl Fn(Desk)) {
    let folder = tempfile::tempdir().expect("a folder");
    for url in ["sqlite:watchpost.db".to_owned(), postgres::shared().database()] {
        let place = Place::parse(&url, Path::new(folder.path()), false).expect("an address");
        check(Desk(Store::open(place, 1).expect("it opens")));
    }
}

/// Where things are done to rules.
struct Desk(Store);

impl Desk {
    /// Brings a version of a rule.
    fn bring(&self, name: &str, kind: Kind, digest: Digest) -> Kept {
        let upload = Upload {
            digest,
            name,
            kind: kind.as_str(),
            version: "1",
            description: "",
            settings_schema: "{}",
            wasm: b"\0asm",
            note: "",
            signed: None,
            settings: None,
        };
        self.0.keep_rule(&upload, &by("anna"), 1).expect("written")
    }
}

fn one() -> Digest {
    Digest::of(b"one")
}

fn other() -> Digest {
    Digest::of(b"other")
}

fn by(who: &str) -> By {
    By {
        who: who.to_owned(),
        address: String::new(),
    }
}

#[test]
fn two_rules_of_one_name_are_of_one_kind_even_if_they_come_in_the_same_moment() {
    on_both(|desk| {
        assert_eq!(desk.bring("disks", Kind::Threshold, one()), Kept::New);
        let refused = desk.bring("disks", Kind::Role, other());
        assert_eq!(refused, Kept::OtherKind("threshold".to_owned()));
        assert_eq!(desk.0.rule_version(other()).expect("read"), None);
        assert_eq!(desk.bring("disks", Kind::Threshold, one()), Kept::Known);
    });
}
