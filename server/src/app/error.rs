//! Startup errors. Each message says what is wrong and how to correct it.

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

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is invalid.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The data folder cannot be created or used.
    #[error("cannot use the data folder {}: {source}; create it, or name another with --data-dir", path.display())]
    DataDir {
        /// The path of the data folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The ready file cannot be written.
    #[error("cannot write the ready file {}: {source}; use a path in an existing folder", path.display())]
    ReadyFile {
        /// The path of `--ready-file`.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The development CA.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Certificates and keys.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The active rules cannot be loaded.
    #[error("cannot activate the rules: {0}")]
    Activate(#[from] ChangeError),
    /// A listener's address cannot be bound.
    #[error("cannot listen on {address}: {source}; {}", remedy(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The database cannot be opened or migrated.
    #[error("{place}: {source}")]
    Store {
        /// The address of the database, without its password.
        place: String,
        /// The database's error.
        source: MigrationError,
    },
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] telemetry::LogError),
    /// The collector does not start.
    #[error("the collector does not start: {0}")]
    Collector(#[from] SourceError),
    /// The HTTP server does not start.
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
