//! From a certificate that was verified to the identity of its owner. It verifies nothing itself; `Tls` does.

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

/// Who is at the other end of a connection, for as long as it lives.
pub struct Peer {
    certificate: X509,
    chain: Vec<X509>,
    identity: Identity,
    ends: i64,
    /// Under which generation it was checked last, and what came of it.
    checked: Mutex<(u64, Result<(), Arc<str>>)>,
}

/// A certificate that says nothing that we could read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// OpenSSL cannot read it.
    #[error("the certificate cannot be read: {0}")]
    OpenSsl(#[from] ErrorStack),
    /// Its bytes are no certificate in DER.
    #[error("the certificate is not encoded as DER")]
    Encoding,
    /// A name that is none.
    #[error("a name in the certificate cannot be read")]
    Name,
}

impl Peer {
    /// The owner of the certificate that this connection showed; nothing, where it showed none. Called once for
    /// each connection, after its handshake.
    pub fn of_connection(connection: &dyn Any) -> Option<Result<Self, Unreadable>> {
        let ssl = connection.downcast_ref::<TlsStream<TcpStream>>()?.ssl();
        let certificate = ssl.peer_certificate()?;
        // What OpenSSL built and checked, not what the client sent; a session that is resumed has only the latter.
        let chain = ssl.verified_chain().or(ssl.peer_cert_chain());
        let chain: Vec<X509> = chain.into_iter().flatten().map(ToOwned::to_owned).collect();
        Some(Self::new(certificate, chain, generation_of(ssl)))
    }

    /// The owner of a certificate that somebody else saw. It was not yet checked under any generation.
    pub fn of_der(der: &[u8]) -> Result<Self, Unreadable> {
        let certificate = X509::from_der(der).map_err(|_| Unreadable::Encoding)?;
        Self::new(certificate, Vec::new(), 0)
    }

    /// The owner of a certificate that was checked under this generation.
    pub fn new(certificate: X509, chain: Vec<X509>, generation: u64) -> Result<Self, Unreadable> {
        let owner = owner(&certificate, &chain);
        Ok(Self {
            identity: identity(owner)?,
            ends: seconds(certificate.not_after())?.min(seconds(owner.not_after())?),
            checked: Mutex::new((generation, Ok(()))),
            certificate,
            chain,
        })
    }

    /// Who it is, if what holds at this moment would still let them in: a certificate may end, and may be taken
    /// back, while its connection lives.
    pub fn identity(&self, tls: &Tls, now: i64) -> Result<&Identity, Arc<str>> {
        if now > self.ends {
            return Err("the certificate has ended; connect with a new one".into());
        }
        let generation = tls.generation();
        let mut checked = self.checked.lock();
        if checked.0 != generation {
            let verdict = tls.check(&self.certificate, &self.chain);
            *checked = (
                generation,
                verdict.map_err(|refused: ClientRefused| refused.to_string().into()),
            );
        }
        checked.1.clone().map(|()| &self.identity)
    }
}

/// The certificate of the person behind proxy certificates (RFC 3820): the first that is none. OpenSSL lets proxies
/// pass only where they are allowed, and there no session is resumed; so the chain is the one that it checked, link by
/// link, and each certificate in it was signed by the next.
fn owner<'c>(certificate: &'c X509, chain: &'c [X509]) -> &'c X509 {
    if !is_proxy(certificate) {
        return certificate;
    }
    chain.iter().find(|link| !is_proxy(link)).unwrap_or(certificate)
}

/// Whether it carries the extension `proxyCertInfo`, which OpenSSL's bindings do not show.
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

/// How many attributes each part of a name has: `CN=a+OU=b` is one part of two. OpenSSL's bindings tell only the
/// attributes. A name is a sequence of sets of sequences.
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
    fn attributes_that_belong_together_stay_together() {
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
