//! Inspects the TLS files before they are used: every problem of every file at once, with the functions that load them,
//! and whether they are valid at a given time. `material` stops at the first problem and does not look at the time.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use openssl::asn1::Asn1TimeRef;
use openssl::error::ErrorStack;
use openssl::x509::X509;

use super::Files;
use super::material::{TlsError, certificates, check_issuers, check_pair, lists, private_key, read, seconds};
use crate::clock;

/// A problem of one file.
#[derive(Debug)]
pub struct FileProblem {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, and the remedy.
    pub error: TlsError,
    /// Whether the server does not start; otherwise it starts, and some connections may fail.
    pub prevents_start: bool,
}

/// Why a file is not valid now, or not for long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidityError {
    /// It is no longer valid.
    #[error("the {what} in {} expired at {time}; replace the file", file.display())]
    Expired {
        /// A certificate or a revocation list.
        what: &'static str,
        file: PathBuf,
        time: String,
    },
    /// It is not valid yet.
    #[error("the {what} in {} is not valid before {time}; correct this machine's clock, or replace the file", file.display())]
    NotYetValid {
        /// A certificate or a revocation list.
        what: &'static str,
        file: PathBuf,
        time: String,
    },
    /// It is valid now, and expires soon.
    #[error("the {what} in {} expires at {time}; replace the file before", file.display())]
    ExpiresSoon {
        /// A certificate or a revocation list.
        what: &'static str,
        file: PathBuf,
        time: String,
    },
}

/// Inspects all files. `now` is in seconds since 1970 (UTC). A certificate that expires within `soon`, or a revocation
/// list that expires within a tenth of that, is a problem that does not prevent the start.
pub fn inspect(files: &Files, now: i64, soon: Duration) -> Vec<FileProblem> {
    let mut inspection = Inspection {
        now,
        soon: i64::try_from(soon.as_secs()).unwrap_or(i64::MAX),
        problems: Vec::new(),
    };
    let bytes = [&files.certificate, &files.key, &files.client_ca].map(|file| inspection.need(file, read(file)));
    let [chain, key, authorities] = bytes;
    let chain = chain.and_then(|pem| inspection.need(&files.certificate, certificates(&files.certificate, &pem)));
    let key = key.and_then(|pem| inspection.need(&files.key, private_key(&files.key, &pem)));
    let authorities =
        authorities.and_then(|pem| inspection.need(&files.client_ca, certificates(&files.client_ca, &pem)));
    if key.is_some() && is_readable_by_all(&files.key) {
        inspection.add(&files.key, TlsError::ExposedKey(files.key.clone()), false);
    }
    if let (Some(chain), Some(key)) = (&chain, &key) {
        inspection.need(&files.key, check_pair(files, chain, key));
    }
    if let Some(chain) = &chain {
        inspection.server_chain(&files.certificate, chain);
    }
    if let Some(authorities) = &authorities {
        inspection.authorities(&files.client_ca, authorities);
    }
    if let Some(crl) = &files.crl {
        let lists = inspection.need(crl, read(crl).and_then(|pem| lists(crl, &pem)));
        if let (Some(lists), Some(authorities)) = (&lists, &authorities) {
            inspection.need(crl, check_issuers(files, crl, lists, authorities));
        }
        for list in lists.iter().flatten() {
            let soon = inspection.soon / 10;
            let found = inspection.validity(
                "revocation list",
                crl,
                Some(list.last_update()),
                list.next_update(),
                soon,
            );
            inspection.note(crl, found);
        }
    }
    inspection.problems
}

/// Whether users without any relation to the file may read it. A directory above it that they cannot enter protects it.
fn is_readable_by_all(file: &Path) -> bool {
    const READ: u32 = 0o004;
    const ENTER: u32 = 0o001;
    let Ok(file) = file.canonicalize() else { return false };
    let has = |path: &Path, permission: u32| {
        let mode = path.metadata().map(|metadata| metadata.permissions().mode());
        mode.is_ok_and(|mode| mode & permission != 0)
    };
    has(&file, READ) && file.ancestors().skip(1).all(|directory| has(directory, ENTER))
}

struct Inspection {
    now: i64,
    soon: i64,
    problems: Vec<FileProblem>,
}

