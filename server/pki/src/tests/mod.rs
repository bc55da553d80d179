//! Tests of the authority with OpenSSL, with other processes, and after an interruption.

mod chain;
mod crl;
mod folder;
mod lifecycle;
mod processes;

use std::path::Path;

use jiff::Timestamp;
use openssl::ssl::SslFiletype;
use openssl::stack::Stack;
use openssl::x509::store::{X509Lookup, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509PurposeId, X509StoreContext};
use tempfile::TempDir;

use super::pair::read_certificate;
use super::{Authority, Files};

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("a time")
}

fn days_later(days: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() + days * 86_400).expect("a time")
}

/// The authority's folder is a subfolder, so that temporary folders next to it are removed as well.
fn new_authority() -> (TempDir, Authority) {
    let data = tempfile::tempdir().expect("a folder");
    let authority = Authority::open_or_create(&data.path().join("pki"), now()).expect("an authority");
    (data, authority)
}

fn certificate(files: &Files) -> X509 {
    at(&files.certificate)
}

fn at(path: &Path) -> X509 {
    read_certificate(path).expect("readable").expect("there")
}

/// The result of verifying a certificate with OpenSSL, trusting only this authority and using its revocation list.
fn verdict(authority: &Authority, certificate: &X509, purpose: X509PurposeId, time: Timestamp) -> String {
    let mut parameters = X509VerifyParam::new().expect("parameters");
    parameters.set_purpose(purpose).expect("a purpose");
    parameters.set_time(time.as_second());
    let mut store = X509StoreBuilder::new().expect("a store");
    store.add_cert(authority.certificate.clone()).expect("added");
    if authority.crl_path().exists() {
        parameters.set_flags(X509VerifyFlags::CRL_CHECK).expect("flags");
        let lookup = store.add_lookup(X509Lookup::file()).expect("a lookup");
        lookup
            .load_crl_file(authority.crl_path(), SslFiletype::PEM)
            .expect("a list");
    }
    store.set_param(&parameters).expect("set");
    let store = store.build();
    let chain = Stack::new().expect("a stack");
    let mut context = X509StoreContext::new().expect("a context");
    context
        .init(&store, certificate, &chain, |context| {
            context.verify_cert()?;
            Ok(context.error().error_string().to_owned())
        })
        .expect("a verdict")
}
