//! Fuzz target: a client may send any certificates, and the server reads nothing from them that OpenSSL does not. The
//! input is a chain, the client's certificate first; two bytes before each certificate have its length.
#![no_main]

use foreign_types::ForeignTypeRef as _;
use libfuzzer_sys::fuzz_target;
use openssl::error::ErrorStack;
use openssl::sha::sha256;
use openssl::x509::{X509, X509Ref};
use watchpost::tls::fuzzing::contents;
use watchpost::tls::identity::Peer;
use watchpost_fuzz::{TLS, now};
use watchpost_policies::IdentityKind;

/// OpenSSL verifies the certificate as a proxy certificate.
const EXFLAG_PROXY: u32 = 0x400;

fuzz_target!(|bytes: &[u8]| {
    let sent = parts(bytes);
    let Some((first, chain)) = sent.split_first() else {
        return;
    };
    for der in &sent {
        if let Ok(certificate) = X509::from_der(der) {
            check_contents(&certificate);
        }
    }
    let Ok(peer) = Peer::of_der(first, chain) else { return };
    // Errors that the target itself has caused; a server that left some would end other connections of the thread.
    let _ = ErrorStack::get();
    let identity = peer.identity(&TLS, now());
    assert_eq!(ErrorStack::get().errors().len(), 0);
    match identity {
        Err(reason) => assert!(!reason.is_empty()),
        Ok(identity) => {
            let IdentityKind::Certificate(certificate) = identity.kind() else {
                panic!("{identity:?}");
            };
            // The client is the owner of the first certificate, or has got a proxy certificate from its owner.
            let mut sent = sent.iter().filter_map(|der| X509::from_der(der).ok());
            let is_owner = |sent: &X509| sha256(&sent.to_der().expect("parsed")) == *certificate.fingerprint.as_bytes();
            let first = X509::from_der(first).expect("parsed");
            assert_eq!(identity.proxy().is_some(), is_proxy(&first));
            assert!(is_proxy(&first) || is_owner(&first));
            assert!(sent.any(|sent| is_owner(&sent) && !is_proxy(&sent)), "{identity:?}");
        }
    }
});

fn parts(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (part, rest) = rest.split_at(length);
        parts.push(part.to_vec());
        bytes = rest;
    }
    parts
}

fn check_contents(certificate: &X509Ref) {
    let contents = contents(certificate);
    assert!(
        !is_proxy(certificate) || contents.is_proxy != Some(false),
        "OpenSSL takes it for a proxy"
    );
    let Some(read) = contents.certificate else { return };
    for (read, name) in [
        (&read.subject, certificate.subject_name()),
        (&read.issuer, certificate.issuer_name()),
    ] {
        let read = read.attributes().map(|attribute| attribute.value.clone());
        let name = name
            .entries()
            .map(|entry| entry.data().to_string().expect("it was read"));
        assert!(read.eq(name), "a name has other attributes");
    }
}

fn is_proxy(certificate: &X509Ref) -> bool {
    // The bindings have no safe function for it. The pointer is valid, because it is borrowed.
    let flags = unsafe { openssl_sys::X509_get_extension_flags(certificate.as_ptr()) };
    flags & EXFLAG_PROXY != 0
}
