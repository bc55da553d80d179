//! The client's side of TLS for commands that talk to a server: the client certificate and the trusted authorities. It
//! opens no connection.

use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
pub use openssl::ssl::SslConnector;
use openssl::ssl::{SslFiletype, SslMethod, SslVerifyMode};

/// The servers that a client trusts.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'f> {
    /// Servers with a certificate of an authority in the system's trust store.
    System,
    /// Servers with a certificate of an authority in this file or in the system's trust store.
    Authority(&'f Path),
    /// Any server, for requests without secrets whose response is not relied on.
    Anyone,
}

/// Why a connector cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// A file cannot be read, or has other content.
    #[error("cannot use {}: {source}", file.display())]
    File {
        file: PathBuf,
        /// OpenSSL's error.
        source: ErrorStack,
    },
    /// OpenSSL failed.
    #[error(transparent)]
    OpenSsl(#[from] ErrorStack),
}

/// A connector, optionally with a client certificate in the first file and its key in the second.
pub fn connector(
    trust: Trust<'_>,
    certificate_and_key: Option<(&Path, &Path)>,
) -> Result<SslConnector, ConnectorError> {
    let of = |file: &Path| {
        let file = file.to_owned();
        |source| ConnectorError::File { file, source }
    };
    let mut tls = SslConnector::builder(SslMethod::tls_client())?;
    match trust {
        Trust::System => {}
        Trust::Authority(file) => tls.set_ca_file(file).map_err(of(file))?,
        Trust::Anyone => tls.set_verify(SslVerifyMode::NONE),
    }
    if let Some((certificate, key)) = certificate_and_key {
        tls.set_certificate_chain_file(certificate).map_err(of(certificate))?;
        tls.set_private_key_file(key, SslFiletype::PEM).map_err(of(key))?;
    }
    Ok(tls.build())
}
