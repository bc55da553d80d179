//! Quarantines rules that fail repeatedly, and logs an error. The last good version of a threshold rule becomes active
//! again. A role rule is replaced by the one that allows nothing (`closure`), never by an earlier one, which may allow
//! what an operator has forbidden since. The registry makes the change.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use utoipa::ToSchema;
use watchpost_policies::{Identity, Kind, Report, Rule, Verdict};

use super::LoadedGeneration;
use super::closure::Closure;
use super::registry::{Actor, ChangeError, Earlier, NextGeneration, Registry, Replacement, slot};
use crate::error_chain::error_chain;
use crate::metrics::ServiceMetrics;
use crate::store::Store;
use crate::store::rules::{AuditAction, AuditActor, Entry, Generation, Mode};
use crate::tasks::Tasks;

/// How often quarantine is deferred because the last good version cannot be loaded temporarily.
const MAX_DEFERRALS: u32 = 3;

/// A quarantined rule, until an operator changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = QuarantinedRule)]
pub struct Quarantined {
    pub rule: String,
    /// The failing version; none for built-in rules.
    pub digest: Option<String>,
    /// Time of quarantine.
    #[serde(rename = "since", with = "watchpost_policies::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub since_ms: i64,
    /// The last fault of the rule.
    pub reason: String,
}

/// The quarantined rules, derived from the audit log, so all processes that share the database see the same list. Cheap
/// to clone.
#[derive(Clone)]
pub struct QuarantineList {
    store: Store,
    rules: Arc<Mutex<Vec<Quarantined>>>,
}

/// Quarantines rules that fail too often. Cheap to clone.
#[derive(Clone)]
pub struct Quarantine(Arc<Inner>);

struct Inner {
    registry: Registry,
    list: QuarantineList,
    state: Mutex<State>,
    role_fails: Notify,
    service_metrics: Arc<ServiceMetrics>,
}

/// State since the start of this process.
#[derive(Default)]
struct State {
    /// Entries that were quarantined; they are no candidates for an automatic rollback.
    failed: Vec<Entry>,
    deferrals: Deferrals,
    /// The role rule that failed too often, and its last fault.
    role_failed: Option<(Entry, String)>,
}

impl QuarantineList {
    /// An empty list, to be filled by [`Self::refresh`].
    pub fn new(store: Store) -> Self {
        Self {
            store,
            rules: Arc::default(),
        }
    }

    /// Reads the audit log again. If that fails, the list stays as it is.
    pub async fn refresh(self) {
        match self.store.ask(|store| store.rules_quarantined()).await {
            Ok(entries) => {
                let rules = entries.into_iter().map(|entry| Quarantined {
                    rule: entry.name,
                    digest: entry.digest.map(|digest| digest.to_string()),
                    since_ms: entry.time_ms,
                    reason: entry.note,
                });
                *self.rules.lock() = rules.collect();
            }
            Err(error) => {
                log::warn!(reason = error_chain(&error).as_str(); "could not read the quarantined rules; showing the last known list");
            }
        }
    }
}

impl Quarantine {
    /// Quarantine for the rules of `registry`, which refreshes `list` after each change.
    pub fn new(registry: Registry, list: QuarantineList, service_metrics: Arc<ServiceMetrics>) -> Self {
        Self(Arc::new(Inner {
            registry,
            list,
            state: Mutex::default(),
            role_fails: Notify::new(),
            service_metrics,
        }))
    }

    /// The rules in quarantine.
    pub fn rules(&self) -> Vec<Quarantined> {
        self.0.list.rules.lock().clone()
    }

    /// Counts an answer of the role rule to a request of `identity`. A rule that fails too often, and for several
    /// identities, is quarantined.
    pub fn on_role_answer(&self, active: &LoadedGeneration, identity: &Identity, verdict: &Verdict) {
        let Verdict::Fault { fault } = verdict else {
            active.role_faults.answered(identity);
            return;
        };
        let was_failing = active.role_faults.is_failing();
        let is_general = active.role_faults.failed(identity, self.limit());
        if !was_failing && active.role_faults.is_failing() {
            log::error!(reason:% = fault; "the role rule fails for authenticated clients; the server is not ready until it answers one");
        }
        if !is_general {
            return;
        }
        // Another process may have replaced the rule already, so the entry that failed is recorded.
        if let Some(entry) = slot(&active.generation.entries, Kind::Role, "") {
            self.0.state.lock().role_failed = Some((entry.clone(), fault.to_string()));
            self.0.role_fails.notify_one();
        }
    }

