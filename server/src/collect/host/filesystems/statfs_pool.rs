//! Threads that ask file systems how full they are, and that are left behind when one does not answer. What a
//! thread asks is a function; what is mounted is told by who calls.
//!
//! A thread that waits for a dead file system cannot be woken by anybody. So it is abandoned, and its mount is
//! not asked again until the thread comes back by itself. The number of abandoned threads is bounded, and the
//! last places are kept for mounts that deserve them. As long as all answer, one thread asks all of them.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::Mount;
use super::usage::Usage;

/// So many threads may wait for mounts of which nothing is known yet.
const MAX_NEW_WORKERS: usize = 8;

/// So many may, if the mount in question answered the last time, for it probably will again.
const MAX_WORKERS: usize = 12;

/// So many may, if moreover nobody else answers for it. Nothing is asked beyond that.
const MAX_WORKERS_LOCAL: usize = 16;

/// A file system that is well answers in microseconds. While one takes longer than this, the next is asked beside it.
const INLINE_WAIT: Duration = Duration::from_millis(50);

/// A thread asks one question of the kernel and needs next to no stack.
const STACK_BYTES: usize = 128 * 1024;

/// What tells a mount from every other, also from the next one at the same point.
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

/// A mount that is asked.
#[derive(Clone, Debug)]
pub(super) struct MountRequest {
    pub(super) key: MountKey,
    pub(super) path: PathBuf,
    /// Whether nobody but the kernel answers for it.
    pub(super) is_local: bool,
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum StatfsOutcome {
    Told(Usage),
    Refused(io::Error),
    /// It was asked then, and a thread still waits for it.
    Silent {
        since_ms: u64,
    },
    NotAsked {
        reason: String,
    },
}

/// What a thread asks of the kernel.
pub(super) type StatfsFn = Arc<dyn Fn(&Path) -> io::Result<Usage> + Send + Sync>;

/// The threads.
pub(super) struct StatfsPool {
    name: String,
    patience: Duration,
    question: StatfsFn,
    idle: Vec<StatfsWorker>,
    abandoned: Vec<Pending>,
    /// The mounts that answered when they were asked last.
    known: HashSet<MountKey>,
    answers: Receiver<Answer>,
    to_answers: Sender<Answer>,
    last_asker: u64,
}

/// One thread. It ends when this is dropped, as soon as it has its answer.
struct StatfsWorker {
    id: u64,
    paths: Sender<PathBuf>,
}

/// A thread that waits for an answer.
struct Pending {
    asker: StatfsWorker,
    key: MountKey,
    since: Instant,
    since_ms: u64,
}

struct Answer {
    asker: u64,
    usage: io::Result<Usage>,
}

/// The mounts of one round.
struct Round<'m> {
    mounts: &'m [MountRequest],
    now_ms: u64,
    outcomes: Vec<Option<StatfsOutcome>>,
    /// Places of mounts that are still to be asked, the next one last.
    queue: Vec<usize>,
    /// Threads that wait, and the places of their mounts.
    waiting: Vec<(usize, Pending)>,
}

impl StatfsPool {
    /// The name is for those who look at the process' threads.
    pub(super) fn new(name: &str, patience: Duration, question: StatfsFn) -> Self {
        let (to_answers, answers) = mpsc::channel();
        Self {
            name: name.to_owned(),
            patience,
            question,
            idle: Vec::new(),
            abandoned: Vec::new(),
            known: HashSet::new(),
            answers,
            to_answers,
            last_asker: 0,
        }
    }

    /// Asks all mounts, and says of each in the same order what came of it. The patience is for one mount; as
    /// mounts are asked side by side when they are slow, some that are dead do not add up.
    pub(super) fn ask(&mut self, mounts: &[MountRequest], now_ms: u64) -> Vec<StatfsOutcome> {
        self.welcome_those_who_came_back();
        self.forget_what_is_gone(mounts);
        let mut round = Round {
            mounts,
            now_ms,
            outcomes: mounts.iter().map(|mount| self.still_silent(mount)).collect(),
            queue: Vec::new(),
            waiting: Vec::new(),
        };
        round.queue = (0..mounts.len())
            .filter(|place| round.outcomes[*place].is_none())
            .collect();
        // The safest go first, so that they have been asked before others take all threads.
        round
            .queue
            .sort_by_key(|place| (self.most_threads(&mounts[*place]), usize::MAX - place));
        while !(round.queue.is_empty() && round.waiting.is_empty()) {
            self.hand_out(&mut round);
            self.wait(&mut round);
        }
        // One is enough for a round in which all is well.
        self.idle.truncate(1);
        let told =
            |outcome: Option<StatfsOutcome>| outcome.expect("a place leaves the queue and the wait with its outcome");
        round.outcomes.into_iter().map(told).collect()
    }

    fn welcome_those_who_came_back(&mut self) {
        while let Ok(answer) = self.answers.try_recv() {
            self.welcome(&answer);
        }
    }

