//! Loads rules and holds the active generation. `registry` makes every change; `watchpost-policies` evaluates the
//! rules.

pub mod builtin;
pub mod cache;
pub mod cases;
pub mod checks;
pub mod closure;
pub mod compare;
pub mod compiler;
pub mod coverage;
pub mod folder;
pub mod quarantine;
pub mod registry;
pub mod replication;
mod role_faults;
pub mod sample;
pub mod sandbox;
pub mod schema;
pub mod shadow;
pub mod shadow_queue;
pub mod signing;
mod streak;
pub mod trial;
pub mod trials;
pub mod unknown_metrics;
pub mod uploads;

use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use watchpost_policies::{
    ComponentError, Digest, Engine, EngineError, Kind, Limits, Rule, RuleModule, RuleSet, SetError, SettingsError,
};

use crate::store::rules::{Entry, Generation, Mode, SettingsRef};
use cache::Cache;
use compiler::Compiler;
use role_faults::RoleFaults;
use shadow::RoleShadow;

/// The active rules. Cheap to clone; all clones see a change immediately.
#[derive(Clone)]
pub struct Rules(Arc<Inner>);

struct Inner {
    engine: Engine,
    cache: Option<Cache>,
    builtin: Builtin,
    current: ArcSwap<LoadedGeneration>,
    /// The previous generation stays loaded, so a rollback to it compiles nothing.
    previous: ArcSwapOption<LoadedGeneration>,
}

/// The built-in rules.
struct Builtin {
    threshold: RuleModule,
    role: RuleModule,
}

/// A generation with its rules loaded.
#[derive(Debug)]
pub struct LoadedGeneration {
    pub generation: Generation,
    /// The rules with an effect.
    pub set: RuleSet,
    /// The rules in shadow mode, if there are any. With only threshold rules in shadow, its role rule is the active
    /// one.
    pub shadow: Option<RuleSet>,
    /// In the order of the generation's entries.
    pub rules: Vec<Rule>,
    /// Faults of the active role rule since its last answer to an authenticated client.
    role_faults: RoleFaults,
    /// Results of the role rule in shadow mode.
    role_shadow: RoleShadow,
}

/// Settings of the built-in rules, as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Settings of the threshold rule.
    pub threshold: String,
    /// Settings of the role rule.
    pub role: String,
}

