//! Modules and rules: a module is a compiled and described component, a rule is a module with accepted settings.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::Action;
use crate::bindings::{RawManifest, RawPlan};
use crate::digest::Digest;
use crate::engine::{ArtefactError, ArtefactKey, Engine, Kind, Program};
use crate::fault::{Call, ComponentError, Fault, Misbehaviour, Problem, SettingsError};
use crate::limits::Limits;
use crate::series::MetricPattern;
use crate::text_limits::{MAX_REASON_BYTES, guest_text};
use crate::validate::at_most;

/// Names are used in URLs, file names and metric labels.
const NAME_BYTES: usize = 64;
const VERSION_BYTES: usize = 64;

/// Every pattern costs a search in every snapshot; prefixes keep their number low.
const MAX_METRICS: usize = 1000;
const MAX_PROBLEMS: usize = 100;

/// The self-description of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Lower case letters, digits and hyphens.
    pub name: String,
    /// The version, as counted by its author.
    pub version: String,
    /// A paragraph for the operator.
    pub description: String,
    /// A JSON Schema of the settings.
    pub settings_schema: Value,
}

/// The stages of compiling a component, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The bytes are a complete component within the size limit.
    Whole,
    /// The component exports a contract and imports nothing.
    Contract,
    /// The component is compiled, and its types match its exports.
    Compiled,
    /// The functions have the types of the contract, and `describe` succeeded.
    Described,
}

/// A compiled and described component. Cheap to clone.
#[derive(Clone)]
pub struct RuleModule(Arc<ModuleParts>);

struct ModuleParts {
    program: Program,
    manifest: Manifest,
    digest: Digest,
}

impl RuleModule {
    /// Checks, compiles and describes a component.
    pub fn compile(engine: &Engine, wasm: &[u8]) -> Result<Self, ComponentError> {
        Self::compile_by_stages(engine, wasm, |_| {})
    }

    /// Like [`Self::compile`], and calls `passed` after each stage.
    pub fn compile_by_stages(
        engine: &Engine,
        wasm: &[u8],
        mut passed: impl FnMut(Stage),
    ) -> Result<Self, ComponentError> {
        let program = engine.compile(wasm, &mut passed)?;
        let module = Self::describe_program(program, Digest::of(wasm))?;
        passed(Stage::Described);
        Ok(module)
    }

    /// Loads a compiled artefact, in a hundredth of the time of compiling. Nothing is compiled, whatever the result.
    /// [`Engine::check_bytes`] must have accepted the component before.
    pub fn load(
        engine: &Engine,
        digest: Digest,
        artefact: &[u8],
        key: &ArtefactKey,
    ) -> Result<Result<Self, ComponentError>, ArtefactError> {
        match engine.restore(digest, artefact, key) {
            Ok(program) => Ok(Self::describe_program(program, digest)),
            Err(ArtefactError::Refused(refusal)) => Ok(Err(*refusal)),
            Err(reason) => Err(reason),
        }
    }

    fn describe_program(program: Program, digest: Digest) -> Result<Self, ComponentError> {
        let describe = || -> Result<Result<Manifest, ComponentError>, Misbehaviour> {
            if let Err(refusal) = program.check_types()? {
                return Ok(Err(refusal));
            }
            let manifest = program.describe()?;
            manifest_of(manifest, program.limits()).map(Ok)
        };
        let manifest = describe().map_err(|misbehaviour| ComponentError::Fault {
            fault: Box::new(Fault {
                rule: format!("sha256:{}", &digest.to_string()[..12]),
                digest,
                call: Call::Describe,
                misbehaviour,
            }),
        })??;
        Ok(Self(Arc::new(ModuleParts {
            program,
            manifest,
            digest,
        })))
    }

    /// The compiled code with a MAC, for [`RuleModule::load`].
    pub fn artefact(&self, key: &ArtefactKey) -> Result<Vec<u8>, ArtefactError> {
        self.0.program.seal(self.0.digest, key)
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// The digest of the component.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The kind of the rule.
    pub fn kind(&self) -> Kind {
        self.0.program.kind()
    }

    /// The limits of the engine.
    pub fn limits(&self) -> &Limits {
        self.0.program.limits()
    }

    /// Validates settings (JSON) with the rule; `{}` stands for the defaults.
    pub fn with_settings(&self, settings: &str) -> Result<Rule, SettingsError> {
        let fault = |misbehaviour| SettingsError::Fault {
            fault: Box::new(self.fault(Call::CheckSettings, misbehaviour)),
        };
        let actions: Vec<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
        let answer = self.0.program.check_settings(settings, &actions).map_err(fault)?;
        let plan = answer.map_err(|problems| SettingsError::Problems {
            problems: problems.into_iter().take(MAX_PROBLEMS).map(shortened).collect(),
        })?;
        let metrics = patterns_of(&plan).map_err(fault)?;
        let effective_settings = effective_of(&plan).map_err(fault)?;
        Ok(Rule(Arc::new(RuleParts {
            module: self.clone(),
            settings: settings.to_owned(),
            metrics,
            effective_settings,
            prepared: plan.settings,
        })))
    }

    pub(crate) fn program(&self) -> &Program {
        &self.0.program
    }

    pub(crate) fn fault(&self, call: Call, misbehaviour: Misbehaviour) -> Fault {
        Fault {
            rule: self.0.manifest.name.clone(),
            digest: self.0.digest,
            call,
            misbehaviour,
        }
    }
}

impl std::fmt::Debug for RuleModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RuleModule({} {})", self.0.manifest.name, self.0.digest)
    }
}

