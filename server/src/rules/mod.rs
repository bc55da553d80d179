//! Where rules come from and which are in force. Judging with them is the work of `watchpost-policies`.

pub mod builtin;
mod cache;
pub mod cases;
pub mod checks;
pub mod sample;

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use watchpost_policies::{Engine, EngineError, Limits, Refusal, Rule, RuleModule, RuleSet, SetError, SettingsRefusal};

use cache::Cache;

/// The rules in force. Cheap to clone; all clones see a change at once.
#[derive(Clone)]
pub struct Rules(Arc<Inner>);

struct Inner {
    engine: Engine,
    threshold: RuleModule,
    role: RuleModule,
    current: ArcSwap<RuleSet>,
}

/// Settings of the rules that Watchpost brings, as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Of the threshold rule.
    pub threshold: String,
    /// Of the role rule.
    pub role: String,
}

/// Why rules cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// No engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A built-in rule is broken; that is ours.
    #[error("the built-in rule could not be loaded: {0}")]
    Refused(#[from] Refusal),
    /// Settings with mistakes.
    #[error("the settings of the rule {rule} have mistakes")]
    Settings {
        /// Which rule.
        rule: &'static str,
        /// The mistakes.
        #[source]
        refusal: SettingsRefusal,
    },
    /// They do not make a set.
    #[error(transparent)]
    Set(#[from] SetError),
}

impl Rules {
    /// Loads the built-in rules. Compiled code is kept in the folder, if one is given, for the next start.
    pub fn load(limits: Limits, settings: &Settings, cache: Option<&Path>) -> Result<Self, RulesError> {
        let engine = Engine::new(limits)?;
        let cache = cache.and_then(Cache::open);
        let load = |wasm| match &cache {
            Some(cache) => cache.module(&engine, wasm),
            None => RuleModule::compile(&engine, wasm),
        };
        let (threshold, role) = (load(builtin::THRESHOLD)?, load(builtin::ROLE)?);
        let set = set_of(1, &threshold, &role, settings)?;
        let inner = Inner {
            engine,
            threshold,
            role,
            current: ArcSwap::from_pointee(set),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The generation in force. Ask again for each request: it may have been replaced.
    pub fn current(&self) -> Arc<RuleSet> {
        self.0.current.load_full()
    }

    /// The engine that they run on.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Puts other settings in force, as a new generation; or leaves everything as it was.
    pub fn apply(&self, settings: &Settings) -> Result<u64, RulesError> {
        let generation = self.current().generation() + 1;
        let set = set_of(generation, &self.0.threshold, &self.0.role, settings)?;
        self.0.current.store(Arc::new(set));
        Ok(generation)
    }
}

/// The built-in rules with their defaults, for tests of what is made of their reports.
#[cfg(test)]
pub(crate) fn by_default() -> Arc<RuleSet> {
    let settings = Settings {
        threshold: "{}".to_owned(),
        role: "{}".to_owned(),
    };
    let rules = Rules::load(Limits::default(), &settings, None);
    rules.expect("our own rules are taken").current()
}

fn set_of(
    generation: u64,
    threshold: &RuleModule,
    role: &RuleModule,
    settings: &Settings,
) -> Result<RuleSet, RulesError> {
    let threshold = with_settings("threshold", threshold, &settings.threshold)?;
    let role = with_settings("role", role, &settings.role)?;
    Ok(RuleSet::new(generation, vec![threshold], role)?)
}

fn with_settings(rule: &'static str, module: &RuleModule, settings: &str) -> Result<Rule, RulesError> {
    let taken = module.with_settings(settings);
    taken.map_err(|refusal| RulesError::Settings { rule, refusal })
}
