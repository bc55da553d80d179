//! The registry makes all changes of the active rules. Each change makes a new generation: the registry loads and tests
//! it, stores it in the database, and only then activates it, so it survives a restart and reaches every process that
//! shares the database. The automatic changes live in `quarantine`, `replication` and `folder` next to this module.

mod accepted;
mod build;
mod change;
mod delete;
mod error;
mod generation_signature;
mod held_modules;
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
use watchpost_policies::{Digest, Identity, IdentityKind, Kind, Report, RuleModule, Snapshot};

pub use self::accepted::AcceptedFile;
pub use self::change::{Activation, ChangeRequest, Changed};
pub use self::error::ChangeError;
pub use self::generation_signature::Statement;
pub use self::upload::{UploadRequest, Uploaded};

pub(super) use self::rollback::{Earlier, Replacement};
pub(super) use self::transaction::{Blocked, NextGeneration};

use self::accepted::{Accepted, Record};
use super::compiler::Compiler;
use super::coverage::nothing_evaluated;
use super::signing::Provenance;
use super::{LoadedGeneration, Rules, Settings};
use crate::metrics::ServiceMetrics;
use crate::store::Store;
use crate::store::rules::{AuditActor, Entry, Mode, VersionQuota};
use crate::tasks;

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    rules: Rules,
    store: Store,
    compiler: Compiler,
    options: ArcSwap<Options>,
    /// Serializes the changes in this process; the database detects those of other processes. It is never held while a
    /// component compiles.
    changing: Mutex<()>,
    /// Modules that were compiled for changes in progress.
    held: parking_lot::Mutex<Vec<RuleModule>>,
    accepted_file: AcceptedFile,
    /// What this server accepted last; empty before the start has read it.
    record: parking_lot::Mutex<Record>,
    after_change: AfterChange,
    service_metrics: Arc<ServiceMetrics>,
}

/// Runs after each change of the audit log, before the client gets its response.
pub type AfterChange = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// The configuration of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The settings of the built-in rules.
    pub configured: Settings,
    /// Fingerprints of certificates that are always allowed to change rules.
    pub break_glass: Vec<Digest>,
    /// A rule is quarantined after this many consecutive faults.
    pub max_consecutive_faults: u32,
    /// Which uploads are accepted: trusted keys and allowed digests.
    pub provenance: Provenance,
    /// How many versions are stored at most.
    pub quota: VersionQuota,
}

/// The author of a change.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The actor as recorded in the audit log.
    pub by: AuditActor,
    /// The authenticated identity, for a change by request.
    pub identity: Option<Identity>,
    /// Whether the certificate is in `rules.break_glass`.
    pub break_glass: bool,
}

/// The latest round and its report, which changes are tested with.
#[derive(Clone, Debug)]
pub struct LatestRound {
    /// The latest report.
    pub report: Arc<Report>,
    /// The latest snapshot, if there is one.
    pub snapshot: Option<Arc<Snapshot>>,
}

/// A generation that is active in other processes and not loaded in this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PendingGeneration)]
pub struct PendingGeneration {
    /// The number of the generation.
    pub generation: i64,
    /// The reason why it is not loaded.
    pub reason: String,
}

impl Registry {
    /// A registry that changes `rules` and stores their generations in `store`.
    pub fn new(
        rules: Rules,
        store: Store,
        compiler: Compiler,
        options: Options,
        accepted_file: AcceptedFile,
        after_change: AfterChange,
        service_metrics: Arc<ServiceMetrics>,
    ) -> Self {
        Self(Arc::new(Inner {
            rules,
            store,
            compiler,
            options: ArcSwap::from_pointee(options),
            changing: Mutex::new(()),
            held: parking_lot::Mutex::default(),
            accepted_file,
            record: parking_lot::Mutex::default(),
            after_change,
            service_metrics,
        }))
    }

    /// The rules that the registry changes.
    pub fn rules(&self) -> &Rules {
        &self.0.rules
    }

    /// The store of the registry.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Whether an identity is always allowed to change rules: by its own certificate, and never by a proxy certificate,
    /// which programs that act for the owner have.
    pub fn breaks_glass(&self, identity: &Identity) -> bool {
        match identity.kind() {
            IdentityKind::Certificate(certificate) if identity.proxy().is_none() => {
                self.0.options.load().break_glass.contains(&certificate.fingerprint)
            }
            _ => false,
        }
    }

    /// The current configuration; a reload replaces the value.
    pub(super) fn options(&self) -> Arc<Options> {
        self.0.options.load_full()
    }

    /// Activates a stored generation, and records that this server accepted it. `is_own` is whether this server made it.
    async fn activate_accepted(&self, next: LoadedGeneration, is_own: bool) -> Arc<LoadedGeneration> {
        let record = Record {
            accepted: Some(Accepted::of(&next)),
            proposed: None,
            follows_configuration: self.follows_configuration(&next, is_own),
        };
        self.write_record(record).await;
        self.activate_generation(next)
    }

