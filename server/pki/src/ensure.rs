//! Ensures that the certificates for a server's start exist: missing ones are created, expiring ones are renewed. Files
//! that an operator provided, moved or revoked are left unchanged.

use jiff::Timestamp;
use openssl::pkey::{PKey, Public};
use openssl::x509::{X509, X509Ref};

use super::authority::{Authority, pem};
use super::certificate::{CLOCK_SKEW_SECONDS, DAY_SECONDS, DEFAULT_DAYS, Holder, unix_seconds};
use super::error::PkiError;
use super::files::{Lock, Readers};
use super::pair::{Files, public_half};
use super::record::{self, Issued, Record};

/// Certificates are renewed this long before they expire, which is enough for a machine that is switched on once a
/// month.
const RENEW_SECONDS: i64 = 30 * DAY_SECONDS;

/// What was done to ensure that a certificate exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// It was missing and was created.
    Made,
    /// It was about to expire, or lacked a name, and was renewed with the same key.
    Renewed,
    /// It was valid and is unchanged.
    Kept,
    /// It was revoked, so only an operator issues it again.
    Revoked,
}

impl Authority {
    /// Ensures that this host has a certificate with these names, `localhost`, `127.0.0.1` and `::1`. A certificate of
    /// another authority is left unchanged; a revoked one of this authority is renamed, with its key.
    pub fn ensure_server(&self, names: &[String], now: Timestamp) -> Result<Ensured, PkiError> {
        let holder = Holder::server(names)?;
        let lock = self.lock()?;
        let records = record::read_all(self.folder())?;
        let files = self.server_files();
        let revoked = files.read()?.record(&records).filter(|record| record.is_revoked());
        if let Some(record) = revoked {
            files.rename_with_label(&lock, &label(&record.issued))?;
        }
        let pair = files.read()?;
        if pair.certificate.is_some() && pair.key.is_none() {
            return Err(PkiError::KeyMissing {
                certificate: files.certificate,
                key: files.key,
            });
        }
        self.ensure(&lock, &files, &holder, &records, now)
    }

    /// Ensures that a client has a certificate, unless it was revoked. The role is only used for a new certificate.
    pub fn ensure_client(&self, name: &str, role: &str, now: Timestamp) -> Result<Ensured, PkiError> {
        let holder = Holder::client(name, role)?;
        let files = self.client_files(name)?;
        let lock = self.lock()?;
        let records = record::read_all(self.folder())?;
        let pair = files.read()?;
        let of_name = || records.iter().filter(|record| record.is_of_client(name));
        let is_revoked = match pair.record(&records) {
            Some(record) => record.is_revoked(),
            // Deleting files does not undo a revocation, nor does a key without a certificate.
            None => pair.certificate.is_none() && of_name().count() > 0 && of_name().all(Record::is_revoked),
        };
        if is_revoked {
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
        let pair = files.read()?;
        let (public_key, ensured) = match (&pair.certificate, &pair.key) {
            (Some(certificate), _) if !self.signed(certificate) => return Ok(Ensured::Kept),
            (Some(certificate), _) if self.is_acceptable(certificate, holder, now)? => return Ok(Ensured::Kept),
            (Some(certificate), _) => (public_key_of(certificate)?, Ensured::Renewed),
            (None, Some(key)) => {
                let record = pair.record(records);
                if let Some(record) = record.filter(|record| !record.is_revoked() && belongs_to(record, holder))
                    && self.is_acceptable(&record.certificate, holder, now)?
                {
                    // A previous issue was interrupted before it wrote the last file.
                    lock.replace(&files.certificate, &pem(&record.certificate)?, Readers::Everyone)?;
                    return Ok(Ensured::Made);
                }
                (public_half(key)?, Ensured::Made)
            }
            (None, None) => (public_half(&self.new_key(lock, &files.key)?)?, Ensured::Made),
        };
        let holder = match &pair.certificate {
            Some(certificate) => with_role_of(certificate, holder)?,
            None => holder.clone(),
        };
        let certificate = self.certify(lock, &public_key, &holder, DEFAULT_DAYS, now)?;
        lock.replace(&files.certificate, &pem(&certificate)?, Readers::Everyone)?;
        Ok(ensured)
    }

    /// Whether the certificate needs no renewal. A client certificate with a short validity is meant to expire.
    fn is_acceptable(&self, certificate: &X509Ref, holder: &Holder, now: Timestamp) -> Result<bool, PkiError> {
        let read = || {
            Ok((
                unix_seconds(certificate.not_before())?,
                unix_seconds(certificate.not_after())?,
            ))
        };
        let (since, until) = read().map_err(PkiError::openssl("read a certificate"))?;
        let is_short = until - since < i64::from(DEFAULT_DAYS) * DAY_SECONDS + CLOCK_SKEW_SECONDS;
        let may_expire = is_short && matches!(holder, Holder::Client { .. });
        let has_time = until - now.as_second() >= RENEW_SECONDS;
        Ok((has_time || may_expire) && holder.is_named_by(certificate))
    }
}

/// The label in the name of files that make room for new ones.
pub(crate) fn label(issued: &Issued) -> String {
    let reason = if issued.revoked_at.is_some() {
        "revoked"
    } else {
        "ended"
    };
    format!("{reason}-{}", issued.serial)
}

fn belongs_to(record: &Record, holder: &Holder) -> bool {
    match holder {
        Holder::Server { .. } => record.issued.role.is_none(),
        Holder::Client { name, .. } => record.is_of_client(name.as_str()),
    }
}

/// A renewed certificate keeps the role of the previous one.
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
