//! A pool of threads that call statfs. A call to a dead file system may block forever and cannot be cancelled,
//! so its thread is abandoned, and the mount is not queried again until the call returns.
//!
//! The number of abandoned threads is limited, and the last slots are reserved for mounts that answered before
//! and for local ones. As long as all mounts answer, one thread queries all of them.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::Mount;
use super::usage::Usage;

/// The maximum number of waiting threads for a mount that has not answered before.
const MAX_NEW_WORKERS: usize = 8;

/// The maximum for a mount that answered last time, and probably will again.
const MAX_WORKERS: usize = 12;

/// The maximum if that mount is also local. No thread is started beyond it.
const MAX_WORKERS_LOCAL: usize = 16;

/// A healthy file system answers in microseconds. If one takes longer, the next is queried in parallel.
const INLINE_WAIT: Duration = Duration::from_millis(50);

/// A thread makes one system call and needs little stack.
const STACK_BYTES: usize = 128 * 1024;

/// The identity of a mount, different from that of a later mount at the same point.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MountKey {
    id: u64,
    device_number: String,
    mount_point: PathBuf,
}

impl MountKey {
    pub(super) fn of(mount: &Mount) -> Self {
        Self {
            id: mount.id,
            device_number: mount.device_number.clone(),
            mount_point: mount.mount_point.clone(),
        }
    }
}

/// A mount to query.
#[derive(Clone, Debug)]
pub(super) struct MountRequest {
    pub(super) key: MountKey,
    pub(super) path: PathBuf,
    /// Whether the kernel alone answers, without a server or a user-space program.
    pub(super) is_local: bool,
}

/// The result of querying a mount.
#[derive(Debug)]
pub(super) enum StatfsOutcome {
    Measured(Usage),
    Failed(io::Error),
    /// A thread has been waiting for the answer since then.
    Hanging {
        since_ms: u64,
    },
    NotQueried {
        reason: String,
    },
}

/// The system call; replaced in tests.
pub(super) type StatfsFn = Arc<dyn Fn(&Path) -> io::Result<Usage> + Send + Sync>;

/// The pool.
pub(super) struct StatfsPool {
    name: String,
    timeout: Duration,
    statfs: StatfsFn,
    idle: Vec<StatfsWorker>,
    abandoned: Vec<Pending>,
    /// The mounts that answered the last query.
    known: HashSet<MountKey>,
    answers: Receiver<StatfsResult>,
    to_answers: Sender<StatfsResult>,
    last_worker: u64,
}

/// A thread. It ends after its current call when this is dropped.
struct StatfsWorker {
    id: u64,
    paths: Sender<PathBuf>,
}

/// A thread that waits for an answer.
struct Pending {
    worker: StatfsWorker,
    key: MountKey,
    since: Instant,
    since_ms: u64,
}

struct StatfsResult {
    worker: u64,
    usage: io::Result<Usage>,
}

/// The queries of one round.
struct Round<'m> {
    mounts: &'m [MountRequest],
    now_ms: u64,
    outcomes: Vec<Option<StatfsOutcome>>,
    /// Indexes of the mounts still to be queried, the next one last.
    queue: Vec<usize>,
    /// Waiting threads, with the indexes of their mounts.
    waiting: Vec<(usize, Pending)>,
}

impl StatfsPool {
    /// `name` is the name of the threads.
    pub(super) fn new(name: &str, timeout: Duration, statfs: StatfsFn) -> Self {
        let (to_answers, answers) = mpsc::channel();
        Self {
            name: name.to_owned(),
            timeout,
            statfs,
            idle: Vec::new(),
            abandoned: Vec::new(),
            known: HashSet::new(),
            answers,
            to_answers,
            last_worker: 0,
        }
    }

    /// Queries all mounts and returns their results in the same order. The timeout is per mount; slow mounts are
    /// queried in parallel, so the timeouts of several dead ones do not add up.
    pub(super) fn query(&mut self, mounts: &[MountRequest], now_ms: u64) -> Vec<StatfsOutcome> {
        self.recover_workers();
        self.forget_removed_mounts(mounts);
        let mut round = Round {
            mounts,
            now_ms,
            outcomes: mounts.iter().map(|mount| self.still_hanging(mount)).collect(),
            queue: Vec::new(),
            waiting: Vec::new(),
        };
        round.queue = (0..mounts.len())
            .filter(|place| round.outcomes[*place].is_none())
            .collect();
        // The mounts with the highest limit go first, before others occupy all threads.
        round
            .queue
            .sort_by_key(|place| (self.max_threads(&mounts[*place]), usize::MAX - place));
        while !(round.queue.is_empty() && round.waiting.is_empty()) {
            self.start_queries(&mut round);
            self.wait(&mut round);
        }
        // One idle thread is enough for the next round if all mounts answer.
        self.idle.truncate(1);
        let outcome =
            |outcome: Option<StatfsOutcome>| outcome.expect("every mount that leaves the queue has an outcome");
        round.outcomes.into_iter().map(outcome).collect()
    }

    fn recover_workers(&mut self) {
        while let Ok(answer) = self.answers.try_recv() {
            self.recover_worker(&answer);
        }
    }

    /// The late result is outdated; the mount is queried again.
    fn recover_worker(&mut self, answer: &StatfsResult) {
        if let Some(at) = self
            .abandoned
            .iter()
            .position(|waiting| waiting.worker.id == answer.worker)
        {
            let waiting = self.abandoned.swap_remove(at);
            self.idle.push(waiting.worker);
        }
    }

