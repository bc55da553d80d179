//! The one way from a generation to the next. It is made and tried beside the one in force; when the database has it,
//! it is put in its place. If anything fails before, nothing has changed.

use super::{Actor, ChangeError, Changed, Moment, Registry};
use crate::clock;
use crate::rules::InForce;
use crate::store::Store;
use crate::store::rules::{AuditAction, Entry, Fresh, Generation, Made, Told};

/// How often a change that does not say which generation it means is tried again over one that came before it.
const ATTEMPTS: u32 = 5;

/// What the next generation is to be, and what the log is told of it.
pub(super) struct Next {
    pub(super) entries: Vec<Entry>,
    pub(super) told: Vec<Told>,
    /// Settings that somebody gives for the first time.
    pub(super) fresh: Option<Fresh>,
}

impl Registry {
    /// A change that shall not lock out the one who asks for it.
    pub(super) async fn change_by(
        &self,
        expected: Option<i64>,
        actor: &Actor,
        force: bool,
        now: &Moment,
        plan: impl AsyncFn(&Generation) -> Result<Option<Next>, ChangeError>,
    ) -> Result<Changed, ChangeError> {
        if force {
            self.may_force(actor, &now.report)?;
        }
        let check = |next: &InForce| {
            if force {
                Ok(())
            } else {
                self.stays_open(next, actor, &now.report)
            }
        };
        self.change_if(expected, plan, check, Some(now)).await
    }

    pub(super) async fn change(
        &self,
        expected: Option<i64>,
        plan: impl AsyncFn(&Generation) -> Result<Option<Next>, ChangeError>,
    ) -> Result<Changed, ChangeError> {
        self.change_if(expected, plan, |_| Ok(()), None).await
    }

    /// The one way to another generation. The caller has the turn.
    async fn change_if(
        &self,
        expected: Option<i64>,
        plan: impl AsyncFn(&Generation) -> Result<Option<Next>, ChangeError>,
        check: impl Fn(&InForce) -> Result<(), ChangeError>,
        tried: Option<&Moment>,
    ) -> Result<Changed, ChangeError> {
        let none = || Generation {
            number: 0,
            made_ms: 0,
            entries: Vec::new(),
        };
        let mut behind = 0;
        for _ in 0..ATTEMPTS {
            let latest = self.0.store.ask(|store| store.latest_generation()).await?;
            let latest = latest.unwrap_or_else(none);
            if expected.is_some_and(|expected| expected != latest.number) {
                return Err(ChangeError::Behind { latest: latest.number });
            }
            let Some(next) = plan(&latest).await? else {
                return self.unchanged(latest).await;
            };
            let candidate = Generation {
                number: latest.number + 1,
                made_ms: now_ms(),
                entries: next.entries.clone(),
            };
            self.are_vouched_for(&latest, &candidate).await?;
            let built = self.build_with(candidate, next.fresh.as_ref()).await;
            let built = built.map_err(|(entry, error)| in_the_way(&latest, entry, error))?;
            if let Some(now) = tried {
                self.try_new(&latest, &built, now).await?;
            }
            check(&built)?;
            let make = move |store: &Store| {
                store.make_generation(latest.number, &next.entries, &next.told, next.fresh.as_ref(), now_ms())
            };
            match self.0.store.ask(make).await? {
                Made::Done(generation) => {
                    let in_force = self.put(InForce { generation, ..built });
                    self.look_aside().await;
                    return Ok(Changed {
                        in_force,
                        changed: true,
                    });
                }
                Made::Behind(other) => behind = other.number,
                Made::Gone(digest) => {
                    let why = format!("the version {digest} was deleted meanwhile; upload it again");
                    return Err(ChangeError::Conflict(why));
                }
            }
        }
        Err(ChangeError::Behind { latest: behind })
    }

    /// Lets every rule that is new in a generation answer once, over a made-up round and the latest real one.
    async fn try_new(&self, latest: &Generation, built: &InForce, now: &Moment) -> Result<(), ChangeError> {
        let both = built.generation.entries.iter().zip(&built.rules);
        for (_, rule) in both.filter(|(entry, _)| !latest.entries.contains(entry)) {
            self.try_out(rule.module().clone(), rule.settings().to_owned(), now.snapshot.clone())
                .await?;
        }
        Ok(())
    }

    /// Nothing is to be changed; but another may have changed something that is not in force here yet.
    async fn unchanged(&self, latest: Generation) -> Result<Changed, ChangeError> {
        let current = self.0.rules.current();
        let in_force = match current.generation.number == latest.number && self.0.rules.is_begun() {
            true => current,
            false => {
                let built = self.build(latest).await.map_err(|(_, error)| error)?;
                self.put(built)
            }
        };
        Ok(Changed {
            in_force,
            changed: false,
        })
    }

    pub(super) fn told(&self, entry: &Entry, deed: AuditAction, actor: &Actor, note: &str) -> Told {
        Told {
            digest: entry.digest,
            settings_id: Some(entry.settings),
            note: note.to_owned(),
            ..Told::of(&entry.rule, deed, &actor.by, now_ms())
        }
    }
}

/// Whoever changes one rule is told by name of another that fails.
fn in_the_way(latest: &Generation, entry: Option<Entry>, error: ChangeError) -> ChangeError {
    match entry.filter(|entry| latest.entries.contains(entry)) {
        Some(entry) if !matches!(error, ChangeError::Store(_)) => ChangeError::InTheWay {
            rule: entry.rule,
            why: crate::error_chain::error_chain(&error),
        },
        _ => error,
    }
}

pub(super) fn now_ms() -> i64 {
    i64::try_from(clock::now_ms()).unwrap_or(i64::MAX)
}
