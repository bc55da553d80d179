//! The state of this process: start time, listeners, and whether it still accepts requests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock;
use crate::config::ApiProfile;
use crate::host_id::HostId;

/// The version of the build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit of the build, if it was known.
pub const COMMIT: &str = env!("BUILD_COMMIT");
/// The compiler of the build.
pub const RUSTC: &str = env!("BUILD_RUSTC");

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Listening {
    /// The address and port.
    #[schema(value_type = String, example = "0.0.0.0:8443")]
    pub address: SocketAddr,
    /// Whether connections use TLS.
    pub tls: bool,
    /// Whether clients present certificates: `required`, `optional` or `off`.
    pub client_auth: &'static str,
    /// The API profile: `full` or `pixcrawler`.
    #[schema(value_type = String)]
    pub api: ApiProfile,
}

/// This process. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    started: Instant,
    started_ms: u64,
    host: HostId,
    interval: Duration,
    listening: OnceLock<Vec<Listening>>,
    draining: AtomicBool,
}

impl Service {
    /// The process starts now.
    pub fn new(host: HostId, interval: Duration) -> Self {
        Self(Arc::new(Inner {
            started: Instant::now(),
            started_ms: clock::now_ms(),
            host,
            interval,
            listening: OnceLock::new(),
            draining: AtomicBool::new(false),
        }))
    }

    /// Uptime of the process.
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Start time, in milliseconds since 1970 (UTC).
    pub fn started_ms(&self) -> u64 {
        self.0.started_ms
    }

    /// The name of this machine in snapshots.
    pub fn host(&self) -> &HostId {
        &self.0.host
    }

    /// The addresses that the server listens on.
    pub fn listening(&self) -> &[Listening] {
        self.0.listening.get().map_or(&[], Vec::as_slice)
    }

    /// The listener that accepted a connection to this local address.
    pub fn listener_of(&self, local: SocketAddr) -> Option<&Listening> {
        let all = self.listening();
        let everywhere = |listening: &&Listening| {
            listening.address.ip().is_unspecified() && listening.address.port() == local.port()
        };
        let exactly = all.iter().find(|listening| listening.address == local);
        exactly.or_else(|| all.iter().find(everywhere))
    }

    /// Sets the listeners; once.
    pub fn listens(&self, at: Vec<Listening>) {
        let _ = self.0.listening.set(at);
    }

    /// Whether the server is shutting down: it finishes running requests and is no longer ready.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Marks the server as shutting down.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// A round older than this does not describe the machine's current state.
    pub fn stale_after(&self) -> Duration {
        self.0.interval * 3 + Duration::from_secs(5)
    }
}
