//! The quarantine: a rule that fails again and again is taken out, what was good before is in force again, and it is
//! logged as an error. How what is in force changes is the registry's to know.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::{Notify, watch};
use utoipa::ToSchema;
use watchpost_policies::{Kind, Report, Verdict};

use super::ActiveRule;
use super::registry::{Actor, ChangeError, Earlier, NextGeneration, Registry, Replacement, slot};
use crate::error_chain::error_chain;
use crate::metrics::ServiceMetrics;
use crate::store::Store;
use crate::store::rules::{AuditAction, AuditActor, Entry, Generation, Mode};

/// How often the quarantine of a rule is deferred for a good version that cannot be loaded just then.
const MAX_DEFERRALS: u32 = 3;

/// A rule that was put aside, until somebody changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RulePutAside)]
pub struct Quarantined {
    /// Which.
    pub rule: String,
    /// Which version of it.
    pub digest: Option<String>,
    /// When, in milliseconds since 1970 (UTC).
    pub since_ms: i64,
    /// How it failed.
    pub why: String,
}

/// The rules in quarantine, as the audit log has them: so everybody who shares the database sees the same. Cheap to
/// clone.
#[derive(Clone)]
pub struct QuarantineList {
    store: Store,
    rules: Arc<Mutex<Vec<Quarantined>>>,
}

/// Takes rules out that fail too often. Cheap to clone.
#[derive(Clone)]
pub struct Quarantine(Arc<Inner>);

struct Inner {
    registry: Registry,
    list: QuarantineList,
    state: Mutex<State>,
    role_fails: Notify,
    service_metrics: Arc<ServiceMetrics>,
}

/// What happened since this process began.
#[derive(Default)]
struct State {
    /// What was taken out; nobody goes back to it by themselves.
    failed: Vec<Entry>,
    deferrals: Deferrals,
    /// The role rule that failed too often, and how.
    role_failed: Option<(Entry, String)>,
}