    /// Starts the task that watches for failing rules in these rounds.
    pub fn start<J: AsRef<Report> + 'static>(&self, tasks: &Tasks, judged: watch::Receiver<Option<Arc<J>>>) {
        let quarantine = self.clone();
        tasks.spawn("rule quarantine", move || quarantine.clone().run(judged.clone()));
    }

    /// Watches for failing rules, forever.
    async fn run<J: AsRef<Report>>(self, mut judged: watch::Receiver<Option<Arc<J>>>) {
        let mut streaks = Streaks::default();
        loop {
            tokio::select! {
                changed = judged.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let latest = judged.borrow_and_update().clone();
                    let Some(judged) = latest else { continue };
                    let report: &Report = (*judged).as_ref();
                    let current = self.0.registry.rules().current();
                    // A report of another generation says nothing about the active rules.
                    if current.set.generation() != report.generation() {
                        continue;
                    }
                    let faults = |rule: &str| {
                        let fault = report.faults().iter().find(|fault| fault.rule == rule);
                        fault.map(ToString::to_string)
                    };
                    for (failing, reason) in streaks.count(faults, &current.generation.entries, self.limit()) {
                        self.try_quarantine(&failing, &reason).await;
                    }
                }
                () = self.0.role_fails.notified() => {
                    let failed = self.0.state.lock().role_failed.take();
                    if let Some((failing, reason)) = failed {
                        self.try_quarantine(&failing, &reason).await;
                    }
                }
            }
        }
    }

    /// The maximum number of consecutive faults.
    fn limit(&self) -> u32 {
        self.0.registry.options().max_consecutive_faults
    }

    async fn try_quarantine(&self, failing: &Entry, reason: &str) {
        let rule = failing.rule.as_str();
        let digest = failing.digest.map(|digest| digest.to_string()).unwrap_or_default();
        match self.quarantine(failing, reason).await {
            Ok(QuarantineOutcome::Quarantined) => {
                self.0.service_metrics.inc_rules_quarantined(rule);
                match failing.kind {
                    Kind::Threshold => {
                        log::error!(rule, digest, reason; "rule failed too often and was quarantined; the last good version is active again");
                    }
                    Kind::Role => {
                        log::error!(rule, digest, reason; "role rule failed too often and was quarantined; every action that needs a role is denied until an operator activates a role rule");
                    }
                }
            }
            Ok(QuarantineOutcome::LastResort) => {
                log::error!(rule, digest, reason; "rule fails repeatedly, and there is no other version to activate")
            }
            Ok(QuarantineOutcome::NotActive) => {}
            Err(error) => {
                let cannot = error_chain(&error);
                log::error!(rule, digest, reason = cannot.as_str(); "rule fails repeatedly and could not be quarantined");
            }
        }
        // Other processes may have changed rules in the meantime.
        self.0.list.clone().refresh().await;
    }

    async fn quarantine(&self, failing: &Entry, reason: &str) -> Result<QuarantineOutcome, ChangeError> {
        // A built-in rule is the last resort.
        if failing.digest.is_none() {
            return Ok(QuarantineOutcome::LastResort);
        }
        let registry = &self.0.registry;
        let mut held = registry.hold_modules();
        let changed = loop {
            // The last good version may have to be compiled, so it is loaded before the change begins.
            let latest = registry.store().ask(|store| store.latest_generation()).await?;
            let Some(latest) =
                latest.filter(|latest| slot(&latest.entries, failing.kind, &failing.rule) == Some(failing))
            else {
                return Ok(QuarantineOutcome::NotActive);
            };
            let before = match failing.kind {
                Kind::Threshold => self.last_good(&latest, failing).await?.map(|(entry, rule)| {
                    held.hold(rule.module().clone());
                    entry
                }),
                Kind::Role => Some(registry.closed(Closure::RoleRuleFailed).await?),
            };
            let plan = async |latest: &Generation| Ok(plan(latest, failing, before.clone(), reason));
            match registry.transaction(Some(latest.number), plan).await {
                // An operator may have changed it, or another process quarantined it, in the meantime.
                Err(ChangeError::GenerationMismatch { .. }) => {}
                changed => break changed?,
            }
        };
        if !changed.changed {
            return Ok(QuarantineOutcome::NotActive);
        }
        let mut state = self.0.state.lock();
        state.failed.push(failing.clone());
        state.deferrals = Deferrals::default();
        Ok(QuarantineOutcome::Quarantined)
    }

    /// The last good entry of the rule's slot: not failed before, trusted, still stored and loadable.
    async fn last_good(&self, latest: &Generation, failing: &Entry) -> Result<Option<(Entry, Rule)>, ChangeError> {
        let registry = &self.0.registry;
        let mut rejected = self.0.state.lock().failed.clone();
        rejected.push(failing.clone());
        loop {
            let is_good = |entry: Option<&Entry>| entry.is_none_or(|entry| !rejected.contains(entry));
            let before = registry.before(latest, failing.kind, &failing.rule, is_good).await?;
            let Earlier::Active(entry) = before else {
                return Ok(None);
            };
            if !registry.is_kept(&entry).await? || registry.untrusted(&entry.rule, entry.digest).await?.is_some() {
                rejected.push(entry);
                continue;
            }
            match registry.rule(&entry).await {
                Ok(rule) => return Ok(Some((entry, rule))),
                // A temporary error is not the version's fault, and that version may be the best one.
                Err(error) if error.is_transient() && self.0.state.lock().deferrals.defer(&entry) => return Err(error),
                Err(_) => rejected.push(entry),
            }
        }
    }
}

