//! Rules as they are kept: components that were uploaded (`versions`), the settings they were given, what was in force
//! when (`generations`), who did what (`log`), and which are put aside by that (`quarantined`). What any of it means to
//! those who judge is not known here.

mod generations;
mod listen;
mod log;
mod quarantined;
mod settings;
mod versions;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use watchpost_policies::{Digest, Kind};

pub use self::generations::{Generation, GenerationResult};
pub use self::listen::{Listener, Notifications};
pub use self::log::{AuditAction, AuditEntry};
pub use self::settings::{Given, NewSettings, SettingsRef, UnstoredSettings};
pub use self::versions::{Deleted, Kept, Signed, Upload, Version};

/// By whom the settings of the configuration are given.
pub const CONFIGURATION: &str = "configuration";

/// Who does something, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditActor {
    /// As the log of requests names them.
    pub who: String,
    /// Their address; empty where nobody asked from outside.
    pub address: String,
}

impl AuditActor {
    /// Watchpost itself.
    pub fn ourselves() -> Self {
        Self {
            who: "watchpost".to_owned(),
            address: String::new(),
        }
    }

    /// Whoever wrote the configuration.
    pub fn configuration() -> Self {
        Self {
            who: CONFIGURATION.to_owned(),
            address: String::new(),
        }
    }
}

/// How a rule takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What it says counts.
    Active,
    /// It is asked beside the one that counts, and what it says is only compared.
    Shadow,
}

impl Mode {
    /// As people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Shadow => "shadow",
        }
    }
}

/// One rule of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub rule: String,
    /// Which contract it keeps.
    pub kind: Kind,
    /// How it takes part.
    pub mode: Mode,
    /// Which version; the one that the program brings, if none is told.
    pub digest: Option<Digest>,
    /// Which settings.
    pub settings: SettingsRef,
}