    /// An abandoned thread counts even if its mount was removed, until its call returns.
    fn forget_removed_mounts(&mut self, mounts: &[MountRequest]) {
        let there: HashSet<_> = mounts.iter().map(|mount| &mount.key).collect();
        self.known.retain(|key| there.contains(key));
    }

    fn still_hanging(&self, mount: &MountRequest) -> Option<StatfsOutcome> {
        let waiting = self.abandoned.iter().find(|waiting| waiting.key == mount.key)?;
        Some(StatfsOutcome::Hanging {
            since_ms: waiting.since_ms,
        })
    }

    /// The maximum number of waiting threads, including this one, when this mount is queried.
    fn max_threads(&self, mount: &MountRequest) -> (usize, bool) {
        let max = match (self.known.contains(&mount.key), mount.is_local) {
            (true, true) => MAX_WORKERS_LOCAL,
            (true, false) => MAX_WORKERS,
            (false, _) => MAX_NEW_WORKERS,
        };
        (max, mount.is_local)
    }

    /// Queries the next mounts, if the limit allows another thread and the waiting ones are slow.
    fn start_queries(&mut self, round: &mut Round<'_>) {
        while let Some(place) = round.queue.last().copied() {
            let mount = &round.mounts[place];
            if self.abandoned.len() + round.waiting.len() >= self.max_threads(mount).0 {
                if !round.waiting.is_empty() {
                    return;
                }
                let reason = format!(
                    "{} threads wait for file systems that do not answer",
                    self.abandoned.len()
                );
                round.outcomes[place] = Some(StatfsOutcome::NotQueried { reason });
                round.queue.pop();
                continue;
            }
            if round.since_last().is_some_and(|since| since < INLINE_WAIT) {
                return;
            }
            round.queue.pop();
            match self.send_query(mount, round.now_ms) {
                Ok(waiting) => round.waiting.push((place, waiting)),
                Err(error) => {
                    let reason = format!("cannot start a thread: {error}");
                    round.outcomes[place] = Some(StatfsOutcome::NotQueried { reason });
                }
            }
        }
    }

    fn send_query(&mut self, mount: &MountRequest, now_ms: u64) -> io::Result<Pending> {
        let worker = match self.idle.pop() {
            Some(worker) => worker,
            None => self.start()?,
        };
        // Sending fails only if the thread panicked; the mount then times out.
        let _ = worker.paths.send(mount.path.clone());
        Ok(Pending {
            worker,
            key: mount.key.clone(),
            since: Instant::now(),
            since_ms: now_ms,
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a call to a file system may never return, so its thread must not be awaited"
    )]
    fn start(&mut self) -> io::Result<StatfsWorker> {
        self.last_worker += 1;
        let id = self.last_worker;
        let (paths, requests) = mpsc::channel::<PathBuf>();
        let statfs = Arc::clone(&self.statfs);
        let answers = self.to_answers.clone();
        thread::Builder::new()
            .name(self.name.clone())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                for path in requests {
                    let usage = statfs(&path);
                    if answers.send(StatfsResult { worker: id, usage }).is_err() {
                        return;
                    }
                }
            })?;
        Ok(StatfsWorker { id, paths })
    }

    /// Waits for one answer, or until the next query or timeout is due.
    fn wait(&mut self, round: &mut Round<'_>) {
        let Some(until) = round.until(self.timeout) else {
            return;
        };
        if let Ok(answer) = self
            .answers
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            self.take(answer, round);
        }
        let (timed_out, waiting) = round
            .waiting
            .drain(..)
            .partition(|(_, waiting)| waiting.since.elapsed() >= self.timeout);
        round.waiting = waiting;
        for (place, waiting) in timed_out {
            self.known.remove(&waiting.key);
            round.outcomes[place] = Some(StatfsOutcome::Hanging {
                since_ms: waiting.since_ms,
            });
            self.abandoned.push(waiting);
        }
    }

    fn take(&mut self, answer: StatfsResult, round: &mut Round<'_>) {
        let of_answer = |(_, waiting): &(usize, Pending)| waiting.worker.id == answer.worker;
        let Some(at) = round.waiting.iter().position(of_answer) else {
            return self.recover_worker(&answer);
        };
        let (place, waiting) = round.waiting.swap_remove(at);
        round.outcomes[place] = Some(match answer.usage {
            Ok(usage) => StatfsOutcome::Measured(usage),
            Err(error) => StatfsOutcome::Failed(error),
        });
        self.known.insert(waiting.key);
        self.idle.push(waiting.worker);
    }
}

impl Round<'_> {
    fn since_last(&self) -> Option<Duration> {
        self.waiting.iter().map(|(_, waiting)| waiting.since.elapsed()).min()
    }

    /// When the next mount is queried in parallel to the slow ones, or the first of them times out.
    fn until(&self, timeout: Duration) -> Option<Instant> {
        let since = || self.waiting.iter().map(|(_, waiting)| waiting.since);
        let timed_out = since().min()? + timeout;
        let next = since().max()? + INLINE_WAIT;
        let is_past = next <= Instant::now();
        Some(if self.queue.is_empty() || is_past {
            timed_out
        } else {
            timed_out.min(next)
        })
    }
}

#[cfg(test)]
mod tests;
