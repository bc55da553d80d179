//! The lifecycle of certificates: created, renewed, revoked and issued again.

use std::fs;

use super::*;
use crate::{Ensured, PkiError};

fn server(authority: &Authority, names: &[&str], day: i64) -> Ensured {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    authority.ensure_server(&names, days_later(day)).expect("ensured")
}

fn client(authority: &Authority, day: i64) -> Ensured {
    authority
        .ensure_client("ada", "reader", days_later(day))
        .expect("ensured")
}

fn files(authority: &Authority) -> Files {
    authority.client_files("ada").expect("files")
}

fn key(files: &Files) -> Vec<u8> {
    fs::read(&files.key).expect("a key")
}

#[test]
fn a_server_certificate_is_renewed_with_the_same_key_before_it_expires_or_when_it_lacks_a_name() {
    let (_data, authority) = new_authority();
    assert_eq!(server(&authority, &[], 0), Ensured::Made);
    let first = key(&authority.server_files());
    assert_eq!(server(&authority, &[], 335), Ensured::Kept);
    assert_eq!(server(&authority, &["edge-1"], 335), Ensured::Renewed);
    assert_eq!(server(&authority, &["edge-1"], 335), Ensured::Kept);
    assert_eq!(
        server(&authority, &[], 335),
        Ensured::Kept,
        "an additional name is accepted"
    );
    assert_eq!(server(&authority, &["EDGE-1"], 335 + 335), Ensured::Kept);
    assert_eq!(server(&authority, &["edge-1"], 335 + 336), Ensured::Renewed);
    assert_eq!(key(&authority.server_files()), first);
}

#[test]
fn a_client_keeps_its_role_when_it_is_renewed() {
    let (_data, authority) = new_authority();
    authority.ensure_client("ada", "admin", now()).expect("made");
    let first = key(&files(&authority));
    assert_eq!(client(&authority, 335), Ensured::Kept);
    assert_eq!(client(&authority, 336), Ensured::Renewed);
    assert_eq!(key(&files(&authority)), first);
    let roles: Vec<_> = authority
        .list()
        .expect("a list")
        .into_iter()
        .map(|one| one.role)
        .collect();
    assert_eq!(roles, [Some("admin".to_owned()), Some("admin".to_owned())]);
}

#[test]
fn a_client_certificate_with_a_short_validity_expires() {
    let (_data, authority) = new_authority();
    authority.issue_client("ada", "reader", 7, now()).expect("issued");
    for day in [0, 6, 8, 1000] {
        assert_eq!(client(&authority, day), Ensured::Kept, "{day}");
    }
    let again = authority.issue_client("ada", "user", 7, days_later(8)).expect("issued");
    assert_eq!(again.role.as_deref(), Some("user"));
    let entries = fs::read_dir(authority.folder().join("clients")).expect("readable");
    let renamed = entries.filter(|entry| {
        entry
            .as_ref()
            .expect("one")
            .file_name()
            .to_string_lossy()
            .contains(".ended-")
    });
    assert_eq!(renamed.count(), 2);
}

#[test]
fn a_name_in_use_is_rejected_until_it_is_revoked_and_then_gets_a_new_key() {
    let (_data, authority) = new_authority();
    let first = authority.issue_client("ada", "reader", 30, now()).expect("issued");
    let old_key = key(&files(&authority));
    let error = authority
        .issue_client("ada", "user", 30, now())
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("2026-03-31") && error.contains("certs revoke ada"),
        "{error}"
    );
    assert_eq!(key(&files(&authority)), old_key);

    let revoked = authority.revoke("ada", days_later(1)).expect("revoked");
    assert_eq!(revoked.len(), 1);
    assert_eq!(key(&files(&authority)), old_key, "its files stay");
    assert_eq!(client(&authority, 1), Ensured::Revoked);

    let second = authority
        .issue_client("ada", "user", 30, days_later(2))
        .expect("issued");
    assert_ne!(key(&files(&authority)), old_key);
    let renamed = authority
        .folder()
        .join(format!("clients/ada.revoked-{}.key", first.serial));
    assert_eq!(fs::read(renamed).expect("kept"), old_key);
    assert!(
        authority
            .folder()
            .join(format!("clients/ada.revoked-{}.crt", first.serial))
            .exists()
    );
    let listed = authority.list().expect("a list");
    assert_eq!(listed[0], revoked[0]);
    assert_eq!(listed[0].revoked_at, Some(days_later(1)));
    assert_eq!(listed[1], second);
    assert_eq!(client(&authority, 2), Ensured::Kept);
}

