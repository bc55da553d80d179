//! Who somebody is to a server, and whom they believe it to be: certificates, a key, a token. What is asked of it by
//! them is elsewhere.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::CommandError;
use crate::cli::{IO, SOFTWARE};
use crate::tls::client::{self, ConnectorError, SslConnector, Trust};

/// A certificate or a token, and an authority.
#[derive(Args)]
pub(super) struct Credentials {
    /// The certificate to show to it.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The authority that vouches for the server, where the machine does not know it.
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// A file with the bearer token to show, in place of a certificate.
    #[arg(long, value_name = "FILE", conflicts_with = "cert")]
    token_file: Option<PathBuf>,
}

impl Credentials {
    /// A connector that shows the certificate and believes the authority.
    pub(super) fn tls(&self) -> Result<SslConnector, CommandError> {
        let trust = self.cacert.as_deref().map_or(Trust::System, Trust::Authority);
        let shown = self.cert.as_deref().zip(self.key.as_deref());
        client::connector(trust, shown).map_err(|error| {
            let code = match error {
                ConnectorError::File { .. } => IO,
                ConnectorError::OpenSsl(_) => SOFTWARE,
            };
            CommandError::new(code, error.to_string())
        })
    }

    /// The token, where there is one.
    pub(super) fn token(&self) -> Result<Option<String>, CommandError> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let token = fs::read_to_string(file)
            .map_err(|error| CommandError::new(IO, format!("{} cannot be read: {error}", file.display())))?;
        Ok(Some(token.trim().to_owned()))
    }
}
