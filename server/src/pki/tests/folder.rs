//! The folder: who may read it, what is refused, and many who start at once.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Barrier;
use std::thread;

use openssl::pkey::PKey;
use openssl::symm::Cipher;

use super::*;
use crate::pki::{DEFAULT_CLIENTS, PkiError, prepare};

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
fn what_is_there_is_used_and_never_written_again() {
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
fn a_folder_that_is_empty_or_linked_becomes_one_and_nothing_is_left_beside_it() {
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
fn what_is_half_there_is_refused_with_what_to_do() {
    let check = |spoil: &dyn Fn(&Path), expected: &str| {
        let (data, authority) = new_authority();
        spoil(authority.folder());
        let said = refusal(authority.folder());
        assert!(said.contains(expected), "{said}");
        let beside = fs::read_dir(data.path()).expect("readable").count();
        assert_eq!(beside, 1, "nothing was made");
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

    check(&remove("ca.key"), "no ca.key; put ca.key back");
    check(&remove("ca.crt"), "no ca.crt; put ca.crt back");
    check(
        &|folder| {
            remove("ca.key")(folder);
            remove("ca.crt")(folder);
        },
        "neither ca.crt nor ca.key",
    );
    check(&write("ca.key", others_key), "do not belong together");
    check(&write("ca.key", encrypted), "key without a passphrase");
    check(&write("ca.key", Vec::new()), "holds no key");
    check(&write("ca.crt", b"nonsense".to_vec()), "holds no certificate");
    let expose = |folder: &Path| {
        fs::set_permissions(folder.join("ca.key"), Permissions::from_mode(0o640)).expect("set");
    };
    check(&expose, "chmod 600");
}

#[test]
fn a_leaf_is_not_taken_for_an_authority() {
    let (data, authority) = new_authority();
    authority.ensure_server(&[], now()).expect("made");
    let folder = data.path().join("other");
    fs::create_dir(&folder).expect("made");
    for (from, to) in [("server.crt", "ca.crt"), ("server.key", "ca.key")] {
        fs::copy(authority.folder().join(from), folder.join(to)).expect("copied");
    }
    let refused = Authority::open_or_create(&folder, now()).expect_err("refused");
    assert!(matches!(refused, PkiError::NoAuthority { .. }), "{refused}");
}

#[test]
fn an_authority_that_somebody_brought_is_used_without_our_other_folders() {
    let (data, authority) = new_authority();
    let folder = data.path().join("brought");
    fs::create_dir(&folder).expect("made");
    for file in ["ca.crt", "ca.key"] {
        fs::copy(authority.folder().join(file), folder.join(file)).expect("copied");
    }
    let brought = prepare(&folder, "edge-1", now()).expect("prepared");
    assert_eq!(brought.list().expect("a list").len(), 5);
}

#[test]
fn an_authority_that_was_replaced_on_disk_signs_nothing_more() {
    let (_data, authority) = new_authority();
    fs::remove_dir_all(authority.folder()).expect("removed");
    Authority::open_or_create(authority.folder(), now()).expect("another");
    let refused = authority.issue_client("ada", "reader", 1, now()).expect_err("refused");
    assert!(matches!(refused, PkiError::Replaced { .. }), "{refused}");
}

#[test]
fn a_host_whose_name_fits_into_no_certificate_is_localhost_only() {
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
fn many_who_start_at_once_have_one_authority() {
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
        let kept = authority.certificate.to_der().expect("octets");
        assert!(seen.iter().all(|one| *one == kept));
        assert_eq!(
            authority.list().expect("a list").len(),
            5,
            "each certificate was made once"
        );
        assert_eq!(
            fs::read_dir(data.path()).expect("readable").count(),
            1,
            "nothing is left beside it"
        );
    }
}