#[test]
fn a_revoked_key_never_gets_another_certificate() {
    let (_data, authority) = new_authority();
    authority.issue_client("ada", "reader", 30, now()).expect("issued");
    let old_key = key(&files(&authority));
    authority.revoke("ada", now()).expect("revoked");
    fs::remove_file(files(&authority).certificate).expect("removed");
    assert_eq!(client(&authority, 1), Ensured::Revoked);
    authority.issue_client("ada", "reader", 30, now()).expect("issued");
    assert_ne!(key(&files(&authority)), old_key);
}

#[test]
fn a_revoked_client_is_not_created_again_when_its_files_are_deleted() {
    let (_data, authority) = new_authority();
    client(&authority, 0);
    authority.revoke("ada", now()).expect("revoked");
    fs::remove_file(files(&authority).certificate).expect("removed");
    fs::remove_file(files(&authority).key).expect("removed");
    assert_eq!(client(&authority, 0), Ensured::Revoked);
    assert!(!files(&authority).key.exists());
}

#[test]
fn a_name_or_a_serial_number_is_revoked_and_an_unknown_one_is_an_error() {
    let (_data, authority) = new_authority();
    let issued = authority.issue_client("ada", "reader", 30, now()).expect("issued");
    authority.issue_client("bob", "reader", 30, now()).expect("issued");
    for unknown in ["eve", "", "../ada", "FF", "localhost"] {
        let error = authority.revoke(unknown, now()).expect_err("error");
        assert!(matches!(error, PkiError::Unknown { .. }), "{unknown}: {error}");
    }
    let serial = issued.serial.to_ascii_lowercase();
    assert_eq!(authority.revoke(&serial, now()).expect("revoked")[0].name, "ada");
    for again in ["ada", &issued.serial] {
        let error = authority.revoke(again, now()).expect_err("error");
        assert!(matches!(error, PkiError::RevokedAlready { .. }), "{error}");
    }
    assert_eq!(
        authority
            .list()
            .expect("a list")
            .iter()
            .filter(|one| one.holds(now()))
            .count(),
        1
    );
}

#[test]
fn a_revoked_server_gets_a_new_key() {
    let (_data, authority) = new_authority();
    server(&authority, &[], 0);
    let old_key = key(&authority.server_files());
    let serial = authority.list().expect("a list")[0].serial.clone();
    authority.revoke(&serial, now()).expect("revoked");
    assert_eq!(server(&authority, &[], 0), Ensured::Made);
    assert_ne!(key(&authority.server_files()), old_key);
    assert!(authority.folder().join(format!("server.revoked-{serial}.key")).exists());
}

#[test]
fn files_of_another_authority_are_left_unchanged() {
    let (_data, authority) = new_authority();
    let (_other_data, other) = new_authority();
    server(&other, &[], 0);
    other.issue_client("ada", "reader", 30, now()).expect("issued");
    server(&authority, &[], 0);
    client(&authority, 0);
    for (from, to) in [
        (other.server_files(), authority.server_files()),
        (files(&other), files(&authority)),
    ] {
        fs::copy(&from.certificate, &to.certificate).expect("copied");
        fs::copy(&from.key, &to.key).expect("copied");
    }
    assert_eq!(server(&authority, &["another"], 5000), Ensured::Kept);
    assert_eq!(client(&authority, 5000), Ensured::Kept);
    authority.revoke("ada", now()).expect("revoked");
    let error = authority.issue_client("ada", "reader", 30, now()).expect_err("error");
    assert!(matches!(error, PkiError::Foreign { .. }), "{error}");
}

#[test]
fn a_certificate_without_its_key_is_an_error_for_a_server_but_not_for_a_client() {
    let (_data, authority) = new_authority();
    server(&authority, &[], 0);
    client(&authority, 0);
    fs::remove_file(authority.server_files().key).expect("removed");
    fs::remove_file(files(&authority).key).expect("removed");
    let error = authority.ensure_server(&[], now()).expect_err("error");
    assert!(matches!(error, PkiError::KeyMissing { .. }), "{error}");
    assert_eq!(client(&authority, 0), Ensured::Kept);
    assert!(!files(&authority).key.exists(), "the client may have moved its key");
}

