//! `watchpost healthcheck`: queries a running server's readiness, for container health checks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{CONFIG, UNAVAILABLE, fail};
use crate::config::{ApiProfile, Config, Listener, Sources};
use crate::tls::client::{self, Trust};

/// Queries whether a running server is ready.
#[derive(Args)]
pub(super) struct Healthcheck {
    /// The URL to query, instead of the first listener of the configuration.
    #[arg(long)]
    url: Option<String>,
    /// The client certificate, if the listener requires one; by default that of the development CA's reader.
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of the certificate.
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// Timeout in seconds.
    #[arg(long, default_value_t = 3)]
    timeout: u64,
}

impl Healthcheck {
    /// Exits with 0 if the server is ready.
    pub(super) fn run(self, sources: Sources) -> ExitCode {
        let config = Config::load(&sources);
        let made = config
            .as_ref()
            .ok()
            .map(|config| config.server.data_dir.join("pki/clients/reader"));
        let made = made.map(|path| (path.with_extension("crt"), path.with_extension("key")));
        let client_certificate = self
            .cert
            .zip(self.key)
            .or(made.filter(|(certificate, key)| certificate.is_file() && key.is_file()));
        let url = match (self.url, config) {
            (Some(url), _) => url,
            (None, Ok(config)) => url_of(&config),
            (None, Err(errors)) => return fail(CONFIG, &errors.to_string()),
        };
        let timeout = Duration::from_secs(self.timeout);
        match actix_web::rt::System::new().block_on(request_health(&url, client_certificate, timeout)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => fail(UNAVAILABLE, &format!("{url}: {reason}")),
        }
    }
}

/// Prefers a listener without TLS, which needs no client certificate. A listener with the PixCrawler profile can only
/// report that it is alive, and is used only if there is no other.
fn url_of(config: &Config) -> String {
    let is_pixcrawler = |listener: &&Listener| listener.api == ApiProfile::PixCrawler;
    let listener = config
        .listeners
        .iter()
        .min_by_key(|listener| (is_pixcrawler(listener), listener.tls));
    let Some(listener) = listener else { return String::new() };
    let scheme = if listener.tls { "https" } else { "http" };
    let path = if is_pixcrawler(&listener) {
        "/health"
    } else {
        "/health/ready"
    };
    format!("{scheme}://{}{path}", reachable(listener.address))
}

/// The loopback address for a listener on all addresses.
pub(super) fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

async fn request_health(
    url: &str,
    client_certificate: Option<(PathBuf, PathBuf)>,
    timeout: Duration,
) -> Result<(), String> {
    let client_certificate = client_certificate
        .as_ref()
        .map(|(certificate, key)| (&**certificate, &**key));
    // The server is on this machine, so its certificate is not verified.
    let tls = client::connector(Trust::Anyone, client_certificate).map_err(|error| error.to_string())?;
    let client = awc::Client::builder()
        .connector(awc::Connector::new().openssl(tls))
        .timeout(timeout)
        .finish();
    let response = client.get(url).send().await.map_err(|error| error.to_string())?;
    if response.status().is_success() {
        return Ok(());
    }
    Err(format!("the server responds with {}", response.status()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_with_the_full_api_and_without_tls_is_preferred() {
        let check = |listeners: &str, expected: &str| {
            let sources = Sources {
                flags: vec![("listeners".to_owned(), listeners.to_owned())],
                ..Sources::default()
            };
            let config = Config::load(&sources).unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(url_of(&config), expected);
        };
        let (secure, plain, resource) = (
            r#"{"address": "0.0.0.0:1"}"#,
            r#"{"address": "127.0.0.1:2", "tls": false}"#,
            r#"{"address": "127.0.0.1:3", "tls": false, "api": "pixcrawler"}"#,
        );
        check(
            &format!("[{resource}, {secure}, {plain}]"),
            "http://127.0.0.1:2/health/ready",
        );
        check(&format!("[{resource}, {secure}]"), "https://127.0.0.1:1/health/ready");
        check(&format!("[{resource}]"), "http://127.0.0.1:3/health");
    }
}
