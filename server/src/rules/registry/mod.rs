//! The one place where it changes which rules are in force. Every change is a generation: it is made and tried beside
//! the one in force, kept in the database, and only then put in its place. So it is there after a restart, and for all
//! who share the database. What asks for changes by itself has its state elsewhere: `quarantine`, `replication` and
//! `folder` beside this.

mod build;
mod change;
mod delete;
mod error;
mod lockout;
mod precompile;
mod rollback;
mod signature;
mod startup;
mod transaction;
mod upload;

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;
use watchpost_policies::{Digest, Identity, Kind, Report, Snapshot};

pub use self::change::{Activation, ChangeRequest, Changed};
pub use self::error::ChangeError;
pub use self::upload::{UploadRequest, Uploaded};

pub(super) use self::rollback::{Earlier, Replacement};
pub(super) use self::transaction::{Blocked, NextGeneration};

use super::compiler::Compiler;
use super::signing::Provenance;
use super::{ActiveRule, Rules, Settings};
use crate::metrics::ServiceMetrics;
use crate::store::Store;
use crate::store::rules::{AuditActor, Entry, Mode};

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    rules: Rules,
    store: Store,
    compiler: Compiler,
    options: ArcSwap<Options>,
    /// Whoever changes something here does it alone; those elsewhere are told apart by the database.
    changing: Mutex<()>,
    after_change: AfterChange,
    service_metrics: Arc<ServiceMetrics>,
}

/// What is done after the audit log of the rules has changed, before the author of the change is answered.
pub type AfterChange = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// What the configuration says of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The settings of the rules that Watchpost brings.
    pub configured: Settings,
    /// Certificates that may always change rules.
    pub break_glass: Vec<Digest>,
    /// A rule that fails so often, one time after the other, is put aside.
    pub max_consecutive_faults: u32,
    /// Who has to vouch for what somebody brings.
    pub provenance: Provenance,
}

/// Who changes something.
#[derive(Clone, Debug)]
pub struct Actor {
    /// As the log names them.
    pub by: AuditActor,
    /// Who they are, where they asked for it.
    pub identity: Option<Identity>,
    /// Whether the configuration lets them always change rules.
    pub break_glass: bool,
}

/// What was measured and judged last, for those who try a rule on it.
#[derive(Clone, Debug)]
pub struct Moment {
    /// What was judged.
    pub report: Arc<Report>,
    /// What was measured, if anything was.
    pub snapshot: Option<Arc<Snapshot>>,
}

/// A generation that others have in force and this process has not loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = GenerationBehind)]
pub struct PendingGeneration {
    /// Its number.
    pub generation: i64,
    /// What stands in the way.
    pub why: String,
}

impl Registry {
    /// Of the rules that are changed, and the store that remembers.
    pub fn new(
        rules: Rules,
        store: Store,
        compiler: Compiler,
        options: Options,
        after_change: AfterChange,
        service_metrics: Arc<ServiceMetrics>,
    ) -> Self {
        Self(Arc::new(Inner {
            rules,
            store,
            compiler,
            options: ArcSwap::from_pointee(options),
            changing: Mutex::new(()),
            after_change,
            service_metrics,
        }))
    }

    /// The rules that it changes.
    pub fn rules(&self) -> &Rules {
        &self.0.rules
    }

    /// Where it remembers.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Whether a certificate may always change rules.
    pub fn breaks_glass(&self, fingerprint: Digest) -> bool {
        self.0.options.load().break_glass.contains(&fingerprint)
    }

    /// What the configuration says of rules; another value, whenever it is read again and says otherwise.
    pub(super) fn options(&self) -> Arc<Options> {
        self.0.options.load_full()
    }

    /// Puts a generation in force that was made and kept.
    fn put(&self, next: ActiveRule) -> Arc<ActiveRule> {
        let next = self.0.rules.put(next);
        self.0.service_metrics.set_rules_generation(next.generation.number);
        log::info!(generation = next.generation.number; "rules are in force");
        next
    }

    async fn after_change(&self) {
        (self.0.after_change)().await;
    }

    /// Whether Watchpost brings a rule of this name itself.
    pub fn brings(&self, name: &str) -> bool {
        self.builtin_kind(name).is_some()
    }

    /// Which contract a rule that Watchpost brings keeps, if it is one.
    fn builtin_kind(&self, name: &str) -> Option<Kind> {
        let kinds = [Kind::Threshold, Kind::Role];
        kinds
            .into_iter()
            .find(|kind| self.0.rules.builtin(*kind).manifest().name == name)
    }

    /// The settings that the configuration has for a rule.
    pub(super) fn configured(&self, name: &str) -> String {
        let configured = &self.0.options.load().configured;
        match self.builtin_kind(name) {
            Some(Kind::Threshold) => configured.threshold.clone(),
            Some(Kind::Role) => configured.role.clone(),
            None => "{}".to_owned(),
        }
    }
}

/// What stands for a rule in a generation: of a role rule there is one, whatever it is called.
pub(super) fn slot<'e>(entries: &'e [Entry], kind: Kind, name: &str) -> Option<&'e Entry> {
    let is_it =
        |entry: &&Entry| entry.mode == Mode::Active && entry.kind == kind && (kind == Kind::Role || entry.rule == name);
    entries.iter().find(is_it)
}

/// A registry with the rules that Watchpost brings, under settings of their own, for tests of the parts that ask it for
/// changes. Several of one store are as several processes.
#[cfg(test)]
pub(super) fn of_store(store: &Store) -> Registry {
    let settings = Settings {
        threshold: "{}".to_owned(),
        role: "{}".to_owned(),
    };
    let limits = watchpost_policies::Limits::default();
    let rules = Rules::load(limits, &settings, None).expect("our own rules are taken");
    let compiler = rules.compiler(super::compiler::Options {
        timeout: std::time::Duration::from_secs(1),
        memory_bytes: 1 << 30,
        queue_length: 1,
    });
    let options = Options {
        configured: settings,
        break_glass: Vec::new(),
        max_consecutive_faults: 3,
        provenance: Provenance::default(),
    };
    let build = crate::metrics::Build {
        version: "",
        commit: "",
        rustc: "",
    };
    let nothing_more = Box::new(|| Box::pin(std::future::ready(())) as _);
    Registry::new(
        rules,
        store.clone(),
        compiler,
        options,
        nothing_more,
        Arc::new(ServiceMetrics::new(&build)),
    )
}

/// A database of its own in a folder.
#[cfg(test)]
pub(super) fn store_in(folder: &std::path::Path) -> Store {
    let place = crate::store::DatabaseAddress::parse("sqlite:///watchpost.db", folder, false).expect("it is a place");
    Store::open(place, crate::clock::now_ms()).expect("it can be opened")
}
