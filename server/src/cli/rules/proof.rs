//! Who somebody is to a server, and whom they believe it to be: certificates, a key, a token. What is asked of it by
//! them is elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use openssl::ssl::{SslConnector, SslFiletype, SslMethod};

use super::Stopped;
use crate::cli::{IO, SOFTWARE};

/// A certificate or a token, and an authority.
#[derive(Args)]
pub(super) struct Proof {
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

impl Proof {
    /// A connector that shows the certificate and believes the authority.
    pub(super) fn tls(&self) -> Result<SslConnector, Stopped> {
        let unusable = |file: &Path, error| Stopped::new(IO, format!("{} cannot be used: {error}", file.display()));
        let mut tls = SslConnector::builder(SslMethod::tls_client())
            .map_err(|error| Stopped::new(SOFTWARE, error.to_string()))?;
        if let Some(authority) = &self.cacert {
            tls.set_ca_file(authority).map_err(|error| unusable(authority, error))?;
        }
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            tls.set_certificate_chain_file(certificate)
                .map_err(|error| unusable(certificate, error))?;
            tls.set_private_key_file(key, SslFiletype::PEM)
                .map_err(|error| unusable(key, error))?;
        }
        Ok(tls.build())
    }

    /// The token, where there is one.
    pub(super) fn token(&self) -> Result<Option<String>, Stopped> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let token = fs::read_to_string(file)
            .map_err(|error| Stopped::new(IO, format!("{} cannot be read: {error}", file.display())))?;
        Ok(Some(token.trim().to_owned()))
    }
}
