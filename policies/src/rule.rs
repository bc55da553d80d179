//! A rule from its bytes to the moment it may judge: the module (compiled, described) and the rule (a module
//! under settings that it accepted). Which rules are in force is not told here.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::access::Action;
use crate::bindings::{RawManifest, RawPlan};
use crate::digest::Digest;
use crate::engine::{ArtefactError, ArtefactKey, Engine, Kind, Program};
use crate::fault::{Call, Fault, Misbehaviour, Problem, Refusal, SettingsRefusal};
use crate::limits::Limits;
use crate::series::MetricPattern;
use crate::text_limits::{MAX_REASON_BYTES, guest_words};
use crate::validate::at_most;

/// Names stand in URLs, file names and metric labels.
const NAME_BYTES: usize = 64;
const VERSION_BYTES: usize = 64;

/// Every pattern is searched for in every snapshot; who wants more metrics names the beginning they share.
const MAX_METRICS: usize = 1000;
const MAX_PROBLEMS: usize = 100;

/// Who a rule says it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Lower case letters, digits and hyphens.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// One paragraph for the operator.
    pub description: String,
    /// A JSON Schema of the settings.
    pub settings_schema: serde_json::Value,
}

/// How far bytes are on their way to a module, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// They are a whole component of a size that is taken.
    Whole,
    /// It exports a contract of ours and imports nothing.
    Contract,
    /// It was compiled, and is what it said.
    Compiled,
    /// Its functions have the types of the contract, and it said who it is.
    Described,
}

/// A compiled component that keeps the contract and has said who it is. Cheap to clone.
#[derive(Clone)]
pub struct RuleModule(Arc<ModuleParts>);

struct ModuleParts {
    program: Program,
    manifest: Manifest,
    digest: Digest,
}

impl RuleModule {
    /// Checks, compiles and asks who it is.
    pub fn compile(engine: &Engine, wasm: &[u8]) -> Result<Self, Refusal> {
        Self::compile_by_stages(engine, wasm, |_| {})
    }

    /// The same, and tells each stage when it is passed, for those who show a person how far it is.
    pub fn compile_by_stages(engine: &Engine, wasm: &[u8], mut passed: impl FnMut(Stage)) -> Result<Self, Refusal> {
        let program = engine.compile(wasm, &mut passed)?;
        let module = Self::introduce(program, Digest::of(wasm))?;
        passed(Stage::Described);
        Ok(module)
    }

    /// The same from a compiled artefact, in a hundredth of the time. Nothing is compiled here, whatever comes of it. What its bytes can be refused
    /// for has been looked at, by [`Engine::check_bytes`].
    pub fn load(
        engine: &Engine,
        digest: Digest,
        artefact: &[u8],
        key: &ArtefactKey,
    ) -> Result<Result<Self, Refusal>, ArtefactError> {
        match engine.restore(digest, artefact, key) {
            Ok(program) => Ok(Self::introduce(program, digest)),
            Err(ArtefactError::Refused(refusal)) => Ok(Err(*refusal)),
            Err(why) => Err(why),
        }
    }

    fn introduce(program: Program, digest: Digest) -> Result<Self, Refusal> {
        let describe = || -> Result<Result<Manifest, Refusal>, Misbehaviour> {
            if let Err(refusal) = program.check_types()? {
                return Ok(Err(refusal));
            }
            let manifest = program.describe()?;
            manifest_of(manifest, program.limits()).map(Ok)
        };
        let manifest = describe().map_err(|misbehaviour| Refusal::Fault {
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

    /// The compiled code under a seal, to be given to [`RuleModule::restore`] another time.
    pub fn artefact(&self, key: &ArtefactKey) -> Result<Vec<u8>, ArtefactError> {
        self.0.program.seal(self.0.digest, key)
    }

    /// Who it says it is.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Which contract it keeps.
    pub fn kind(&self) -> Kind {
        self.0.program.kind()
    }

    /// What it is held to.
    pub fn limits(&self) -> &Limits {
        self.0.program.limits()
    }

    /// Lets it look at settings, as JSON; `{}` are its defaults.
    pub fn with_settings(&self, settings: &str) -> Result<Rule, SettingsRefusal> {
        let fault = |misbehaviour| SettingsRefusal::Fault {
            fault: Box::new(self.fault(Call::CheckSettings, misbehaviour)),
        };
        let actions: Vec<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
        let answer = self.0.program.check_settings(settings, &actions).map_err(fault)?;
        let plan = answer.map_err(|problems| SettingsRefusal::Problems {
            problems: problems.into_iter().take(MAX_PROBLEMS).map(shortened).collect(),
        })?;
        let metrics = patterns_of(&plan).map_err(fault)?;
        Ok(Rule(Arc::new(RuleParts {
            module: self.clone(),
            settings: settings.to_owned(),
            metrics,
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
    prepared: Vec<u8>,
}

impl Rule {
    /// The module.
    pub fn module(&self) -> &RuleModule {
        &self.0.module
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.module.0.manifest.name
    }

    /// The settings as they were given.
    pub fn settings(&self) -> &str {
        &self.0.settings
    }

    /// The metrics that it asked for under these settings; `None` is all of them.
    pub fn metrics(&self) -> Option<&[MetricPattern]> {
        self.0.metrics.as_deref()
    }

    /// The settings as the rule wants them back.
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
    let bad = |field, why: &str| {
        Err(Misbehaviour::BadManifest {
            field,
            why: guest_words(why, MAX_REASON_BYTES),
        })
    };
    let legal = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if raw.name.is_empty() || raw.name.len() > NAME_BYTES || !raw.name.bytes().all(legal) {
        return bad("name", "use lower case letters, digits and hyphens, 64 at most");
    }
    if raw.version.is_empty() || raw.version.len() > VERSION_BYTES || raw.version.contains(char::is_control) {
        return bad("version", "use 1 to 64 bytes of plain text");
    }
    let description = guest_words(&raw.description, limits.text_bytes);
    if description.is_empty() || raw.description.len() > limits.text_bytes {
        return bad("description", "say in one paragraph what the rule does");
    }
    let schema = match serde_json::from_str(&raw.settings_schema) {
        Ok(schema @ serde_json::Value::Object(_)) => schema,
        Ok(_) => return bad("settings schema", "a JSON Schema is a JSON object here"),
        Err(error) => return bad("settings schema", &format!("it is not JSON: {error}")),
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
        at: guest_words(&problem.at, MAX_REASON_BYTES),
        what: guest_words(&problem.what, MAX_REASON_BYTES),
    }
}

fn patterns_of(plan: &RawPlan) -> Result<Option<Vec<MetricPattern>>, Misbehaviour> {
    let Some(metrics) = &plan.metrics else {
        return Ok(None);
    };
    // Many thresholds may be for one metric.
    let metrics: BTreeSet<_> = metrics.iter().collect();
    at_most("metrics in a plan", metrics.len(), MAX_METRICS)?;
    let patterns: Result<_, _> = metrics.into_iter().map(|metric| MetricPattern::new(metric)).collect();
    patterns.map(Some).map_err(|error| Misbehaviour::BadPlan {
        why: guest_words(&error.to_string(), MAX_REASON_BYTES),
    })
}