impl QuarantineList {
    /// Empty, until it is refreshed.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            rules: Arc::default(),
        }
    }

    /// Reads the audit log again. Where that cannot be read, the list stays as it is.
    pub async fn refresh(self) {
        match self.store.ask(|store| store.rules_quarantined()).await {
            Ok(told) => {
                let rules = told.into_iter().map(|told| Quarantined {
                    rule: told.name,
                    digest: told.digest.map(|digest| digest.to_string()),
                    since_ms: told.time_ms,
                    why: told.note,
                });
                *self.lock() = rules.collect();
            }
            Err(error) => {
                log::warn!(reason = error_chain(&error).as_str(); "the rules that are put aside could not be read; those that were known are shown");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Quarantined>> {
        // It is replaced as a whole, so it is whole even after a panic.
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Quarantine {
    /// Of the rules of this registry, which refreshes the list whenever it changes something.
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
        self.0.list.lock().clone()
    }

    /// Counts an answer of the role rule. One that fails too often is taken out.
    pub fn role_answered(&self, active: &ActiveRule, verdict: &Verdict) {
        let failed = match verdict {
            Verdict::Fault { fault } => Some(fault),
            _ => None,
        };
        let streak = active.role_answered(failed);
        let Some(fault) = failed.filter(|_| streak >= self.limit()) else {
            return;
        };
        // Others may have taken it out already, so it matters which one it was that failed.
        if let Some(entry) = slot(&active.generation.entries, Kind::Role, "") {
            self.lock().role_failed = Some((entry.clone(), fault.to_string()));
            self.0.role_fails.notify_one();
        }
    }

    /// Watches rules fail, for ever.
    pub async fn run<J: AsRef<Report>>(self, mut judged: watch::Receiver<Option<Arc<J>>>) {
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
                    // A round that was judged by others tells nothing of these.
                    if current.set.generation() != report.generation() {
                        continue;
                    }
                    let faults = |rule: &str| {
                        let fault = report.faults().iter().find(|fault| fault.rule == rule);
                        fault.map(ToString::to_string)
                    };
                    for (failing, why) in streaks.count(faults, &current.generation.entries, self.limit()) {
                        self.take_out(&failing, &why).await;
                    }
                }
                () = self.0.role_fails.notified() => {
                    let failed = self.lock().role_failed.take();
                    if let Some((failing, why)) = failed {
                        self.take_out(&failing, &why).await;
                    }
                }
            }
        }
    }

    /// How many faults in a row are too many.
    fn limit(&self) -> u32 {
        self.0.registry.options().max_consecutive_faults
    }

    async fn take_out(&self, failing: &Entry, why: &str) {
        let rule = failing.rule.as_str();
        let digest = failing.digest.map(|digest| digest.to_string()).unwrap_or_default();
        match self.quarantine(failing, why).await {
            Ok(QuarantineOutcome::Quarantined) => {
                self.0.service_metrics.inc_rules_quarantined(rule);
                log::error!(rule, digest, reason = why; "a rule failed too often and was put aside; what was good before is in force again");
            }
            Ok(QuarantineOutcome::LastResort) => {
                log::error!(rule, digest, reason = why; "a rule fails again and again, and there is nothing to put in its place")
            }
            Ok(QuarantineOutcome::GoneAlready) => {}
            Err(error) => {
                let cannot = error_chain(&error);
                log::error!(rule, digest, reason = cannot.as_str(); "a rule fails again and again, and cannot be put aside now");
            }
        }
        // Others may have changed something in the meantime.
        self.0.list.clone().refresh().await;
    }

    async fn quarantine(&self, failing: &Entry, why: &str) -> Result<QuarantineOutcome, ChangeError> {
        // What the program brings is the last resort.
        if failing.digest.is_none() {
            return Ok(QuarantineOutcome::LastResort);
        }
        let changed = self
            .0
            .registry
            .transaction(async |latest: &Generation| self.plan(latest, failing, why).await);
        if !changed.await?.changed {
            return Ok(QuarantineOutcome::GoneAlready);
        }
        let mut state = self.lock();
        state.failed.push(failing.clone());
        state.deferrals = Deferrals::default();
        Ok(QuarantineOutcome::Quarantined)
    }

    /// The generation without the failing rule; nothing, if that is not in force any more.
    async fn plan(
        &self,
        latest: &Generation,
        failing: &Entry,
        why: &str,
    ) -> Result<Option<NextGeneration>, ChangeError> {
        let (kind, rule) = (failing.kind, failing.rule.as_str());
        // Somebody else may have changed it, or taken it out, in the meantime.
        if slot(&latest.entries, kind, rule) != Some(failing) {
            return Ok(None);
        }
        let before = match (kind, self.good_before(latest, failing).await?) {
            // Somebody has to decide; who may do nothing but look for help is better than nobody.
            (Kind::Role, None) => Some(self.0.registry.closed().await?),
            (_, before) => before,
        };
        let replacement = Replacement {
            latest,
            kind,
            rule,
            before,
            deed: AuditAction::Quarantined,
            actor: &Actor {
                by: AuditActor::watchpost(),
                identity: None,
                break_glass: false,
            },
            note: why,
        };
        let mut next = replacement.plan();
        for told in &mut next.told {
            told.digest = failing.digest;
            told.settings_id = Some(failing.settings);
        }
        Ok(Some(next))
    }

    /// What the place of a rule was before it failed, and can be again: what failed before cannot, nor what is not
    /// trusted, nor what is not kept any more or does not load.
    async fn good_before(&self, latest: &Generation, failing: &Entry) -> Result<Option<Entry>, ChangeError> {
        let registry = &self.0.registry;
        let mut bad = self.lock().failed.clone();
        bad.push(failing.clone());
        loop {
            let is_good = |entry: Option<&Entry>| entry.is_none_or(|entry| !bad.contains(entry));
            let before = registry.before(latest, failing.kind, &failing.rule, is_good).await?;
            let Earlier::Active(entry) = before else {
                return Ok(None);
            };
            if !registry.is_kept(&entry).await? || registry.untrusted(&entry.rule, entry.digest).await?.is_some() {
                bad.push(entry);
                continue;
            }
            match registry.rule(&entry, None).await {
                Ok(_) => return Ok(Some(entry)),
                // That is not the version's doing, and it may be the best there is.
                Err(error) if error.passes() && self.lock().deferrals.once_more(&entry) => return Err(error),
                Err(_) => bad.push(entry),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each of its fields is set in one step, so they are whole even after a panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often each rule failed, one time after the other, as it is in force: under other settings it begins anew.
#[derive(Default)]
struct Streaks(Vec<(Entry, u32)>);

impl Streaks {
    /// Counts a round that was judged by these, in which a rule of a name failed as `fault` says; what reached the limit
    /// comes back, and begins anew.
    fn count(&mut self, fault: impl Fn(&str) -> Option<String>, active: &[Entry], limit: u32) -> Vec<(Entry, String)> {
        self.0
            .retain(|(entry, _)| active.contains(entry) && fault(&entry.rule).is_some());
        let counted = |entry: &&Entry| entry.mode == Mode::Active && entry.kind == Kind::Threshold;
        let mut enough = Vec::new();
        for entry in active.iter().filter(counted) {
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
                enough.push((entry.clone(), fault));
            }
        }
        enough
    }
}

/// How often quarantine was deferred for a good version that could not be loaded just then. It is tried again when the
/// failing rule fails next, but not for ever: where there is too little memory to compile it, there may be too little
/// each time.
#[derive(Default)]
struct Deferrals {
    waited_for: Option<Entry>,
    count: u32,
}

impl Deferrals {
    fn once_more(&mut self, waited_for: &Entry) -> bool {
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

/// What came of taking out a rule.
enum QuarantineOutcome {
    Quarantined,
    /// It is not what is in force any more.
    GoneAlready,
    /// Nothing could take its place.
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

    fn is_well(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn a_good_version_is_waited_for_three_times_and_the_next_one_as_often() {
        let mut deferrals = Deferrals::default();
        for name in ["good", "older"] {
            let waited: Vec<_> = (0..5).map(|_| deferrals.once_more(&entry(name, 1))).collect();
            assert_eq!(waited, [true, true, true, false, false], "{name}");
        }
    }

    #[test]
    fn a_rule_has_failed_too_often_when_it_failed_so_often_one_time_after_the_other() {
        let active = [entry("bad", 1), entry("good", 1)];
        let mut streaks = Streaks::default();
        assert!(streaks.count(fails, &active, 2).is_empty(), "once is not too often");
        assert!(streaks.count(is_well, &active, 2).is_empty());
        assert!(streaks.count(fails, &active, 2).is_empty(), "it was well in between");
        let enough = [(entry("bad", 1), "it traps".to_owned())];
        assert_eq!(streaks.count(fails, &active, 2), enough);
        assert!(streaks.count(fails, &active, 2).is_empty(), "it begins anew");
    }

    #[test]
    fn under_other_settings_a_rule_begins_anew() {
        let mut streaks = Streaks::default();
        assert!(streaks.count(fails, &[entry("bad", 1)], 2).is_empty());
        assert!(streaks.count(fails, &[entry("bad", 2)], 2).is_empty());
        assert_eq!(streaks.count(fails, &[entry("bad", 2)], 2).len(), 1);
    }

    #[test]
    fn a_role_rule_and_a_shadow_are_not_counted_by_rounds() {
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
