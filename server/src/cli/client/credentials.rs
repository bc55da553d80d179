//! Credentials of the API client: a client certificate with its key or a bearer token, and the CA of the server.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::cli::{CommandError, IO, SOFTWARE};
use crate::tls::client::{self, ConnectorError, SslConnector, Trust};

/// A client certificate or a bearer token, and a CA.
#[derive(Args)]
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

/// The kind of credentials that flags name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenCredentials {
    Certificate,
    Token,
}

/// What a client uses for a server on this machine, unless the flags name something else.
pub(super) struct LocalDefaults {
    /// The certificate that the server shows.
    pub(super) server_certificate: PathBuf,
    /// The certificate and the key of a client.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

impl Credentials {
    /// A TLS connector with the client certificate and the CA.
    pub(super) fn tls(&self, defaults: Option<&LocalDefaults>) -> Result<SslConnector, CommandError> {
        let trust = match (&self.cacert, defaults) {
            (Some(file), _) => Trust::Authority(file),
            (None, Some(defaults)) => Trust::Exactly(&defaults.server_certificate),
            (None, None) => Trust::System,
        };
        let given = self.cert.as_deref().zip(self.key.as_deref());
        let default = defaults.filter(|_| self.token_file.is_none());
        let default = default.and_then(|defaults| defaults.client.as_ref());
        let pair = given.or_else(|| default.map(|(certificate, key)| (&**certificate, &**key)));
        client::connector(trust, pair).map_err(|error| {
            let code = match error {
                ConnectorError::OpenSsl(_) => SOFTWARE,
                _ => IO,
            };
            CommandError::new(code, error.to_string())
        })
    }

    /// The bearer token, if there is one.
    pub(super) fn token(&self) -> Result<Option<String>, CommandError> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let token = fs::read_to_string(file).map_err(|error| {
            let what = format!(
                "cannot read {}: {error}; name a file that you may read with --token-file",
                file.display()
            );
            CommandError::new(IO, what)
        })?;
        Ok(Some(token.trim().to_owned()))
    }

    /// What the flags name.
    pub(super) fn given(&self) -> Option<GivenCredentials> {
        match (&self.cert, &self.token_file) {
            (Some(_), _) => Some(GivenCredentials::Certificate),
            (None, Some(_)) => Some(GivenCredentials::Token),
            (None, None) => None,
        }
    }
}