impl Inspection {
    /// The value, or a problem that prevents the start.
    fn need<T>(&mut self, file: &Path, result: Result<T, TlsError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(file, error, true);
                None
            }
        }
    }

    fn add(&mut self, file: &Path, error: TlsError, prevents_start: bool) {
        let file = file.to_owned();
        self.problems.push(FileProblem {
            file,
            error,
            prevents_start,
        });
    }

    /// A problem that does not prevent the start.
    fn note(&mut self, file: &Path, found: Result<Option<ValidityError>, ErrorStack>) {
        match found {
            Ok(None) => {}
            Ok(Some(validity)) => self.add(file, validity.into(), false),
            Err(error) => self.add(file, error.into(), true),
        }
    }

    /// With an expired server certificate, no client can connect. One that is not valid yet becomes valid by itself: at
    /// its time, or when this machine's clock is set, which may be after the start. Old intermediate certificates are
    /// often sent along for old clients, so an expired one does not prevent the start.
    fn server_chain(&mut self, file: &Path, chain: &[X509]) {
        for (at, link) in chain.iter().enumerate() {
            let what = if at == 0 {
                "certificate"
            } else {
                "intermediate certificate"
            };
            let found = self.validity(what, file, Some(link.not_before()), Some(link.not_after()), self.soon);
            match found {
                Ok(Some(validity)) => {
                    let prevents_start = at == 0 && matches!(validity, ValidityError::Expired { .. });
                    self.add(file, validity.into(), prevents_start);
                }
                other => self.note(file, other),
            }
        }
    }

    /// Old authorities may stay in the file during a rotation, so the start is prevented only if none is valid.
    fn authorities(&mut self, file: &Path, authorities: &[X509]) {
        let found: Vec<_> = authorities
            .iter()
            .map(|authority| {
                let (since, until) = (authority.not_before(), authority.not_after());
                self.validity("CA certificate", file, Some(since), Some(until), self.soon)
            })
            .collect();
        let is_valid = |found: &Result<Option<ValidityError>, ErrorStack>| {
            matches!(found, Ok(None | Some(ValidityError::ExpiresSoon { .. })))
        };
        let none_valid = !found.iter().any(is_valid);
        for found in found {
            match found {
                Ok(Some(validity)) if none_valid => self.add(file, validity.into(), true),
                other => self.note(file, other),
            }
        }
    }

    fn validity(
        &self,
        what: &'static str,
        file: &Path,
        since: Option<&Asn1TimeRef>,
        until: Option<&Asn1TimeRef>,
        soon: i64,
    ) -> Result<Option<ValidityError>, ErrorStack> {
        let file = file.to_owned();
        let since = since.map(seconds).transpose()?.unwrap_or(i64::MIN);
        let until = until.map(seconds).transpose()?.unwrap_or(i64::MAX);
        Ok(if since > self.now {
            let time = written(since);
            Some(ValidityError::NotYetValid { what, file, time })
        } else if until <= self.now {
            let time = written(until);
            Some(ValidityError::Expired { what, file, time })
        } else if until.saturating_sub(self.now) < soon {
            let time = written(until);
            Some(ValidityError::ExpiresSoon { what, file, time })
        } else {
            None
        })
    }
}