    /// Whether the role settings of the configuration may follow this generation without a signature.
    fn follows_configuration(&self, next: &LoadedGeneration, is_own: bool) -> bool {
        let Some(role) = slot(&next.generation.entries, Kind::Role, "") else {
            return false;
        };
        if next.closure().is_some() {
            return is_own || self.0.record.lock().allows_configured();
        }
        role.digest.is_none() && next.set.role().settings() == self.configured(&role.rule)
    }

    /// Records a generation before it is stored.
    async fn propose(&self, next: &LoadedGeneration) {
        let record = Record {
            proposed: Some(Accepted::of(next)),
            ..self.0.record.lock().clone()
        };
        self.write_record(record).await;
    }

    /// Forgets a generation that was not stored.
    async fn withdraw(&self) {
        let record = Record {
            proposed: None,
            ..self.0.record.lock().clone()
        };
        self.write_record(record).await;
    }

    async fn write_record(&self, record: Record) {
        if *self.0.record.lock() == record {
            return;
        }
        *self.0.record.lock() = record.clone();
        let registry = self.clone();
        let written = tasks::block(move || registry.0.accepted_file.write(&record)).await;
        if let Err(reason) = written.and_then(|written| written.map_err(|error| error.to_string())) {
            log::error!(reason = reason.as_str(); "could not record the accepted rules; if signatures are required, the next start rejects unsigned changes since the last record");
        }
    }

    /// Activates a stored generation, or the part of it that can be loaded.
    fn activate_generation(&self, next: LoadedGeneration) -> Arc<LoadedGeneration> {
        let next = self.0.rules.activate(next);
        self.0.service_metrics.set_rules_generation(next.generation.number);
        let closure = next.closure();
        self.0.service_metrics.set_access_closed(closure.is_some());
        if let Some(closure) = closure {
            log::error!(generation = next.generation.number; "{}", closure.reason());
        }
        log::info!(generation = next.generation.number; "rules activated");
        warn_if_nothing_is_evaluated(&next);
        next
    }

    async fn after_change(&self) {
        (self.0.after_change)().await;
    }

    /// Whether a built-in rule has this name.
    pub fn is_builtin(&self, name: &str) -> bool {
        self.builtin_kind(name).is_some()
    }

    /// The kind of the built-in rule with this name.
    fn builtin_kind(&self, name: &str) -> Option<Kind> {
        let kinds = [Kind::Threshold, Kind::Role];
        kinds
            .into_iter()
            .find(|kind| self.0.rules.builtin(*kind).manifest().name == name)
    }

    /// The configured settings of a rule.
    pub(super) fn configured(&self, name: &str) -> String {
        let configured = &self.0.options.load().configured;
        match self.builtin_kind(name) {
            Some(Kind::Threshold) => configured.threshold.clone(),
            Some(Kind::Role) => configured.role.clone(),
            None => "{}".to_owned(),
        }
    }
}

/// The active entry of a rule; all role rules share one slot, whatever their names.
pub(super) fn slot<'e>(entries: &'e [Entry], kind: Kind, name: &str) -> Option<&'e Entry> {
    let is_it =
        |entry: &&Entry| entry.mode == Mode::Active && entry.kind == kind && (kind == Kind::Role || entry.rule == name);
    entries.iter().find(is_it)
}

/// A registry with the built-in rules under default settings, for tests. Several registries of one store behave like
/// several processes.
#[cfg(test)]
pub(crate) fn of_store(store: &Store) -> Registry {
    let settings = Settings {
        threshold: "{}".to_owned(),
        role: "{}".to_owned(),
    };
    let limits = watchpost_policies::Limits::default();
    let rules = Rules::load(limits, &settings, None).expect("the built-in rules load");
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
        quota: VersionQuota {
            max_versions: 10,
            max_bytes: 1 << 30,
        },
    };
    let build = crate::metrics::Build {
        version: "",
        commit: "",
        rustc: "",
    };
    let after_change = Box::new(|| Box::pin(std::future::ready(())) as _);
    Registry::new(
        rules,
        store.clone(),
        compiler,
        options,
        AcceptedFile(None),
        after_change,
        Arc::new(ServiceMetrics::new(&build)),
    )
}

/// A new SQLite database in a folder.
#[cfg(test)]
pub(crate) fn store_in(folder: &std::path::Path) -> Store {
    let url = crate::store::DatabaseAddress::parse("sqlite:///watchpost.db", folder, false).expect("the URL is valid");
    Store::open(url, crate::clock::now_ms()).expect("the database opens")
}

fn warn_if_nothing_is_evaluated(active: &LoadedGeneration) {
    if let Some(warning) = nothing_evaluated(&active.set) {
        log::warn!(generation = active.generation.number; "{warning}");
    }
}
