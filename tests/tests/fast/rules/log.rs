//! What the log of rules says of them, on SQLite and on PostgreSQL alike.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, SqliteConnection};
use watchpost::store::rules::{
    AuditAction, AuditActor, AuditEntry, Entry, GenerationResult, Kept, Mode, SettingsRef, Upload,
};
use watchpost::store::{DatabaseAddress, Store, StoreError};
use watchpost_policies::{Digest, Kind};
use watchpost_tests::postgres;

/// The same promise, held by both.
fn on_both(check: impl Fn(Desk)) {
    let folder = tempfile::tempdir().expect("a folder");
    for url in ["sqlite:watchpost.db".to_owned(), postgres::shared().database()] {
        let place = DatabaseAddress::parse(&url, Path::new(folder.path()), false).expect("an address");
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
            kind,
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
    fn make(&self, name: &str, kind: Kind, deed: AuditAction, who: &str) {
        let last = self.0.latest_generation().expect("read").map_or(0, |last| last.number);
        let entry = Entry {
            rule: name.to_owned(),
            kind,
            mode: Mode::Active,
            digest: None,
            settings: SettingsRef::Stored(last + 1),
        };
        let told = AuditEntry {
            digest: Some(one()),
            ..AuditEntry::of(name, deed, &by(who), 1)
        };
        let made = self
            .0
            .make_generation(last, &[entry], &[told], None, 1)
            .expect("written");
        assert!(matches!(made, GenerationResult::Done(_)), "{made:?}");
    }

    /// Puts a rule in force, and aside.
    fn quarantined(&self, name: &str, kind: Kind) {
        self.make(name, kind, AuditAction::Activated, "anna");
        self.make(name, kind, AuditAction::Quarantined, "watchpost");
    }

    fn aside(&self) -> Vec<String> {
        let told = self.0.rules_quarantined().expect("read");
        told.into_iter().map(|told| told.name).collect()
    }
}

fn one() -> Digest {
    Digest::of(b"one")
}

fn other() -> Digest {
    Digest::of(b"other")
}

fn by(who: &str) -> AuditActor {
    AuditActor {
        who: who.to_owned(),
        address: String::new(),
    }
}

#[test]
fn of_each_rule_the_last_deed_is_told() {
    on_both(|desk| {
        for name in ["disks", "chunks", "Alpha"] {
            for deed in [AuditAction::Activated, AuditAction::Configured, AuditAction::RolledBack] {
                desk.make(name, Kind::Threshold, deed, "anna");
            }
        }
        desk.make("disks", Kind::Threshold, AuditAction::Activated, "folder");
        desk.make("chunks", Kind::Threshold, AuditAction::Activated, "configuration");
        let last = |deeds: &[AuditAction], but_by: Option<&str>| {
            let told = desk.0.last_actions(deeds, but_by).expect("read");
            let lines = told
                .iter()
                .map(|told| format!("{} {} {}", told.name, told.action.as_str(), told.actor));
            lines.collect::<Vec<_>>()
        };
        assert_eq!(
            last(
                &[AuditAction::Activated, AuditAction::RolledBack],
                Some("configuration")
            ),
            [
                "Alpha rolled_back anna",
                "chunks rolled_back anna",
                "disks activated folder"
            ]
        );
        assert_eq!(
            last(&[AuditAction::Activated, AuditAction::Configured], None),
            [
                "Alpha configured anna",
                "chunks activated configuration",
                "disks activated folder"
            ]
        );
        assert_eq!(last(&[AuditAction::Uploaded], None), Vec::<String>::new());
    });
}

#[test]
fn a_rule_is_put_aside_until_somebody_changes_it() {
    on_both(|desk| {
        for (name, deed) in [
            ("a", AuditAction::Activated),
            ("b", AuditAction::RolledBack),
            ("c", AuditAction::Retired),
            ("d", AuditAction::Configured),
        ] {
            desk.quarantined(name, Kind::Threshold);
            desk.make("another", Kind::Threshold, AuditAction::Configured, "anna");
            assert_eq!(desk.aside(), [name], "what is done to another rule is nothing to it");
            desk.make(name, Kind::Threshold, deed, "anna");
            assert_eq!(desk.aside(), Vec::<String>::new(), "{}", deed.as_str());
        }
        desk.quarantined("e", Kind::Threshold);
        desk.quarantined("a", Kind::Threshold);
        assert_eq!(desk.aside(), ["a", "e"]);
    });
}

#[test]
fn to_let_another_version_go_is_nothing_to_the_one_that_was_put_aside() {
    on_both(|desk| {
        for digest in [one(), other()] {
            assert_eq!(desk.bring("disks", Kind::Threshold, digest), Kept::New);
        }
        desk.quarantined("disks", Kind::Threshold);
        let let_go = |version| {
            desk.0
                .delete_rule("disks", version, None, &by("anna"), 1)
                .expect("asked")
        };
        let_go(Some(other()));
        assert_eq!(desk.aside(), ["disks"]);
        let_go(Some(one()));
        assert_eq!(desk.aside(), Vec::<String>::new(), "it is gone itself");
        desk.quarantined("disks", Kind::Threshold);
        assert_eq!(desk.bring("disks", Kind::Threshold, other()), Kept::New);
        let_go(None);
        assert_eq!(desk.aside(), Vec::<String>::new(), "all of it is gone");
    });
}

#[test]
fn a_role_rule_is_put_aside_until_somebody_changes_any_role_rule() {
    on_both(|desk| {
        for deed in [AuditAction::Activated, AuditAction::RolledBack, AuditAction::Configured] {
            desk.quarantined("tyrant", Kind::Role);
            desk.quarantined("disks", Kind::Threshold);
            assert_eq!(desk.aside(), ["disks", "tyrant"]);
            desk.make("role", Kind::Role, deed, "anna");
            assert_eq!(desk.aside(), ["disks"], "{}", deed.as_str());
            desk.make("disks", Kind::Threshold, AuditAction::Retired, "anna");
        }
        desk.quarantined("tyrant", Kind::Role);
        desk.make("role", Kind::Role, AuditAction::Quarantined, "watchpost");
        assert_eq!(desk.aside(), ["role", "tyrant"], "nobody did anything");
    });
}

#[test]
fn two_rules_of_one_name_are_of_one_kind_even_if_they_come_in_the_same_moment() {
    on_both(|desk| {
        assert_eq!(desk.bring("disks", Kind::Threshold, one()), Kept::New);
        let refused = desk.bring("disks", Kind::Role, other());
        assert_eq!(refused, Kept::OtherKind(Kind::Threshold));
        assert_eq!(desk.0.rule_version(other()).expect("read"), None);
        assert_eq!(desk.bring("disks", Kind::Threshold, one()), Kept::Known);
    });
}

/// Somebody else writes into the database.
fn meddle(url: &str, folder: &Path, sql: &str) {
    match url.strip_prefix("sqlite:") {
        Some(file) => {
            let path = folder.join(file).display().to_string();
            let mut connection = SqliteConnection::establish(&path).expect("it opens");
            connection.batch_execute(sql).expect("it is written");
        }
        None => {
            let mut connection = PgConnection::establish(url).expect("it answers");
            connection.batch_execute(sql).expect("it is written");
        }
    }
}

#[test]
fn a_value_that_nobody_knows_is_an_error_that_names_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in ["sqlite:watchpost.db".to_owned(), postgres::shared().database()] {
        let place = DatabaseAddress::parse(&url, folder.path(), false).expect("an address");
        let desk = Desk(Store::open(place, 1).expect("it opens"));
        desk.bring("disks", Kind::Role, one());
        let known = desk.0.rule_versions(None).expect("read").remove(0);
        assert_eq!((known.digest, known.kind), (one(), Kind::Role));
        for _ in 0..3 {
            desk.make("disks", Kind::Role, AuditAction::Activated, "anna");
        }
        let check = |sql: &str, read: &dyn Fn(&Store) -> Result<(), StoreError>, words: &str| {
            meddle(&url, folder.path(), sql);
            let error = read(&desk.0).expect_err("it is not known").to_string();
            assert!(error.contains(words), "{error}");
        };
        let versions = |store: &Store| store.rule_versions(None).map(drop);
        let log = |store: &Store| store.rule_log("disks", None, 10).map(drop);
        let oracle = "UPDATE rule_versions SET kind = 'oracle'";
        check(
            oracle,
            &versions,
            "rule_versions.kind holds \"oracle\", which is not a valid kind",
        );
        let digest = "UPDATE rule_versions SET kind = 'role', digest = 'ff'";
        check(
            digest,
            &versions,
            "rule_versions.digest holds \"ff\", which is not a valid digest",
        );
        let settings = "UPDATE rule_log SET settings_id = -1";
        check(
            settings,
            &log,
            "rule_log.settings_id holds -1, which is not a valid number",
        );
        let action = "UPDATE rule_log SET settings_id = NULL, action = 'cursed'";
        check(
            action,
            &log,
            "rule_log.action holds \"cursed\", which is not a valid action",
        );
        // One that can be read comes before the one that cannot.
        let entries = "UPDATE rule_generations SET entries = 'none' WHERE generation = 2";
        let older = |store: &Store| store.generations_before(3, 100).map(drop);
        check(entries, &older, "generation 2: rule_generations.entries holds \"none\"");
        let newer = desk.0.generations_before(4, 100).expect("the third can be read");
        assert_eq!(newer.iter().map(|made| made.number).collect::<Vec<_>>(), [3]);
    }
}
