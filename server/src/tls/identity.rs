//! Extracts the identity from a verified client certificate. `Tls` verifies it.

use std::any::Any;
use std::sync::Arc;

use actix_tls::accept::openssl::TlsStream;
use actix_web::rt::net::TcpStream;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::x509::{X509, X509NameRef, X509Ref};
use parking_lot::Mutex;
use watchpost_policies::{Attribute, Certificate, Digest, DistinguishedName, Identity};

use super::material::seconds;
use super::{ClientRefused, Tls, der, generation_of};

/// The client at the other end of a connection.
pub struct Peer {
    certificate: X509,
    chain: Vec<X509>,
    identity: Identity,
    expires: i64,
    /// The generation of trust under which the certificate was verified last, and the result.
    checked: Mutex<(u64, Result<(), Arc<str>>)>,
}

/// A certificate cannot be parsed.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// OpenSSL cannot read it.
    #[error("the certificate cannot be read: {0}")]
    OpenSsl(#[from] ErrorStack),
    /// The bytes are not a certificate in DER.
    #[error("the certificate is not encoded as DER")]
    Encoding,
    /// A name cannot be parsed.
    #[error("a name in the certificate cannot be read")]
    Name,
}

impl Peer {
    /// The client of this connection; `None` if it sent no certificate. Called once per connection, after the
    /// handshake.
    pub fn of_connection(connection: &dyn Any) -> Option<Result<Self, Unreadable>> {
        let ssl = connection.downcast_ref::<TlsStream<TcpStream>>()?.ssl();
        let certificate = ssl.peer_certificate()?;
        // The chain that OpenSSL verified, not the one that the client sent; a resumed session only has the latter.
        let chain = ssl.verified_chain().or(ssl.peer_cert_chain());
        let chain: Vec<X509> = chain.into_iter().flatten().map(ToOwned::to_owned).collect();
        Some(Self::new(certificate, chain, generation_of(ssl)))
    }

    /// The owner of a certificate that a proxy has received. It is not verified under any generation yet.
    pub fn of_der(der: &[u8]) -> Result<Self, Unreadable> {
        let certificate = X509::from_der(der).map_err(|_| Unreadable::Encoding)?;
        Self::new(certificate, Vec::new(), 0)
    }

    /// The owner of a certificate that was verified under this generation.
    pub fn new(certificate: X509, chain: Vec<X509>, generation: u64) -> Result<Self, Unreadable> {
        let owner = owner(&certificate, &chain);
        Ok(Self {
            identity: identity(owner)?,
            expires: seconds(certificate.not_after())?.min(seconds(owner.not_after())?),
            checked: Mutex::new((generation, Ok(()))),
            certificate,
            chain,
        })
    }

    /// The identity, if the certificate is still valid at this moment: it may expire or be revoked while the connection
    /// lives.
    pub fn identity(&self, tls: &Tls, now: i64) -> Result<&Identity, Arc<str>> {
        if now > self.expires {
            return Err("the certificate has expired; connect with a new one".into());
        }
        let generation = tls.generation();
        let mut checked = self.checked.lock();
        if checked.0 != generation {
            let verdict = tls.check(&self.certificate, &self.chain);
            *checked = (
                generation,
                verdict.map_err(|error: ClientRefused| error.to_string().into()),
            );
        }
        checked.1.clone().map(|()| &self.identity)
    }
}

/// The certificate of the owner behind proxy certificates (RFC 3820): the first one that is not a proxy. OpenSSL
/// accepts proxy certificates only if they are enabled, and then no session is resumed; so the chain is the one that
/// OpenSSL verified, and each certificate in it is signed by the next.
fn owner<'c>(certificate: &'c X509, chain: &'c [X509]) -> &'c X509 {
    if !is_proxy(certificate) {
        return certificate;
    }
    chain.iter().find(|link| !is_proxy(link)).unwrap_or(certificate)
}

/// Whether the certificate has the extension `proxyCertInfo`, which OpenSSL's bindings do not expose.
fn is_proxy(certificate: &X509Ref) -> bool {
    const PROXY_CERT_INFO: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 14];
    let has = |der: &[u8]| -> Option<bool> {
        let (certificate, _) = der::of(der, der::SEQUENCE)?;
        let (mut fields, _) = der::of(certificate, der::SEQUENCE)?;
        while !fields.is_empty() {
            let (tag, content, rest) = der::next(fields)?;
            if tag == der::EXTENSIONS {
                let (extensions, _) = der::of(content, der::SEQUENCE)?;
                return der::each(extensions, der::SEQUENCE).map(|all| {
                    all.iter()
                        .any(|extension| der::of(extension, der::OBJECT).is_some_and(|(id, _)| id == PROXY_CERT_INFO))
                });
            }
            fields = rest;
        }
        Some(false)
    };
    certificate.to_der().is_ok_and(|der| has(&der).unwrap_or(false))
}

fn identity(certificate: &X509Ref) -> Result<Identity, Unreadable> {
    let fingerprint = certificate.digest(MessageDigest::sha256())?;
    let fingerprint: [u8; 32] = fingerprint.as_ref().try_into().map_err(|_| Unreadable::Name)?;
    let names = certificate.subject_alt_names();
    let names = || names.iter().flatten();
    Ok(Identity::of_certificate(Certificate {
        subject: distinguished(certificate.subject_name())?,
        issuer: distinguished(certificate.issuer_name())?,
        dns_names: names().filter_map(|name| name.dnsname()).map(str::to_owned).collect(),
        uris: names().filter_map(|name| name.uri()).map(str::to_owned).collect(),
        emails: names().filter_map(|name| name.email()).map(str::to_owned).collect(),
        fingerprint: Digest::from(fingerprint),
    }))
}

pub(super) fn distinguished(name: &X509NameRef) -> Result<DistinguishedName, Unreadable> {
    let mut entries = name.entries().map(|entry| {
        let kind = entry.object();
        let kind = kind.nid().short_name().map_or_else(|_| kind.to_string(), str::to_owned);
        let value = entry.data().to_string()?;
        Ok::<_, Unreadable>(Attribute { kind, value })
    });
    let mut parts = Vec::new();
    for size in part_sizes(&name.to_der()?).ok_or(Unreadable::Name)? {
        parts.push(entries.by_ref().take(size).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(DistinguishedName::new(parts))
}

/// The number of attributes in each part of a name: `CN=a+OU=b` is one part of two. OpenSSL's bindings expose only a
/// flat list of attributes. A name is a sequence of sets of sequences.
fn part_sizes(name: &[u8]) -> Option<Vec<usize>> {
    let (parts, _) = der::of(name, der::SEQUENCE)?;
    let parts = der::each(parts, der::SET)?;
    parts
        .iter()
        .map(|part| Some(der::each(part, der::SEQUENCE)?.len()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_one_part_stay_together() {
        // CN=a + OU=b, O=c
        let name = [
            &[0x30, 35][..],
            &[
                0x31, 20, 0x30, 8, 6, 3, 0x55, 4, 3, 12, 1, b'a', 0x30, 8, 6, 3, 0x55, 4, 11, 12, 1, b'b',
            ],
            &[0x31, 11, 0x30, 9, 6, 3, 0x55, 4, 10, 12, 2, b'c', b'd'],
        ]
        .concat();
        assert_eq!(part_sizes(&name), Some(vec![2, 1]));
        for cut in 0..name.len() {
            assert_eq!(part_sizes(&name[..cut]), None, "{cut} bytes");
        }
    }
}
