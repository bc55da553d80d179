//! Why the process does not start, each a sentence that says what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::collect::SourceError;
use crate::config::ConfigErrors;
use crate::pki::PkiError;
use crate::rules::RulesError;
use crate::rules::registry::ChangeError;
use crate::store::MigrationError;
use crate::telemetry;
use crate::tls::TlsError;

/// Why it does not start. Each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Mistakes in the configuration.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// Settings of a source that is none.
    #[error("collector.sources: there is no source {name}; there are {known}")]
    NoSuchSource {
        /// Its name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The data folder.
    #[error("the data folder {} cannot be used: {source}; create it, or name another with --data-dir", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file that tells where it listens.
    #[error("the ready file {} cannot be written: {source}; write a path in a folder that is there", path.display())]
    ReadyFile {
        /// The path of `--ready-file`.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The development authority.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Certificates and keys.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// What is in force.
    #[error("the rules cannot be put in force: {0}")]
    ActiveRule(#[from] ChangeError),
    /// A listener.
    #[error("cannot listen on {address}: {source}; {}", remedy(source))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The database.
    #[error("{place}: {source}")]
    Store {
        /// Which, without its password.
        place: String,
        /// Why.
        source: MigrationError,
    },
    /// The log.
    #[error(transparent)]
    Log(#[from] telemetry::LogError),
    /// The collector.
    #[error("the collector does not start: {0}")]
    Collector(#[from] SourceError),
    /// The server.
    #[error("the server does not start: {0}")]
    Server(io::Error),
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there, or choose another port under listeners",
        io::ErrorKind::PermissionDenied => "ports below 1024 need the capability CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; choose one it has under listeners",
        _ => "choose another address under listeners",
    }
}
