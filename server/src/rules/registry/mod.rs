//! The one place where it changes which rules are in force. Every change is a generation: it is made and tried beside
//! the one in force, kept in the database, and only then put in its place. So it is there after a restart, and for all
//! who share the database.

mod advance;
mod ahead;
mod back;
mod background;
mod begin;
mod beside;
mod build;
mod change;
mod error;
mod follow;
mod from_folder;
mod heal;
mod let_go;
mod lockout;
mod trials;
mod upload;
mod vouch;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde::Serialize;
use tokio::sync::{Mutex as Turn, Notify, Semaphore};
use utoipa::ToSchema;
use watchpost_policies::{Digest, Identity, Kind, Report, Snapshot, Verdict};

pub use self::beside::{GivenUp, Question};
pub use self::change::{Activation, Changed, Wish};
pub use self::error::ChangeError;
pub use self::from_folder::{Placing, by_folder};
pub use self::heal::Aside;
pub use self::trials::{Begun, TrialOrder};
pub use self::upload::{Brought, Outcome, Uploaded};

use self::beside::Questions;
use self::heal::PutOff;
use self::trials::Trials;
use self::upload::Uploads;

use super::compiler::Compiler;
use super::folder::Line;
use super::provenance::Provenance;
use super::{InForce, Rules, Settings};
use crate::metrics::Own;
use crate::store::Store;
use crate::store::rules::{By, Entry, Mode};

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    rules: Rules,
    store: Store,
    compiler: Compiler,
    options: ArcSwap<Options>,
    /// Whoever changes something here does it alone; those elsewhere are told apart by the database.
    changing: Turn<()>,
    /// The one before, so that nothing has to be loaded to go back to it.
    previous: Mutex<Option<Arc<InForce>>>,
    behind: Mutex<Option<Behind>>,
    aside: Mutex<Vec<Aside>>,
    /// What was put aside since this process began; nobody goes back to it by themselves.
    failed: Mutex<Vec<Entry>>,
    /// How often putting a rule aside was put off.
    put_off: Mutex<PutOff>,
    uploads: Mutex<Uploads>,
    trials: Mutex<Trials>,
    trying: Arc<Semaphore>,
    /// How the files are that rules come from by themselves.
    folder: Mutex<Vec<Line>>,
    /// The role rule that failed too often, and how.
    role_failed: Mutex<Option<(Entry, String)>>,
    role_fails: Notify,
    /// That somebody may have brought something elsewhere.
    brought: Notify,
    /// Decisions that a role rule in shadow is asked about.
    questions: Questions,
    own: Arc<Own>,
}

/// What the configuration says of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The settings of the rules that Watchpost brings.
    pub configured: Settings,
    /// Certificates that may always change rules.
    pub break_glass: Vec<Digest>,
    /// A rule that fails so often, one time after the other, is put aside.
    pub faults_in_a_row: u32,
    /// Who has to vouch for what somebody brings.
    pub provenance: Provenance,
}

/// Who changes something.
#[derive(Clone, Debug)]
pub struct Actor {
    /// As the log names them.
    pub by: By,
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
pub struct Behind {
    /// Its number.
    pub generation: i64,
    /// What stands in the way.
    pub why: String,
}

impl Registry {
    /// Of the rules that are changed, and the store that remembers.
    pub fn new(rules: Rules, store: Store, compiler: Compiler, options: Options, own: Arc<Own>) -> Self {
        Self(Arc::new(Inner {
            rules,
            store,
            compiler,
            options: ArcSwap::from_pointee(options),
            changing: Turn::new(()),
            previous: Mutex::default(),
            behind: Mutex::default(),
            aside: Mutex::default(),
            failed: Mutex::default(),
            put_off: Mutex::default(),
            uploads: Mutex::default(),
            trials: Mutex::default(),
            trying: trials::turns(),
            folder: Mutex::default(),
            role_failed: Mutex::default(),
            role_fails: Notify::new(),
            brought: Notify::new(),
            questions: Questions::default(),
            own,
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

    /// The generation that should be in force and is not loaded here, or not yet.
    pub fn behind(&self) -> Option<Behind> {
        self.0.behind.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hears what came of asking the role rule. One that fails too often is put aside.
    pub fn role_answered(&self, in_force: &InForce, verdict: &Verdict) {
        let failed = match verdict {
            Verdict::Fault { fault } => Some(fault),
            _ => None,
        };
        let is_enough = in_force.role_answered(failed) >= self.0.options.load().faults_in_a_row;
        // Others may have put it aside already, so it matters which one it was that failed.
        let failing = slot(&in_force.generation.entries, Kind::Role, "").filter(|_| is_enough);
        if let (Some(entry), Some(fault)) = (failing, failed) {
            let failed = Some((entry.clone(), fault.to_string()));
            *self.0.role_failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
            self.0.role_fails.notify_one();
        }
    }

    /// Says that a generation is on its way while it takes long to be loaded.
    fn note_under_way(&self, generation: i64) {
        let mut noted = self.0.behind.lock().unwrap_or_else(PoisonError::into_inner);
        let why = "a rule of it is being compiled here".to_owned();
        // Why it could not be loaded before is more than that.
        noted.get_or_insert(Behind { generation, why });
    }

    fn note_behind(&self, behind: Option<Behind>) {
        let mut noted = self.0.behind.lock().unwrap_or_else(PoisonError::into_inner);
        match &behind {
            Some(behind) if noted.as_ref() != Some(behind) => log::error!(
                generation = behind.generation, reason = behind.why.as_str();
                "a generation of rules cannot be loaded here; the last good one stays in force"
            ),
            None if noted.is_some() => log::info!("the generation of rules that all others have is loaded here too"),
            _ => {}
        }
        *noted = behind;
    }

    fn previous(&self) -> Option<Arc<InForce>> {
        self.0.previous.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a generation in force that was made and kept.
    fn put(&self, next: InForce) -> Arc<InForce> {
        let last = self.0.rules.current();
        let next = self.0.rules.put(next);
        *self.0.previous.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
        self.note_behind(None);
        self.0.own.rules_in_force(next.generation.number);
        log::info!(generation = next.generation.number; "rules are in force");
        next
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
    fn configured(&self, name: &str) -> String {
        let configured = &self.0.options.load().configured;
        match self.builtin_kind(name) {
            Some(Kind::Threshold) => configured.threshold.clone(),
            Some(Kind::Role) => configured.role.clone(),
            None => "{}".to_owned(),
        }
    }
}

/// What stands for a rule in a generation: of a role rule there is one, whatever it is called.
fn slot<'e>(entries: &'e [Entry], kind: Kind, name: &str) -> Option<&'e Entry> {
    let is_it =
        |entry: &&Entry| entry.mode == Mode::Active && entry.kind == kind && (kind == Kind::Role || entry.rule == name);
    entries.iter().find(is_it)
}