/// The generation without the failing rule.
fn plan(latest: &Generation, failing: &Entry, before: Option<Entry>, reason: &str) -> Option<NextGeneration> {
    let replacement = Replacement {
        latest,
        kind: failing.kind,
        rule: &failing.rule,
        before,
        action: AuditAction::Quarantined,
        actor: &Actor {
            by: AuditActor::watchpost(),
            identity: None,
            break_glass: false,
        },
        note: reason,
    };
    let mut next = replacement.plan();
    for audit_entry in &mut next.audit_entries {
        audit_entry.digest = failing.digest;
        audit_entry.settings_id = Some(failing.settings);
    }
    Some(next)
}

/// Consecutive faults of each active entry; other settings make another entry and reset its count.
#[derive(Default)]
struct Streaks(Vec<(Entry, u32)>);

impl Streaks {
    /// Counts a round evaluated by `active`, where `fault` returns the fault of a rule by name. Returns the entries
    /// that reached the limit, whose count restarts at zero.
    fn count(&mut self, fault: impl Fn(&str) -> Option<String>, active: &[Entry], limit: u32) -> Vec<(Entry, String)> {
        self.0
            .retain(|(entry, _)| active.contains(entry) && fault(&entry.rule).is_some());
        let is_counted = |entry: &&Entry| entry.mode == Mode::Active && entry.kind == Kind::Threshold;
        let mut over_limit = Vec::new();
        for entry in active.iter().filter(is_counted) {
            let Some(fault) = fault(&entry.rule) else { continue };
            let known = self.0.iter().position(|(other, _)| other == entry);
            let at = known.unwrap_or_else(|| {
                self.0.push((entry.clone(), 0));
                self.0.len() - 1
            });
            let streak = &mut self.0[at].1;
            *streak += 1;
            if *streak >= limit {
                *streak = 0;
                over_limit.push((entry.clone(), fault));
            }
        }
        over_limit
    }
}

/// How often quarantine was deferred for a good version that could not be loaded temporarily. The next fault triggers
/// another attempt, but the number is bounded: where memory does not suffice to compile that version, it may never
/// suffice.
#[derive(Default)]
struct Deferrals {
    waited_for: Option<Entry>,
    count: u32,
}

impl Deferrals {
    fn defer(&mut self, waited_for: &Entry) -> bool {
        if self.waited_for.as_ref() != Some(waited_for) {
            *self = Self {
                waited_for: Some(waited_for.clone()),
                count: 0,
            };
        }
        self.count += 1;
        self.count <= MAX_DEFERRALS
    }
}

/// The result of an attempt to quarantine a rule.
enum QuarantineOutcome {
    Quarantined,
    /// The failing entry is no longer active.
    NotActive,
    /// There is no version to replace it with.
    LastResort,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rules::SettingsRef;

    fn entry(rule: &str, settings: i64) -> Entry {
        Entry {
            rule: rule.to_owned(),
            kind: Kind::Threshold,
            mode: Mode::Active,
            digest: None,
            settings: SettingsRef::Stored(settings),
        }
    }

    fn fails(rule: &str) -> Option<String> {
        (rule == "bad").then(|| "it traps".to_owned())
    }

    fn no_fault(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn quarantine_is_deferred_three_times_for_each_good_version() {
        let mut deferrals = Deferrals::default();
        for name in ["good", "older"] {
            let waited: Vec<_> = (0..5).map(|_| deferrals.defer(&entry(name, 1))).collect();
            assert_eq!(waited, [true, true, true, false, false], "{name}");
        }
    }

    #[test]
    fn only_consecutive_faults_count_towards_the_limit() {
        let active = [entry("bad", 1), entry("good", 1)];
        let mut streaks = Streaks::default();
        assert!(
            streaks.count(fails, &active, 2).is_empty(),
            "one fault is below the limit"
        );
        assert!(streaks.count(no_fault, &active, 2).is_empty());
        assert!(
            streaks.count(fails, &active, 2).is_empty(),
            "a success resets the count"
        );
        let over_limit = [(entry("bad", 1), "it traps".to_owned())];
        assert_eq!(streaks.count(fails, &active, 2), over_limit);
        assert!(
            streaks.count(fails, &active, 2).is_empty(),
            "the count restarts at zero"
        );
    }

    #[test]
    fn other_settings_reset_the_count() {
        let mut streaks = Streaks::default();
        assert!(streaks.count(fails, &[entry("bad", 1)], 2).is_empty());
        assert!(streaks.count(fails, &[entry("bad", 2)], 2).is_empty());
        assert_eq!(streaks.count(fails, &[entry("bad", 2)], 2).len(), 1);
    }

    #[test]
    fn role_rules_and_shadows_are_not_counted_by_rounds() {
        let role = Entry {
            kind: Kind::Role,
            ..entry("bad", 1)
        };
        let shadow = Entry {
            mode: Mode::Shadow,
            ..entry("bad", 1)
        };
        let mut streaks = Streaks::default();
        assert!(streaks.count(fails, &[role, shadow], 1).is_empty());
    }
}
