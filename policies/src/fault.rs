//! Faults of rules and reasons to refuse components or settings, each with a message for the person who has to act. It
//! does not define consequences.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A fault of a rule in a call.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fault {
    /// The name of the rule, or its digest before the name is known.
    pub rule: String,
    /// The digest of the component.
    pub digest: Digest,
    /// The called function.
    pub call: Call,
    /// The kind of fault.
    #[serde(flatten)]
    pub misbehaviour: Misbehaviour,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            call,
            misbehaviour,
            ..
        } = self;
        write!(f, "the rule {rule} failed in {call}: {misbehaviour}")
    }
}

impl std::error::Error for Fault {}

/// The functions of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// `describe`: name, version and settings schema.
    Describe,
    /// `check-settings`: validate settings.
    CheckSettings,
    /// `judge`: evaluate a round.
    Judge,
    /// `decide`: allow or deny a request.
    Decide,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Describe => "describe",
            Self::CheckSettings => "check-settings",
            Self::Judge => "judge",
            Self::Decide => "decide",
        })
    }
}

/// The kinds of faults.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum Misbehaviour {
    /// The call exceeded its time limit.
    #[error("it took longer than {limit_ms} ms and was stopped")]
    Timeout {
        /// The limit.
        limit_ms: u64,
    },
    /// The memory limit was exceeded.
    #[error("it exceeded the memory limit of {limit_bytes} bytes")]
    OutOfMemory {
        /// The limit.
        limit_bytes: u64,
    },
    /// The table limit was exceeded.
    #[error("it exceeded the table limit of {limit_elements} elements")]
    TableTooLarge {
        /// The limit.
        limit_elements: u64,
    },
    /// The stack overflowed.
    #[error("stack overflow (limit {limit_bytes} bytes)")]
    StackOverflow {
        /// The limit.
        limit_bytes: u64,
    },
    /// The rule panicked with a message.
    #[error("it panicked: {message}")]
    Panic {
        /// The message of the panic.
        message: String,
    },
    /// The rule trapped without a message.
    #[error("it trapped: {trap}{}", fmt_frames(.frames))]
    Trap {
        /// The kind of trap.
        trap: String,
        /// The innermost functions, if the component has names.
        frames: Vec<String>,
    },
    /// The rule returned an error.
    #[error("it returned an error: {message}")]
    ReturnedError {
        /// The error of the rule.
        message: String,
    },
    /// The result cannot be decoded.
    #[error("its result cannot be decoded: {what}")]
    UndecodableResult {
        /// The reason.
        what: String,
    },
    /// The result exceeds the size limit.
    #[error("its result is larger than {limit_bytes} bytes")]
    ResultTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// A part of the result is too long or has too many elements.
    #[error("it returned {count} {what}; the limit is {limit}")]
    TooMany {
        /// The counted things: findings, bytes in a message, roles.
        what: &'static str,
        /// The actual number.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A finding about a subject that is not in the round.
    #[error("it has a finding about {subject}, which is not in the round")]
    UnknownSubject {
        /// The subject.
        subject: String,
    },
    /// Two findings about one subject.
    #[error("it has two findings about {subject}; only one per subject is allowed")]
    RepeatedSubject {
        /// The subject.
        subject: String,
    },
    /// A finding with an invalid subject.
    #[error("it has a finding with an invalid subject: {what}")]
    InvalidSubject {
        /// The reason.
        what: String,
    },
    /// A finding with NaN or an infinity.
    #[error("the {field} of its finding about {subject} is {number}; it must be finite")]
    NotFinite {
        /// The subject.
        subject: String,
        /// `value` or `limit`.
        field: &'static str,
        /// The number as text.
        number: String,
    },
    /// A finding that is not ok and has no message.
    #[error("its finding about {subject} is not ok and has no message")]
    NoMessage {
        /// The subject.
        subject: String,
    },
    /// A denial without a reason.
    #[error("it denied without a reason")]
    NoReason,
    /// An invalid field of the manifest.
    #[error("invalid {field}: {reason}")]
    InvalidManifest {
        /// Name, version, description or settings schema.
        field: &'static str,
        /// The reason.
        reason: String,
    },
    /// An invalid plan.
    #[error("invalid plan: {reason}")]
    InvalidPlan {
        /// The reason.
        reason: String,
    },
}

