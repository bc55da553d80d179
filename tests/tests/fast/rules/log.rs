//! The audit log of rules, on SQLite and on PostgreSQL.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, SqliteConnection};
use watchpost::store::rules::{
    AuditAction, AuditActor, AuditEntry, Entry, GenerationResult, Mode, QuotaExceeded, SettingsRef, StoreOutcome,
    Upload, VersionQuota,
};
use watchpost::store::{DatabaseAddress, Store, StoreError};
use watchpost_policies::{Digest, Kind};
use watchpost_tests::postgres;

/// Runs a test on both databases.
fn on_both(check: impl Fn(TestStore)) {
    let folder = tempfile::tempdir().expect("a folder");
    for url in ["sqlite:watchpost.db".to_owned(), postgres::shared().database()] {
        let place = DatabaseAddress::parse(&url, Path::new(folder.path()), false).expect("an address");
        check(TestStore(Store::open(place, 1).expect("it opens")));
    }
}

/// A store with helpers for changes of rules.
struct TestStore(Store);

impl TestStore {
    /// Uploads a version of a rule.
    fn upload(&self, name: &str, kind: Kind, digest: Digest) -> StoreOutcome {
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
        let quota = VersionQuota {
            max_versions: 3,
            max_bytes: 5 * 4,
        };
        self.0.store_rule(&upload, quota, &actor("anna"), 1).expect("written")
    }

    /// Records an action on a rule, with a new generation.
    fn change(&self, name: &str, kind: Kind, deed: AuditAction, actor_name: &str) {
        let last = self.0.latest_generation().expect("read").map_or(0, |last| last.number);
        let entry = Entry {
            rule: name.to_owned(),
            kind,
            mode: Mode::Active,
            digest: None,
            settings: SettingsRef::Stored(last + 1),
        };
        let audit_entry = AuditEntry {
            digest: Some(one()),
            ..AuditEntry::of(name, deed, &actor(actor_name), 1)
        };
        let made = self
            .0
            .make_generation(last, &[entry], &[audit_entry], None, 1)
            .expect("written");
        assert!(matches!(made, GenerationResult::Done(_)), "{made:?}");
    }

    /// Activates a rule, and quarantines it.
    fn quarantine(&self, name: &str, kind: Kind) {
        self.change(name, kind, AuditAction::Activated, "anna");
        self.change(name, kind, AuditAction::Quarantined, "watchpost");
    }

    fn quarantined_names(&self) -> Vec<String> {
        let rules = self.0.rules_quarantined().expect("read");
        rules.into_iter().map(|rule| rule.name).collect()
    }
}

fn one() -> Digest {
    Digest::of(b"one")
}

fn other() -> Digest {
    Digest::of(b"other")
}

fn actor(name: &str) -> AuditActor {
    AuditActor {
        name: name.to_owned(),
        address: String::new(),
    }
}

