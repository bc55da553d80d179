//! Activates the rules of a folder. Each rule passes the same checks and goes into the same audit log as an upload
//! through the API. The folder is polled, because polling works on every file system and with renames and replaced
//! links. The registry makes the changes.

mod apply;
mod scan;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior};

pub use self::state::{FileState, FileStatus};

use self::apply::{FolderChange, by_folder};
use self::scan::{Content, Found, ScannedFile, ScannedFiles};
use self::state::{AppliedFile, KnownFile, Rejected, Slot, SyncOutcome};
use super::registry::{ChangeError, LatestRound, Registry, UploadRequest};
use crate::clock;
use crate::error_chain::error_chain;
use crate::metrics::ServiceMetrics;
use crate::tasks::{self, Tasks};

/// A rule is activated two polls after its files were written.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The file that occupies each slot, among the files processed so far.
type Claims = BTreeMap<Slot, String>;

/// The synchronization of a folder with the active rules. Cheap to clone.
#[derive(Clone)]
pub struct FolderSync(Arc<Shared>);

struct Shared {
    registry: Registry,
    files: Mutex<Vec<FileStatus>>,
    service_metrics: Arc<ServiceMetrics>,
}

impl FolderSync {
    /// A folder that has not been scanned yet.
    pub fn new(registry: Registry, service_metrics: Arc<ServiceMetrics>) -> Self {
        Self(Arc::new(Shared {
            registry,
            files: Mutex::default(),
            service_metrics,
        }))
    }

    /// The status of each file; empty without a folder.
    pub fn files(&self) -> Vec<FileStatus> {
        self.0.files.lock().clone()
    }

    /// Starts the task that polls the folder; `now` returns the latest round.
    pub fn start(&self, tasks: &Tasks, folder: PathBuf, now: impl Fn() -> LatestRound + Clone + 'static) {
        let folder_sync = self.clone();
        tasks.spawn("rules folder", move || {
            folder_sync.clone().run(folder.clone(), now.clone())
        });
    }

    /// Polls the folder, forever.
    async fn run(self, folder: PathBuf, now: impl Fn() -> LatestRound) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watched = self.watch(folder, now);
        loop {
            ticks.tick().await;
            watched.poll().await;
        }
    }

    fn watch<N: Fn() -> LatestRound>(self, folder: PathBuf, now: N) -> Watch<N> {
        Watch {
            registry: self.0.registry.clone(),
            sync: self,
            folder,
            now,
            last_scan: None,
            files: BTreeMap::new(),
            missing: BTreeSet::new(),
            changed: BTreeSet::new(),
            is_cleaned: false,
            cleanup_error: None,
            reported: Vec::new(),
        }
    }

    fn note(&self, lines: Vec<FileStatus>) {
        let rejected = lines.iter().filter(|line| line.state == FileState::Rejected).count();
        self.0.service_metrics.set_folder_rejected(rejected);
        *self.0.files.lock() = lines;
    }
}

/// The result of processing a file that contains a rule.
struct Processed {
    provided: AppliedFile,
    /// The outcome, or why the rule cannot be activated.
    outcome: Result<SyncOutcome, ChangeError>,
}

struct Watch<N> {
    sync: FolderSync,
    registry: Registry,
    folder: PathBuf,
    /// Returns the latest round and report.
    now: N,
    /// The result of the last scan.
    last_scan: Option<Arc<ScannedFiles>>,
    files: BTreeMap<String, KnownFile>,
    /// Files that are missing: one that reappears counts as a change, even with the same content.
    missing: BTreeSet<String>,
    /// Files whose previous rule may still be active.
    changed: BTreeSet<String>,
    /// Whether rules left from before the start of this process were deactivated.
    is_cleaned: bool,
    /// Why a rule without a file could not be deactivated.
    cleanup_error: Option<String>,
    reported: Vec<FileStatus>,
}

