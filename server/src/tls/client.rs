//! The client's side of TLS for commands that talk to a server: the client certificate and the trusted authorities. It
//! opens no connection.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
pub use openssl::ssl::SslConnector;
use openssl::ssl::{SslConnectorBuilder, SslFiletype, SslMethod, SslVerifyMode};
use openssl::x509::{X509, X509StoreContextRef};

use super::material::private_key;

/// The servers that a client trusts.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'f> {
    /// Servers with a certificate of an authority in the system's trust store.
    System,
    /// Servers with a certificate of an authority in this file or in the system's trust store.
    Authority(&'f Path),
    /// The server with exactly the certificate in this file, under any name. For a server on this machine, whose
    /// certificate may have been issued for another name.
    Exactly(&'f Path),
    /// Any server, for requests without secrets whose response is not relied on.
    Anyone,
}

/// Why a connector cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}; name a file that you may read with {flag}", file.display())]
    Unreadable {
        file: PathBuf,
        /// The flag that names the file.
        flag: &'static str,
        source: io::Error,
    },
    /// A file has other content.
    #[error("{} does not contain a {expected} in PEM format; name the right file with {flag}", file.display())]
    NotPem {
        file: PathBuf,
        /// The expected content.
        expected: &'static str,
        /// The flag that names the file.
        flag: &'static str,
    },
    /// The key does not match the certificate.
    #[error("the key {} does not belong to the certificate {}; name the two files that belong together with --cert and --key", key.display(), certificate.display())]
    NotAPair { certificate: PathBuf, key: PathBuf },
    /// OpenSSL does not accept the certificate or the key.
    #[error("OpenSSL does not accept the certificate {}; use a key of at least 2048 (RSA) or 256 (EC) bits", certificate.display())]
    Refused { certificate: PathBuf },
    /// OpenSSL failed.
    #[error("OpenSSL could not be initialized; the machine may be out of memory or its OpenSSL restricted")]
    OpenSsl(#[from] ErrorStack),
}

/// A connector, optionally with a client certificate in the first file and its key in the second.
pub fn connector(
    trust: Trust<'_>,
    certificate_and_key: Option<(&Path, &Path)>,
) -> Result<SslConnector, ConnectorError> {
    let mut tls = SslConnector::builder(SslMethod::tls_client())?;
    match trust {
        Trust::System => {}
        Trust::Authority(file) => {
            leaf(file, "--cacert")?;
            // The file has a certificate; another one in it may be broken.
            tls.set_ca_file(file)
                .map_err(|_| not_pem(file, "certificate", "--cacert"))?;
        }
        Trust::Exactly(file) => pin(&mut tls, leaf(file, "--cacert")?),
        Trust::Anyone => tls.set_verify(SslVerifyMode::NONE),
    }
    if let Some((certificate, key)) = certificate_and_key {
        authenticate(&mut tls, certificate, key)?;
    }
    Ok(tls.build())
}

/// Accepts this certificate, and no other.
fn pin(tls: &mut SslConnectorBuilder, expected: X509) {
    let der = expected.to_der().ok();
    tls.set_verify_callback(SslVerifyMode::PEER, move |_, context: &mut X509StoreContextRef| {
        let shown = context.chain().and_then(|chain| chain.get(0)?.to_der().ok());
        shown.is_some() && shown == der
    });
}

fn authenticate(tls: &mut SslConnectorBuilder, certificate: &Path, key: &Path) -> Result<(), ConnectorError> {
    let leaf = leaf(certificate, "--cert")?;
    let pem = read(key, "--key")?;
    let private = private_key(key, &pem).map_err(|_| not_pem(key, "private key without a passphrase", "--key"))?;
    if !leaf.public_key().is_ok_and(|public| public.public_eq(&private)) {
        return Err(ConnectorError::NotAPair {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        });
    }
    let refused = |_| ConnectorError::Refused {
        certificate: certificate.to_owned(),
    };
    tls.set_certificate_chain_file(certificate).map_err(refused)?;
    tls.set_private_key_file(key, SslFiletype::PEM).map_err(refused)
}

/// The first certificate in a file.
fn leaf(file: &Path, flag: &'static str) -> Result<X509, ConnectorError> {
    let pem = read(file, flag)?;
    X509::from_pem(&pem).map_err(|_| not_pem(file, "certificate", flag))
}

fn read(file: &Path, flag: &'static str) -> Result<Vec<u8>, ConnectorError> {
    fs::read(file).map_err(|source| ConnectorError::Unreadable {
        file: file.to_owned(),
        flag,
        source,
    })
}

fn not_pem(file: &Path, expected: &'static str, flag: &'static str) -> ConnectorError {
    ConnectorError::NotPem {
        file: file.to_owned(),
        expected,
        flag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_pki as pki;

    #[test]
    fn an_unusable_file_is_named_with_its_flag_and_without_the_words_of_openssl() {
        let folder = tempfile::tempdir().expect("a folder");
        pki::prepare(folder.path(), "localhost", crate::clock::now()).expect("an authority");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("nonsense"), "nonsense").expect("written");
        let pair =
            |certificate: &str, key: &str| connector(Trust::System, Some((&path(certificate), &path(key)))).map(drop);
        let check = |result: Result<(), ConnectorError>, parts: [&str; 2]| {
            let text = result.expect_err(parts[0]).to_string();
            for part in parts {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert!(!text.contains("error:") && !text.contains(".c:"), "{text}");
        };
        let trust = |name: &str| connector(Trust::Authority(&path(name)), None).map(drop);
        check(trust("nowhere"), ["nowhere: No such file", "--cacert"]);
        check(trust("nonsense"), ["does not contain a certificate", "--cacert"]);
        let (admin, user) = ("clients/admin.crt", "clients/user.key");
        check(pair("nowhere", user), ["nowhere: No such file", "--cert"]);
        check(pair(admin, "nowhere"), ["nowhere: No such file", "--key"]);
        check(pair(admin, "nonsense"), ["does not contain a private key", "--key"]);
        check(
            pair(admin, user),
            ["does not belong to the certificate", "--cert and --key"],
        );
        pair(admin, "clients/admin.key").expect("they belong together");
    }
}
