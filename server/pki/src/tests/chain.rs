//! The content of certificates, as OpenSSL reads them.

use std::process::Command;

use openssl::nid::Nid;
use openssl::x509::{X509, X509PurposeId, X509Ref};

use super::*;
use crate::certificate::{attribute, serial, unix_seconds};
use crate::{AUTHORITY, DEFAULT_DAYS, MAX_DAYS, PkiError};

const CLIENT: X509PurposeId = X509PurposeId::SSL_CLIENT;
const SERVER: X509PurposeId = X509PurposeId::SSL_SERVER;

fn days(certificate: &X509Ref) -> i64 {
    (unix_seconds(certificate.not_after()).expect("a time") - now().as_second()) / 86_400
}

#[test]
fn a_client_is_trusted_as_a_client_and_a_server_as_a_server() {
    let (_data, authority) = new_authority();
    authority.ensure_server(&[], now()).expect("made");
    authority.issue_client("ada", "reader", 30, now()).expect("issued");
    let server = certificate(&authority.server_files());
    let client = certificate(&authority.client_files("ada").expect("files"));
    assert_eq!(verdict(&authority, &client, CLIENT, now()), "ok");
    assert_eq!(verdict(&authority, &server, SERVER, now()), "ok");
    for (certificate, purpose) in [(&client, SERVER), (&server, CLIENT)] {
        let error = verdict(&authority, certificate, purpose, now());
        assert!(error.contains("purpose"), "{error}");
    }
    let error = verdict(&authority, &client, CLIENT, days_later(31));
    assert!(error.contains("expired"), "{error}");
    let an_hour_back = Timestamp::from_second(now().as_second() - 3600).expect("a time");
    assert_eq!(
        verdict(&authority, &client, CLIENT, an_hour_back),
        "ok",
        "clocks differ"
    );
}

#[test]
fn a_certificate_of_another_authority_or_a_modified_one_is_not_trusted() {
    let (_data, authority) = new_authority();
    let (_other_data, other) = new_authority();
    other.issue_client("ada", "admin", 30, now()).expect("issued");
    let foreign = certificate(&other.client_files("ada").expect("files"));
    assert_ne!(verdict(&authority, &foreign, CLIENT, now()), "ok");

    authority.issue_client("ada", "user_", 30, now()).expect("issued");
    let honest = certificate(&authority.client_files("ada").expect("files"));
    let mut der = honest.to_der().expect("octets");
    let role = der.windows(5).position(|octets| octets == b"user_").expect("the role");
    der[role..role + 5].copy_from_slice(b"admin");
    let modified = X509::from_der(&der).expect("still a certificate");
    assert_eq!(
        attribute(modified.subject_name(), Nid::ORGANIZATIONALUNITNAME).as_deref(),
        Some("admin")
    );
    assert!(verdict(&authority, &modified, CLIENT, now()).contains("signature"));
}

#[test]
fn a_leaf_cannot_sign_another() {
    let (_data, authority) = new_authority();
    authority.issue_client("ada", "reader", 30, now()).expect("issued");
    let leaf = certificate(&authority.client_files("ada").expect("files"));
    assert_eq!(authority.certificate.pathlen(), Some(0));
    assert_eq!(leaf.pathlen(), None);
    assert_ne!(leaf.issued(&authority.certificate), openssl::x509::X509VerifyResult::OK);
}

#[test]
fn names_lifetimes_and_serial_numbers_are_as_documented() {
    let (_data, authority) = new_authority();
    authority.ensure_client("ada", "reader", now()).expect("made");
    let leaf = certificate(&authority.client_files("ada").expect("files"));
    let subject = leaf.subject_name();
    assert_eq!(attribute(subject, Nid::ORGANIZATIONNAME).as_deref(), Some("Watchpost"));
    assert_eq!(
        attribute(subject, Nid::ORGANIZATIONALUNITNAME).as_deref(),
        Some("reader")
    );
    assert_eq!(attribute(subject, Nid::COMMONNAME).as_deref(), Some("ada"));
    assert_eq!(days(&authority.certificate), 3650);
    assert_eq!(days(&leaf), i64::from(DEFAULT_DAYS));
    for certificate in [&authority.certificate, &leaf] {
        assert_eq!(certificate.version(), 2);
        let serial = serial(certificate).expect("a serial");
        assert_eq!(serial.len(), 32, "{serial}");
        assert!(serial.as_bytes()[0] < b'8', "{serial} is positive");
        let key = certificate
            .public_key()
            .expect("a key")
            .ec_key()
            .expect("an elliptic curve");
        assert_eq!(key.group().curve_name(), Some(Nid::X9_62_PRIME256V1));
        assert_eq!(certificate.signature_algorithm().object().nid(), Nid::ECDSA_WITH_SHA256);
    }
    let issuer = leaf.authority_key_id().expect("an identifier").as_slice();
    assert_eq!(
        issuer,
        authority
            .certificate
            .subject_key_id()
            .expect("an identifier")
            .as_slice()
    );
}

#[test]
fn no_certificate_outlives_the_authority() {
    let (_data, authority) = new_authority();
    let late = days_later(3650 - 10);
    let issued = authority.issue_client("ada", "reader", MAX_DAYS, late).expect("issued");
    assert_eq!(issued.not_after, days_later(3650));
    let error = authority
        .issue_client("bob", "reader", 1, days_later(3650))
        .expect_err("refused");
    assert!(matches!(error, PkiError::Expired { .. }), "{error}");
    assert!(error.to_string().contains("2036-02-27"), "{error}");
}

#[test]
fn a_server_has_every_requested_name_and_those_of_its_host() {
    let (_data, authority) = new_authority();
    authority
        .ensure_server(&["Edge-1.example.org".to_owned()], now())
        .expect("made");
    let certificate = certificate(&authority.server_files());
    let names = certificate.subject_alt_names().expect("names");
    let dns: Vec<_> = names.iter().filter_map(|name| name.dnsname()).collect();
    let addresses: Vec<_> = names.iter().filter_map(|name| name.ipaddress()).collect();
    assert_eq!(dns, ["edge-1.example.org", "localhost"]);
    let loopback = [[0; 15].as_slice(), &[1]].concat();
    assert_eq!(addresses, [&[127, 0, 0, 1][..], &loopback]);
    assert!(authority.ensure_server(&["a,DNS:b".to_owned()], now()).is_err());
}

#[test]
fn the_openssl_command_reads_the_names_as_the_role_rule_expects_them() {
    let (_data, authority) = new_authority();
    authority.issue_client("ada", "reader", 30, now()).expect("issued");
    let files = authority.client_files("ada").expect("files");
    let answer = Command::new("openssl")
        .args(["x509", "-noout", "-subject", "-issuer", "-nameopt", "RFC2253", "-in"])
        .arg(&files.certificate)
        .output()
        .expect("openssl is installed");
    assert_eq!(
        String::from_utf8_lossy(&answer.stdout),
        format!("subject=CN=ada,OU=reader,O=Watchpost\nissuer={AUTHORITY}\n")
    );
}
