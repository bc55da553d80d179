//! Puts rules aside that fail again and again: what was good before is in force again, and it is told loudly.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;
use watchpost_policies::{Digest, Kind, Report};

use super::change::now_ms;
use super::{Actor, ChangeError, Registry, slot};
use crate::judge::Judged;
use crate::store::rules::{By, Deed, Entry, Generation};

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

/// How often each rule failed, one time after the other.
#[derive(Default)]
struct Streaks(HashMap<(String, Digest), u32>);

impl Streaks {
    /// Counts a round; what reached the limit comes back, and begins anew.
    fn count(&mut self, report: &Report, limit: u32) -> Vec<(String, Digest, String)> {
        let failed = |(rule, digest): &(String, Digest)| {
            let is_it = |fault: &&watchpost_policies::Fault| fault.rule == *rule && fault.digest == *digest;
            report.faults().iter().any(|fault| is_it(&fault))
        };
        self.0.retain(|key, _| failed(key));
        let mut enough = Vec::new();
        for fault in report.faults() {
            let streak = self.0.entry((fault.rule.clone(), fault.digest)).or_default();
            *streak += 1;
            if *streak >= limit {
                *streak = 0;
                enough.push((fault.rule.clone(), fault.digest, fault.to_string()));
            }
        }
        enough
    }
}

impl Registry {
    /// Watches rules fail, for ever.
    pub async fn heal(self, mut judged: watch::Receiver<Option<Arc<Judged>>>) {
        let mut streaks = Streaks::default();
        loop {
            tokio::select! {
                changed = judged.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let latest = judged.borrow_and_update().clone();
                    let Some(judged) = latest else { continue };
                    let limit = self.0.options.load().faults_in_a_row;
                    for (rule, digest, why) in streaks.count(&judged.report, limit) {
                        self.put_aside_loudly(Kind::Threshold, &rule, digest, &why).await;
                    }
                }
                () = self.0.role_fails.notified() => {
                    let current = self.0.rules.current();
                    let role = current.set.role();
                    let why = current.last_role_fault();
                    self.put_aside_loudly(Kind::Role, role.name(), role.module().digest(), &why).await;
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
        if let Ok(told) = self.0.store.ask(|store| store.rules_put_aside()).await {
            let aside = told.into_iter().map(|told| Aside {
                rule: told.name,
                digest: told.digest,
                since_ms: told.time_ms,
                why: told.note,
            });
            *self.0.aside.lock().unwrap_or_else(PoisonError::into_inner) = aside.collect();
        }
    }

    async fn put_aside_loudly(&self, kind: Kind, rule: &str, digest: Digest, why: &str) {
        match self.put_aside(kind, rule, digest, why).await {
            Ok(true) => {
                self.0.own.rule_put_aside(rule);
                log::error!(rule, digest:%, reason = why; "a rule failed too often and was put aside; what was good before is in force again");
            }
            Ok(false) => {
                log::error!(rule, digest:%, reason = why; "a rule fails again and again, and there is nothing to put in its place")
            }
            Err(error) => {
                let cannot = crate::reload::told(&error);
                log::error!(rule, digest:%, reason = cannot.as_str(); "a rule fails again and again, and cannot be put aside now");
            }
        }
        self.look_aside().await;
    }

    /// Whether it was put aside.
    async fn put_aside(&self, kind: Kind, rule: &str, digest: Digest, why: &str) -> Result<bool, ChangeError> {
        let _turn = self.0.changing.lock().await;
        let actor = Actor {
            by: By::ourselves(),
            identity: None,
            break_glass: false,
        };
        let changed = self.change(None, async |latest: &Generation| {
            let now = slot(&latest.entries, kind, rule);
            // What the program brings is the last resort, and somebody else may have changed it already.
            let Some(failing) = now.filter(|entry| entry.digest == Some(digest)).cloned() else {
                return Ok(None);
            };
            self.0
                .failed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(failing.clone());
            let mut bad = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let before = loop {
                let is_good = |entry: Option<&Entry>| entry.is_none_or(|entry| !bad.contains(entry));
                match self.before(latest, kind, rule, is_good).await?.flatten() {
                    // Nobody may put it in force by hand, so it does not come back by itself.
                    Some(entry) if self.unvouched(&entry).await?.is_some() => bad.push(entry),
                    before => break before,
                }
            };
            let before = match (kind, before) {
                // Somebody has to decide; who may do nothing but look for help is better than nobody.
                (Kind::Role, None) => Some(self.closed().await?),
                (_, before) => before,
            };
            let mut next = self.back_to(latest, kind, rule, before, Deed::PutAside, &actor, why);
            for told in &mut next.told {
                told.digest = Some(digest.to_string());
                told.settings_id = Some(failing.settings);
                told.time_ms = now_ms();
            }
            Ok(Some(next))
        });
        Ok(changed.await?.changed)
    }
}
