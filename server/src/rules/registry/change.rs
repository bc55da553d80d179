//! Changes of what is in force. The next generation is made and tried beside the one in force; when the database has
//! it, it is put in its place. If anything fails before, nothing has changed.

use std::sync::Arc;

use serde_json::{Map, Value};
use watchpost_policies::{Action, Decision, Digest, Kind, Report, Request, Verdict};

use super::{Actor, ChangeError, Moment, Registry, slot};
use crate::clock;
use crate::rules::InForce;
use crate::store::Store;
use crate::store::rules::{Deed, Deleted, Entry, Generation, Made, Mode, Told, Version};

/// How often a change that does not say which generation it means is tried again over one that came before it.
const ATTEMPTS: u32 = 5;

/// Generations that are looked at for one to go back to.
const FAR_BACK: i64 = 500;

/// What somebody wants in force.
#[derive(Clone, Debug)]
pub struct Activation {
    /// Which rule.
    pub rule: String,
    /// Which version.
    pub digest: Digest,
    /// How it takes part.
    pub mode: Mode,
    /// Under which settings; those that it was brought with, or else those that the rule has, if none are told.
    pub settings: Option<Map<String, Value>>,
    /// Whether it shall be in force even if the one who asks could not change it any more.
    pub force: bool,
    /// What the one who asks says of it.
    pub note: String,
    /// The generation that was looked at before.
    pub expected: Option<i64>,
}

/// That something about a rule shall be otherwise than it is.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'w> {
    /// Which rule.
    pub rule: &'w str,
    /// The generation that was looked at before.
    pub expected: Option<i64>,
    /// Whether it shall be so even if the one who asks could not change it any more.
    pub force: bool,
    /// What the one who asks says of it.
    pub note: &'w str,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Changed {
    /// What is in force now.
    pub in_force: Arc<InForce>,
    /// Whether that is another generation than before.
    pub changed: bool,
}

/// What the next generation is to be, and what the log is told of it.
pub(super) struct Next {
    pub(super) entries: Vec<Entry>,
    pub(super) told: Vec<Told>,
}

impl Registry {
    /// Puts a version in force, or beside what is.
    pub async fn activate(&self, wanted: &Activation, actor: &Actor, now: &Moment) -> Result<Changed, ChangeError> {
        let _turn = self.0.changing.lock().await;
        let (kind, digest, brought_with) = self.version_of(&wanted.rule, wanted.digest).await?;
        let given = match &wanted.settings {
            Some(settings) => Some(
                self.keep_settings(&wanted.rule, Value::Object(settings.clone()).to_string(), &actor.by)
                    .await?,
            ),
            None => None,
        };
        let plan = async |latest: &Generation| {
            let settings = match given
                .or(brought_with)
                .or_else(|| settings_of(&latest.entries, &wanted.rule))
            {
                Some(settings) => settings,
                None => self.configured_settings(&wanted.rule).await?,
            };
            let entry = Entry {
                rule: wanted.rule.clone(),
                kind,
                mode: wanted.mode,
                digest,
                settings,
            };
            if latest.entries.contains(&entry) {
                return Ok(None);
            }
            let mut entries = latest.entries.clone();
            // One version counts and one is compared; of role rules that holds whatever they are called.
            entries.retain(|other| {
                other.mode != wanted.mode || (other.rule != entry.rule && (kind != Kind::Role || other.kind != kind))
            });
            // What counts now needs no comparing with itself, under whatever settings.
            if wanted.mode == Mode::Active {
                let beside = |other: &Entry| other.mode == Mode::Shadow && other.rule == entry.rule;
                entries.retain(|other| !(beside(other) && other.digest == entry.digest));
            }
            let deed = match wanted.mode {
                Mode::Active => Deed::Activated,
                Mode::Shadow => Deed::Shadowed,
            };
            let told = self.told(&entry, deed, actor, &wanted.note);
            entries.push(entry);
            Ok(Some(Next {
                entries,
                told: vec![told],
            }))
        };
        self.change_by(wanted.expected, actor, wanted.force, now, plan).await
    }

    /// Takes a rule out of what counts, or of what is compared. Somebody has to decide, so the role rule stays.
    pub async fn retire(
        &self,
        Wish {
            rule, expected, note, ..
        }: &Wish<'_>,
        mode: Mode,
        actor: &Actor,
    ) -> Result<Changed, ChangeError> {
        let _turn = self.0.changing.lock().await;
        self.change(*expected, async |latest| {
            let is_it = |entry: &&Entry| entry.rule == *rule && entry.mode == mode;
            let Some(entry) = latest.entries.iter().find(is_it) else {
                self.kind_of(rule).await?;
                return Ok(None);
            };
            if entry.kind == Kind::Role && mode == Mode::Active {
                let why = "somebody has to decide who may do what; activate another role rule instead";
                return Err(ChangeError::Conflict(why.to_owned()));
            }
            let told = self.told(entry, Deed::Retired, actor, note);
            let entries = latest.entries.iter().filter(|other| *other != entry).cloned().collect();
            Ok(Some(Next {
                entries,
                told: vec![told],
            }))
        })
        .await
    }