    /// What it says is old; its mount is asked anew.
    fn welcome(&mut self, answer: &Answer) {
        if let Some(at) = self
            .abandoned
            .iter()
            .position(|waiting| waiting.asker.id == answer.asker)
        {
            let waiting = self.abandoned.swap_remove(at);
            self.idle.push(waiting.asker);
        }
    }

    /// A thread that waits for a mount that is gone still counts, until it comes back.
    fn forget_what_is_gone(&mut self, mounts: &[MountRequest]) {
        let there: HashSet<_> = mounts.iter().map(|mount| &mount.key).collect();
        self.known.retain(|key| there.contains(key));
    }

    fn still_silent(&self, mount: &MountRequest) -> Option<StatfsOutcome> {
        let waiting = self.abandoned.iter().find(|waiting| waiting.key == mount.key)?;
        Some(StatfsOutcome::Silent {
            since_ms: waiting.since_ms,
        })
    }

    /// How many threads may wait, this one included, when this mount is asked.
    fn most_threads(&self, mount: &MountRequest) -> (usize, bool) {
        let most = match (self.known.contains(&mount.key), mount.is_local) {
            (true, true) => MAX_WORKERS_LOCAL,
            (true, false) => MAX_WORKERS,
            (false, _) => MAX_NEW_WORKERS,
        };
        (most, mount.is_local)
    }

    /// Asks the next mounts, if there is room for more threads and those that wait have waited long enough.
    fn hand_out(&mut self, round: &mut Round<'_>) {
        while let Some(place) = round.queue.last().copied() {
            let mount = &round.mounts[place];
            if self.abandoned.len() + round.waiting.len() >= self.most_threads(mount).0 {
                if !round.waiting.is_empty() {
                    return;
                }
                let reason = format!("{} threads wait for others that do not answer", self.abandoned.len());
                round.outcomes[place] = Some(StatfsOutcome::NotAsked { reason });
                round.queue.pop();
                continue;
            }
            if round.since_last().is_some_and(|since| since < INLINE_WAIT) {
                return;
            }
            round.queue.pop();
            match self.set_out(mount, round.now_ms) {
                Ok(waiting) => round.waiting.push((place, waiting)),
                Err(error) => {
                    let reason = format!("no thread could be started: {error}");
                    round.outcomes[place] = Some(StatfsOutcome::NotAsked { reason });
                }
            }
        }
    }

    fn set_out(&mut self, mount: &MountRequest, now_ms: u64) -> io::Result<Pending> {
        let asker = match self.idle.pop() {
            Some(asker) => asker,
            None => self.start()?,
        };
        // Only a thread that panicked does not listen; its mount is then silent, and that is what it looks like.
        let _ = asker.paths.send(mount.path.clone());
        Ok(Pending {
            asker,
            key: mount.key.clone(),
            since: Instant::now(),
            since_ms: now_ms,
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a call to a file system may never return, and then nobody waits for its thread"
    )]
    fn start(&mut self) -> io::Result<StatfsWorker> {
        self.last_asker += 1;
        let id = self.last_asker;
        let (paths, to_ask) = mpsc::channel::<PathBuf>();
        let question = Arc::clone(&self.question);
        let answers = self.to_answers.clone();
        thread::Builder::new()
            .name(self.name.clone())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                for path in to_ask {
                    let usage = question(&path);
                    if answers.send(Answer { asker: id, usage }).is_err() {
                        return;
                    }
                }
            })?;
        Ok(StatfsWorker { id, paths })
    }

    /// Waits for one answer, or until something else is to be done.
    fn wait(&mut self, round: &mut Round<'_>) {
        let Some(until) = round.until(self.patience) else {
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
            .partition(|(_, waiting)| waiting.since.elapsed() >= self.patience);
        round.waiting = waiting;
        for (place, waiting) in timed_out {
            self.known.remove(&waiting.key);
            round.outcomes[place] = Some(StatfsOutcome::Silent {
                since_ms: waiting.since_ms,
            });
            self.abandoned.push(waiting);
        }
    }

    fn take(&mut self, answer: Answer, round: &mut Round<'_>) {
        let of_answer = |(_, waiting): &(usize, Pending)| waiting.asker.id == answer.asker;
        let Some(at) = round.waiting.iter().position(of_answer) else {
            return self.welcome(&answer);
        };
        let (place, waiting) = round.waiting.swap_remove(at);
        round.outcomes[place] = Some(match answer.usage {
            Ok(usage) => StatfsOutcome::Told(usage),
            Err(error) => StatfsOutcome::Refused(error),
        });
        self.known.insert(waiting.key);
        self.idle.push(waiting.asker);
    }
}

impl Round<'_> {
    fn since_last(&self) -> Option<Duration> {
        self.waiting.iter().map(|(_, waiting)| waiting.since.elapsed()).min()
    }

    /// When the next mount is asked beside those that are slow, or the first of them has waited long enough.
    fn until(&self, patience: Duration) -> Option<Instant> {
        let since = || self.waiting.iter().map(|(_, waiting)| waiting.since);
        let timed_out = since().min()? + patience;
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
