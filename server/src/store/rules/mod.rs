//! Stored rules: uploaded components (`versions`), their settings, the generations of active rules (`generations`), the
//! audit log (`log`), and the quarantined rules, which follow from it (`quarantined`). This module does not know how
//! rules are evaluated.

mod generation_signatures;
mod generations;
mod listen;
mod log;
mod quarantined;
mod settings;
mod versions;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use watchpost_policies::{Digest, Kind};

pub use self::generation_signatures::GenerationSignature;
pub use self::generations::{Generation, GenerationResult};
pub use self::listen::{Listener, Notifications};
pub use self::log::{AuditAction, AuditEntry};
pub use self::settings::{NewSettings, SettingsRef, StoredSettings, UnstoredSettings};
pub use self::versions::{Deleted, QuotaExceeded, Signed, StoreOutcome, Upload, Version, VersionQuota};

/// The actor of settings and actions that come from the configuration.
pub const CONFIGURATION: &str = "configuration";

/// An actor, and the address of its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditActor {
    /// The actor's name, as in the request log.
    pub name: String,
    /// The client's address; empty if no client requested the action.
    pub address: String,
}

impl AuditActor {
    /// The program itself.
    pub fn watchpost() -> Self {
        Self {
            name: "watchpost".to_owned(),
            address: String::new(),
        }
    }

    pub fn configuration() -> Self {
        Self {
            name: CONFIGURATION.to_owned(),
            address: String::new(),
        }
    }
}

/// How a rule is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The rule's results count.
    Active,
    /// The rule is evaluated in addition to the active rule, and its results are only compared.
    Shadow,
}

impl Mode {
    /// The text form.
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
    /// The rule's name.
    pub rule: String,
    /// The contract that the rule implements.
    pub kind: Kind,
    /// How the rule is used.
    pub mode: Mode,
    /// The version; the built-in one if `None`.
    pub digest: Option<Digest>,
    pub settings: SettingsRef,
}
