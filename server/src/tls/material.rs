//! The files that TLS needs, read together and held against each other. It does not decide when to read them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::sha::Sha256;
use openssl::ssl::{SslAcceptorBuilder, SslFiletype};
use openssl::stack::Stack;
use openssl::x509::store::{X509Lookup, X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509Crl, X509Name, X509PurposeId};
use watchpost_policies::DistinguishedName;

use super::Files;
use super::identity::{Unreadable, distinguished};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("{} cannot be read: {source}; check the path, and that Watchpost's user may read it", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is not what it should be.
    #[error("{} holds no {expected} in PEM form{}", path.display(), because(source))]
    NotPem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// OpenSSL's words.
        source: ErrorStack,
    },
    /// Certificate and key are not of one pair.
    #[error("the key {} does not belong to the certificate {}; replace both together", key.display(), certificate.display())]
    NotAPair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// A revocation list by someone else.
    #[error("{} was not issued by any authority in {}", crl.display(), client_ca.display())]
    ForeignCrl {
        /// The list.
        crl: PathBuf,
        /// The authorities.
        client_ca: PathBuf,
    },
    /// Someone writes while we read.
    #[error("{} changed while it was read; it is read again", .0.display())]
    Changing(PathBuf),
    /// OpenSSL refuses.
    #[error("OpenSSL refuses: {0}")]
    OpenSsl(#[from] ErrorStack),
}

fn because(source: &ErrorStack) -> String {
    let reason = source.errors().iter().find_map(|error| error.reason());
    reason.map_or_else(String::new, |reason| format!(" ({reason})"))
}

/// When each thing ends, in seconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Our certificate, or the first of those between it and its authority.
    pub server: i64,
    /// The first of the authorities.
    pub client_ca: i64,
    /// The first of the revocation lists.
    pub crl: Option<i64>,
}

/// Everything that belongs together.
pub struct Material {
    chain: Vec<X509>,
    key: PKey<Private>,
    authorities: Vec<X509>,
    crl: Option<Crl>,
    digest: [u8; 32],
    trust: [u8; 32],
    expiry: Expiry,
}

impl Material {
    /// Reads all files, and refuses them all if one is wrong.
    pub fn load(files: &Files) -> Result<Self, TlsError> {
        let hashed = |hash: &mut Sha256, path: &Path| -> Result<Vec<u8>, TlsError> {
            let bytes = read(path)?;
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(&bytes);
            Ok(bytes)
        };
        let (mut ours, mut theirs) = (Sha256::new(), Sha256::new());
        let chain = certificates(&files.certificate, &hashed(&mut ours, &files.certificate)?)?;
        let key = private_key(&files.key, &hashed(&mut ours, &files.key)?)?;
        let authorities = certificates(&files.client_ca, &hashed(&mut theirs, &files.client_ca)?)?;
        let crl = match &files.crl {
            Some(path) => {
                let bytes = hashed(&mut theirs, path)?;
                Some(Crl {
                    path: path.clone(),
                    lists: lists(path, &bytes)?,
                    bytes,
                })
            }
            None => None,
        };
        let Some(leaf) = chain.first() else {
            return Err(not_pem(&files.certificate, "certificate")(ErrorStack::get()));
        };
        if !leaf.public_key()?.public_eq(&key) {
            return Err(TlsError::NotAPair {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
            });
        }
        let foreign = |list: &X509Crl| !authorities.iter().any(|authority| is_by(list, authority));
        if let Some(crl) = crl.as_ref().filter(|crl| crl.lists.iter().any(foreign)) {
            return Err(TlsError::ForeignCrl {
                crl: crl.path.clone(),
                client_ca: files.client_ca.clone(),
            });
        }
        let expiry = Expiry {
            server: first(chain.iter().map(|link| seconds(link.not_after())))?.unwrap_or(i64::MAX),
            client_ca: first(authorities.iter().map(|authority| seconds(authority.not_after())))?.unwrap_or(i64::MAX),
            crl: match &crl {
                Some(crl) => first(crl.lists.iter().filter_map(|list| list.next_update().map(seconds)))?,
                None => None,
            },
        };
        Ok(Self {
            chain,
            key,
            authorities,
            crl,
            digest: {
                let trust = theirs.clone().finish();
                ours.update(&trust);
                ours.finish()
            },
            trust: theirs.finish(),
            expiry,
        })
    }

    /// Over the bytes of all files.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Over the bytes of those that say which clients are trusted.
    pub fn trust(&self) -> &[u8; 32] {
        &self.trust
    }

    /// When each thing ends.
    pub fn expiry(&self) -> Expiry {
        self.expiry
    }

