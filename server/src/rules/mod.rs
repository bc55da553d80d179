//! Which rules are in force. Where they come from and how that changes is in `registry`; judging with them is the work
//! of `watchpost-policies`.

pub mod builtin;
pub mod cache;
pub mod cases;
pub mod checks;
pub mod compare;
pub mod compiler;
pub mod folder;
pub mod quarantine;
pub mod registry;
pub mod replication;
pub mod sample;
pub mod sandbox;
pub mod schema;
pub mod shadow;
pub mod shadow_queue;
pub mod signing;
mod streak;
pub mod trial;
pub mod trials;
pub mod uploads;

use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use watchpost_policies::{
    Digest, Engine, EngineError, Fault, Kind, Limits, Refusal, Rule, RuleModule, RuleSet, SetError, SettingsRefusal,
};

use crate::store::rules::{Entry, Generation, Mode, SettingsRef};
use cache::Cache;
use compiler::Compiler;
use shadow::RoleShadow;
use streak::Streak;

/// The rules in force. Cheap to clone; all clones see a change at once.
#[derive(Clone)]
pub struct Rules(Arc<Inner>);

struct Inner {
    engine: Engine,
    cache: Option<Cache>,
    builtin: Builtin,
    current: ArcSwap<ActiveRule>,
    /// The generation before, so that nothing has to be loaded to go back to it.
    previous: ArcSwapOption<ActiveRule>,
}

/// The rules that Watchpost brings.
struct Builtin {
    threshold: RuleModule,
    role: RuleModule,
}

/// One generation, loaded.
#[derive(Debug)]
pub struct ActiveRule {
    /// Which.
    pub generation: Generation,
    /// What counts.
    pub set: RuleSet,
    /// What is only compared, if there is any: with a role rule that may be the one that counts.
    pub shadow: Option<RuleSet>,
    /// In the order of the generation's entries.
    pub rules: Vec<Rule>,
    /// How often the role rule failed since it last answered.
    role_fails: Streak,
    /// How the one does that is asked beside it.
    role_beside: RoleShadow,
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
        let builtin = Builtin {
            threshold: load(builtin::THRESHOLD)?,
            role: load(builtin::ROLE)?,
        };
        let first = builtin.alone(settings)?;
        Ok(Self(Arc::new(Inner {
            engine,
            cache,
            builtin,
            current: ArcSwap::from_pointee(first),
            previous: ArcSwapOption::empty(),
        })))
    }

    /// The generation in force. Ask again for each request: it may have been replaced.
    pub fn current(&self) -> Arc<ActiveRule> {
        self.0.current.load_full()
    }

    /// The engine that they run on.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Compiles what comes from outside, for the same engine.
    pub fn compiler(&self, options: compiler::Options) -> Compiler {
        Compiler::new(self.0.engine.clone(), self.0.cache.clone(), options)
    }

    /// Where their compiled code is kept, if it is.
    pub fn cache(&self) -> Option<&Cache> {
        self.0.cache.as_ref()
    }

    /// Looks at settings as the built-in rules would, and changes nothing.
    pub fn check(&self, settings: &Settings) -> Result<(), RulesError> {
        self.0.builtin.alone(settings).map(drop)
    }

    /// A rule that Watchpost brings.
    pub fn builtin(&self, kind: Kind) -> &RuleModule {
        match kind {
            Kind::Threshold => &self.0.builtin.threshold,
            Kind::Role => &self.0.builtin.role,
        }
    }

    /// Whether the role rule that counts is the one that Watchpost brings, and its settings leave it to the rule who has
    /// which role. Then only the clients of the development authority have one.
    pub fn leave_identities_to_the_default(&self) -> bool {
        let active = self.current();
        let mut both = active.generation.entries.iter().zip(&active.rules);
        both.any(|(entry, rule)| {
            let counts = entry.mode == Mode::Active && entry.kind == Kind::Role;
            counts && entry.digest.is_none() && !names_identities(rule.settings())
        })
    }

    /// Whether what is in force is a generation that the database knows.
    fn is_begun(&self) -> bool {
        self.current()
            .generation
            .entries
            .iter()
            .all(|entry| entry.settings != SettingsRef::Configured)
    }

    /// Puts a generation in force. Whoever has the one before goes on with that until they are done.
    fn put(&self, next: ActiveRule) -> Arc<ActiveRule> {
        let next = Arc::new(next);
        self.0.previous.store(Some(self.0.current.swap(next.clone())));
        next
    }

    /// The generations that are loaded, the one in force first.
    fn loaded(&self) -> impl Iterator<Item = Arc<ActiveRule>> {
        [Some(self.current()), self.0.previous.load_full()]
            .into_iter()
            .flatten()
    }
}

impl ActiveRule {
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
        let beside: Vec<_> = of(Mode::Shadow, Kind::Threshold).collect();
        let other = of(Mode::Shadow, Kind::Role).next();
        let shadow = match (beside.is_empty(), other) {
            (true, None) => None,
            (_, other) => Some(RuleSet::new(number, beside, other.unwrap_or(role))?),
        };
        Ok(Self {
            set,
            shadow,
            rules,
            generation,
            role_fails: Streak::default(),
            role_beside: RoleShadow::default(),
        })
    }

    /// The role rule that is asked beside the one that counts.
    pub fn shadow_role(&self) -> Option<&RuleSet> {
        let asked = |entry: &Entry| entry.mode == Mode::Shadow && entry.kind == Kind::Role;
        self.shadow
            .as_ref()
            .filter(|_| self.generation.entries.iter().any(asked))
    }

    /// Counts how often the role rule failed, one time after the other.
    fn role_answered(&self, failed: Option<&Fault>) -> u32 {
        self.role_fails.count(failed)
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
    /// They alone, before anybody chose others.
    fn alone(&self, settings: &Settings) -> Result<ActiveRule, RulesError> {
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
        Ok(ActiveRule::new(generation, rules)?)
    }
}

/// The built-in rules with their defaults, for tests of what is made of their reports.
#[cfg(test)]
pub(crate) fn by_default() -> RuleSet {
    let settings = Settings {
        threshold: "{}".to_owned(),
        role: "{}".to_owned(),
    };
    let rules = Rules::load(Limits::default(), &settings, None);
    rules.expect("our own rules are taken").current().set.clone()
}

/// An empty list is a choice too.
fn names_identities(settings: &str) -> bool {
    let settings: Result<serde_json::Value, _> = serde_json::from_str(settings);
    settings.is_ok_and(|settings| settings.get("identities").is_some())
}

fn with_settings(rule: &'static str, module: &RuleModule, settings: &str) -> Result<Rule, RulesError> {
    let taken = module.with_settings(settings);
    taken.map_err(|refusal| RulesError::Settings { rule, refusal })
}