impl Misbehaviour {
    pub(crate) fn timeout(limit: Duration) -> Self {
        Self::Timeout {
            limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

fn fmt_frames(frames: &[String]) -> String {
    if frames.is_empty() {
        String::new()
    } else {
        format!(", in {}", frames.join(" < "))
    }
}

/// Why a component is refused.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "refusal")]
pub enum ComponentError {
    /// The component is too large.
    #[error("it has {bytes} bytes; the limit is {limit_bytes}")]
    TooLarge {
        /// The size of the component.
        bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The bytes are not WebAssembly.
    #[error("it is not WebAssembly: it does not begin with \\0asm")]
    NotWebAssembly,
    /// The bytes are a core module.
    #[error(
        "it is a core module{}, and a rule is a component that imports nothing: turn it into one with `watchpost rules \
         pack`",
        which_imports(.import)
    )]
    CoreModule {
        /// Its first import, if it has one.
        import: Option<String>,
    },
    /// An unknown version of WebAssembly.
    #[error("it is WebAssembly of an unknown version")]
    UnknownEncoding,
    /// The component is truncated.
    #[error("it is truncated: it ends in the middle of a section; check that the file was copied completely")]
    Truncated,
    /// The component is invalid, or uses disabled features.
    #[error("it is not a valid component: {reason}")]
    Invalid {
        /// The message of the validator.
        reason: String,
    },
    /// The component has an import.
    #[error("it imports {name}, and a rule imports nothing. {remedy}")]
    Import {
        /// The first import.
        name: String,
        /// How to avoid the import in its toolchain.
        remedy: &'static str,
    },
    /// The component exports neither contract, or both.
    #[error(
        "it exports {}; a rule exports either watchpost:rules/threshold-rule or watchpost:rules/role-rule",
        list(.exports)
    )]
    WrongExports {
        /// The exports of the component.
        exports: Vec<String>,
    },
    /// The component was built for an unsupported version of the contract.
    #[error(
        "it was built for {found}, and this Watchpost supports version {spoken} of watchpost:rules: build it \
         against that version, or update Watchpost"
    )]
    WrongVersion {
        /// The exports of the component.
        found: String,
        /// The supported version.
        spoken: &'static str,
    },
    /// The names match the contract and the types do not.
    #[error("it exports {interface} with other types than the contract: {reason}")]
    WrongTypes {
        /// The interface.
        interface: String,
        /// The first difference.
        reason: String,
    },
    /// A fault in `describe`.
    #[error(transparent)]
    Fault {
        /// The fault.
        fault: Box<Fault>,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

/// A mistake in settings, as reported by the rule.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Problem {
    /// JSON Pointer of the location; empty for the whole.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Why a rule rejects settings.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "refusal")]
pub enum SettingsError {
    /// The rule reports mistakes.
    #[error("invalid settings: {}", join(.problems))]
    Problems {
        /// The mistakes.
        problems: Vec<Problem>,
    },
    /// A fault in `check-settings`.
    #[error(transparent)]
    Fault {
        /// The fault.
        fault: Box<Fault>,
    },
}

fn which_imports(import: &Option<String>) -> String {
    import
        .as_ref()
        .map(|name| format!(", which imports {name}"))
        .unwrap_or_default()
}

fn join(problems: &[Problem]) -> String {
    let problems: Vec<_> = problems
        .iter()
        .map(|Problem { path, message }| {
            if path.is_empty() {
                message.clone()
            } else {
                format!("{path}: {message}")
            }
        })
        .collect();
    problems.join("; ")
}

/// All instances stayed in use for the whole waiting time. This is independent of the request, so the client can retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all instances of rules are busy; retry in a moment")]
pub struct Busy;
