//! Rules from a folder: what lies there is checked and put in force as if somebody had brought it over the API, by the
//! same checks and into the same log. The folder is looked at again and again, for that works on every file system, over
//! renames and over links that change. What is in force, and who did it, is the registry's to know.

mod apply;
mod scan;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

pub use self::state::{FileState, FileStatus};

use self::apply::{FolderChange, by_folder};
use self::scan::{Content, Found, ScannedFile, ScannedFiles};
use self::state::{AppliedFile, KnownFile, Refused, Slot, SyncOutcome};
use super::registry::{ChangeError, Moment, Registry, UploadRequest};
use crate::error_chain::error_chain;
use crate::metrics::ServiceMetrics;
use crate::{clock, tasks};

/// A rule is in force two looks after its files were written, which is soon enough for people.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Which file has which seat, of those that were looked at before.
type Claims = BTreeMap<Slot, String>;

/// How a folder of rules and what is in force go together. Cheap to clone.
#[derive(Clone)]
pub struct FolderSync(Arc<Shared>);

struct Shared {
    registry: Registry,
    files: Mutex<Vec<FileStatus>>,
    service_metrics: Arc<ServiceMetrics>,
}

impl FolderSync {
    /// A folder that was not looked at yet, for the rules of this registry.
    pub fn new(registry: Registry, service_metrics: Arc<ServiceMetrics>) -> Self {
        Self(Arc::new(Shared {
            registry,
            files: Mutex::default(),
            service_metrics,
        }))
    }

    /// How the files of the folder are; none without a folder.
    pub fn files(&self) -> Vec<FileStatus> {
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Watches the folder, for ever.
    pub async fn run(self, folder: PathBuf, now: impl Fn() -> Moment) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watched = Watch {
            registry: self.0.registry.clone(),
            sync: self,
            folder,
            now,
            seen: None,
            files: BTreeMap::new(),
            gone: BTreeSet::new(),
            changed: BTreeSet::new(),
            is_swept: false,
            in_the_way: None,
            told: Vec::new(),
        };
        loop {
            ticks.tick().await;
            watched.look().await;
        }
    }

    fn note(&self, lines: Vec<FileStatus>) {
        let refused = lines.iter().filter(|line| line.state == FileState::Refused).count();
        self.0.service_metrics.set_folder_rejected(refused);
        *self.0.files.lock().unwrap_or_else(PoisonError::into_inner) = lines;
    }
}

/// What was made of a file that has a rule in it.
struct Taken {
    given: AppliedFile,
    /// What became of the rule, or why it cannot be in force.
    outcome: Result<SyncOutcome, ChangeError>,
}

struct Watch<N> {
    sync: FolderSync,
    registry: Registry,
    folder: PathBuf,
    /// What was measured and judged last.
    now: N,
    /// What was seen at the last look.
    seen: Option<Arc<ScannedFiles>>,
    files: BTreeMap<String, KnownFile>,
    /// Files that are gone: one that comes back is a change, also with the contents that it had.
    gone: BTreeSet<String>,
    /// Files that may have left a rule behind.
    changed: BTreeSet<String>,
    /// Whether what was left behind before this process began was taken out.
    is_swept: bool,
    /// Why what was left behind could not be taken out.
    in_the_way: Option<String>,
    told: Vec<FileStatus>,
}

impl<N: Fn() -> Moment> Watch<N> {
    async fn look(&mut self) {
        let (folder, before) = (self.folder.clone(), self.seen.clone().unwrap_or_default());
        let largest = self.registry.rules().engine().limits().component_bytes;
        let now_ms = clock::now_ms_signed();
        let known = before.clone();
        let looked = tasks::block(move || scan::look(&folder, largest, &known, now_ms)).await;
        let sights = match looked.map_err(std::io::Error::other).and_then(|looked| looked) {
            Ok(sights) => Arc::new(sights),
            // Nothing is known to be gone, then.
            Err(error) => {
                let unreadable = FileStatus::unreadable(&self.folder, &error);
                return self.tell([unreadable].into_iter().chain(self.lines(&before)).collect());
            }
        };
        let is_first = self.seen.replace(sights.clone()).is_none();
        self.let_go(&before, &sights);
        let names: BTreeSet<&String> = sights.keys().chain(before.keys()).collect();
        let mut claims = Claims::new();
        for name in names {
            let settled = sights.get(name).filter(|sight| {
                let last = before.get(name);
                last.is_some_and(|last| last.content == sight.content)
            });
            if let Some(sight) = settled.filter(|sight| self.is_due(name, sight, &claims)) {
                self.take(name, sight, &claims).await;
            }
            if let Some(known) = self.files.get_mut(name) {
                known.claim(name, &mut claims);
            }
        }
        if !is_first {
            self.sweep(&before, &sights).await;
        }
        self.tell(self.lines(&sights));
    }

    /// Forgets files that were there at neither of two looks.
    fn let_go(&mut self, before: &ScannedFiles, sights: &ScannedFiles) {
        let is_gone = |name: &String| !sights.contains_key(name) && !before.contains_key(name);
        let gone: Vec<_> = self.files.keys().filter(|name| is_gone(name)).cloned().collect();
        for name in gone {
            self.files.remove(&name);
            self.changed.insert(name.clone());
            self.gone.insert(name);
        }
    }

