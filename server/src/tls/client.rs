//! The client's side of TLS, for commands that ask a server: the certificate that they show, and whom they believe. It
//! connects to nobody.

use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
pub use openssl::ssl::SslConnector;
use openssl::ssl::{SslFiletype, SslMethod, SslVerifyMode};

/// Which server is believed to be the one that was asked.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'f> {
    /// One with a certificate of an authority that the machine knows.
    System,
    /// One with a certificate of an authority in this file, or of one that the machine knows.
    Authority(&'f Path),
    /// Any, for questions that tell nothing and whose answer harms nobody.
    Anyone,
}

/// Why there is no connector.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// A file cannot be read, or holds something else.
    #[error("{} cannot be used: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What OpenSSL says.
        source: ErrorStack,
    },
    /// OpenSSL cannot do it at all.
    #[error(transparent)]
    OpenSsl(#[from] ErrorStack),
}

/// A connector that shows the certificate in the first file with the key in the second, if it is given them.
pub fn connector(trust: Trust<'_>, shown: Option<(&Path, &Path)>) -> Result<SslConnector, ConnectorError> {
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
    if let Some((certificate, key)) = shown {
        tls.set_certificate_chain_file(certificate).map_err(of(certificate))?;
        tls.set_private_key_file(key, SslFiletype::PEM).map_err(of(key))?;
    }
    Ok(tls.build())
}