    /// Puts in force again what a rule was before the last change of it. Twice is as if nothing had been.
    pub async fn roll_back(&self, wish: &Wish<'_>, actor: &Actor, now: &Moment) -> Result<Changed, ChangeError> {
        let Wish { rule, note, .. } = *wish;
        let _turn = self.0.changing.lock().await;
        let kind = self.kind_of(rule).await?;
        let plan = async |latest: &Generation| {
            let before = self.before(latest, kind, rule, |_| true).await?;
            let Some(before) = before else {
                let why = format!("the rule {rule} was never otherwise than now; there is nothing to go back to");
                return Err(ChangeError::Conflict(why));
            };
            Ok(Some(self.back_to(
                latest,
                kind,
                rule,
                before,
                Deed::RolledBack,
                actor,
                note,
            )))
        };
        self.change_by(wish.expected, actor, wish.force, now, plan).await
    }

    /// Gives a rule other settings wherever it takes part; those of the configuration, if none are told.
    pub async fn set_settings(
        &self,
        wish: &Wish<'_>,
        settings: Option<Map<String, Value>>,
        actor: &Actor,
        now: &Moment,
    ) -> Result<Changed, ChangeError> {
        let Wish { rule, note, .. } = *wish;
        let _turn = self.0.changing.lock().await;
        self.kind_of(rule).await?;
        let id = match settings {
            Some(settings) => {
                self.keep_settings(rule, Value::Object(settings).to_string(), &actor.by)
                    .await?
            }
            None => self.configured_settings(rule).await?,
        };
        let plan = async |latest: &Generation| {
            let mut entries = latest.entries.clone();
            let mut told = Vec::new();
            let mut takes_part = false;
            for entry in entries.iter_mut().filter(|entry| entry.rule == rule) {
                takes_part = true;
                if entry.settings != id {
                    entry.settings = id;
                    told.push(self.told(entry, Deed::Configured, actor, note));
                }
            }
            if !takes_part {
                let why = format!("the rule {rule} takes no part; give its settings when you activate it");
                return Err(ChangeError::Conflict(why));
            }
            told.truncate(1);
            Ok((!told.is_empty()).then_some(Next { entries, told }))
        };
        self.change_by(wish.expected, actor, wish.force, now, plan).await
    }

    /// What a rule's place was before the last change of it that `is_good` accepts: an entry, or nothing where it took
    /// no part. The outer absence says that it was never otherwise.
    pub(super) async fn before(
        &self,
        latest: &Generation,
        kind: Kind,
        rule: &str,
        is_good: impl Fn(Option<&Entry>) -> bool,
    ) -> Result<Option<Option<Entry>>, ChangeError> {
        let number = latest.number;
        let older = self
            .0
            .store
            .ask(move |store| store.generations_before(number, FAR_BACK))
            .await?;
        let now = slot(&latest.entries, kind, rule);
        let slots = older.iter().map(|generation| slot(&generation.entries, kind, rule));
        let other = slots.into_iter().find(|before| *before != now && is_good(*before));
        Ok(other.map(Option::<&Entry>::cloned))
    }

    #[expect(clippy::too_many_arguments, reason = "each is another word of the same sentence")]
    pub(super) fn back_to(
        &self,
        latest: &Generation,
        kind: Kind,
        rule: &str,
        before: Option<Entry>,
        deed: Deed,
        actor: &Actor,
        note: &str,
    ) -> Next {
        let now = slot(&latest.entries, kind, rule);
        let mut entries: Vec<_> = latest
            .entries
            .iter()
            .filter(|entry| Some(*entry) != now)
            .cloned()
            .collect();
        let named = before.as_ref().or(now).cloned();
        entries.extend(before);
        let mut told = Told {
            note: note.to_owned(),
            ..Told::of(rule, deed, &actor.by, now_ms())
        };
        if let Some(entry) = named {
            told.digest = entry.digest.map(|digest| digest.to_string());
            told.settings_id = Some(entry.settings);
        }
        Next {
            entries,
            told: vec![told],
        }
    }

