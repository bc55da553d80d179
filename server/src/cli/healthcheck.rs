//! `watchpost healthcheck`: asks a running Watchpost whether it is ready, as a container's runtime does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};

use super::{CONFIG, UNAVAILABLE, fail};
use crate::config::{Config, Sources};

/// Asks whether it is ready.
#[derive(Args)]
pub(super) struct Healthcheck {
    /// Where to ask, instead of the first listener of the configuration.
    #[arg(long)]
    url: Option<String>,
    /// How long to wait, in seconds.
    #[arg(long, default_value_t = 3)]
    timeout: u64,
}

impl Healthcheck {
    /// Exits with 0 if it is ready.
    pub(super) fn run(self, sources: Sources) -> ExitCode {
        let url = match self.url {
            Some(url) => url,
            None => match Config::load(&sources) {
                Ok(config) => url_of(&config),
                Err(mistakes) => return fail(CONFIG, &mistakes.to_string()),
            },
        };
        let timeout = Duration::from_secs(self.timeout);
        match actix_web::rt::System::new().block_on(ask(&url, timeout)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => fail(UNAVAILABLE, &format!("{url}: {why}")),
        }
    }
}

/// A plain listener, where there is one: it needs no certificate of ours.
fn url_of(config: &Config) -> String {
    let plain = config.listeners.iter().find(|listener| !listener.tls);
    let listener = plain.or(config.listeners.first());
    let Some(listener) = listener else { return String::new() };
    let scheme = if listener.tls { "https" } else { "http" };
    format!("{scheme}://{}/health/ready", reachable(listener.address))
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

async fn ask(url: &str, timeout: Duration) -> Result<(), String> {
    let mut tls = SslConnector::builder(SslMethod::tls_client()).map_err(|error| error.to_string())?;
    // It asks its own machine whether somebody answers, not who.
    tls.set_verify(SslVerifyMode::NONE);
    let client = awc::Client::builder()
        .connector(awc::Connector::new().openssl(tls.build()))
        .timeout(timeout)
        .finish();
    let response = client.get(url).send().await.map_err(|error| error.to_string())?;
    if response.status().is_success() {
        return Ok(());
    }
    Err(format!("it answers {}", response.status()))
}
