//! What this process can say of itself: when it began, where it listens, whether it still takes requests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock;
use crate::config::ApiProfile;
use crate::host_id::HostId;

/// The version that was built.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that was built, as far as the build knew.
pub const COMMIT: &str = env!("BUILD_COMMIT");
/// The compiler that built it.
pub const RUSTC: &str = env!("BUILD_RUSTC");

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Listening {
    /// Where.
    #[schema(value_type = String, example = "0.0.0.0:8443")]
    pub address: SocketAddr,
    /// Whether by TLS.
    pub tls: bool,
    /// What is asked of clients: `required`, `optional`, `off`.
    pub client_auth: &'static str,
    /// Which paths are served: `all` or `resource`.
    #[schema(value_type = String)]
    pub api: ApiProfile,
}

/// This process. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    began: Instant,
    began_ms: u64,
    host: HostId,
    interval: Duration,
    listening: OnceLock<Vec<Listening>>,
    draining: AtomicBool,
}

impl Service {
    /// It begins now.
    pub fn new(host: HostId, interval: Duration) -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            began_ms: clock::now_ms(),
            host,
            interval,
            listening: OnceLock::new(),
            draining: AtomicBool::new(false),
        }))
    }

    /// How long it has been there.
    pub fn uptime(&self) -> Duration {
        self.0.began.elapsed()
    }

    /// When it began, in milliseconds since 1970 (UTC).
    pub fn began_ms(&self) -> u64 {
        self.0.began_ms
    }

    /// What measurements call this machine.
    pub fn host(&self) -> &HostId {
        &self.0.host
    }

    /// Where it listens.
    pub fn listening(&self) -> &[Listening] {
        self.0.listening.get().map_or(&[], Vec::as_slice)
    }

    /// The listener that took a connection to this address of ours.
    pub fn listener_of(&self, local: SocketAddr) -> Option<&Listening> {
        let all = self.listening();
        let everywhere = |listening: &&Listening| {
            listening.address.ip().is_unspecified() && listening.address.port() == local.port()
        };
        let exactly = all.iter().find(|listening| listening.address == local);
        exactly.or_else(|| all.iter().find(everywhere))
    }

    /// Says where it listens; once.
    pub fn listens(&self, at: Vec<Listening>) {
        let _ = self.0.listening.set(at);
    }

    /// Whether it still finishes what it began, and takes nothing new.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// From now on it is not ready.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// A round that is older than this is not the state of the machine any more.
    pub fn stale_after(&self) -> Duration {
        self.0.interval * 3 + Duration::from_secs(5)
    }
}