fn written(seconds: i64) -> String {
    clock::written(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_pki as pki;

    const DAY: i64 = 24 * 60 * 60;

    /// The files of a new development authority, and the time of its creation.
    fn made() -> (tempfile::TempDir, Files, i64) {
        let folder = tempfile::tempdir().expect("a folder");
        let now = clock::now();
        pki::prepare(folder.path(), "localhost", now).expect("an authority");
        let files = Files {
            certificate: folder.path().join("server.crt"),
            key: folder.path().join("server.key"),
            client_ca: folder.path().join("ca.crt"),
            crl: Some(folder.path().join("crl.pem")),
            development_ca: None,
        };
        (folder, files, now.as_second())
    }

    fn inspected(files: &Files, now: i64) -> Vec<(String, bool)> {
        let problems = inspect(files, now, Duration::from_secs(14 * 24 * 60 * 60));
        let text = |problem: FileProblem| (problem.error.to_string(), problem.prevents_start);
        problems.into_iter().map(text).collect()
    }

    #[test]
    fn valid_files_have_no_problems() {
        let (_folder, files, now) = made();
        assert_eq!(inspected(&files, now), []);
    }

    #[test]
    fn a_key_that_every_user_can_read_is_a_warning() {
        let (folder, files, now) = made();
        let set = |path: &Path, mode: u32| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("the mode is set");
        };
        set(folder.path(), 0o755);
        for (mode, is_exposed) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
            set(&files.key, mode);
            let found = inspected(&files, now);
            let is_it =
                |(text, prevents_start): &(String, bool)| text.contains("can read the private key") && !prevents_start;
            assert_eq!(
                found.iter().filter(|problem| is_it(problem)).count(),
                usize::from(is_exposed),
                "{mode:o}: {found:?}"
            );
            assert_eq!(found.len(), usize::from(is_exposed));
        }
        set(folder.path(), 0o700);
        assert_eq!(inspected(&files, now), [], "no other user can enter the directory");
    }

    #[test]
    fn every_unusable_file_is_reported_at_once() {
        let (folder, files, now) = made();
        std::fs::write(&files.certificate, "nonsense").expect("written");
        std::fs::remove_file(&files.client_ca).expect("removed");
        std::fs::write(folder.path().join("crl.pem"), "").expect("written");
        let found = inspected(&files, now);
        let texts: Vec<_> = found.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(found.len(), 3, "{texts:?}");
        assert!(found.iter().all(|(_, prevents_start)| *prevents_start), "{texts:?}");
        for part in [
            "ca.crt: No such file",
            "server.crt does not contain a certificate",
            "crl.pem does not contain",
        ] {
            assert!(texts.iter().any(|text| text.contains(part)), "{part}: {texts:?}");
        }
    }

    #[test]
    fn an_expired_server_certificate_prevents_the_start_and_one_that_is_not_valid_yet_does_not() {
        let (_folder, files, now) = made();
        let server = |now: i64| {
            let found = inspected(&files, now);
            found.into_iter().find(|(text, _)| text.contains("server.crt"))
        };
        let at = |days: i64| server(now + days * DAY);
        let issued_days = i64::from(pki::DEFAULT_DAYS);
        assert_eq!(at(issued_days - 15), None);
        let (text, prevents_start) = at(issued_days - 13).expect("a warning");
        assert!(text.contains("expires at ") && !prevents_start, "{text}");
        let (text, prevents_start) = at(issued_days + 1).expect("an error");
        assert!(text.contains("expired at ") && prevents_start, "{text}");
        let (text, prevents_start) = at(-2).expect("a warning");
        assert!(
            text.contains("is not valid before") && text.contains("clock") && !prevents_start,
            "{text}"
        );
    }

    #[test]
    fn an_expired_authority_prevents_the_start_only_if_no_other_is_valid() {
        let (_folder, files, now) = made();
        let century = now + 100 * 365 * DAY;
        let of_authority = |files: &Files| {
            let found = inspected(files, century);
            found
                .into_iter()
                .filter(|(text, _)| text.contains("CA certificate"))
                .collect::<Vec<_>>()
        };
        let [(text, prevents_start)] = &of_authority(&files)[..] else {
            panic!("one problem");
        };
        assert!(text.contains("expired at") && *prevents_start, "{text}");
        let other = tempfile::tempdir().expect("a folder");
        let later = clock::now() + jiff::SignedDuration::from_hours(100 * 365 * 24);
        pki::prepare(other.path(), "localhost", later).expect("an authority");
        let both = [&files.client_ca, &other.path().join("ca.crt")].map(|file| std::fs::read(file).expect("read"));
        std::fs::write(&files.client_ca, both.concat()).expect("written");
        let [(_, prevents_start)] = &of_authority(&files)[..] else {
            panic!("one problem");
        };
        assert!(!prevents_start);
    }

    #[test]
    fn an_expired_revocation_list_is_reported_and_does_not_prevent_the_start() {
        let (_folder, files, now) = made();
        let found = inspected(&files, now + 365 * DAY);
        let list = found.iter().find(|(text, _)| text.contains("revocation list"));
        let (text, prevents_start) = list.expect("a warning");
        assert!(text.contains("expired at") && !prevents_start, "{text}");
    }
}