/// A module under settings that it accepted. Cheap to clone.
#[derive(Clone)]
pub struct Rule(Arc<RuleParts>);

struct RuleParts {
    module: RuleModule,
    settings: String,
    metrics: Option<Vec<MetricPattern>>,
    effective_settings: Option<Value>,
    prepared: Vec<u8>,
}

impl Rule {
    /// The module.
    pub fn module(&self) -> &RuleModule {
        &self.0.module
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0.module.0.manifest.name
    }

    /// The settings as provided.
    pub fn settings(&self) -> &str {
        &self.0.settings
    }

    /// The settings that are active, a JSON object with defaults filled in, if the rule shows them.
    pub fn effective_settings(&self) -> Option<&Value> {
        self.0.effective_settings.as_ref()
    }

    /// The metrics of its plan; `None` stands for all.
    pub fn metrics(&self) -> Option<&[MetricPattern]> {
        self.0.metrics.as_deref()
    }

    /// The settings in the form that the rule returned for its calls.
    pub(crate) fn prepared(&self) -> &[u8] {
        &self.0.prepared
    }
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rule({} {})", self.name(), self.0.module.digest())
    }
}

fn manifest_of(raw: RawManifest, limits: &Limits) -> Result<Manifest, Misbehaviour> {
    let bad = |field, reason: &str| {
        Err(Misbehaviour::InvalidManifest {
            field,
            reason: guest_text(reason, MAX_REASON_BYTES),
        })
    };
    let legal = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if raw.name.is_empty() || raw.name.len() > NAME_BYTES || !raw.name.bytes().all(legal) {
        return bad("name", "use lower case letters, digits and hyphens, 64 at most");
    }
    if raw.version.is_empty() || raw.version.len() > VERSION_BYTES || raw.version.contains(char::is_control) {
        return bad("version", "use 1 to 64 bytes of plain text");
    }
    let description = guest_text(&raw.description, limits.text_bytes);
    if description.is_empty() || raw.description.len() > limits.text_bytes {
        return bad("description", "describe the rule in one paragraph");
    }
    let schema = match serde_json::from_str(&raw.settings_schema) {
        Ok(schema @ Value::Object(_)) => schema,
        Ok(_) => return bad("settings schema", "the schema must be a JSON object"),
        Err(error) => return bad("settings schema", &format!("not JSON: {error}")),
    };
    Ok(Manifest {
        name: raw.name,
        version: raw.version,
        description,
        settings_schema: schema,
    })
}

fn shortened(problem: Problem) -> Problem {
    Problem {
        path: guest_text(&problem.path, MAX_REASON_BYTES),
        message: guest_text(&problem.message, MAX_REASON_BYTES),
    }
}

/// The effective settings are shown to operators as JSON, so anything else is a fault of the rule.
fn effective_of(plan: &RawPlan) -> Result<Option<Value>, Misbehaviour> {
    let Some(text) = &plan.effective_settings else {
        return Ok(None);
    };
    match serde_json::from_str(text) {
        Ok(settings @ Value::Object(_)) => Ok(Some(settings)),
        _ => Err(Misbehaviour::InvalidPlan {
            reason: "the effective settings are not a JSON object".to_owned(),
        }),
    }
}

fn patterns_of(plan: &RawPlan) -> Result<Option<Vec<MetricPattern>>, Misbehaviour> {
    let Some(metrics) = &plan.metrics else {
        return Ok(None);
    };
    // Several thresholds may have the same metric.
    let metrics: BTreeSet<_> = metrics.iter().collect();
    at_most("metrics in a plan", metrics.len(), MAX_METRICS)?;
    let patterns: Result<_, _> = metrics.into_iter().map(|metric| MetricPattern::new(metric)).collect();
    patterns.map(Some).map_err(|error| Misbehaviour::InvalidPlan {
        reason: guest_text(&error.to_string(), MAX_REASON_BYTES),
    })
}