impl<N: Fn() -> LatestRound> Watch<N> {
    async fn poll(&mut self) {
        let (folder, before) = (self.folder.clone(), self.last_scan.clone().unwrap_or_default());
        let max_bytes = self.registry.rules().engine().limits().component_bytes;
        let now_ms = clock::now_ms_signed();
        let known = before.clone();
        let scanned = tasks::block(move || scan::scan(&folder, max_bytes, &known, now_ms)).await;
        let current = match scanned.map_err(std::io::Error::other).and_then(|scanned| scanned) {
            Ok(current) => Arc::new(current),
            // Without a scan, no file counts as missing.
            Err(error) => {
                let unreadable = FileStatus::unreadable(&self.folder, &error);
                return self.report([unreadable].into_iter().chain(self.lines(&before)).collect());
            }
        };
        let is_first = self.last_scan.replace(current.clone()).is_none();
        self.forget_missing(&before, &current);
        let names: BTreeSet<&String> = current.keys().chain(before.keys()).collect();
        let mut claims = Claims::new();
        for name in names {
            let settled = current.get(name).filter(|file| {
                let last = before.get(name);
                last.is_some_and(|last| last.content == file.content)
            });
            if let Some(file) = settled.filter(|file| self.is_due(name, file, &claims)) {
                self.process(name, file, &claims).await;
            }
            if let Some(known) = self.files.get_mut(name) {
                known.claim(name, &mut claims);
            }
        }
        if !is_first {
            self.clean_up(&before, &current).await;
        }
        self.report(self.lines(&current));
    }

    /// Forgets files that two scans did not find.
    fn forget_missing(&mut self, before: &ScannedFiles, current: &ScannedFiles) {
        let is_missing = |name: &String| !current.contains_key(name) && !before.contains_key(name);
        let missing: Vec<_> = self.files.keys().filter(|name| is_missing(name)).cloned().collect();
        for name in missing {
            self.files.remove(&name);
            self.changed.insert(name.clone());
            self.missing.insert(name);
        }
    }

    fn is_due(&self, name: &str, file: &ScannedFile, claims: &Claims) -> bool {
        let Some(known) = self.files.get(name).filter(|known| known.content == file.content) else {
            return true;
        };
        match &known.outcome {
            SyncOutcome::Activated(_) => false,
            SyncOutcome::Duplicate(_) => known
                .provided
                .as_ref()
                .is_some_and(|provided| !claims.contains_key(&provided.slot())),
            SyncOutcome::Rejected(rejected) => {
                let is_time = rejected.again.is_some_and(|again| again <= Instant::now());
                is_time || !Arc::ptr_eq(&rejected.under, &self.registry.options())
            }
        }
    }

    /// Uploads a file that two scans saw unchanged, and activates its rule.
    async fn process(&mut self, name: &str, file: &ScannedFile, claims: &Claims) {
        let under = self.registry.options();
        let reject = |error: &ChangeError| SyncOutcome::Rejected(Rejected::by(error, under.clone()));
        let (provided, outcome) = match &file.content {
            Content::Invalid(reason) => (None, SyncOutcome::Rejected(Rejected::for_now(reason.clone(), under))),
            Content::Valid(digest) => match self.read(name).await {
                // The file changed after the scan; the next one sees it.
                Ok(found) if found.digest != *digest => return,
                Ok(found) => match self.upload_and_activate(name, found, claims).await {
                    Ok(processed) => (
                        Some(processed.provided),
                        processed.outcome.unwrap_or_else(|error| reject(&error)),
                    ),
                    Err(error) => (None, reject(&error)),
                },
                Err(reason) => (None, SyncOutcome::Rejected(Rejected::until_retry(reason, under))),
            },
        };
        if provided.is_some() {
            self.changed.insert(name.to_owned());
        }
        if matches!(outcome, SyncOutcome::Activated(_)) {
            self.missing.remove(name);
        }
        let last = self.files.remove(name).and_then(|known| known.provided);
        let known = KnownFile {
            content: file.content.clone(),
            // A file that is broken now keeps the slot of its last good version.
            provided: provided.or(last),
            outcome,
        };
        self.files.insert(name.to_owned(), known);
    }

    /// Reads a file again that the scan could read; the error says which file is invalid and why.
    async fn read(&self, name: &str) -> Result<Found, String> {
        let (folder, name) = (self.folder.clone(), name.to_owned());
        let max_bytes = self.registry.rules().engine().limits().component_bytes;
        tasks::block(move || scan::read(&folder, &name, max_bytes)).await?
    }

