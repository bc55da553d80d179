//! The certificate revocation list: version 2, with a number that only increases. It is derived from the records, so a
//! list that is lost, outdated or modified is simply written again.

use std::path::Path;

use jiff::Timestamp;
use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::{BigNum, BigNumRef};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::x509::extension::AuthorityKeyIdentifier;
use openssl::x509::{CrlNumber, X509, X509Crl, X509CrlBuilder, X509Extension, X509RevokedBuilder};

use super::authority::Authority;
use super::certificate::{CLOCK_SKEW_SECONDS, DAY_SECONDS, unix_seconds};
use super::error::PkiError;
use super::files::{self, Lock, Readers};
use super::record;

/// The validity of a list. A server without a newer one by then refuses all clients.
const LIST_SECONDS: i64 = 30 * DAY_SECONDS;

/// RFC 5280 limits a list's number to twenty octets.
const MAX_CRL_NUMBER_OCTETS: i32 = 20;

impl Authority {
    /// Writes the list if there is none, if less than half of its validity is left, or if it differs from the records.
    /// Returns whether it was written.
    pub fn refresh_crl(&self, now: Timestamp) -> Result<bool, PkiError> {
        self.refresh_crl_under(&self.lock()?, now)
    }

    pub(crate) fn refresh_crl_under(&self, lock: &Lock, now: Timestamp) -> Result<bool, PkiError> {
        let revoked = record::read_revoked(self.folder())?;
        let is_current = self
            .read_crl()?
            .is_some_and(|list| is_current(&list, &revoked, now).unwrap_or(false));
        if !is_current {
            self.write_crl_under(lock, now)?;
        }
        Ok(!is_current)
    }

    pub(crate) fn write_crl_under(&self, lock: &Lock, now: Timestamp) -> Result<(), PkiError> {
        let revoked = record::read_revoked(self.folder())?;
        let previous = self.read_crl()?;
        let pem = self
            .sign_crl(previous.as_ref(), &revoked, now)
            .map_err(PkiError::openssl("sign the certificate revocation list"))?;
        lock.replace(&self.crl_path(), &pem, Readers::Everyone)
    }

    /// The stored list, if this authority signed it.
    fn read_crl(&self) -> Result<Option<X509Crl>, PkiError> {
        let path: &Path = &self.crl_path();
        let list = files::read(path)?.and_then(|content| X509Crl::from_pem(&content).ok());
        Ok(list.filter(|list| list.verify(&self.key).unwrap_or(false)))
    }

    fn sign_crl(
        &self,
        previous: Option<&X509Crl>,
        revoked: &[(String, Timestamp)],
        now: Timestamp,
    ) -> Result<Vec<u8>, ErrorStack> {
        let seconds = now.as_second();
        let mut list = X509CrlBuilder::new()?;
        list.set_issuer_name(self.certificate.subject_name())?;
        // As in certificates: a clock that is set back a little must not put the start of the list into the future.
        list.set_last_update(&*Asn1Time::from_unix(seconds.saturating_sub(CLOCK_SKEW_SECONDS))?)?;
        list.set_next_update(&*Asn1Time::from_unix(seconds.saturating_add(LIST_SECONDS))?)?;
        for (serial, time) in revoked {
            let mut entry = X509RevokedBuilder::new()?;
            entry.set_serial_number(&*Asn1Integer::from_bn(&*BigNum::from_hex_str(serial)?)?)?;
            entry.set_revocation_date(&*Asn1Time::from_unix(time.as_second())?)?;
            list.add_revoked(entry.build())?;
        }
        list.sort()?;
        // OpenSSL takes the context of an extension from a certificate that is being built, and there is none here.
        let blank = X509::builder()?;
        let context = blank.x509v3_context(Some(&self.certificate), None);
        list.append_extension(AuthorityKeyIdentifier::new().keyid(true).build(&context)?)?;
        list.append_extension(number(&*next_number(previous, now)?)?)?;
        list.sign(&self.key, MessageDigest::sha256())?;
        list.build()?.to_pem()
    }
}

/// The previous number plus one, but at least the seconds since 1970, in case the previous list was lost.
fn next_number(previous: Option<&X509Crl>, now: Timestamp) -> Result<BigNum, ErrorStack> {
    let mut by_clock = BigNum::from_dec_str(&now.as_second().max(1).to_string())?;
    if let Some((_, before)) = previous
        .map(|list| list.extension::<CrlNumber>())
        .transpose()?
        .flatten()
    {
        let mut next = before.to_bn()?;
        next.add_word(1)?;
        if next.num_bytes() < MAX_CRL_NUMBER_OCTETS && next > by_clock {
            by_clock = next;
        }
    }
    Ok(by_clock)
}

fn number(number: &BigNumRef) -> Result<X509Extension, ErrorStack> {
    let mut octets = number.to_vec();
    // The first bit is the sign.
    if octets.first().is_some_and(|first| first & 0x80 != 0) {
        octets.insert(0, 0);
    }
    let length = u8::try_from(octets.len()).unwrap_or(u8::MAX);
    let der = [&[0x02, length], octets.as_slice()].concat();
    let identifier = Asn1Object::from_str("2.5.29.20")?;
    X509Extension::new_from_der(&identifier, false, &*Asn1OctetString::new_from_bytes(&der)?)
}

fn is_current(list: &X509Crl, revoked: &[(String, Timestamp)], now: Timestamp) -> Result<bool, ErrorStack> {
    let since = unix_seconds(list.last_update())?;
    let until = list.next_update().map(unix_seconds).transpose()?.unwrap_or(i64::MIN);
    let now = now.as_second();
    let mut listed = Vec::new();
    for entry in list.get_revoked().into_iter().flatten() {
        listed.push(entry.serial_number().to_bn()?.to_hex_str()?.to_string());
    }
    listed.sort();
    let has_time = since <= now && until.saturating_sub(now) >= LIST_SECONDS / 2;
    Ok(has_time && listed.iter().eq(revoked.iter().map(|(serial, _)| serial)))
}
