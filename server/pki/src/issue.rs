//! Commands of an operator: issuing a client certificate, and revoking one.

use jiff::Timestamp;

use super::authority::{Authority, day, pem};
use super::certificate::{Holder, MAX_DAYS};
use super::ensure::label;
use super::error::PkiError;
use super::files::Readers;
use super::pair::{Files, LoadedPair, public_half};
use super::record::{self, Issued, Record};

impl Authority {
    /// Issues a certificate to a client, with a new key. It is an error if the name has a valid certificate; the files
    /// of a revoked or expired one are kept as `NAME.revoked-SERIAL` or `NAME.ended-SERIAL`.
    ///
    /// An existing key under that name is used if no certificate was ever issued for it.
    pub fn issue_client(&self, name: &str, role: &str, days: u32, now: Timestamp) -> Result<Issued, PkiError> {
        let holder = Holder::client(name, role)?;
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(PkiError::Days { days, max: MAX_DAYS });
        }
        let files = self.client_files(name)?;
        let lock = self.lock()?;
        let records = record::read_all(self.folder())?;
        let pair = files.read()?;
        let valid = records
            .iter()
            .find(|record| record.is_of_client(name) && record.issued.holds(now));
        if let Some(record) = valid {
            // A previous issue may have been interrupted before it wrote the last file.
            if pair.certificate.is_none() && pair.key.as_ref().is_some_and(|key| record.has_key(key)) {
                lock.replace(&files.certificate, &pem(&record.certificate)?, Readers::Everyone)?;
            }
            return Err(in_use(&record.issued, &files));
        }
        if let Some(replaced) = self.replaced(&pair, &records, &files, now)? {
            files.rename_with_label(&lock, &label(&replaced))?;
        }
        let public_key = match files.read()?.key {
            Some(key) => public_half(&key)?,
            None => public_half(&self.new_key(&lock, &files.key)?)?,
        };
        let certificate = self.certify(&lock, &public_key, &holder, days, now)?;
        lock.replace(&files.certificate, &pem(&certificate)?, Readers::Everyone)?;
        Issued::of(&certificate, None)
    }

    /// Revokes all certificates of a client, or the one with this serial number, and writes the revocation list. The
    /// files stay, so that the client is refused with a reason and not because a file is missing.
    pub fn revoke(&self, client: &str, now: Timestamp) -> Result<Vec<Issued>, PkiError> {
        let lock = self.lock()?;
        let records = record::read_all(self.folder())?;
        let mut selected: Vec<_> = records.iter().filter(|record| record.is_of_client(client)).collect();
        if selected.is_empty() {
            let serial = client.replace(':', "").to_ascii_uppercase();
            selected = records.iter().filter(|record| record.issued.serial == serial).collect();
        }
        if selected.is_empty() {
            return Err(PkiError::Unknown {
                client: client.to_owned(),
            });
        }
        let mut revoked = Vec::new();
        for record in selected.into_iter().filter(|record| !record.is_revoked()) {
            record::revoke(&lock, self.folder(), &record.issued.serial, now)?;
            revoked.push(Issued {
                revoked_at: Some(now),
                ..record.issued.clone()
            });
        }
        // Also if nothing was revoked, because a previous revocation may have been interrupted before it wrote the
        // list.
        self.refresh_crl_under(&lock, now)?;
        if revoked.is_empty() {
            return Err(PkiError::RevokedAlready {
                client: client.to_owned(),
            });
        }
        Ok(revoked)
    }

    /// The certificate that makes room, which must not be valid any more. A certificate of this authority without a
    /// record belongs to a folder that was restored from copies, and still counts.
    fn replaced(
        &self,
        pair: &LoadedPair,
        records: &[Record],
        files: &Files,
        now: Timestamp,
    ) -> Result<Option<Issued>, PkiError> {
        if let Some(record) = pair.record(records)
            && !record.issued.holds(now)
        {
            return Ok(Some(record.issued.clone()));
        }
        let Some(certificate) = &pair.certificate else {
            return Ok(None);
        };
        if !self.signed(certificate) {
            return Err(PkiError::Foreign {
                path: files.certificate.clone(),
            });
        }
        let issued = Issued::of(certificate, None)?;
        if issued.holds(now) {
            return Err(in_use(&issued, files));
        }
        Ok(Some(issued))
    }
}

fn in_use(issued: &Issued, files: &Files) -> PkiError {
    PkiError::InUse {
        name: issued.name.clone(),
        not_after: day(issued.not_after),
        path: files.certificate.clone(),
    }
}
