//! Certificate authorities of a test, which issue what the development authority does not: intermediate authorities,
//! short-lived certificates, proxy certificates (RFC 3820) and revocation lists with any time of the next update.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509CrlBuilder, X509Extension, X509Name, X509NameRef, X509RevokedBuilder};

/// The policy language of a proxy certificate, as the content of an object identifier.
pub type Language = &'static [u8];

/// All rights: `id-ppl-inheritAll`.
pub const INHERIT_ALL: Language = &[0x2b, 6, 1, 5, 5, 7, 21, 1];
/// No rights: `id-ppl-independent`.
pub const INDEPENDENT: Language = &[0x2b, 6, 1, 5, 5, 7, 21, 2];
/// A limited proxy of the Globus Toolkit.
pub const LIMITED: Language = &[0x2b, 6, 1, 4, 1, 0x9b, 0x50, 1, 1, 1, 9];
/// A language that no program knows.
pub const UNKNOWN: Language = &[0x2a, 3, 4];

/// A validity that begins an hour ago and ends in a day.
pub const A_DAY: Range<i64> = -3600..86_400;

/// A certificate with its key and the chain that is sent with it.
pub struct Holder {
    pub certificate: X509,
    pub key: PKey<Private>,
    /// The certificates after the holder's own.
    pub chain: Vec<X509>,
}

impl Holder {
    /// An authority that signs itself.
    pub fn root(name: &str) -> Self {
        let key = new_key();
        let name = name_of(name);
        let certificate = certify(&name, &key, &name, &key, A_DAY, authority);
        Self {
            certificate,
            key,
            chain: Vec::new(),
        }
    }

    /// An authority that this one signs.
    pub fn intermediate(&self, name: &str) -> Self {
        self.sign(&name_of(name), A_DAY, authority)
    }

    /// A client or server with this name (RFC 4514) and DNS names. The validity is in seconds from now.
    pub fn issue(&self, name: &str, dns_names: &[&str], validity: Range<i64>) -> Self {
        self.sign(&name_of(name), validity, |builder| {
            if dns_names.is_empty() {
                return;
            }
            let mut names = SubjectAlternativeName::new();
            for name in dns_names {
                names.dns(name);
            }
            let names = names.build(&builder.x509v3_context(None, None));
            builder.append_extension(names.expect("built")).expect("appended");
        })
    }

    /// A proxy certificate that this holder signs.
    pub fn proxy(&self, language: Language, validity: Range<i64>) -> Self {
        let mut name = X509Name::builder().expect("a builder");
        for entry in self.certificate.subject_name().entries() {
            let value = entry.data().to_string().expect("text");
            name.append_entry_by_nid(entry.object().nid(), &value).expect("known");
        }
        name.append_entry_by_text("CN", "1234567").expect("known");
        let mut proxy = self.sign(&name.build(), validity, |builder| {
            let language = element(0x06, language);
            let info = element(0x30, &element(0x30, &language));
            let kind = Asn1Object::from_str("1.3.6.1.5.5.7.1.14").expect("an identifier");
            let info = Asn1OctetString::new_from_bytes(&info).expect("octets");
            let extension = X509Extension::new_from_der(&kind, true, &info).expect("an extension");
            builder.append_extension(extension).expect("appended");
        });
        proxy.chain = [vec![self.certificate.clone()], self.chain.clone()].concat();
        proxy
    }

