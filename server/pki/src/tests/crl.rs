//! The certificate revocation list, as OpenSSL reads it.

use std::fs;
use std::process::{Command, Output};

use openssl::x509::{CrlNumber, CrlStatus, X509Crl, X509PurposeId};

use super::*;
use crate::certificate::unix_seconds;

fn list(authority: &Authority) -> X509Crl {
    X509Crl::from_pem(&fs::read(authority.crl_path()).expect("a list")).expect("a list")
}

fn number(authority: &Authority) -> String {
    let (critical, number) = list(authority)
        .extension::<CrlNumber>()
        .expect("readable")
        .expect("a number");
    assert!(!critical);
    number
        .to_bn()
        .expect("a number")
        .to_dec_str()
        .expect("a number")
        .to_string()
}

fn openssl(arguments: &[&str], last: &Path) -> Output {
    let answer = Command::new("openssl").args(arguments).arg(last).output();
    answer.expect("openssl is installed")
}

/// Writes the list unconditionally.
fn write(authority: &Authority, now: Timestamp) {
    let lock = authority.lock().expect("the lock");
    authority.write_crl_under(&lock, now).expect("written");
}

#[test]
fn an_empty_list_is_signed_and_valid_for_thirty_days() {
    let (_data, authority) = new_authority();
    write(&authority, now());
    let list = list(&authority);
    let key = authority.certificate.public_key().expect("a key");
    assert!(list.verify(&key).expect("a verdict"));
    assert!(list.get_revoked().is_none_or(|revoked| revoked.is_empty()));
    let until = unix_seconds(list.next_update().expect("an end")).expect("a time");
    assert_eq!(until, days_later(30).as_second());
    authority.issue_client("ada", "reader", 30, now()).expect("issued");
    let ada = certificate(&authority.client_files("ada").expect("files"));
    assert_eq!(verdict(&authority, &ada, X509PurposeId::SSL_CLIENT, now()), "ok");
}

#[test]
fn a_revoked_certificate_is_listed_with_the_time_and_refused() {
    let (_data, authority) = new_authority();
    for name in ["ada", "bob", "eve"] {
        authority.issue_client(name, "reader", 300, now()).expect("issued");
    }
    for (name, day) in [("eve", 1), ("ada", 2)] {
        authority.revoke(name, days_later(day)).expect("revoked");
    }
    let list = list(&authority);
    for (name, day) in [("ada", Some(2)), ("bob", None), ("eve", Some(1))] {
        let certificate = certificate(&authority.client_files(name).expect("files"));
        let result = verdict(&authority, &certificate, X509PurposeId::SSL_CLIENT, days_later(3));
        match list.get_by_cert(&certificate) {
            CrlStatus::Revoked(entry) => {
                let time = unix_seconds(entry.revocation_date()).expect("a time");
                assert_eq!(Some(time), day.map(|day| days_later(day).as_second()));
                assert!(result.contains("revoked"), "{name}: {result}");
            }
            _ => assert_eq!((day, result.as_str()), (None, "ok"), "{name}"),
        }
    }
}

#[test]
fn the_number_grows_even_if_the_list_is_lost_or_the_clock_is_set_back() {
    let (_data, authority) = new_authority();
    write(&authority, now());
    let first = number(&authority);
    write(&authority, now());
    let second = number(&authority);
    write(&authority, days_later(-9));
    let third = number(&authority);
    fs::remove_file(authority.crl_path()).expect("removed");
    write(&authority, days_later(1));
    let fourth = number(&authority);
    assert!(
        first < second && second < third && third < fourth,
        "{first} {second} {third} {fourth}"
    );
}

#[test]
fn a_list_is_written_again_only_when_needed() {
    let (_data, authority) = new_authority();
    let refresh = |day| authority.refresh_crl(days_later(day)).expect("done");
    assert!(refresh(0), "there was none");
    assert!(!refresh(0));
    assert!(!refresh(15), "half is left");
    assert!(refresh(16), "less than half is left");
    assert!(refresh(0), "its start is in the future");
    assert!(!refresh(0));

    let whole = fs::read_to_string(authority.crl_path()).expect("a list");
    for broken in [
        String::new(),
        whole[..whole.len() / 2].to_owned(),
        whole.replace('A', "B"),
    ] {
        fs::write(authority.crl_path(), &broken).expect("written");
        assert!(refresh(0), "{broken}");
    }
    let (_other_data, other) = new_authority();
    write(&other, now());
    fs::copy(other.crl_path(), authority.crl_path()).expect("copied");
    assert!(refresh(0), "another authority signed it");

    authority.issue_client("ada", "reader", 30, now()).expect("issued");
    let before = fs::read(authority.crl_path()).expect("a list");
    authority.revoke("ada", now()).expect("revoked");
    assert!(!refresh(0), "revoking wrote it");
    fs::write(authority.crl_path(), before).expect("written");
    assert!(refresh(0), "a revoked certificate was missing");
    let ada = certificate(&authority.client_files("ada").expect("files"));
    assert!(matches!(list(&authority).get_by_cert(&ada), CrlStatus::Revoked(_)));
}

#[test]
fn the_openssl_command_accepts_the_list_and_refuses_revoked_certificates() {
    let (_data, authority) = new_authority();
    for name in ["ada", "bob"] {
        authority.issue_client(name, "reader", 30, now()).expect("issued");
    }
    let revoked = authority.revoke("ada", now()).expect("revoked");
    let ca = authority.certificate_path();
    let ca = ca.to_str().expect("text");
    let path = authority.crl_path();

    let answer = openssl(&["crl", "-noout", "-text", "-CAfile", ca, "-in"], &path);
    let text = String::from_utf8_lossy(&answer.stdout);
    assert!(
        String::from_utf8_lossy(&answer.stderr).contains("verify OK"),
        "{answer:?}"
    );
    for expected in [
        "Version 2 (0x1)",
        "ecdsa-with-SHA256",
        "X509v3 CRL Number",
        &revoked[0].serial,
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let time = now().as_second().to_string();
    let list = path.to_str().expect("text");
    let verify = [
        "verify",
        "-crl_check",
        "-purpose",
        "sslclient",
        "-attime",
        &time,
        "-CAfile",
        ca,
        "-CRLfile",
        list,
    ];
    let bob = openssl(&verify, &authority.client_files("bob").expect("files").certificate);
    assert!(bob.status.success(), "{bob:?}");
    let ada = openssl(&verify, &authority.client_files("ada").expect("files").certificate);
    assert!(!ada.status.success());
    assert!(
        String::from_utf8_lossy(&ada.stderr).contains("certificate revoked"),
        "{ada:?}"
    );
}
