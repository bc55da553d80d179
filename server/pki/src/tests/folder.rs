//! The folder: permissions, inconsistent content, and concurrent startup.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Barrier;
use std::thread;

use openssl::pkey::PKey;
use openssl::symm::Cipher;

use super::*;
use crate::{DEFAULT_CLIENTS, PkiError, prepare};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

fn refusal(folder: &Path) -> String {
    Authority::open_or_create(folder, now())
        .expect_err("refused")
        .to_string()
}

#[test]
fn only_the_owner_may_enter_and_read_keys() {
    let data = tempfile::tempdir().expect("a folder");
    let authority = prepare(&data.path().join("pki"), "edge-1", now()).expect("prepared");
    let folder = authority.folder();
    for private in [folder.to_owned(), folder.join("clients"), folder.join("issued")] {
        assert_eq!(mode(&private), 0o700, "{}", private.display());
    }
    let mut keys = vec![folder.join("ca.key"), folder.join("server.key")];
    keys.extend(DEFAULT_CLIENTS.map(|name| folder.join(format!("clients/{name}.key"))));
    for key in keys {
        assert_eq!(mode(&key), 0o600, "{}", key.display());
    }
}

#[test]
fn existing_files_are_used_and_never_rewritten() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().join("pki");
    let first = prepare(&folder, "edge-1", now()).expect("prepared");
    let contents = || {
        let files = [
            "ca.crt",
            "ca.key",
            "server.crt",
            "server.key",
            "clients/admin.crt",
            "clients/admin.key",
            "crl.pem",
        ];
        files.map(|file| fs::read(folder.join(file)).expect("there"))
    };
    let before = contents();
    let second = prepare(&folder, "edge-1", days_later(3)).expect("prepared");
    assert_eq!(contents(), before);
    assert_eq!(second.list().expect("a list").len(), 5);
    assert_eq!(first.list().expect("a list"), second.list().expect("a list"));
}

#[test]
fn an_empty_or_linked_folder_becomes_an_authority_without_left_over_files() {
    let data = tempfile::tempdir().expect("a folder");
    let empty = data.path().join("empty");
    fs::create_dir(&empty).expect("made");
    symlink(&empty, data.path().join("linked")).expect("linked");
    Authority::open_or_create(&data.path().join("linked"), now()).expect("made");
    Authority::open_or_create(&data.path().join("deep/er/pki"), now()).expect("made");
    assert!(empty.join("ca.key").exists());
    let names: Vec<_> = fs::read_dir(data.path())
        .expect("readable")
        .map(|entry| entry.expect("one").file_name())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn an_incomplete_authority_is_an_error_with_a_remedy() {
    let check = |spoil: &dyn Fn(&Path), expected: &str| {
        let (data, authority) = new_authority();
        spoil(authority.folder());
        let message = refusal(authority.folder());
        assert!(message.contains(expected), "{message}");
        let entries = fs::read_dir(data.path()).expect("readable").count();
        assert_eq!(entries, 1, "nothing was created");
    };
    let remove = |file: &'static str| move |folder: &Path| fs::remove_file(folder.join(file)).expect("removed");
    let write = |file: &'static str, content: Vec<u8>| {
        move |folder: &Path| fs::write(folder.join(file), &content).expect("written")
    };
    let (_other_data, other) = new_authority();
    let others_key = fs::read(other.folder().join("ca.key")).expect("a key");
    let key = PKey::private_key_from_pem(&others_key).expect("a key");
    let encrypted = key
        .private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"secret")
        .expect("a key");

    check(&remove("ca.key"), "not ca.key; restore ca.key");
    check(&remove("ca.crt"), "not ca.crt; restore ca.crt");
    check(
        &|folder| {
            remove("ca.key")(folder);
            remove("ca.crt")(folder);
        },
        "neither ca.crt nor ca.key",
    );
    check(&write("ca.key", others_key), "do not match");
    check(&write("ca.key", encrypted), "key without a passphrase");
    check(&write("ca.key", Vec::new()), "does not contain a key");
    check(&write("ca.crt", b"nonsense".to_vec()), "does not contain a certificate");
    let expose = |folder: &Path| {
        fs::set_permissions(folder.join("ca.key"), Permissions::from_mode(0o640)).expect("set");
    };
    check(&expose, "chmod 600");
}

#[test]
fn a_leaf_is_not_accepted_as_an_authority() {
    let (data, authority) = new_authority();
    authority.ensure_server(&[], now()).expect("made");
    let folder = data.path().join("other");
    fs::create_dir(&folder).expect("made");
    for (from, to) in [("server.crt", "ca.crt"), ("server.key", "ca.key")] {
        fs::copy(authority.folder().join(from), folder.join(to)).expect("copied");
    }
    let error = Authority::open_or_create(&folder, now()).expect_err("error");
    assert!(matches!(error, PkiError::NotAnAuthority { .. }), "{error}");
}

#[test]
fn a_provided_authority_is_used_without_the_other_folders() {
    let (data, authority) = new_authority();
    let folder = data.path().join("provided");
    fs::create_dir(&folder).expect("made");
    for file in ["ca.crt", "ca.key"] {
        fs::copy(authority.folder().join(file), folder.join(file)).expect("copied");
    }
    let provided = prepare(&folder, "edge-1", now()).expect("prepared");
    assert_eq!(provided.list().expect("a list").len(), 5);
}

#[test]
fn an_authority_that_was_replaced_on_disk_signs_nothing_more() {
    let (_data, authority) = new_authority();
    fs::remove_dir_all(authority.folder()).expect("removed");
    Authority::open_or_create(authority.folder(), now()).expect("another");
    let error = authority.issue_client("ada", "reader", 1, now()).expect_err("error");
    assert!(matches!(error, PkiError::Replaced { .. }), "{error}");
}

#[test]
fn a_host_with_an_invalid_dns_name_is_localhost_only() {
    for hostname in ["", "my host", "127.0.0.1", "(none)"] {
        let data = tempfile::tempdir().expect("a folder");
        let authority = prepare(&data.path().join("pki"), hostname, now()).expect("prepared");
        let names = certificate(&authority.server_files())
            .subject_alt_names()
            .expect("names");
        assert_eq!(
            names.iter().filter_map(|name| name.dnsname()).collect::<Vec<_>>(),
            ["localhost"]
        );
    }
}

#[test]
fn concurrent_starts_share_one_authority() {
    for _ in 0..5 {
        let data = tempfile::tempdir().expect("a folder");
        let folder = data.path().join("pki");
        let start = Barrier::new(8);
        let seen: Vec<_> = thread::scope(|scope| {
            let started: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        let authority = prepare(&folder, "edge-1", now()).expect("prepared");
                        authority.certificate.to_der().expect("octets")
                    })
                })
                .collect();
            started
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        let authority = Authority::open(&folder).expect("readable").expect("there");
        let stored = authority.certificate.to_der().expect("octets");
        assert!(seen.iter().all(|one| *one == stored));
        assert_eq!(
            authority.list().expect("a list").len(),
            5,
            "each certificate was created once"
        );
        assert_eq!(
            fs::read_dir(data.path()).expect("readable").count(),
            1,
            "no temporary folder is left"
        );
    }
}
