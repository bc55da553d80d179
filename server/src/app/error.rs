//! Startup errors. Each message says what is wrong and how to correct it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::problem::{Problem, split};
use crate::audit::AuditError;
use crate::collect::SourceError;
use crate::config::ConfigErrors;
use crate::error_chain::error_chain;
use crate::rules::RulesError;
use crate::rules::registry::ChangeError;
use crate::store::MigrationError;
use crate::telemetry;
use crate::tls::TlsError;
use watchpost_pki::PkiError;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is invalid.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The data folder cannot be created or used.
    #[error("cannot use the data folder {}: {source}; create it and let Watchpost write there, or name another with --data-dir", path.display())]
    DataDir {
        /// The path of the data folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another server uses the data folder.
    #[error(
        "the data folder {} is in use by another server{}; stop that one, or name another folder with --data-dir",
        path.display(), process(*pid)
    )]
    DataDirInUse {
        /// The path of the data folder.
        path: PathBuf,
        /// The process ID of the other server, if it is known.
        pid: Option<u32>,
    },
    /// Problems that were found before anything was written.
    #[error("{}", lines(.0))]
    Refused(Vec<Problem>),
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
    /// The audit file cannot be opened.
    #[error(transparent)]
    Audit(#[from] AuditError),
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

impl StartError {
    /// What is wrong, with its causes, and the remedy.
    pub(super) fn message_and_remedy(&self) -> (String, String) {
        let text = self.to_string();
        // The causes of an error about a TLS file are the words of OpenSSL.
        let chain = match self {
            Self::Tls(_) => text.clone(),
            _ => error_chain(self),
        };
        let causes = chain.strip_prefix(&text).unwrap_or_default();
        let (message, remedy) = split(&text);
        let remedy = if remedy.is_empty() {
            self.default_remedy().to_owned()
        } else {
            remedy
        };
        (message + causes, remedy)
    }

    /// The error for people: one line for each problem.
    pub fn line(&self) -> String {
        match self {
            Self::Refused(_) | Self::Config(_) => self.to_string(),
            _ => {
                let (message, remedy) = self.message_and_remedy();
                format!("{message}; {remedy}")
            }
        }
    }

    /// The remedy for errors whose text has none.
    fn default_remedy(&self) -> &'static str {
        match self {
            Self::Tls(TlsError::NotPem { .. }) => "write the file again in PEM format, or name another file",
            Self::Tls(TlsError::ForeignCrl { .. }) => {
                "use a list of these authorities, or add the authority of the list"
            }
            Self::Tls(_) => "use another certificate and key",
            Self::Rules(_) => "correct the setting; docs/RULES.md describes the settings of the rules",
            Self::Store { .. } => "check the address of the database, and that the database can be used",
            _ => "the log may have details",
        }
    }
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// One problem per line.
fn lines(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there, or choose another port under listeners",
        io::ErrorKind::PermissionDenied => "ports below 1024 need the capability CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; choose one it has under listeners",
        _ => "choose another address under listeners",
    }
}