    /// A revocation list in PEM format. `next_update` is in seconds from now.
    pub fn crl(&self, revoked: &[&Self], next_update: i64) -> Vec<u8> {
        let mut list = X509CrlBuilder::new().expect("a builder");
        list.set_issuer_name(self.certificate.subject_name()).expect("set");
        list.set_last_update(&at(-3600)).expect("set");
        list.set_next_update(&at(next_update)).expect("set");
        for holder in revoked {
            let mut entry = X509RevokedBuilder::new().expect("a builder");
            entry
                .set_serial_number(holder.certificate.serial_number())
                .expect("set");
            entry.set_revocation_date(&at(-60)).expect("set");
            list.add_revoked(entry.build()).expect("added");
        }
        // OpenSSL takes the context of an extension from a certificate that is being built, and there is none here.
        let blank = X509::builder().expect("a builder");
        let issuer = AuthorityKeyIdentifier::new()
            .keyid(true)
            .build(&blank.x509v3_context(Some(&self.certificate), None));
        list.append_extension(issuer.expect("built")).expect("appended");
        let number = Asn1OctetString::new_from_bytes(&element(0x02, &[1])).expect("octets");
        let kind = Asn1Object::from_str("2.5.29.20").expect("an identifier");
        let number = X509Extension::new_from_der(&kind, false, &number).expect("an extension");
        list.append_extension(number).expect("appended");
        list.sign(&self.key, MessageDigest::sha256()).expect("signed");
        list.build().and_then(|list| list.to_pem()).expect("PEM")
    }

    /// The certificate alone in PEM format.
    pub fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().expect("PEM")
    }

    /// Writes the certificate with its chain, and the key, and returns their paths.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        let chain = self.chain.iter().map(|link| link.to_pem().expect("PEM"));
        let pem: Vec<u8> = std::iter::once(self.pem()).chain(chain).flatten().collect();
        fs::write(&certificate, pem).expect("written");
        fs::write(&key, self.key.private_key_to_pem_pkcs8().expect("PEM")).expect("written");
        (certificate, key)
    }

    fn sign(&self, name: &X509NameRef, validity: Range<i64>, extend: impl FnOnce(&mut X509Builder)) -> Self {
        let key = new_key();
        let issuer = self.certificate.subject_name();
        Self {
            certificate: certify(name, &key, issuer, &self.key, validity, extend),
            key,
            chain: Vec::new(),
        }
    }
}

fn authority(builder: &mut X509Builder) {
    let constraints = BasicConstraints::new().critical().ca().build().expect("built");
    builder.append_extension(constraints).expect("appended");
    let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None));
    builder.append_extension(identifier.expect("built")).expect("appended");
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("it is known");
    PKey::from_ec_key(EcKey::generate(&group).expect("generated")).expect("a key")
}

/// A name in the form of RFC 4514, which a certificate encodes in the opposite order.
fn name_of(text: &str) -> X509Name {
    let mut name = X509Name::builder().expect("a builder");
    for part in text.rsplit(',') {
        let (kind, value) = part.split_once('=').expect("an attribute");
        name.append_entry_by_text(kind, value).expect("a known attribute");
    }
    name.build()
}

/// A time in seconds from now.
fn at(seconds: i64) -> Asn1Time {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    Asn1Time::from_unix(i64::try_from(now).expect("it fits") + seconds).expect("a time")
}

fn certify(
    subject: &X509NameRef,
    key: &PKey<Private>,
    issuer: &X509NameRef,
    issuer_key: &PKey<Private>,
    validity: Range<i64>,
    extend: impl FnOnce(&mut X509Builder),
) -> X509 {
    let mut builder = X509::builder().expect("a builder");
    let mut serial = BigNum::new().expect("a number");
    serial.rand(100, MsbOption::ONE, false).expect("random");
    builder.set_version(2).expect("set");
    builder
        .set_serial_number(&serial.to_asn1_integer().expect("a number"))
        .expect("set");
    builder.set_subject_name(subject).expect("set");
    builder.set_issuer_name(issuer).expect("set");
    builder.set_pubkey(key).expect("set");
    builder.set_not_before(&at(validity.start)).expect("set");
    builder.set_not_after(&at(validity.end)).expect("set");
    extend(&mut builder);
    builder.sign(issuer_key, MessageDigest::sha256()).expect("signed");
    builder.build()
}

/// An element of DER with fewer than 128 bytes.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).expect("it is short");
    assert!(length < 128);
    [&[tag, length], content].concat()
}
