//! The content of certificates: the authority's own, and those that it signs. This module reads and writes no files,
//! and callers pass the time.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use openssl::asn1::{Asn1Integer, Asn1Time, Asn1TimeRef};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{Asn1Flag, EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, PKeyRef, Private, Public};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Name, X509NameRef, X509Ref};

use super::error::PkiError;
use super::names::{DnsName, Name};

/// The default validity of a certificate in days: one year, the maximum that Mozilla's guidelines allow.
pub const DEFAULT_DAYS: u32 = 365;

/// The maximum validity in days. Browsers and some libraries reject server certificates with a longer validity.
pub const MAX_DAYS: u32 = 825;

/// The validity of the authority in days: ten years, so that it does not expire unexpectedly.
const AUTHORITY_DAYS: u32 = 3650;

/// How far the start of the validity is set back, because clocks of machines at the edge are wrong until they have a
/// network.
pub(crate) const CLOCK_SKEW_SECONDS: i64 = 3600;

pub(crate) const DAY_SECONDS: i64 = 86_400;

/// The name of the authority in the form of RFC 4514. All development authorities have it, so it identifies none.
pub const AUTHORITY: &str = "CN=Watchpost development CA,O=Watchpost";
const ORGANISATION: &str = "Watchpost";
const AUTHORITY_NAME: &str = "Watchpost development CA";

/// The name under which a host always reaches itself.
const LOCALHOST: &str = "localhost";

/// The addresses under which a host always reaches itself.
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// The holder of a certificate, which determines its usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Server { names: BTreeSet<DnsName> },
    Client { name: Name, role: Name },
}

impl Holder {
    /// A server with these names and `localhost`.
    pub(crate) fn server(names: &[String]) -> Result<Self, PkiError> {
        let names = names.iter().map(String::as_str).chain([LOCALHOST]);
        Ok(Self::Server {
            names: names.map(DnsName::parse).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn client(name: &str, role: &str) -> Result<Self, PkiError> {
        if name == LOCALHOST {
            return Err(PkiError::ServerName { name: name.to_owned() });
        }
        Ok(Self::Client {
            name: Name::parse(name)?,
            role: Name::parse_role(role)?,
        })
    }

    /// Whether the certificate contains every name of a server. A client's role is not compared, because an operator
    /// may have issued it with another role.
    pub(crate) fn is_named_by(&self, certificate: &X509Ref) -> bool {
        let Self::Server { names } = self else {
            return true;
        };
        let stack = certificate.subject_alt_names();
        let names_in_certificate = || stack.iter().flatten();
        names
            .iter()
            .all(|name| names_in_certificate().any(|known| known.dnsname() == Some(name.as_str())))
            && LOOPBACK.iter().all(|address| {
                names_in_certificate().any(|known| known.ipaddress() == Some(octets(*address).as_slice()))
            })
    }

    fn subject(&self) -> Result<X509Name, ErrorStack> {
        match self {
            Self::Server { .. } => subject(None, LOCALHOST),
            Self::Client { name, role } => subject(Some(role.as_str()), name.as_str()),
        }
    }
}

pub(crate) fn new_key() -> Result<PKey<Private>, ErrorStack> {
    let mut group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    group.set_asn1_flag(Asn1Flag::NAMED_CURVE);
    PKey::from_ec_key(EcKey::generate(&group)?)
}

/// A self-signed certificate that signs others.
pub(crate) fn authority(key: &PKeyRef<Private>, now: Timestamp) -> Result<X509, ErrorStack> {
    let name = subject(None, AUTHORITY_NAME)?;
    let until = now.as_second().saturating_add(i64::from(AUTHORITY_DAYS) * DAY_SECONDS);
    let mut builder = begin(&name, &name, now, until)?;
    builder.set_pubkey(key)?;
    builder.append_extension(BasicConstraints::new().critical().ca().pathlen(0).build()?)?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
    let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(identifier)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}

/// A certificate that signs nothing. Its validity ends with the authority's at the latest.
pub(crate) fn leaf(
    authority: &X509Ref,
    authority_key: &PKeyRef<Private>,
    public_key: &PKeyRef<Public>,
    holder: &Holder,
    days: u32,
    now: Timestamp,
) -> Result<X509, ErrorStack> {
    let until = now.as_second().saturating_add(i64::from(days) * DAY_SECONDS);
    let until = until.min(unix_seconds(authority.not_after())?);
    let mut builder = begin(&*holder.subject()?, authority.subject_name(), now, until)?;
    builder.set_pubkey(public_key)?;
    builder.append_extension(BasicConstraints::new().critical().build()?)?;
    builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
    let mut usage = ExtendedKeyUsage::new();
    match holder {
        Holder::Server { .. } => usage.server_auth(),
        Holder::Client { .. } => usage.client_auth(),
    };
    builder.append_extension(usage.build()?)?;
    let context = builder.x509v3_context(Some(authority), None);
    let subject = SubjectKeyIdentifier::new().build(&context)?;
    let issuer = AuthorityKeyIdentifier::new().keyid(true).build(&context)?;
    let names = match holder {
        Holder::Server { names } => {
            let mut alternatives = SubjectAlternativeName::new();
            for name in names {
                alternatives.dns(name.as_str());
            }
            for address in LOOPBACK {
                alternatives.ip(&address.to_string());
            }
            Some(alternatives.build(&context)?)
        }
        Holder::Client { .. } => None,
    };
    for extension in [subject, issuer].into_iter().chain(names) {
        builder.append_extension(extension)?;
    }
    builder.sign(authority_key, MessageDigest::sha256())?;
    Ok(builder.build())
}

/// The serial number as `openssl x509 -serial` writes it.
pub(crate) fn serial(certificate: &X509Ref) -> Result<String, ErrorStack> {
    Ok(certificate.serial_number().to_bn()?.to_hex_str()?.to_string())
}

/// Seconds since 1970 (UTC).
pub(crate) fn unix_seconds(time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(i64::from(since.days) * DAY_SECONDS + i64::from(since.secs))
}

/// The first attribute of this kind in a name, if it can be parsed.
pub(crate) fn attribute(name: &X509NameRef, kind: Nid) -> Option<String> {
    let entry = name.entries_by_nid(kind).next()?;
    entry.data().to_string().ok()
}

fn begin(subject: &X509NameRef, issuer: &X509NameRef, now: Timestamp, until: i64) -> Result<X509Builder, ErrorStack> {
    let since = now.as_second().saturating_sub(CLOCK_SKEW_SECONDS);
    let mut builder = X509::builder()?;
    // Zero-based: this is version 3, the one with extensions.
    builder.set_version(2)?;
    builder.set_serial_number(&*new_serial()?)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_not_before(&*Asn1Time::from_unix(since)?)?;
    builder.set_not_after(&*Asn1Time::from_unix(until)?)?;
    Ok(builder)
}

/// Sixteen octets. The first bit is zero, because a serial number is positive, and the second is one, so that all
/// serial numbers have the same number of digits.
fn new_serial() -> Result<Asn1Integer, ErrorStack> {
    let mut number = BigNum::new()?;
    number.rand(127, MsbOption::ONE, false)?;
    Asn1Integer::from_bn(&number)
}

/// From the most general to the most specific attribute; RFC 4514 writes them in reverse.
fn subject(unit: Option<&str>, common_name: &str) -> Result<X509Name, ErrorStack> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::ORGANIZATIONNAME, ORGANISATION)?;
    if let Some(unit) = unit {
        name.append_entry_by_nid(Nid::ORGANIZATIONALUNITNAME, unit)?;
    }
    name.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    Ok(name.build())
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