#[test]
fn a_certificate_with_the_key_of_another_client_is_an_error() {
    let (_data, authority) = new_authority();
    client(&authority, 0);
    authority.issue_client("bob", "reader", 30, now()).expect("issued");
    let bob = authority.client_files("bob").expect("files");
    fs::copy(bob.key, files(&authority).key).expect("copied");
    let error = authority.ensure_client("ada", "reader", now()).expect_err("error");
    assert!(matches!(error, PkiError::KeyMismatch { .. }), "{error}");
}

#[test]
fn a_copied_key_does_not_give_a_client_the_name_of_another() {
    let (_data, authority) = new_authority();
    authority.issue_client("bob", "admin", 30, now()).expect("issued");
    let bob = authority.client_files("bob").expect("files");
    fs::copy(&bob.key, files(&authority).key).expect("copied");
    assert_eq!(client(&authority, 0), Ensured::Made);
    let ada = &authority.list().expect("a list")[0];
    assert_eq!((ada.name.as_str(), ada.role.as_deref()), ("ada", Some("reader")));

    let eve = authority.client_files("eve").expect("files");
    fs::copy(&bob.certificate, &eve.certificate).expect("copied");
    let error = authority.issue_client("eve", "admin", 30, now()).expect_err("error");
    assert!(error.to_string().starts_with("bob has a certificate"), "{error}");
}

#[test]
fn invalid_names_roles_and_lifetimes_are_rejected_before_anything_is_written() {
    let (_data, authority) = new_authority();
    for (name, role, days) in [
        ("../ada", "reader", 30),
        (".ada", "reader", 30),
        ("", "reader", 30),
        ("ada", "a/b", 30),
        ("ada", "", 30),
        ("ada", "reader", 0),
        ("ada", "reader", 826),
    ] {
        assert!(
            authority.issue_client(name, role, days, now()).is_err(),
            "{name} {role} {days}"
        );
    }
    assert!(authority.ensure_client("a b", "reader", now()).is_err());
    assert!(authority.client_files("a/b").is_err());
    assert!(authority.list().expect("a list").is_empty());
    assert_eq!(
        fs::read_dir(authority.folder().join("clients"))
            .expect("readable")
            .count(),
        0
    );
}

#[test]
fn an_interrupted_issue_is_completed_by_the_next_process() {
    let (_data, authority) = new_authority();
    // After the key and the record, before the certificate.
    client(&authority, 0);
    let whole = fs::read(files(&authority).certificate).expect("a certificate");
    fs::remove_file(files(&authority).certificate).expect("removed");
    assert_eq!(client(&authority, 0), Ensured::Made);
    assert_eq!(fs::read(files(&authority).certificate).expect("a certificate"), whole);
    fs::remove_file(files(&authority).certificate).expect("removed");
    authority
        .issue_client("ada", "reader", 30, now())
        .expect_err("it is in use");
    assert_eq!(fs::read(files(&authority).certificate).expect("a certificate"), whole);

    // After the key, before the record.
    authority.issue_client("bob", "reader", 30, now()).expect("issued");
    let bob = authority.client_files("bob").expect("files");
    let eve = authority.client_files("eve").expect("files");
    fs::rename(authority.folder().join("clients/bob.key"), &eve.key).expect("renamed");
    let serial = certificate(&bob)
        .serial_number()
        .to_bn()
        .expect("a number")
        .to_hex_str()
        .expect("text")
        .to_string();
    fs::remove_file(authority.folder().join(format!("issued/{serial}.crt"))).expect("removed");
    let unused_key = fs::read(&eve.key).expect("a key");
    authority.issue_client("eve", "reader", 30, now()).expect("issued");
    assert_eq!(fs::read(&eve.key).expect("a key"), unused_key);

    // In the middle of a file.
    for file in [".new-ca.key", "clients/.new-zoe.key", "issued/.new-7F.crt"] {
        fs::write(authority.folder().join(file), b"half").expect("written");
    }
    authority.issue_client("zoe", "reader", 30, now()).expect("issued");
    assert!(!authority.folder().join(".new-ca.key").exists());
    assert!(!authority.folder().join("issued/.new-7F.crt").exists());
}
