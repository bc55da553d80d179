//! The server that a command talks to: one that `--server` names, or the server on this machine, found by its
//! configuration.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::DeserializeOwned;

use super::credentials::{Credentials, LocalDefaults};
use super::{ApiClient, ApiResponse};
use crate::cli::{CONFIG, CheckResult, CommandError, IO, SERVER_VARIABLE, USAGE, say};
use crate::config::{ApiProfile, Config, Environment, Listener, Sources};
use crate::tls::ClientAuth;
use watchpost_pki as pki;

/// The configuration of the packaged service, which is used if no other is named.
const PACKAGED_CONFIG: &str = "/etc/watchpost/watchpost.toml";

/// The client of the development authority that may read everything and change nothing.
const READER: &str = "reader";

/// The server, the credentials and the output format.
#[derive(Args)]
pub(in crate::cli) struct Remote {
    /// The URL of the server: https://HOST:PORT; also set by the variable `WATCHPOST_SERVER`.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    credentials: Credentials,
    /// Prints the server's JSON response.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

impl Remote {
    /// A client for the named server.
    pub(in crate::cli) fn client(&self) -> Result<ApiClient, CommandError> {
        let Some(server) = self.named() else {
            let what = format!("no server given; write --server https://HOST:PORT, or set {SERVER_VARIABLE}");
            return Err(CommandError::new(USAGE, what));
        };
        ApiClient::new(&server, &self.credentials)
    }

    /// A client for the named server, or else for the server on this machine.
    pub(in crate::cli) fn client_or_local(&self, sources: Sources) -> Result<ApiClient, CommandError> {
        match self.named() {
            Some(server) => ApiClient::new(&server, &self.credentials),
            None => self.local(sources),
        }
    }

    fn named(&self) -> Option<String> {
        let of_variable = || {
            let url = Environment::variable_of_process(SERVER_VARIABLE)?.into_string().ok();
            url.filter(|url| !url.is_empty())
        };
        self.server.clone().or_else(of_variable)
    }

    fn local(&self, sources: Sources) -> Result<ApiClient, CommandError> {
        let packaged = Path::new(PACKAGED_CONFIG);
        let sources = match sources.file {
            None if packaged.exists() => Sources {
                file: Some(packaged.to_owned()),
                ..sources
            },
            _ => sources,
        };
        let config = Config::load(&sources).map_err(|errors| CommandError::new(CONFIG, errors.to_string()))?;
        let Some(listener) = best_listener(&config) else {
            let what = "no listener of the configuration serves the whole API; name a server with --server";
            return Err(CommandError::new(CONFIG, what));
        };
        let address = reachable(listener.address);
        if address.port() == 0 {
            let what = "the configuration lets the system choose the port; name the server with --server";
            return Err(CommandError::new(CONFIG, what));
        }
        if !listener.tls {
            return ApiClient::new(&format!("http://{address}"), &self.credentials);
        }
        let folder = config.server.data_dir.join(pki::FOLDER);
        let defaults = LocalDefaults {
            server_certificate: config.tls.options(&folder).files.certificate,
            client: match self.credentials.are_given() || config.tls.client_ca.is_some() {
                true => None,
                false => Some(readable_client(&folder)?),
            },
        };
        ApiClient::local(&format!("https://{address}"), &self.credentials, &defaults)
    }

    /// Prints the response: as received for programs, or formatted for people.
    pub(in crate::cli) fn print<T: DeserializeOwned>(
        &self,
        out: &mut dyn Write,
        response: &ApiResponse,
        for_people: impl FnOnce(T) -> String,
    ) -> Result<CheckResult, CommandError> {
        if self.json {
            say(out, &format!("{}\n", response.body.trim_end()))?;
        } else {
            say(out, &for_people(response.read()?))?;
        }
        Ok(CheckResult::Yes)
    }
}

/// Prefers a listener that authenticates client certificates, because anonymous clients may read little.
fn best_listener(config: &Config) -> Option<&Listener> {
    let full = config
        .listeners
        .iter()
        .filter(|listener| listener.api == ApiProfile::Full);
    full.min_by_key(|listener| (!listener.tls, listener.client_auth == ClientAuth::Off))
}

/// The certificate and the key of the development authority's reader.
fn readable_client(folder: &Path) -> Result<(PathBuf, PathBuf), CommandError> {
    let base = folder.join("clients").join(READER);
    let (certificate, key) = (base.with_extension("crt"), base.with_extension("key"));
    match File::open(&key) {
        Ok(_) => Ok((certificate, key)),
        Err(error) => {
            let what = format!(
                "cannot read {}: {error}; run the command as the server's user or as root, name the server's \
                 configuration with --config, or name a server and credentials with --server, --cert and --key",
                key.display()
            );
            Err(CommandError::new(IO, what))
        }
    }
}

/// The loopback address for a listener on all addresses.
pub(in crate::cli) fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_with_client_certificates_is_preferred() {
        let check = |listeners: &str, expected: Option<&str>| {
            let sources = Sources {
                flags: vec![("listeners".to_owned(), listeners.to_owned())],
                ..Sources::default()
            };
            let config = Config::load(&sources).unwrap_or_else(|errors| panic!("{errors}"));
            let best = best_listener(&config).map(|listener| reachable(listener.address).to_string());
            assert_eq!(best.as_deref(), expected);
        };
        let (plain, off, secure, pixcrawler) = (
            r#"{"address": "127.0.0.1:1", "tls": false}"#,
            r#"{"address": "127.0.0.1:2", "client_auth": "off"}"#,
            r#"{"address": "0.0.0.0:3"}"#,
            r#"{"address": "127.0.0.1:4", "tls": false, "api": "pixcrawler"}"#,
        );
        check(
            &format!("[{plain}, {off}, {secure}, {pixcrawler}]"),
            Some("127.0.0.1:3"),
        );
        check(&format!("[{pixcrawler}, {plain}, {off}]"), Some("127.0.0.1:2"));
        check(&format!("[{pixcrawler}, {plain}]"), Some("127.0.0.1:1"));
        check(&format!("[{pixcrawler}]"), None);
    }
}
