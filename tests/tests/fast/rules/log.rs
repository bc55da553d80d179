//! What the log of rules says of them, on SQLite and on PostgreSQL alike.

use std::path::Path;

use watchpost::store::rules::{By, Deed, Entry, Kept, Made, Mode, Told, Upload};
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

    /// Does something to a rule that makes a generation.
    fn make(&self, name: &str, kind: Kind, deed: Deed, who: &str) {
        let last = self.0.latest_generation().expect("read").map_or(0, |last| last.number);
        let entry = Entry {
            rule: name.to_owned(),
            kind,
            mode: Mode::Active,
            digest: None,
            settings: last + 1,
        };
        let told = Told {
            digest: Some(one().to_string()),
            ..Told::of(name, deed, &by(who), 1)
        };
        let made = self
            .0
            .make_generation(last, &[entry], &[told], None, 1)
            .expect("written");
        assert!(matches!(made, Made::Done(_)), "{made:?}");
    }

    /// Puts a rule in force, and aside.
    fn put_aside(&self, name: &str, kind: Kind) {
        self.make(name, kind, Deed::Activated, "anna");
        self.make(name, kind, Deed::PutAside, "watchpost");
    }

    fn aside(&self) -> Vec<String> {
        let told = self.0.rules_put_aside().expect("read");
        told.into_iter().map(|told| told.name).collect()
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
fn of_each_rule_the_last_deed_is_told() {
    on_both(|desk| {
        for name in ["disks", "chunks", "Alpha"] {
            for deed in [Deed::Activated, Deed::Configured, Deed::RolledBack] {
                desk.make(name, Kind::Threshold, deed, "anna");
            }
        }
        desk.make("disks", Kind::Threshold, Deed::Activated, "folder");
        desk.make("chunks", Kind::Threshold, Deed::Activated, "configuration");
        let last = |deeds: &[Deed], but_by: Option<&str>| {
            let told = desk.0.last_deeds(deeds, but_by).expect("read");
            let lines = told
                .iter()
                .map(|told| format!("{} {} {}", told.name, told.what, told.by));
            lines.collect::<Vec<_>>()
        };
        assert_eq!(
            last(&[Deed::Activated, Deed::RolledBack], Some("configuration")),
            [
                "Alpha rolled_back anna",
                "chunks rolled_back anna",
                "disks activated folder"
            ]
        );
        assert_eq!(
            last(&[Deed::Activated, Deed::Configured], None),
            [
                "Alpha configured anna",
                "chunks activated configuration",
                "disks activated folder"
            ]
        );
        assert_eq!(last(&[Deed::Uploaded], None), Vec::<String>::new());
    });
}

#[test]
fn a_rule_is_put_aside_until_somebody_changes_it() {
    on_both(|desk| {
        for (name, deed) in [
            ("a", Deed::Activated),
            ("b", Deed::RolledBack),
            ("c", Deed::Retired),
            ("d", Deed::Configured),
        ] {
            desk.put_aside(name, Kind::Threshold);
            desk.make("another", Kind::Threshold, Deed::Configured, "anna");
            assert_eq!(desk.aside(), [name], "what is done to another rule is nothing to it");
            desk.make(name, Kind::Threshold, deed, "anna");
            assert_eq!(desk.aside(), Vec::<String>::new(), "{}", deed.as_str());
        }
        desk.put_aside("e", Kind::Threshold);
        desk.put_aside("a", Kind::Threshold);
        assert_eq!(desk.aside(), ["a", "e"]);
    });
}

#[test]
fn to_let_another_version_go_is_nothing_to_the_one_that_was_put_aside() {
    on_both(|desk| {
        for digest in [one(), other()] {
            assert_eq!(desk.bring("disks", Kind::Threshold, digest), Kept::New);
        }
        desk.put_aside("disks", Kind::Threshold);
        let let_go = |version| {
            desk.0
                .let_rule_go("disks", version, None, &by("anna"), 1)
                .expect("asked")
        };
        let_go(Some(other()));
        assert_eq!(desk.aside(), ["disks"]);
        let_go(Some(one()));
        assert_eq!(desk.aside(), Vec::<String>::new(), "it is gone itself");
        desk.put_aside("disks", Kind::Threshold);
        assert_eq!(desk.bring("disks", Kind::Threshold, other()), Kept::New);
        let_go(None);
        assert_eq!(desk.aside(), Vec::<String>::new(), "all of it is gone");
    });
}

#[test]
fn a_role_rule_is_put_aside_until_somebody_changes_any_role_rule() {
    on_both(|desk| {
        for deed in [Deed::Activated, Deed::RolledBack, Deed::Configured] {
            desk.put_aside("tyrant", Kind::Role);
            desk.put_aside("disks", Kind::Threshold);
            assert_eq!(desk.aside(), ["disks", "tyrant"]);
            desk.make("role", Kind::Role, deed, "anna");
            assert_eq!(desk.aside(), ["disks"], "{}", deed.as_str());
            desk.make("disks", Kind::Threshold, Deed::Retired, "anna");
        }
        desk.put_aside("tyrant", Kind::Role);
        desk.make("role", Kind::Role, Deed::PutAside, "watchpost");
        assert_eq!(desk.aside(), ["role", "tyrant"], "nobody did anything");
    });
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