    /// Shows our certificate and its chain.
    pub(super) fn present(&self, builder: &mut SslAcceptorBuilder) -> Result<(), TlsError> {
        for (at, certificate) in self.chain.iter().enumerate() {
            if at == 0 {
                builder.set_certificate(certificate)?;
            } else {
                builder.add_extra_chain_cert(certificate.clone())?;
            }
        }
        builder.set_private_key(&self.key)?;
        Ok(builder.check_private_key()?)
    }

    /// The names that clients are told, so that they know which certificate to show.
    pub(super) fn authority_names(&self) -> Result<Stack<X509Name>, TlsError> {
        let mut names = Stack::new()?;
        for authority in &self.authorities {
            names.push(authority.subject_name().to_owned()?)?;
        }
        Ok(names)
    }

    /// The same as we write them.
    pub(super) fn authorities(&self) -> impl Iterator<Item = Result<DistinguishedName, Unreadable>> {
        self.authorities
            .iter()
            .map(|authority| distinguished(authority.subject_name()))
    }

    /// Whom we trust to vouch for clients, and what they took back. Where every authority has a list, each link of
    /// a chain is looked up; otherwise the client's own certificate only, and without a list for its issuer it is
    /// refused.
    pub(super) fn trusted(&self, proxy_certificates: bool) -> Result<X509Store, TlsError> {
        let mut store = X509StoreBuilder::new()?;
        for authority in &self.authorities {
            store.add_cert(authority.clone())?;
        }
        store.set_purpose(X509PurposeId::SSL_CLIENT)?;
        let mut flags = X509VerifyFlags::empty();
        if proxy_certificates {
            flags |= X509VerifyFlags::ALLOW_PROXY_CERTS;
        }
        if let Some(crl) = &self.crl {
            Self::add_crl(&mut store, crl)?;
            flags |= X509VerifyFlags::CRL_CHECK;
            let has_list = |authority: &X509| crl.lists.iter().any(|list| is_by(list, authority));
            if self.authorities.iter().all(has_list) {
                flags |= X509VerifyFlags::CRL_CHECK_ALL;
            }
        }
        store.set_flags(flags)?;
        Ok(store.build())
    }

    /// A store takes lists from files only; so the file has to be still what was read.
    fn add_crl(store: &mut X509StoreBuilder, crl: &Crl) -> Result<(), TlsError> {
        store
            .add_lookup(X509Lookup::file())?
            .load_crl_file(&crl.path, SslFiletype::PEM)?;
        if read(&crl.path)? != crl.bytes {
            return Err(TlsError::Changing(crl.path.clone()));
        }
        Ok(())
    }
}

/// A file of revocation lists.
struct Crl {
    path: PathBuf,
    bytes: Vec<u8>,
    lists: Vec<X509Crl>,
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn not_pem(path: &Path, expected: &'static str) -> impl Fn(ErrorStack) -> TlsError {
    move |source| TlsError::NotPem {
        path: path.to_owned(),
        expected,
        source,
    }
}

/// OpenSSL would ask a person at the terminal for the passphrase of an encrypted key, and wait.
fn private_key(path: &Path, pem: &[u8]) -> Result<PKey<Private>, TlsError> {
    PKey::private_key_from_pem_passphrase(pem, b"").map_err(not_pem(path, "private key without a passphrase"))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<X509>, TlsError> {
    let certificates = X509::stack_from_pem(pem).map_err(not_pem(path, "certificate"))?;
    if certificates.is_empty() {
        return Err(not_pem(path, "certificate")(ErrorStack::get()));
    }
    Ok(certificates)
}

/// One list stands after the other, as certificates do; OpenSSL reads only the first of them.
fn lists(path: &Path, pem: &[u8]) -> Result<Vec<X509Crl>, TlsError> {
    const BEGIN: &str = "-----BEGIN X509 CRL-----";
    let text = String::from_utf8_lossy(pem);
    let parts = text.match_indices(BEGIN).map(|(at, _)| &text[at..]);
    let lists: Result<Vec<_>, _> = parts.map(|part| X509Crl::from_pem(part.as_bytes())).collect();
    let lists = lists.map_err(not_pem(path, "revocation list"))?;
    if lists.is_empty() {
        return Err(not_pem(path, "revocation list")(ErrorStack::get()));
    }
    Ok(lists)
}

fn is_by(list: &X509Crl, authority: &X509) -> bool {
    let same_name = list
        .issuer_name()
        .try_cmp(authority.subject_name())
        .is_ok_and(|order| order.is_eq());
    same_name
        && authority
            .public_key()
            .and_then(|key| list.verify(&key))
            .unwrap_or(false)
}

fn first(ends: impl Iterator<Item = Result<i64, ErrorStack>>) -> Result<Option<i64>, ErrorStack> {
    Ok(ends.collect::<Result<Vec<_>, _>>()?.into_iter().min())
}

/// Seconds since 1970 (UTC).
pub(super) fn seconds(time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(i64::from(since.days) * DAY_SECONDS + i64::from(since.secs))
}