    /// A change that shall not lock out the one who asks for it.
    async fn change_by(
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
            let built = self.build(candidate).await;
            let built = built.map_err(|(entry, error)| in_the_way(&latest, entry, error))?;
            if let Some(now) = tried {
                self.try_new(&latest, &built, now).await?;
            }
            check(&built)?;
            let make = move |store: &Store| store.make_generation(latest.number, &next.entries, &next.told, now_ms());
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

    fn stays_open(&self, next: &InForce, actor: &Actor, report: &Report) -> Result<(), ChangeError> {
        let Some(identity) = &actor.identity else { return Ok(()) };
        let now = self.0.rules.current();
        let of = |loaded: &InForce| slot(&loaded.generation.entries, Kind::Role, "").cloned();
        if of(next) == of(&now) {
            return Ok(());
        }
        let asked = Request::new(identity, Action::RulesWrite);
        let decision = next.set.decide_afresh(&asked, report);
        let refused = match decision.map(|decision| decision.verdict) {
            Ok(Verdict::Allow) => return Ok(()),
            Ok(Verdict::Deny { reason }) => reason,
            Ok(Verdict::Fault { fault }) => fault.to_string(),
            Err(busy) => busy.to_string(),
        };
        Err(ChangeError::Conflict(format!(
            "under this role rule you could not change rules any more; it says: {refused}. Nothing was changed; give \
             yourself the right to {} in its settings",
            Action::RulesWrite
        )))
    }

    fn may_force(&self, actor: &Actor, report: &Report) -> Result<(), ChangeError> {
        let is_admin = |decision: Decision| decision.is_allowed() && decision.roles.iter().any(|role| role == "admin");
        let decided = actor.identity.as_ref().and_then(|identity| {
            let asked = Request::new(identity, Action::RulesWrite);
            self.0.rules.current().set.decide_afresh(&asked, report).ok()
        });
        match actor.break_glass && decided.is_some_and(is_admin) {
            true => Ok(()),
            false => Err(ChangeError::MayNotForce(
                "only those may force who are admin by the rule in force and whose certificate is in rules.break_glass",
            )),
        }
    }

    pub(super) fn told(&self, entry: &Entry, deed: Deed, actor: &Actor, note: &str) -> Told {
        Told {
            digest: entry.digest.map(|digest| digest.to_string()),
            settings_id: Some(entry.settings),
            note: note.to_owned(),
            ..Told::of(&entry.rule, deed, &actor.by, now_ms())
        }
    }

    /// Lets versions go that take no part.
    pub async fn delete(&self, rule: &str, version: Option<Digest>, actor: &Actor) -> Result<Deleted, ChangeError> {
        let _turn = self.0.changing.lock().await;
        let (rule, by) = (rule.to_owned(), actor.by.clone());
        let deleted = self
            .0
            .store
            .ask(move |store| store.delete_rule(&rule, version, &by, now_ms()));
        Ok(deleted.await?)
    }

    /// Which contract a rule keeps; it has to be there.
    async fn kind_of(&self, rule: &str) -> Result<Kind, ChangeError> {
        if let Some(kind) = self.builtin_kind(rule) {
            return Ok(kind);
        }
        let name = rule.to_owned();
        let versions = self.0.store.ask(move |store| store.rule_versions(Some(&name))).await?;
        let first = versions.first().ok_or_else(|| ChangeError::NoRule(rule.to_owned()));
        Ok(first?.kind())
    }

    /// Which contract a version keeps, how an entry names it, and the settings that it was brought with.
    pub(super) async fn version_of(
        &self,
        rule: &str,
        digest: Digest,
    ) -> Result<(Kind, Option<Digest>, Option<i64>), ChangeError> {
        let own = self.builtin_kind(rule);
        if let Some(kind) = own.filter(|kind| self.0.rules.builtin(*kind).digest() == digest) {
            return Ok((kind, None, None));
        }
        let version = self.0.store.ask(move |store| store.rule_version(digest)).await?;
        match version.filter(|version| version.name == rule) {
            Some(version) => Ok((version.kind(), Some(digest), version.settings_id)),
            None => {
                self.kind_of(rule).await?;
                Err(ChangeError::NoVersion {
                    rule: rule.to_owned(),
                    digest,
                })
            }
        }
    }
}

/// Whoever changes one rule is told by name of another that fails.
fn in_the_way(latest: &Generation, entry: Option<Entry>, error: ChangeError) -> ChangeError {
    match entry.filter(|entry| latest.entries.contains(entry)) {
        Some(entry) if !matches!(error, ChangeError::Store(_)) => ChangeError::InTheWay {
            rule: entry.rule,
            why: crate::reload::told(&error),
        },
        _ => error,
    }
}

/// The settings that a rule has already, wherever it takes part.
fn settings_of(entries: &[Entry], rule: &str) -> Option<i64> {
    let of_rule = entries.iter().filter(|entry| entry.rule == rule);
    // What counts comes first.
    of_rule.min_by_key(|entry| entry.mode).map(|entry| entry.settings)
}

impl Version {
    /// Which contract it keeps.
    pub fn kind(&self) -> Kind {
        match self.kind.as_str() {
            "role" => Kind::Role,
            _ => Kind::Threshold,
        }
    }
}

pub(super) fn now_ms() -> i64 {
    i64::try_from(clock::now_ms()).unwrap_or(i64::MAX)
}
