//! The TLS files, read together and checked for consistency. Callers decide when to read them.

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

use super::Files;
use super::inspect::ValidityError;
use super::verify;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}; check the path, and that Watchpost's user may read it", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// A file has other content than expected.
    #[error("{} does not contain a {expected} in PEM format{}", path.display(), parenthesized_reason(source))]
    NotPem {
        path: PathBuf,
        /// The expected content.
        expected: &'static str,
        /// OpenSSL's error.
        source: ErrorStack,
    },
    /// The key does not match the certificate.
    #[error("the key {} does not belong to the certificate {}; replace both together", key.display(), certificate.display())]
    NotAPair { certificate: PathBuf, key: PathBuf },
    /// Every user of this machine may read the key.
    #[error("every user of this machine can read the private key {}; run `chmod o-r` on it, or move it to a directory of Watchpost's user", .0.display())]
    ExposedKey(PathBuf),
    /// A revocation list was issued by another authority.
    #[error("{} was not issued by any authority in {}", crl.display(), client_ca.display())]
    ForeignCrl { crl: PathBuf, client_ca: PathBuf },
    /// A file is not valid now.
    #[error(transparent)]
    Validity(#[from] ValidityError),
    /// The file changed while it was read.
    #[error("{} changed while it was read; Watchpost reads it again", .0.display())]
    Changing(PathBuf),
    /// OpenSSL failed.
    #[error("OpenSSL error: {0}")]
    OpenSsl(#[from] ErrorStack),
}

fn parenthesized_reason(source: &ErrorStack) -> String {
    let reason = source.errors().iter().find_map(|error| error.reason());
    reason.map_or_else(String::new, |reason| format!(" ({reason})"))
}

/// Expiry times, in seconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The server certificate, or the first in its chain that expires.
    pub server: i64,
    /// The server certificate itself. Its chain may have links that clients do not need.
    pub server_leaf: i64,
    /// When the server certificate begins to be valid.
    pub server_since: i64,
    /// The first client authority that expires.
    pub client_ca: i64,
    /// The last client authority that expires. Others may be there only until all clients have new certificates.
    pub last_client_ca: i64,
    /// The first revocation list that expires.
    pub crl: Option<i64>,
}

/// All certificates, keys and revocation lists, which are replaced together.
pub struct Material {
    chain: Vec<X509>,
    key: PKey<Private>,
    authorities: Vec<X509>,
    /// The certificate of the server's own development authority, if it has one.
    development_ca: Option<X509>,
    crl: Option<Crl>,
    digest: [u8; 32],
    trust: [u8; 32],
    expiry: Expiry,
}

