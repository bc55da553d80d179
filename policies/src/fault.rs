//! Every way in which a rule can misbehave, and every reason to refuse one. Values, each with a sentence for
//! the one who has to act; nothing here decides what follows from them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A rule misbehaved in a call.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fault {
    /// The rule; its digest, where it has not told its name yet.
    pub rule: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// What it was asked to do.
    pub call: Call,
    /// What it did.
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
    /// Say who you are.
    Describe,
    /// Look at these settings.
    CheckSettings,
    /// Judge this round.
    Judge,
    /// Decide this request.
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

/// What a rule did that it must not do.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum Misbehaviour {
    /// It ran for too long.
    #[error("it took longer than {limit_ms} ms and was stopped")]
    Overtime {
        /// The limit.
        limit_ms: u64,
    },
    /// It wanted too much memory.
    #[error("it wanted more than {limit_bytes} bytes of memory")]
    OutOfMemory {
        /// The limit.
        limit_bytes: u64,
    },
    /// It wanted too large a table.
    #[error("it wanted a table of more than {limit_elements} elements")]
    TableTooLarge {
        /// The limit.
        limit_elements: u64,
    },
    /// It called itself too deep.
    #[error("its calls went deeper than a stack of {limit_bytes} bytes")]
    StackOverflow {
        /// The limit.
        limit_bytes: u64,
    },
    /// It panicked, and said why.
    #[error("it panicked: {message}")]
    Panic {
        /// The guest's own message.
        message: String,
    },
    /// It trapped without a word.
    #[error("it trapped: {trap}{}", fmt_frames(.frames))]
    Trap {
        /// The trap.
        trap: String,
        /// Its innermost functions, where the component names them.
        frames: Vec<String>,
    },
    /// It returned an error instead of an answer.
    #[error("it gave up: {message}")]
    GaveUp {
        /// Its own sentence.
        message: String,
    },
    /// Its answer is not one.
    #[error("its answer cannot be read: {what}")]
    UnreadableAnswer {
        /// What is wrong with it.
        what: String,
    },
    /// Its answer is too large.
    #[error("its answer is larger than {limit_bytes} bytes")]
    AnswerTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// Something in its answer is too long or too many.
    #[error("it gave {count} {what}; at most {limit} are taken")]
    TooMany {
        /// Findings, bytes in a sentence, roles.
        what: &'static str,
        /// How many there were.
        count: usize,
        /// How many are taken.
        limit: usize,
    },
    /// A finding about nothing that exists.
    #[error("it found something about {subject}, which it was not shown")]
    UnknownSubject {
        /// The subject.
        subject: String,
    },
    /// Two findings about one subject.
    #[error("it found two things about {subject}; one finding a subject")]
    RepeatedSubject {
        /// The subject.
        subject: String,
    },
    /// A finding whose subject cannot be one.
    #[error("it named a subject that cannot be one: {what}")]
    IllegalSubject {
        /// What is wrong with it.
        what: String,
    },
    /// A number that is none.
    #[error("the {field} that it found for {subject} is {number}; it has to be finite")]
    NotFinite {
        /// The subject.
        subject: String,
        /// Value or limit.
        field: &'static str,
        /// NaN or an infinity.
        number: String,
    },
    /// A finding that leaves a person alone.
    #[error("it found {subject} not to be ok without a sentence that says why")]
    NoSentence {
        /// The subject.
        subject: String,
    },
    /// A denial that leaves a person alone.
    #[error("it denied without a reason")]
    NoReason,
    /// It says something of itself that cannot be.
    #[error("its {field} will not do: {why}")]
    BadManifest {
        /// Name, version, description or settings schema.
        field: &'static str,
        /// Why.
        why: String,
    },
    /// Its plan names metrics that cannot be.
    #[error("its plan will not do: {why}")]
    BadPlan {
        /// Why.
        why: String,
    },
}

impl Misbehaviour {
    pub(crate) fn overtime(limit: Duration) -> Self {
        Self::Overtime {
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

/// Why bytes cannot be a rule here.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "refusal")]
pub enum Refusal {
    /// Too many of them.
    #[error("it has {bytes} bytes; at most {limit_bytes} are taken")]
    TooLarge {
        /// How many.
        bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// Not WebAssembly at all.
    #[error("it is not WebAssembly: it does not begin with \\0asm")]
    NotWebAssembly,
    /// A core module.
    #[error(
        "it is a core module{}, and a rule is a component that imports nothing: turn it into one with `watchpost rules \
         pack`",
        which_imports(.import)
    )]
    CoreModule {
        /// What it wants first, if anything.
        import: Option<String>,
    },
    /// A version of WebAssembly that nobody knows.
    #[error("it is WebAssembly of a version that is not known here")]
    UnknownEncoding,
    /// The end is missing.
    #[error("it is cut off: it ends in the middle of a section. Was it copied whole?")]
    Truncated,
    /// It breaks the rules of WebAssembly, or uses features that are off.
    #[error("it is not a valid component: {why}")]
    Invalid {
        /// The validator's words.
        why: String,
    },
    /// It imports something.
    #[error("it imports {name}, and a rule imports nothing. {remedy}")]
    Import {
        /// The first import.
        name: String,
        /// How its toolchain leaves it out.
        remedy: &'static str,
    },
    /// It exports neither contract, or both.
    #[error(
        "it exports {}; a rule exports either watchpost:rules/threshold-rule or watchpost:rules/role-rule",
        list(.exports)
    )]
    WrongWorld {
        /// What it exports.
        exports: Vec<String>,
    },
    /// It was built for another version of the contract.
    #[error(
        "it was built for {found}, and this Watchpost speaks version {spoken} of watchpost:rules: build it \
         against that version, or update Watchpost"
    )]
    WrongVersion {
        /// What it exports.
        found: String,
        /// What is spoken here.
        spoken: &'static str,
    },
    /// The names are ours, the types are not.
    #[error("it exports {interface}, but not as the contract has it: {why}")]
    WrongShape {
        /// The interface.
        interface: String,
        /// The first difference.
        why: String,
    },
    /// It misbehaved when it was first spoken to.
    #[error(transparent)]
    Fault {
        /// How.
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

/// A mistake in the settings of a rule, in the rule's own words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Problem {
    /// Where, as a JSON Pointer.
    pub at: String,
    /// What is wrong and what to write instead.
    pub what: String,
}

/// Why a rule will not run under these settings.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "refusal")]
pub enum SettingsRefusal {
    /// The rule names what is wrong with them.
    #[error("the settings will not do: {}", join(.problems))]
    Problems {
        /// Its words.
        problems: Vec<Problem>,
    },
    /// It misbehaved when it looked at them.
    #[error(transparent)]
    Fault {
        /// How.
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
        .map(|Problem { at, what }| {
            if at.is_empty() {
                what.clone()
            } else {
                format!("{at}: {what}")
            }
        })
        .collect();
    problems.join("; ")
}

/// All instances are in use and stayed so for as long as one may wait. It says nothing about the request:
/// ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all instances of rules are busy; ask again in a moment")]
pub struct Busy;
