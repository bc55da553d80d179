//! Credentials of the API client: a client certificate with its key or a bearer token, and the CA of the server.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::CommandError;
use crate::cli::{IO, SOFTWARE};
use crate::tls::client::{self, ConnectorError, SslConnector, Trust};

/// A client certificate or a bearer token, and a CA.
#[derive(Args, Clone)]
pub(in crate::cli) struct Credentials {
    /// The client certificate.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of the certificate.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The CA certificate of the server, unless the system trusts it.
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// A file with a bearer token, instead of a certificate.
    #[arg(long, value_name = "FILE", conflicts_with = "cert")]
    token_file: Option<PathBuf>,
}

impl Credentials {
    /// A TLS connector with the client certificate and the CA.
    pub(super) fn tls(&self) -> Result<SslConnector, CommandError> {
        let trust = self.cacert.as_deref().map_or(Trust::System, Trust::Authority);
        let client_certificate = self.cert.as_deref().zip(self.key.as_deref());
        client::connector(trust, client_certificate).map_err(|error| {
            let code = match error {
                ConnectorError::File { .. } => IO,
                ConnectorError::OpenSsl(_) => SOFTWARE,
            };
            CommandError::new(code, error.to_string())
        })
    }

    /// These credentials; where none are given, the authority and the reader of this folder of the development CA, if the
    /// files are there.
    pub(super) fn or_development(&self, folder: &Path) -> Self {
        let mut credentials = self.clone();
        let (authority, reader) = (folder.join("ca.crt"), folder.join("clients/reader"));
        if credentials.cacert.is_none() && authority.is_file() {
            credentials.cacert = Some(authority);
        }
        let (cert, key) = (reader.with_extension("crt"), reader.with_extension("key"));
        if credentials.cert.is_none() && credentials.token_file.is_none() && cert.is_file() && key.is_file() {
            (credentials.cert, credentials.key) = (Some(cert), Some(key));
        }
        credentials
    }

    /// The bearer token, if there is one.
    pub(super) fn token(&self) -> Result<Option<String>, CommandError> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let token = fs::read_to_string(file)
            .map_err(|error| CommandError::new(IO, format!("cannot read {}: {error}", file.display())))?;
        Ok(Some(token.trim().to_owned()))
    }
}