impl Material {
    /// Reads all files; fails if any of them is invalid.
    pub fn load(files: &Files) -> Result<Self, TlsError> {
        let hashed = |hash: &mut Sha256, path: &Path| -> Result<Vec<u8>, TlsError> {
            let bytes = read(path)?;
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(&bytes);
            Ok(bytes)
        };
        let (mut own_hash, mut trust_hash) = (Sha256::new(), Sha256::new());
        let chain = certificates(&files.certificate, &hashed(&mut own_hash, &files.certificate)?)?;
        let key = private_key(&files.key, &hashed(&mut own_hash, &files.key)?)?;
        let authorities = certificates(&files.client_ca, &hashed(&mut trust_hash, &files.client_ca)?)?;
        let crl = match &files.crl {
            Some(path) => {
                let bytes = hashed(&mut trust_hash, path)?;
                Some(Crl {
                    path: path.clone(),
                    lists: lists(path, &bytes)?,
                    bytes,
                })
            }
            None => None,
        };
        let development_ca = match &files.development_ca {
            Some(path) if path.exists() => {
                let pem = hashed(&mut trust_hash, path)?;
                certificates(path, &pem)?.into_iter().next()
            }
            _ => None,
        };
        check_pair(files, &chain, &key)?;
        if let Some(crl) = &crl {
            check_issuers(files, &crl.path, &crl.lists, &authorities)?;
        }
        let expiry = Expiry {
            server_since: chain.first().map_or(Ok(i64::MIN), |leaf| seconds(leaf.not_before()))?,
            server: first(chain.iter().map(|link| seconds(link.not_after())))?.unwrap_or(i64::MAX),
            server_leaf: first(chain.iter().take(1).map(|leaf| seconds(leaf.not_after())))?.unwrap_or(i64::MAX),
            last_client_ca: authorities
                .iter()
                .map(|authority| seconds(authority.not_after()))
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .max()
                .unwrap_or(i64::MAX),
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
            development_ca,
            crl,
            digest: {
                let trust = trust_hash.clone().finish();
                own_hash.update(&trust);
                own_hash.finish()
            },
            trust: trust_hash.finish(),
            expiry,
        })
    }

    /// The digest of all files.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The digest of the files that determine which clients are trusted.
    pub fn trust(&self) -> &[u8; 32] {
        &self.trust
    }

    /// The expiry times.
    pub fn expiry(&self) -> Expiry {
        self.expiry
    }

    /// Sets the server certificate and its chain.
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

    /// The names of the authorities that are sent to clients, so that they can choose a certificate.
    pub(super) fn authority_names(&self) -> Result<Stack<X509Name>, TlsError> {
        let mut names = Stack::new()?;
        for authority in &self.authorities {
            names.push(authority.subject_name().to_owned()?)?;
        }
        Ok(names)
    }

    /// The certificate of the server's own development authority, if it has one.
    pub(super) fn development_ca(&self) -> Option<&X509> {
        self.development_ca.as_ref()
    }

    /// Whether clients of the server's own development authority are accepted.
    pub(super) fn trusts_development_ca(&self) -> bool {
        let der = |certificate: &X509| certificate.to_der().ok();
        let own = self.development_ca.as_ref().and_then(der);
        own.is_some() && self.authorities.iter().any(|authority| der(authority) == own)
    }

    /// The times at which the validity of an authority or a revocation list begins or ends.
    pub(super) fn boundaries(&self) -> Result<Vec<i64>, ErrorStack> {
        let mut times = verify::boundaries(self.authorities.iter().map(AsRef::as_ref))?;
        for list in self.crl.iter().flat_map(|crl| &crl.lists) {
            times.push(seconds(list.last_update())?);
            times.extend(list.next_update().map(seconds).transpose()?);
        }
        Ok(times)
    }

    /// The trusted client authorities and their revocation lists. If every authority has a list, each certificate of a
    /// chain is checked; otherwise only the client's own, which is refused if there is no list of its issuer.
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

    /// OpenSSL's store reads lists from files only, so the file must still be the one that was read.
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

/// Whether the key belongs to the first certificate of the chain.
pub(super) fn check_pair(files: &Files, chain: &[X509], key: &PKey<Private>) -> Result<(), TlsError> {
    let Some(leaf) = chain.first() else {
        return Err(not_pem(&files.certificate, "certificate")(ErrorStack::get()));
    };
    if leaf.public_key()?.public_eq(key) {
        return Ok(());
    }
    Err(TlsError::NotAPair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
    })
}

/// Whether each list was issued by one of the authorities.
pub(super) fn check_issuers(
    files: &Files,
    crl: &Path,
    lists: &[X509Crl],
    authorities: &[X509],
) -> Result<(), TlsError> {
    let foreign = |list: &X509Crl| !authorities.iter().any(|authority| is_by(list, authority));
    if !lists.iter().any(foreign) {
        return Ok(());
    }
    Err(TlsError::ForeignCrl {
        crl: crl.to_owned(),
        client_ca: files.client_ca.clone(),
    })
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
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

/// The empty passphrase keeps OpenSSL from prompting at the terminal for the passphrase of an encrypted key.
pub(super) fn private_key(path: &Path, pem: &[u8]) -> Result<PKey<Private>, TlsError> {
    PKey::private_key_from_pem_passphrase(pem, b"").map_err(not_pem(path, "private key without a passphrase"))
}

pub(super) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<X509>, TlsError> {
    let certificates = X509::stack_from_pem(pem).map_err(not_pem(path, "certificate"))?;
    if certificates.is_empty() {
        return Err(not_pem(path, "certificate")(ErrorStack::get()));
    }
    Ok(certificates)
}

/// The file contains one list after another; OpenSSL would read only the first.
pub(super) fn lists(path: &Path, pem: &[u8]) -> Result<Vec<X509Crl>, TlsError> {
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

fn first(times: impl Iterator<Item = Result<i64, ErrorStack>>) -> Result<Option<i64>, ErrorStack> {
    Ok(times.collect::<Result<Vec<_>, _>>()?.into_iter().min())
}

/// Seconds since 1970 (UTC).
pub(super) fn seconds(time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(i64::from(since.days) * DAY_SECONDS + i64::from(since.secs))
}
