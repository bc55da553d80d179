//! `watchpost healthcheck`: asks a running Watchpost whether it is ready, as a container's runtime does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{CONFIG, UNAVAILABLE, fail};
use crate::config::{ApiProfile, Config, Listener, Sources};
use crate::tls::client::{self, Trust};

/// Asks whether it is ready.
#[derive(Args)]
pub(super) struct Healthcheck {
    /// Where to ask, instead of the first listener of the configuration.
    #[arg(long)]
    url: Option<String>,
    /// The certificate to show, where the listener wants one; by default that of the development authority's reader.
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// How long to wait, in seconds.
    #[arg(long, default_value_t = 3)]
    timeout: u64,
}

impl Healthcheck {
    /// Exits with 0 if it is ready.
    pub(super) fn run(self, sources: Sources) -> ExitCode {
        let config = Config::load(&sources);
        let made = config
            .as_ref()
            .ok()
            .map(|config| config.server.data_dir.join("pki/clients/reader"));
        let made = made.map(|path| (path.with_extension("crt"), path.with_extension("key")));
        let shown = self
            .cert
            .zip(self.key)
            .or(made.filter(|(certificate, key)| certificate.is_file() && key.is_file()));
        let url = match (self.url, config) {
            (Some(url), _) => url,
            (None, Ok(config)) => url_of(&config),
            (None, Err(mistakes)) => return fail(CONFIG, &mistakes.to_string()),
        };
        let timeout = Duration::from_secs(self.timeout);
        match actix_web::rt::System::new().block_on(ask(&url, shown, timeout)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => fail(UNAVAILABLE, &format!("{url}: {why}")),
        }
    }
}

/// A plain listener, where there is one: it needs no certificate of ours. One that knows only PixCrawler's paths can
/// be asked whether it lives, and is only asked where there is no other.
fn url_of(config: &Config) -> String {
    let only_lives = |listener: &&Listener| listener.api == ApiProfile::PixCrawler;
    let listener = config
        .listeners
        .iter()
        .min_by_key(|listener| (only_lives(listener), listener.tls));
    let Some(listener) = listener else { return String::new() };
    let scheme = if listener.tls { "https" } else { "http" };
    let path = if only_lives(&listener) {
        "/health"
    } else {
        "/health/ready"
    };
    format!("{scheme}://{}{path}", reachable(listener.address))
}

/// The address of this machine that stands for all of them.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

async fn ask(url: &str, shown: Option<(PathBuf, PathBuf)>, timeout: Duration) -> Result<(), String> {
    let shown = shown.as_ref().map(|(certificate, key)| (&**certificate, &**key));
    // It asks its own machine whether somebody answers, not who.
    let tls = client::connector(Trust::Anyone, shown).map_err(|error| error.to_string())?;
    let client = awc::Client::builder()
        .connector(awc::Connector::new().openssl(tls))
        .timeout(timeout)
        .finish();
    let response = client.get(url).send().await.map_err(|error| error.to_string())?;
    if response.status().is_success() {
        return Ok(());
    }
    Err(format!("it answers {}", response.status()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_that_knows_most_and_wants_least_is_asked() {
        let check = |listeners: &str, expected: &str| {
            let sources = Sources {
                flags: vec![("listeners".to_owned(), listeners.to_owned())],
                ..Sources::default()
            };
            let config = Config::load(&sources).unwrap_or_else(|mistakes| panic!("{mistakes}"));
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
