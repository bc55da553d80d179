//! Puts rules aside that fail again and again: what was good before is in force again, and it is told loudly.

use std::sync::{Arc, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;
use watchpost_policies::{Kind, Report};

use super::advance::now_ms;
use super::{Actor, ChangeError, Registry, slot};
use crate::store::StoreError;
use crate::store::rules::{AuditAction, By, Entry, Generation, Mode};

/// How often putting a rule aside is put off for a good version that cannot be loaded just then.
const MOST_PUT_OFF: u32 = 3;

/// A rule that was put aside, until somebody changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RulePutAside)]
pub struct Aside {
    /// Which.
    pub rule: String,
    /// Which version of it.
    pub digest: Option<String>,
    /// When, in milliseconds since 1970 (UTC).
    pub since_ms: i64,
    /// How it failed.
    pub why: String,
}

/// How often each rule failed, one time after the other, as it is in force: under other settings it begins anew.
#[derive(Default)]
struct Streaks(Vec<(Entry, u32)>);

impl Streaks {
    /// Counts a round that was judged by these; what reached the limit comes back, and begins anew.
    fn count(&mut self, report: &Report, in_force: &[Entry], limit: u32) -> Vec<(Entry, String)> {
        let fault_of = |entry: &Entry| report.faults().iter().find(|fault| fault.rule == entry.rule);
        self.0
            .retain(|(entry, _)| in_force.contains(entry) && fault_of(entry).is_some());
        let counted = |entry: &&Entry| entry.mode == Mode::Active && entry.kind == Kind::Threshold;
        let mut enough = Vec::new();
        for entry in in_force.iter().filter(counted) {
            let Some(fault) = fault_of(entry) else { continue };
            let known = self.0.iter().position(|(other, _)| other == entry);
            let at = known.unwrap_or_else(|| {
                self.0.push((entry.clone(), 0));
                self.0.len() - 1
            });
            let streak = &mut self.0[at].1;
            *streak += 1;
            if *streak >= limit {
                *streak = 0;
                enough.push((entry.clone(), fault.to_string()));
            }
        }
        enough
    }
}

impl Registry {
    /// Watches rules fail, for ever.
    pub async fn heal<J: AsRef<Report>>(self, mut judged: watch::Receiver<Option<Arc<J>>>) {
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
                    let limit = self.0.options.load().faults_in_a_row;
                    let current = self.0.rules.current();
                    // A round that was judged by others tells nothing of these.
                    if current.set.generation() != report.generation() {
                        continue;
                    }
                    for (failing, why) in streaks.count(report, &current.generation.entries, limit) {
                        self.put_aside_loudly(&failing, &why).await;
                    }
                }
                () = self.0.role_fails.notified() => {
                    let failed = self.0.role_failed.lock().unwrap_or_else(PoisonError::into_inner).take();
                    if let Some((failing, why)) = failed {
                        self.put_aside_loudly(&failing, &why).await;
                    }
                }
            }
        }
    }

    /// What is put aside, as everybody who shares the database sees it.
    pub fn aside(&self) -> Vec<Aside> {
        self.0.aside.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the log what is put aside.
    pub(super) async fn look_aside(&self) {
        let told = self.0.store.ask(|store| store.rules_put_aside()).await;
        if let Err(error @ StoreError::Unreadable(_)) = &told {
            log::error!("it is not known which rules are put aside: {error}");
        }
        // A database that is away is told by those who need it.
        if let Ok(told) = told {
            let aside = told.into_iter().map(|told| Aside {
                rule: told.name,
                digest: told.digest.map(|digest| digest.to_string()),
                since_ms: told.time_ms,
                why: told.note,
            });
            *self.0.aside.lock().unwrap_or_else(PoisonError::into_inner) = aside.collect();
        }
    }

    async fn put_aside_loudly(&self, failing: &Entry, why: &str) {
        let rule = failing.rule.as_str();
        let digest = failing.digest.map(|digest| digest.to_string()).unwrap_or_default();
        match self.put_aside(failing, why).await {
            Ok(Aftermath::PutAside) => {
                self.0.own.rule_put_aside(rule);
                log::error!(rule, digest, reason = why; "a rule failed too often and was put aside; what was good before is in force again");
            }
            Ok(Aftermath::LastResort) => {
                log::error!(rule, digest, reason = why; "a rule fails again and again, and there is nothing to put in its place")
            }
            Ok(Aftermath::GoneAlready) => {}
            Err(error) => {
                let cannot = crate::error_chain::error_chain(&error);
                log::error!(rule, digest, reason = cannot.as_str(); "a rule fails again and again, and cannot be put aside now");
            }
        }
        self.look_aside().await;
    }

    async fn put_aside(&self, failing: &Entry, why: &str) -> Result<Aftermath, ChangeError> {
        // What the program brings is the last resort.
        if failing.digest.is_none() {
            return Ok(Aftermath::LastResort);
        }
        let _turn = self.0.changing.lock().await;
        let actor = Actor {
            by: By::ourselves(),
            identity: None,
            break_glass: false,
        };
        let (kind, rule) = (failing.kind, failing.rule.as_str());
        let changed = self.change(None, async |latest: &Generation| {
            // Somebody else may have changed it, or put it aside, in the meantime.
            if slot(&latest.entries, kind, rule) != Some(failing) {
                return Ok(None);
            }
            let before = match (kind, self.good_before(latest, failing).await?) {
                // Somebody has to decide; who may do nothing but look for help is better than nobody.
                (Kind::Role, None) => Some(self.closed().await?),
                (_, before) => before,
            };
            let mut next = self.back_to(latest, kind, rule, before, AuditAction::PutAside, &actor, why);
            for told in &mut next.told {
                told.digest = failing.digest;
                told.settings_id = Some(failing.settings);
                told.time_ms = now_ms();
            }
            Ok(Some(next))
        });
        if !changed.await?.changed {
            return Ok(Aftermath::GoneAlready);
        }
        let mut failed = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.push(failing.clone());
        *self.put_off() = PutOff::default();
        Ok(Aftermath::PutAside)
    }

    /// What the place of a rule was before it failed, and can be again: what failed before cannot, nor what nobody
    /// vouches for, nor what is not kept any more or does not load.
    async fn good_before(&self, latest: &Generation, failing: &Entry) -> Result<Option<Entry>, ChangeError> {
        let mut bad = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        bad.push(failing.clone());
        loop {
            let is_good = |entry: Option<&Entry>| entry.is_none_or(|entry| !bad.contains(entry));
            let before = self.before(latest, failing.kind, &failing.rule, is_good).await?;
            let Some(entry) = before.flatten() else { return Ok(None) };
            if !self.is_kept(&entry).await? || self.unvouched(&entry.rule, entry.digest).await?.is_some() {
                bad.push(entry);
                continue;
            }
            match self.rule(&entry, None).await {
                Ok(_) => return Ok(Some(entry)),
                // That is not the version's doing, and it may be the best there is.
                Err(error) if error.passes() && self.put_off().once_more(&entry) => return Err(error),
                Err(_) => bad.push(entry),
            }
        }
    }

    fn put_off(&self) -> MutexGuard<'_, PutOff> {
        // Who and how often: both are whole even after a panic.
        self.0.put_off.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often putting a rule aside was put off for a good version that could not be loaded just then. It is tried again
/// when the failing rule fails next, but not for ever: where there is too little memory to compile it, there may be too
/// little each time.
#[derive(Default)]
pub(super) struct PutOff(Option<Entry>, u32);

impl PutOff {
    fn once_more(&mut self, waited_for: &Entry) -> bool {
        if self.0.as_ref() != Some(waited_for) {
            *self = Self(Some(waited_for.clone()), 0);
        }
        self.1 += 1;
        self.1 <= MOST_PUT_OFF
    }
}

/// What came of putting a rule aside.
enum Aftermath {
    PutAside,
    /// It is not what is in force any more.
    GoneAlready,
    /// Nothing could take its place.
    LastResort,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rules::SettingsRef;

    #[test]
    fn a_good_version_is_waited_for_three_times_and_the_next_one_as_often() {
        let entry = |rule: &str| Entry {
            rule: rule.to_owned(),
            kind: Kind::Threshold,
            mode: Mode::Active,
            digest: None,
            settings: SettingsRef::Stored(1),
        };
        let mut put_off = PutOff::default();
        for name in ["good", "older"] {
            let waited: Vec<_> = (0..5).map(|_| put_off.once_more(&entry(name))).collect();
            assert_eq!(waited, [true, true, true, false, false], "{name}");
        }
    }
}
