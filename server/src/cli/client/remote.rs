//! The server that a command talks to: one that `--server` names, or the server on this machine, found by its
//! configuration.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::DeserializeOwned;

use super::credentials::{Credentials, GivenCredentials, LocalDefaults};
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
        let (listener, login) =
            listener_and_login(&config, self.credentials.given()).map_err(|what| CommandError::new(CONFIG, what))?;
        let address = reachable(listener.address);
        if address.port() == 0 {
            let what = "the configuration lets the system choose the port; name the server with --server";
            return Err(CommandError::new(CONFIG, what));
        }
        let client = match listener.tls {
            false => ApiClient::new(&format!("http://{address}"), &self.credentials)?,
            true => {
                let folder = config.server.data_dir.join(pki::FOLDER);
                let defaults = LocalDefaults {
                    server_certificate: config.tls.options(&folder).files.certificate,
                    client: match login {
                        Login::Reader => Some(readable_client(&folder)?),
                        _ => None,
                    },
                };
                ApiClient::local(&format!("https://{address}"), &self.credentials, &defaults)?
            }
        };
        Ok(match login {
            Login::Anonymous => client.with_denial_remedy(ANONYMOUS_REMEDY),
            _ => client,
        })
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

/// How the client authenticates at a server on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Login {
    /// With what the flags name.
    Given(GivenCredentials),
    /// With the certificate of the development authority's reader.
    Reader,
    Anonymous,
}

/// What is added to the error of a client without credentials when the server denies its request.
const ANONYMOUS_REMEDY: &str = "name a client certificate with --cert and --key, or a token with --token-file";

/// The listener and the credentials that work together, or why there are none. A listener with TLS is preferred; the
/// reader's certificate is used where the development authority's certificates are accepted.
fn listener_and_login(config: &Config, given: Option<GivenCredentials>) -> Result<(&Listener, Login), String> {
    let find = |works: &dyn Fn(&Listener) -> bool| {
        let full = config
            .listeners
            .iter()
            .filter(|listener| listener.api == ApiProfile::Full);
        full.filter(|listener| works(listener))
            .min_by_key(|listener| (!listener.tls, listener.client_auth == ClientAuth::Off))
    };
    if find(&|_| true).is_none() {
        return Err("no listener of the configuration serves the whole API; name a server with --server".to_owned());
    }
    let with_certificate = || find(&|listener| listener.client_auth != ClientAuth::Off);
    let without_certificate = || find(&|listener| listener.client_auth != ClientAuth::Required);
    let found = match given {
        Some(GivenCredentials::Certificate) => with_certificate(),
        Some(GivenCredentials::Token) => without_certificate(),
        None if config.tls.client_ca.is_some() => None,
        None => with_certificate(),
    };
    match (found, given) {
        (Some(listener), Some(given)) => Ok((listener, Login::Given(given))),
        (Some(listener), None) => Ok((listener, Login::Reader)),
        (None, Some(GivenCredentials::Certificate)) => Err(
            "no listener of the configuration accepts client certificates; name a token with --token-file instead of \
             --cert and --key"
                .to_owned(),
        ),
        (None, Some(GivenCredentials::Token)) => Err(
            "all listeners of the configuration require a client certificate; name one with --cert and --key instead \
             of --token-file"
                .to_owned(),
        ),
        (None, None) => without_certificate()
            .map(|listener| (listener, Login::Anonymous))
            .ok_or_else(|| {
                "all listeners of the configuration require a client certificate of tls.client_ca; name one with --cert \
                 and --key"
                    .to_owned()
            }),
    }
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

    /// The listener and the login for these listeners, and whether the clients have an authority of their own.
    fn chosen(listeners: &str, own_ca: bool, given: Option<GivenCredentials>) -> Result<(String, Login), String> {
        let mut flags = vec![("listeners".to_owned(), listeners.to_owned())];
        if own_ca {
            flags.push(("tls.client_ca".to_owned(), "/etc/ssl/clients.crt".to_owned()));
        }
        let sources = Sources {
            flags,
            ..Sources::default()
        };
        let config = Config::load(&sources).unwrap_or_else(|errors| panic!("{errors}"));
        let (listener, login) = listener_and_login(&config, given)?;
        Ok((reachable(listener.address).to_string(), login))
    }

    const PLAIN: &str = r#"{"address": "127.0.0.1:1", "tls": false}"#;
    const OFF: &str = r#"{"address": "127.0.0.1:2", "client_auth": "off"}"#;
    const OPTIONAL: &str = r#"{"address": "0.0.0.0:3"}"#;
    const PIXCRAWLER: &str = r#"{"address": "127.0.0.1:4", "tls": false, "api": "pixcrawler"}"#;
    const REQUIRED: &str = r#"{"address": "127.0.0.1:5", "client_auth": "required"}"#;

    fn works(listeners: &[&str], own_ca: bool, given: Option<GivenCredentials>, port: u16, login: Login) {
        let found = chosen(&format!("[{}]", listeners.join(", ")), own_ca, given);
        assert_eq!(found, Ok((format!("127.0.0.1:{port}"), login)), "{listeners:?}");
    }

    #[test]
    fn the_listener_with_client_certificates_is_preferred() {
        works(&[PLAIN, OFF, OPTIONAL, PIXCRAWLER], false, None, 3, Login::Reader);
        works(&[PIXCRAWLER, PLAIN, OFF], false, None, 2, Login::Anonymous);
        works(&[PIXCRAWLER, PLAIN], false, None, 1, Login::Anonymous);
        works(&[REQUIRED, PLAIN], false, None, 5, Login::Reader);
        let none = chosen(&format!("[{PIXCRAWLER}]"), false, None).expect_err("no full API");
        assert!(none.contains("--server"), "{none}");
    }

    #[test]
    fn the_credentials_work_with_the_listener() {
        use GivenCredentials::{Certificate, Token};
        let (certificate, token) = (Login::Given(Certificate), Login::Given(Token));
        for own_ca in [false, true] {
            works(&[PLAIN, OFF, REQUIRED], own_ca, Some(Certificate), 5, certificate);
            works(&[REQUIRED, PLAIN], own_ca, Some(Token), 1, token);
            works(&[REQUIRED, PLAIN, OFF], own_ca, Some(Token), 2, token);
            let error = chosen(&format!("[{REQUIRED}]"), own_ca, Some(Token)).expect_err("no certificate");
            assert!(error.contains("--cert and --key instead of --token-file"), "{error}");
            let error = chosen(&format!("[{PLAIN}, {OFF}]"), own_ca, Some(Certificate)).expect_err("not accepted");
            assert!(error.contains("--token-file instead of --cert"), "{error}");
        }
        // The reader's certificate is not of the clients' own authority.
        works(&[REQUIRED, PLAIN], true, None, 1, Login::Anonymous);
        works(&[OPTIONAL, PLAIN], true, None, 3, Login::Anonymous);
        let error = chosen(&format!("[{REQUIRED}, {PIXCRAWLER}]"), true, None).expect_err("nothing works");
        assert!(
            error.contains("tls.client_ca") && error.contains("--cert and --key"),
            "{error}"
        );
    }
}