/// Why rules cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The engine could not be created.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A built-in rule is broken, which is an internal error.
    #[error("the built-in rule could not be loaded: {0}")]
    Refused(#[from] ComponentError),
    /// The configured settings are invalid.
    #[error("the settings of the rule {rule} are invalid")]
    Settings {
        rule: &'static str,
        #[source]
        refusal: SettingsError,
    },
    /// The rules do not form a set.
    #[error(transparent)]
    Set(#[from] SetError),
}

impl Rules {
    /// Loads the built-in rules. With a cache folder, compiled code is stored there for the next start.
    pub fn load(limits: Limits, settings: &Settings, cache: Option<&Path>) -> Result<Self, RulesError> {
        let engine = Engine::new(limits)?;
        let cache = cache.and_then(Cache::open);
        let load = |wasm| match &cache {
            Some(cache) => cache.module(&engine, wasm),
            None => RuleModule::compile(&engine, wasm),
        };
        let builtin = Builtin {
            threshold: load(builtin::THRESHOLD)?,
            role: load(builtin::ROLE)?,
        };
        let first = builtin.generation(settings)?;
        Ok(Self(Arc::new(Inner {
            engine,
            cache,
            builtin,
            current: ArcSwap::from_pointee(first),
            previous: ArcSwapOption::empty(),
        })))
    }

    /// The active generation. Call this for each request: the generation may have been replaced.
    pub fn current(&self) -> Arc<LoadedGeneration> {
        self.0.current.load_full()
    }

    /// The engine that the rules run on.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// A compiler of uploaded components for this engine.
    pub fn compiler(&self, options: compiler::Options) -> Compiler {
        Compiler::new(self.0.engine.clone(), self.0.cache.clone(), options)
    }

    /// The cache of compiled code, if it is enabled.
    pub fn cache(&self) -> Option<&Cache> {
        self.0.cache.as_ref()
    }

    /// Validates settings of the built-in rules and changes nothing.
    pub fn check(&self, settings: &Settings) -> Result<(), RulesError> {
        self.0.builtin.generation(settings).map(drop)
    }

    /// The built-in rule of a kind.
    pub fn builtin(&self, kind: Kind) -> &RuleModule {
        match kind {
            Kind::Threshold => &self.0.builtin.threshold,
            Kind::Role => &self.0.builtin.role,
        }
    }

    /// Whether the active generation is stored in the database; the one before startup is not.
    fn is_stored(&self) -> bool {
        self.current()
            .generation
            .entries
            .iter()
            .all(|entry| entry.settings != SettingsRef::Configured)
    }

    /// Activates a generation. Requests that hold the previous one finish with it.
    fn activate(&self, next: LoadedGeneration) -> Arc<LoadedGeneration> {
        let next = Arc::new(next);
        self.0.previous.store(Some(self.0.current.swap(next.clone())));
        if let Some(cache) = self.cache() {
            let loaded: Vec<_> = self.loaded().collect();
            let entries = loaded.iter().flat_map(|loaded| &loaded.generation.entries);
            cache.set_in_use(entries.filter_map(|entry| entry.digest).collect());
        }
        next
    }

    /// The loaded generations, the active one first.
    fn loaded(&self) -> impl Iterator<Item = Arc<LoadedGeneration>> {
        [Some(self.current()), self.0.previous.load_full()]
            .into_iter()
            .flatten()
    }
}

impl LoadedGeneration {
    fn new(generation: Generation, rules: Vec<Rule>) -> Result<Self, SetError> {
        let number = u64::try_from(generation.number).unwrap_or(0);
        let of = |mode, kind| {
            let both = generation.entries.iter().zip(&rules);
            both.filter(move |(entry, _)| entry.mode == mode && entry.kind == kind)
                .map(|(_, rule)| rule.clone())
        };
        let mut roles = of(Mode::Active, Kind::Role);
        let (Some(role), None) = (roles.next(), roles.next()) else {
            return Err(SetError::NotOneRole);
        };
        let set = RuleSet::new(number, of(Mode::Active, Kind::Threshold).collect(), role.clone())?;
        let shadow_thresholds: Vec<_> = of(Mode::Shadow, Kind::Threshold).collect();
        let shadow_role = of(Mode::Shadow, Kind::Role).next();
        let shadow = match (shadow_thresholds.is_empty(), shadow_role) {
            (true, None) => None,
            (_, shadow_role) => Some(RuleSet::new(number, shadow_thresholds, shadow_role.unwrap_or(role))?),
        };
        Ok(Self {
            set,
            shadow,
            rules,
            generation,
            role_faults: RoleFaults::default(),
            role_shadow: RoleShadow::default(),
        })
    }

    /// A generation in which these rules are active, for tests.
    #[cfg(test)]
    pub(crate) fn of_rules(number: i64, rules: Vec<Rule>) -> Self {
        let entry = |rule: &Rule| Entry {
            rule: rule.name().to_owned(),
            kind: rule.module().kind(),
            mode: Mode::Active,
            digest: None,
            settings: SettingsRef::Configured,
        };
        let generation = Generation {
            number,
            created_ms: 0,
            entries: rules.iter().map(entry).collect(),
        };
        Self::new(generation, rules).expect("there is one role rule")
    }

    /// The set whose role rule runs in shadow mode, if there is one.
    pub fn shadow_role(&self) -> Option<&RuleSet> {
        let is_shadow_role = |entry: &Entry| entry.mode == Mode::Shadow && entry.kind == Kind::Role;
        self.shadow
            .as_ref()
            .filter(|_| self.generation.entries.iter().any(is_shadow_role))
    }

    /// Whether the active role rule fails for authenticated clients, and has answered none since.
    pub fn role_rule_fails(&self) -> bool {
        self.role_faults.is_failing()
    }

    fn rule_of(&self, entry: &Entry) -> Option<&Rule> {
        let same = |known: &Entry| {
            (known.digest, known.settings) == (entry.digest, entry.settings) && known.rule == entry.rule
        };
        let both = self.generation.entries.iter().zip(&self.rules);
        both.filter(|(known, _)| same(known)).map(|(_, rule)| rule).next()
    }

    fn module_of(&self, digest: Digest) -> Option<&RuleModule> {
        self.rules
            .iter()
            .map(Rule::module)
            .find(|module| module.digest() == digest)
    }
}

impl Builtin {
    /// The generation with only the built-in rules, before the database is read.
    fn generation(&self, settings: &Settings) -> Result<LoadedGeneration, RulesError> {
        let rules = vec![
            with_settings("threshold", &self.threshold, &settings.threshold)?,
            with_settings("role", &self.role, &settings.role)?,
        ];
        let entry = |rule: &Rule| Entry {
            rule: rule.name().to_owned(),
            kind: rule.module().kind(),
            mode: Mode::Active,
            digest: None,
            settings: SettingsRef::Configured,
        };
        let generation = Generation {
            number: 1,
            created_ms: 0,
            entries: rules.iter().map(entry).collect(),
        };
        Ok(LoadedGeneration::new(generation, rules)?)
    }
}

/// The built-in rules with their defaults, for tests that process reports.
#[cfg(test)]
pub(crate) fn by_default() -> RuleSet {
    let settings = Settings {
        threshold: "{}".to_owned(),
        role: "{}".to_owned(),
    };
    let rules = Rules::load(Limits::default(), &settings, None);
    rules.expect("the built-in rules load").current().set.clone()
}

fn with_settings(rule: &'static str, module: &RuleModule, settings: &str) -> Result<Rule, RulesError> {
    let configured = module.with_settings(settings);
    configured.map_err(|refusal| RulesError::Settings { rule, refusal })
}