    fn is_due(&self, name: &str, sight: &ScannedFile, claims: &Claims) -> bool {
        let Some(known) = self.files.get(name).filter(|known| known.content == sight.content) else {
            return true;
        };
        match &known.outcome {
            SyncOutcome::Placed(_) => false,
            SyncOutcome::Duplicate(_) => known
                .given
                .as_ref()
                .is_some_and(|given| !claims.contains_key(&given.seat())),
            SyncOutcome::Refused(refused) => {
                let is_time = refused.again.is_some_and(|again| again <= Instant::now());
                is_time || !Arc::ptr_eq(&refused.under, &self.registry.options())
            }
        }
    }

    /// Brings what was there at two looks, and puts it in force.
    async fn take(&mut self, name: &str, sight: &ScannedFile, claims: &Claims) {
        let under = self.registry.options();
        let refuse = |error: &ChangeError| SyncOutcome::Refused(Refused::by(error, under.clone()));
        let (given, outcome) = match &sight.content {
            Content::Wrong(why) => (None, SyncOutcome::Refused(Refused::for_now(why.clone(), under))),
            Content::Whole(digest) => {
                let Some(found) = self.read(name).await.filter(|found| found.digest == *digest) else {
                    // It changed in this moment; the next look sees it.
                    return;
                };
                match self.bring(name, found, claims).await {
                    Ok(taken) => (Some(taken.given), taken.outcome.unwrap_or_else(|error| refuse(&error))),
                    Err(error) => (None, refuse(&error)),
                }
            }
        };
        if given.is_some() {
            self.changed.insert(name.to_owned());
        }
        if matches!(outcome, SyncOutcome::Placed(_)) {
            self.gone.remove(name);
        }
        let last = self.files.remove(name).and_then(|known| known.given);
        let known = KnownFile {
            content: sight.content.clone(),
            // What is broken now keeps the seat of what was good.
            given: given.or(last),
            outcome,
        };
        self.files.insert(name.to_owned(), known);
    }

    async fn read(&self, name: &str) -> Option<Found> {
        let (folder, name) = (self.folder.clone(), name.to_owned());
        let largest = self.registry.rules().engine().limits().component_bytes;
        let read = tasks::block(move || scan::read(&folder, &name, largest).ok());
        read.await.ok().flatten()
    }

    /// Uploads a file and puts its rule in force. An error says that it is no rule here.
    async fn bring(&self, name: &str, found: Found, claims: &Claims) -> Result<Taken, ChangeError> {
        let brought = UploadRequest {
            wasm: found.wasm,
            // They may be wrong while the component is right; activating it looks at them.
            settings: None,
            note: name.to_owned(),
            signature: found.signature,
        };
        let uploaded = self
            .registry
            .upload(brought, &by_folder(), (self.now)().snapshot)
            .await?;
        let given = AppliedFile::of(&uploaded.version);
        if let Some(first) = claims.get(&given.seat()) {
            let outcome = Ok(SyncOutcome::Duplicate(given.seat().taken_by(first)));
            return Ok(Taken { given, outcome });
        }
        let placing = FolderChange {
            file: name,
            version: &uploaded.version,
            settings: found.settings,
            is_back: self.gone.contains(name),
        };
        let placed = apply::place(&self.registry, placing, &(self.now)()).await;
        Ok(Taken {
            given,
            outcome: placed.map(SyncOutcome::Placed),
        })
    }

    /// Takes out of force what files left behind: those that are gone, and those that have another rule now.
    async fn sweep(&mut self, before: &ScannedFiles, sights: &ScannedFiles) {
        if self.is_swept && self.changed.is_empty() {
            return;
        }
        let is_left = |file: &str, rule: &str| {
            let is_given = |known: &KnownFile| known.given.as_ref().is_some_and(|given| given.rule == rule);
            let is_here = sights.contains_key(file) || before.contains_key(file);
            let is_meant = self.changed.contains(file) || (!self.is_swept && !is_here);
            let has_another = |known: &KnownFile| matches!(known.outcome, SyncOutcome::Placed(_));
            let is_over = self.files.get(file).map_or(!is_here, has_another);
            is_meant && is_over && !self.files.values().any(is_given)
        };
        match apply::take_back(&self.registry, is_left).await {
            Ok(()) => {
                self.is_swept = true;
                self.changed.clear();
                self.in_the_way = None;
            }
            Err(error) => self.in_the_way = Some(error_chain(&error)),
        }
    }

    fn lines(&self, sights: &ScannedFiles) -> Vec<FileStatus> {
        let active = self.registry.rules().current();
        let names: BTreeSet<&String> = sights.keys().chain(self.files.keys()).collect();
        let lines = names.into_iter().map(|name| {
            let is_in_force = |placed: &_| active.generation.entries.contains(placed);
            FileStatus::of(name, sights.get(name), self.files.get(name), is_in_force)
        });
        let left = self.in_the_way.iter().flat_map(|why| {
            let left = self.changed.iter().filter(|name| !sights.contains_key(*name));
            left.map(move |name| FileStatus::left_behind(name, why))
        });
        lines.chain(left).collect()
    }

    fn tell(&mut self, lines: Vec<FileStatus>) {
        for line in lines.iter().filter(|line| !self.told.contains(line)) {
            line.log();
        }
        self.sync.note(lines.clone());
        self.told = lines;
    }
}
