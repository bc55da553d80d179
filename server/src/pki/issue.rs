//! What a person asks for: a certificate for a client, and that one holds no longer.

use jiff::Timestamp;

use super::authority::{Authority, day, pem};
use super::certificate::{Holder, MAX_DAYS};
use super::ensure::aside_label;
use super::error::PkiError;
use super::files::Readers;
use super::pair::{Files, LoadedPair, public_half};
use super::record::{self, Issued, Record};

impl Authority {
    /// Issues a certificate to a client, with a new key. A name that has one which holds is refused; the files of
    /// one that was revoked or has ended are kept as `NAME.revoked-SERIAL` or `NAME.ended-SERIAL`.
    ///
    /// A key that waits under that name without ever having had a certificate is used.
    pub fn issue_client(&self, name: &str, role: &str, days: u32, now: Timestamp) -> Result<Issued, PkiError> {
        let holder = Holder::client(name, role)?;
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(PkiError::Days { days, most: MAX_DAYS });
        }
        let files = self.client_files(name)?;
        let lock = self.lock()?;
        let records = record::read_all(self.folder())?;
        let held = files.read()?;
        let holding = records
            .iter()
            .find(|record| record.is_of_client(name) && record.issued.holds(now));
        if let Some(record) = holding {
            // Whoever issued it may have been cut off before the last file.
            if held.certificate.is_none() && held.key.as_ref().is_some_and(|key| record.has_key(key)) {
                lock.replace(&files.certificate, &pem(&record.certificate)?, Readers::Everyone)?;
            }
            return Err(in_use(&record.issued, &files));
        }
        if let Some(former) = self.former(&held, &records, &files, now)? {
            files.set_aside(&lock, &aside_label(&former))?;
        }
        let public_key = match files.read()?.key {
            Some(key) => public_half(&key)?,
            None => public_half(&self.new_key(&lock, &files.key)?)?,
        };
        let certificate = self.certify(&lock, &public_key, &holder, days, now)?;
        lock.replace(&files.certificate, &pem(&certificate)?, Readers::Everyone)?;
        Issued::of(&certificate, None)
    }

    /// Revokes all certificates of a client, or the one with a serial, and writes the list that says so. The files
    /// stay where they are, so that their holder is refused with a reason and not for want of a file.
    pub fn revoke(&self, who: &str, now: Timestamp) -> Result<Vec<Issued>, PkiError> {
        let lock = self.lock()?;
        let records = record::read_all(self.folder())?;
        let mut meant: Vec<_> = records.iter().filter(|record| record.is_of_client(who)).collect();
        if meant.is_empty() {
            let serial = who.replace(':', "").to_ascii_uppercase();
            meant = records.iter().filter(|record| record.issued.serial == serial).collect();
        }
        if meant.is_empty() {
            return Err(PkiError::Unknown { who: who.to_owned() });
        }
        let mut revoked = Vec::new();
        for record in meant.into_iter().filter(|record| !record.is_revoked()) {
            record::revoke(&lock, self.folder(), &record.issued.serial, now)?;
            revoked.push(Issued {
                revoked_at: Some(now),
                ..record.issued.clone()
            });
        }
        // Also if nothing was to be done, for whoever revoked it may have been cut off before the list.
        self.refresh_crl_under(&lock, now)?;
        if revoked.is_empty() {
            return Err(PkiError::RevokedAlready { who: who.to_owned() });
        }
        Ok(revoked)
    }

    /// What has to make room; nothing of it holds any more. A certificate that is ours but was never recorded is
    /// one of a folder that was put together from copies, and it still counts.
    fn former(
        &self,
        held: &LoadedPair,
        records: &[Record],
        files: &Files,
        now: Timestamp,
    ) -> Result<Option<Issued>, PkiError> {
        if let Some(record) = held.record(records)
            && !record.issued.holds(now)
        {
            return Ok(Some(record.issued.clone()));
        }
        let Some(certificate) = &held.certificate else {
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
