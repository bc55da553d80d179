//! Types for measurements, findings and decisions, and the engine that runs rules over them in WebAssembly. The crate
//! opens no file and no socket and reads no clock; the caller does.
//!
//! Reading order: measurements, findings, identities, a single rule, and the set of active rules.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (threshold_wasm, role_wasm): (Vec<u8>, Vec<u8>) = Default::default();
//! # let snapshot: watchpost_policies::Snapshot = unimplemented!();
//! use watchpost_policies::{Action, Engine, Identity, Limits, Request, RuleModule, RuleSet};
//!
//! let engine = Engine::new(Limits::default())?;
//! let threshold = RuleModule::compile(&engine, &threshold_wasm)?.with_settings("{}")?;
//! let role = RuleModule::compile(&engine, &role_wasm)?.with_settings("{}")?;
//! let rules = RuleSet::new(1, vec![threshold], role)?;
//!
//! let report = rules.judge(&snapshot, None);
//! let decision = rules.decide(&Request::new(&Identity::anonymous(), Action::RulesWrite), &report)?;
//! assert!(!decision.is_allowed());
//! # Ok(()) }
//! ```

#![warn(missing_docs)]

mod access;
mod bindings;
mod decision_cache;
mod digest;
mod engine;
mod fault;
mod finding;
mod limits;
mod measure;
mod name;
mod report;
pub mod rfc3339;
mod rule;
#[cfg(feature = "openapi")]
mod schemas;
mod series;
mod set;
mod single_rule;
mod text_limits;
mod validate;

pub use access::{Action, Certificate, Decision, Identity, IdentityKind, ProxyKind, Request, UnknownAction, Verdict};
pub use digest::{Digest, InvalidDigest};
pub use engine::{Allocation, ArtefactError, ArtefactKey, Engine, EngineError, Kind, Recipe, RecipeError};
pub use fault::{Busy, Call, ComponentError, Fault, Misbehaviour, Problem, SettingsError};
pub use finding::{Finding, Severity, Subject};
pub use limits::Limits;
pub use measure::{Gap, Sample, Snapshot};
pub use name::{Attribute, DistinguishedName};
pub use report::{Cost, Report};
pub use rule::{Manifest, Rule, RuleModule, Stage};
pub use series::{Label, Labels, MeasureError, MetricName, MetricPattern, Unit};
pub use set::{RuleSet, SetError};