    /// Uploads a file and activates its rule. An error means that the file contains no acceptable rule.
    async fn upload_and_activate(&self, name: &str, found: Found, claims: &Claims) -> Result<Processed, ChangeError> {
        let upload = UploadRequest {
            wasm: found.wasm,
            // Settings may be invalid while the component is valid; activation validates them.
            settings: None,
            note: name.to_owned(),
            signature: found.signature,
        };
        let uploaded = self
            .registry
            .upload(upload, &by_folder(), (self.now)().snapshot)
            .await?;
        let provided = AppliedFile::of(&uploaded.version);
        if let Some(first) = claims.get(&provided.slot()) {
            let outcome = Ok(SyncOutcome::Duplicate(provided.slot().conflict_with(first)));
            return Ok(Processed { provided, outcome });
        }
        let change = FolderChange {
            file: name,
            version: &uploaded.version,
            settings: found.settings,
            reappeared: self.missing.contains(name),
        };
        let activated = apply::activate(&self.registry, change, &(self.now)()).await;
        Ok(Processed {
            provided,
            outcome: activated.map(SyncOutcome::Activated),
        })
    }

    /// Deactivates the rules of files that are missing or contain another rule now.
    async fn clean_up(&mut self, before: &ScannedFiles, current: &ScannedFiles) {
        if self.is_cleaned && self.changed.is_empty() {
            return;
        }
        let is_left = |file: &str, rule: &str| {
            let is_provided = |known: &KnownFile| known.provided.as_ref().is_some_and(|provided| provided.rule == rule);
            let exists = current.contains_key(file) || before.contains_key(file);
            let is_candidate = self.changed.contains(file) || (!self.is_cleaned && !exists);
            let has_another = |known: &KnownFile| matches!(known.outcome, SyncOutcome::Activated(_));
            let is_replaced = self.files.get(file).map_or(!exists, has_another);
            is_candidate && is_replaced && !self.files.values().any(is_provided)
        };
        match apply::deactivate_missing(&self.registry, is_left).await {
            Ok(()) => {
                self.is_cleaned = true;
                self.changed.clear();
                self.cleanup_error = None;
            }
            Err(error) => self.cleanup_error = Some(error_chain(&error)),
        }
    }

    fn lines(&self, current: &ScannedFiles) -> Vec<FileStatus> {
        let active = self.registry.rules().current();
        let names: BTreeSet<&String> = current.keys().chain(self.files.keys()).collect();
        let lines = names.into_iter().map(|name| {
            let is_active = |activated: &_| active.generation.entries.contains(activated);
            FileStatus::of(name, current.get(name), self.files.get(name), is_active)
        });
        let left = self.cleanup_error.iter().flat_map(|reason| {
            let left = self.changed.iter().filter(|name| !current.contains_key(*name));
            left.map(move |name| FileStatus::still_active(name, reason))
        });
        lines.chain(left).collect()
    }

    fn report(&mut self, lines: Vec<FileStatus>) {
        for line in lines.iter().filter(|line| !self.reported.contains(line)) {
            line.log();
        }
        self.sync.note(lines.clone());
        self.reported = lines;
    }
}

#[cfg(test)]
mod tests {
    use watchpost_policies::Digest;

    use super::*;
    use crate::rules::registry::{of_store, store_in};

    #[test]
    fn a_file_that_can_no_longer_be_read_is_rejected_with_the_reason() {
        actix_web::rt::System::new().block_on(async {
            let data = tempfile::tempdir().expect("a folder");
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::create_dir(folder.path().join("load.wasm")).expect("it is created");
            let registry = of_store(&store_in(data.path()));
            let build = crate::metrics::Build {
                version: "",
                commit: "",
                rustc: "",
            };
            let sync = FolderSync::new(registry, Arc::new(ServiceMetrics::new(&build)));
            let mut watched = sync.watch(folder.path().to_owned(), || unreachable!("no rule is uploaded"));
            let scanned = ScannedFile::valid(Digest::of(b"what the scan read"));
            watched.process("load.wasm", &scanned, &Claims::new()).await;
            let known = &watched.files["load.wasm"];
            let SyncOutcome::Rejected(rejected) = &known.outcome else {
                panic!("it is rejected");
            };
            assert!(
                rejected.again.is_some(),
                "it is read again, because the scan found it readable"
            );
            let line = FileStatus::of("load.wasm", Some(&scanned), Some(known), |_| false);
            let reason = line.reason.expect("there is a reason");
            assert_eq!(reason, "load.wasm cannot be read: not a regular file");
        });
    }
}
