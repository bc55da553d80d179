//! What has to be there before a server starts: made where it is missing, renewed before it ends. What a person
//! brought, moved or revoked is left as it is.

use jiff::Timestamp;
use openssl::pkey::{PKey, Public};
use openssl::x509::{X509, X509Ref};

use super::authority::{Authority, pem};
use super::certificate::{CLOCK_SKEW_SECONDS, DAY_SECONDS, DEFAULT_DAYS, Holder, unix_seconds};
use super::error::PkiError;
use super::files::{Lock, Readers};
use super::pair::{Files, public_half};
use super::record::{self, Issued, Record};

/// Enough for a machine that is switched on once a month.
const RENEW_SECONDS: i64 = 30 * DAY_SECONDS;

/// What had to be done so that a certificate is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// There was none.
    Made,
    /// It would have ended soon, or lacked a name. The key is the same.
    Renewed,
    /// Nothing.
    Kept,
    /// Nothing either: it was revoked, and only a person issues it again.
    Revoked,
}

impl Authority {
    /// Sees to it that this host has a certificate with these names, `localhost`, `127.0.0.1` and `::1`. One that
    /// somebody else signed is left as it is; one of ours that was revoked is set aside, with its key.
    pub fn ensure_server(&self, names: &[String], now: Timestamp) -> Result<Ensured, PkiError> {
        let holder = Holder::server(names)?;
        let lock = self.lock()?;
        let records = record::read_all(self.folder())?;
        let files = self.server_files();
        let revoked = files.read()?.record(&records).filter(|record| record.is_revoked());
        if let Some(record) = revoked {
            files.set_aside(&lock, &aside_label(&record.issued))?;
        }
        let held = files.read()?;
        if held.certificate.is_some() && held.key.is_none() {
            return Err(PkiError::KeyGone {
                certificate: files.certificate,
                key: files.key,
            });
        }
        self.ensure(&lock, &files, &holder, &records, now)
    }

    /// Sees to it that a client has a certificate, if it never was revoked. Its role is only used for a new one.
    pub fn ensure_client(&self, name: &str, role: &str, now: Timestamp) -> Result<Ensured, PkiError> {
        let holder = Holder::client(name, role)?;
        let files = self.client_files(name)?;
        let lock = self.lock()?;
        let records = record::read_all(self.folder())?;
        let held = files.read()?;
        let of_name = || records.iter().filter(|record| record.is_of_client(name));
        let taken_away = match held.record(&records) {
            Some(record) => record.is_revoked(),
            // Files that are gone do not undo it, nor does a key that was not used yet.
            None => held.certificate.is_none() && of_name().count() > 0 && of_name().all(Record::is_revoked),
        };
        if taken_away {
            return Ok(Ensured::Revoked);
        }
        self.ensure(&lock, &files, &holder, &records, now)
    }

    fn ensure(
        &self,
        lock: &Lock,
        files: &Files,
        holder: &Holder,
        records: &[Record],
        now: Timestamp,
    ) -> Result<Ensured, PkiError> {
        let held = files.read()?;
        let (public_key, done) = match (&held.certificate, &held.key) {
            (Some(certificate), _) if !self.signed(certificate) => return Ok(Ensured::Kept),
            (Some(certificate), _) if self.is_good(certificate, holder, now)? => return Ok(Ensured::Kept),
            (Some(certificate), _) => (public_key_of(certificate)?, Ensured::Renewed),
            (None, Some(key)) => {
                let record = held.record(records);
                if let Some(record) = record.filter(|record| !record.is_revoked() && is_held_by(record, holder))
                    && self.is_good(&record.certificate, holder, now)?
                {
                    // Whoever issued it was cut off before the last file.
                    lock.replace(&files.certificate, &pem(&record.certificate)?, Readers::Everyone)?;
                    return Ok(Ensured::Made);
                }
                (public_half(key)?, Ensured::Made)
            }
            (None, None) => (public_half(&self.new_key(lock, &files.key)?)?, Ensured::Made),
        };
        let holder = match &held.certificate {
            Some(certificate) => with_role_of(certificate, holder)?,
            None => holder.clone(),
        };
        let certificate = self.certify(lock, &public_key, &holder, DEFAULT_DAYS, now)?;
        lock.replace(&files.certificate, &pem(&certificate)?, Readers::Everyone)?;
        Ok(done)
    }

    /// Whether it may stay. A client that was issued for a short time is meant to end, so it does.
    fn is_good(&self, certificate: &X509Ref, holder: &Holder, now: Timestamp) -> Result<bool, PkiError> {
        let read = || {
            Ok((
                unix_seconds(certificate.not_before())?,
                unix_seconds(certificate.not_after())?,
            ))
        };
        let (since, until) = read().map_err(PkiError::openssl("read a certificate"))?;
        let is_short = until - since < i64::from(DEFAULT_DAYS) * DAY_SECONDS + CLOCK_SKEW_SECONDS;
        let is_meant_to_end = is_short && matches!(holder, Holder::Client { .. });
        let has_time = until - now.as_second() >= RENEW_SECONDS;
        Ok((has_time || is_meant_to_end) && holder.is_named_by(certificate))
    }
}

/// What files are called that had to make room.
pub(super) fn aside_label(issued: &Issued) -> String {
    let why = if issued.revoked_at.is_some() {
        "revoked"
    } else {
        "ended"
    };
    format!("{why}-{}", issued.serial)
}

fn is_held_by(record: &Record, holder: &Holder) -> bool {
    match holder {
        Holder::Server { .. } => record.issued.role.is_none(),
        Holder::Client { name, .. } => record.is_of_client(name.as_str()),
    }
}

/// A renewed certificate gives no other role than the one before.
fn with_role_of(certificate: &X509Ref, holder: &Holder) -> Result<Holder, PkiError> {
    match (holder, Issued::of(certificate, None)?.role) {
        (Holder::Client { name, .. }, Some(role)) => Holder::client(name.as_str(), &role),
        _ => Ok(holder.clone()),
    }
}

fn public_key_of(certificate: &X509) -> Result<PKey<Public>, PkiError> {
    certificate
        .public_key()
        .map_err(PkiError::openssl("read a certificate"))
}
