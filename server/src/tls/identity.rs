//! The client behind a certificate: it is verified when it makes a request, and the result is kept for as long as it
//! cannot change. `verify` decides whether a certificate is accepted.

use std::any::Any;
use std::sync::Arc;

use actix_tls::accept::openssl::TlsStream;
use actix_web::rt::net::TcpStream;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::x509::{X509, X509NameRef, X509Ref};
use parking_lot::Mutex;
use watchpost_policies::{Attribute, Certificate, Digest, DistinguishedName, Identity};

use super::verify::{ClientRefused, Period, Verified, boundaries};
use super::{Tls, der};

/// The client at the other end of a connection, or the one whose certificate a front end forwards.
pub struct Peer {
    certificate: X509,
    /// The rest of the chain that the client sent.
    chain: Vec<X509>,
    /// The times at which the validity of the certificate or of one in its chain begins or ends.
    boundaries: Vec<i64>,
    checked: Mutex<Option<Checked>>,
}

/// The result of a verification, and when it holds.
struct Checked {
    /// The generation of trust.
    generation: u64,
    period: Period,
    result: Result<Identity, Arc<str>>,
}

/// A certificate cannot be parsed.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// OpenSSL cannot read it.
    #[error("the certificate has a name, a time or a key that cannot be read")]
    OpenSsl(#[from] ErrorStack),
    /// The bytes are not a certificate in DER.
    #[error("the certificate is not encoded as DER")]
    Encoding,
    /// The bytes of another certificate of the chain are not a certificate in DER.
    #[error("a certificate of the chain is not encoded as DER")]
    EncodingOfChain,
    /// A name cannot be parsed.
    #[error("a name in the certificate cannot be read")]
    Name,
}

impl Peer {
    /// The client of this connection; `None` if it sent no certificate. Called once per connection, after the
    /// handshake. It is verified at the first request, and so is the client of a resumed session, for which OpenSSL
    /// verifies nothing.
    pub fn of_connection(connection: &dyn Any) -> Option<Result<Self, Unreadable>> {
        let ssl = connection.downcast_ref::<TlsStream<TcpStream>>()?.ssl();
        let certificate = ssl.peer_certificate()?;
        // On the server's side, without the client's own certificate. The session keeps it for a resumed connection.
        let chain = ssl.peer_cert_chain().into_iter().flatten();
        Some(Self::new(certificate, chain.map(ToOwned::to_owned).collect()))
    }

    /// The client whose certificate and chain a front end has received.
    pub fn of_der(certificate: &[u8], chain: &[Vec<u8>]) -> Result<Self, Unreadable> {
        let certificate = X509::from_der(certificate).map_err(|_| Unreadable::Encoding)?;
        let chain: Result<_, _> = chain.iter().map(|link| X509::from_der(link)).collect();
        Self::new(certificate, chain.map_err(|_| Unreadable::EncodingOfChain)?)
    }

    fn new(certificate: X509, chain: Vec<X509>) -> Result<Self, Unreadable> {
        let sent = std::iter::once(&certificate).chain(&chain);
        Ok(Self {
            boundaries: boundaries(sent.map(AsRef::as_ref))?,
            certificate,
            chain,
            checked: Mutex::default(),
        })
    }

    /// The identity, if the certificate is accepted at this moment. It is verified again when the trusted authorities or
    /// revocation lists change, and when the validity of any of them or of the client's chain begins or ends.
    pub fn identity(&self, tls: &Tls, now: i64) -> Result<Identity, Arc<str>> {
        let mut checked = self.checked.lock();
        let generation = tls.generation();
        if let Some(checked) = &*checked
            && checked.generation == generation
            && checked.period.contains(now)
        {
            return checked.result.clone();
        }
        let (verified, period) = tls.verify(&self.certificate, &self.chain, now, &self.boundaries);
        let is_final = !matches!(verified, Err(ClientRefused::Failed(_)));
        let result = verified
            .map_err(|refused| refused.to_string())
            .and_then(|verified| identity(&verified).map_err(|unreadable| unreadable.to_string()))
            .map_err(Arc::from);
        *checked = is_final.then(|| Checked {
            generation,
            period,
            result: result.clone(),
        });
        result
    }
}

/// The identity of a verified client. A certificate of the server's own development authority has the roles that its
/// organisational units name. The names of development authorities are the same on all servers, so only the certificate
/// at the end of the chain shows which one it is.
fn identity(verified: &Verified) -> Result<Identity, Unreadable> {
    let certificate = certificate_of(&verified.owner)?;
    let units: Vec<Box<str>> = match verified.is_development {
        true => units(&certificate.subject),
        false => Vec::new(),
    };
    let identity = Identity::of_certificate(certificate).with_assigned_roles(units);
    Ok(match verified.proxy {
        Some(kind) => identity.with_proxy(kind),
        None => identity,
    })
}

fn units(subject: &DistinguishedName) -> Vec<Box<str>> {
    let attributes = subject.attributes().filter(|attribute| attribute.kind == "OU");
    attributes.map(|attribute| attribute.value.as_str().into()).collect()
}

pub(super) fn certificate_of(certificate: &X509Ref) -> Result<Certificate, Unreadable> {
    let fingerprint = certificate.digest(MessageDigest::sha256())?;
    let fingerprint: [u8; 32] = fingerprint.as_ref().try_into().map_err(|_| Unreadable::Name)?;
    let names = certificate.subject_alt_names();
    let names = || names.iter().flatten();
    Ok(Certificate {
        subject: distinguished(certificate.subject_name())?,
        issuer: distinguished(certificate.issuer_name())?,
        dns_names: names().filter_map(|name| name.dnsname()).map(str::to_owned).collect(),
        uris: names().filter_map(|name| name.uri()).map(str::to_owned).collect(),
        emails: names().filter_map(|name| name.email()).map(str::to_owned).collect(),
        fingerprint: Digest::from(fingerprint),
    })
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