#[test]
fn the_last_audit_entry_of_each_rule_is_found() {
    on_both(|store| {
        for name in ["disks", "chunks", "Alpha"] {
            for deed in [AuditAction::Activated, AuditAction::Configured, AuditAction::RolledBack] {
                store.change(name, Kind::Threshold, deed, "anna");
            }
        }
        store.change("disks", Kind::Threshold, AuditAction::Activated, "folder");
        store.change("chunks", Kind::Threshold, AuditAction::Activated, "configuration");
        let last = |deeds: &[AuditAction], excluded_actor: Option<&str>| {
            let entries = store.0.last_actions(deeds, excluded_actor).expect("read");
            let lines = entries
                .iter()
                .map(|entry| format!("{} {} {}", entry.name, entry.action.as_str(), entry.actor));
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
fn a_rule_is_quarantined_until_it_is_changed() {
    on_both(|store| {
        for (name, deed) in [
            ("a", AuditAction::Activated),
            ("b", AuditAction::RolledBack),
            ("c", AuditAction::Deactivated),
            ("d", AuditAction::Configured),
        ] {
            store.quarantine(name, Kind::Threshold);
            store.change("another", Kind::Threshold, AuditAction::Configured, "anna");
            assert_eq!(
                store.quarantined_names(),
                [name],
                "what is done to another rule is nothing to it"
            );
            store.change(name, Kind::Threshold, deed, "anna");
            assert_eq!(store.quarantined_names(), Vec::<String>::new(), "{}", deed.as_str());
        }
        store.quarantine("e", Kind::Threshold);
        store.quarantine("a", Kind::Threshold);
        assert_eq!(store.quarantined_names(), ["a", "e"]);
    });
}

#[test]
fn deleting_another_version_does_not_release_a_quarantined_one() {
    on_both(|store| {
        for digest in [one(), other()] {
            assert_eq!(store.upload("disks", Kind::Threshold, digest), StoreOutcome::New);
        }
        store.quarantine("disks", Kind::Threshold);
        let delete = |version| {
            store
                .0
                .delete_rule("disks", version, None, &actor("anna"), 1)
                .expect("asked")
        };
        delete(Some(other()));
        assert_eq!(store.quarantined_names(), ["disks"]);
        delete(Some(one()));
        assert_eq!(store.quarantined_names(), Vec::<String>::new(), "it is gone itself");
        store.quarantine("disks", Kind::Threshold);
        assert_eq!(store.upload("disks", Kind::Threshold, other()), StoreOutcome::New);
        delete(None);
        assert_eq!(store.quarantined_names(), Vec::<String>::new(), "all of it is gone");
    });
}

#[test]
fn a_role_rule_is_quarantined_until_any_role_rule_is_changed() {
    on_both(|store| {
        for deed in [AuditAction::Activated, AuditAction::RolledBack, AuditAction::Configured] {
            store.quarantine("lockout", Kind::Role);
            store.quarantine("disks", Kind::Threshold);
            assert_eq!(store.quarantined_names(), ["disks", "lockout"]);
            store.change("role", Kind::Role, deed, "anna");
            assert_eq!(store.quarantined_names(), ["disks"], "{}", deed.as_str());
            store.change("disks", Kind::Threshold, AuditAction::Deactivated, "anna");
        }
        store.quarantine("lockout", Kind::Role);
        store.change("role", Kind::Role, AuditAction::Quarantined, "watchpost");
        assert_eq!(store.quarantined_names(), ["lockout", "role"], "nothing was changed");
    });
}

#[test]
fn concurrent_uploads_of_one_name_have_one_kind() {
    on_both(|store| {
        assert_eq!(store.upload("disks", Kind::Threshold, one()), StoreOutcome::New);
        let refused = store.upload("disks", Kind::Role, other());
        assert_eq!(refused, StoreOutcome::OtherKind(Kind::Threshold));
        assert_eq!(store.0.rule_version(other()).expect("read"), None);
        assert_eq!(store.upload("disks", Kind::Threshold, one()), StoreOutcome::Known);
    });
}

/// Writes to the database by another connection.
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
fn an_unknown_value_is_an_error_with_its_column() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in ["sqlite:watchpost.db".to_owned(), postgres::shared().database()] {
        let place = DatabaseAddress::parse(&url, folder.path(), false).expect("an address");
        let store = TestStore(Store::open(place, 1).expect("it opens"));
        store.upload("disks", Kind::Role, one());
        let known = store.0.rule_versions(None).expect("read").remove(0);
        assert_eq!((known.digest, known.kind), (one(), Kind::Role));
        for _ in 0..3 {
            store.change("disks", Kind::Role, AuditAction::Activated, "anna");
        }
        let check = |sql: &str, read: &dyn Fn(&Store) -> Result<(), StoreError>, words: &str| {
            meddle(&url, folder.path(), sql);
            let error = read(&store.0).expect_err("it is not known").to_string();
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
        // A readable entry precedes the invalid one.
        let entries = "UPDATE rule_generations SET entries = 'none' WHERE generation = 2";
        let older = |store: &Store| store.generations_before(3, 100).map(drop);
        check(entries, &older, "generation 2: rule_generations.entries holds \"none\"");
        let newer = store.0.generations_before(4, 100).expect("the third can be read");
        assert_eq!(newer.iter().map(|made| made.number).collect::<Vec<_>>(), [3]);
    }
}

#[test]
fn versions_are_stored_within_the_quotas_and_not_beyond() {
    on_both(|store| {
        let upload = |name: &str, number: u8| store.upload(name, Kind::Threshold, Digest::of(&[number]));
        for number in 0..3 {
            assert_eq!(upload("disks", number), StoreOutcome::New);
        }
        assert_eq!(
            upload("disks", 3),
            StoreOutcome::Full(QuotaExceeded::Versions { max: 3 })
        );
        assert_eq!(upload("disks", 0), StoreOutcome::Known, "it is stored already");
        // Each has four bytes.
        assert_eq!(upload("fans", 4), StoreOutcome::New);
        assert_eq!(upload("fans", 5), StoreOutcome::New);
        assert_eq!(upload("fans", 6), StoreOutcome::Full(QuotaExceeded::Bytes { max: 20 }));
        let deleted = store
            .0
            .delete_rule("disks", Some(Digest::of(&[0])), None, &actor("anna"), 1);
        deleted.expect("written");
        assert_eq!(upload("fans", 6), StoreOutcome::New);
        assert_eq!(store.0.rule_version(Digest::of(&[3])).expect("read"), None);
    });
}
