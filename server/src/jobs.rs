//! Jobs: work that a client requests and that may take longer than the client waits. A job has an id, by which its
//! result is fetched later. This module does not know what the work is; `tasks` runs and supervises it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::tasks::Tasks;

/// Jobs of one kind, with results of type `T` and progress of type `P`. Cheap to clone.
#[derive(Clone)]
pub struct JobStore<T, P = ()> {
    kind: &'static str,
    capacity: usize,
    tasks: Tasks,
    jobs: Arc<Mutex<Jobs<T, P>>>,
}

struct Jobs<T, P> {
    last_id: u64,
    /// The stored jobs, the latest last.
    remembered: VecDeque<Job<T, P>>,
}

/// A started job.
#[derive(Clone, Debug)]
pub struct Job<T, P = ()> {
    id: u64,
    progress: P,
    state: watch::Receiver<JobState<T>>,
}

/// The state of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState<T> {
    /// The job is running.
    Pending,
    /// The job ended with this result.
    Finished(T),
    /// The job ended without a result, because it panicked or was aborted at shutdown; the text is the reason.
    Lost(String),
}

impl<T, P> JobStore<T, P>
where
    T: Clone + Send + Sync + 'static,
    P: Clone,
{
    /// A store of at most `capacity` jobs. The kind is part of the name under which a job is supervised.
    pub fn new(kind: &'static str, capacity: usize, tasks: Tasks) -> Self {
        let jobs = Jobs {
            last_id: 0,
            remembered: VecDeque::new(),
        };
        Self {
            kind,
            capacity,
            tasks,
            jobs: Arc::new(Mutex::new(jobs)),
        }
    }

    /// Starts a job. It runs to its end whether or not a client waits for it.
    pub fn start(&self, progress: P, work: impl Future<Output = T> + Send + 'static) -> Job<T, P> {
        let (sender, state) = watch::channel(JobState::Pending);
        let job = self.jobs.lock().remember(progress, state, self.capacity);
        let name = format!("{} {}", self.kind, job.id);
        self.tasks.run_job(name, work, move |ended| {
            sender.send_replace(match ended {
                Ok(result) => JobState::Finished(result),
                Err(reason) => JobState::Lost(reason),
            });
        });
        job
    }

    /// The job with this id, unless it was evicted.
    pub fn find(&self, id: u64) -> Option<Job<T, P>> {
        self.jobs.lock().remembered.iter().find(|job| job.id == id).cloned()
    }
}

impl<T: Clone, P: Clone> Jobs<T, P> {
    /// Adds a job. A full store evicts the oldest ended job, or the oldest job if none has ended.
    fn remember(&mut self, progress: P, state: watch::Receiver<JobState<T>>, capacity: usize) -> Job<T, P> {
        self.last_id += 1;
        let job = Job {
            id: self.last_id,
            progress,
            state,
        };
        if self.remembered.len() >= capacity {
            let ended = self.remembered.iter().position(|job| !job.state.borrow().is_pending());
            self.remembered.remove(ended.unwrap_or(0));
        }
        self.remembered.push_back(job.clone());
        job
    }
}

impl<T: Clone, P> Job<T, P> {
    /// The id by which the job is found again.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The progress of the job.
    pub fn progress(&self) -> &P {
        &self.progress
    }

    /// The current state.
    pub fn state(&self) -> JobState<T> {
        self.state.borrow().clone()
    }

    /// Waits until the job has ended, at most for `timeout`.
    pub async fn ended_within(&mut self, timeout: Duration) {
        // The state shows whether the job ended.
        let _ = tokio::time::timeout(timeout, self.state.wait_for(|state| !state.is_pending())).await;
    }
}

impl<T> JobState<T> {
    fn is_pending(&self) -> bool {
        matches!(self, Self::Pending)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;
    use crate::metrics::{Build, ServiceMetrics};

    const SOON: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    fn run(test: impl Future<Output = ()>) {
        actix_web::rt::System::new().block_on(test);
    }

    fn store(capacity: usize) -> (JobStore<u32>, Tasks) {
        let build = Build {
            version: "",
            commit: "",
            rustc: "",
        };
        let tasks = Tasks::new(Arc::new(ServiceMetrics::new(&build)));
        (JobStore::new("sum", capacity, tasks.clone()), tasks)
    }

    #[test]
    fn a_job_is_pending_until_it_ended_and_is_found_by_its_number() {
        run(async {
            let (store, tasks) = store(2);
            let (sender, receiver) = oneshot::channel();
            let mut job = store.start((), async { receiver.await.expect("a number is sent") });
            job.ended_within(SOON).await;
            assert_eq!(job.state(), JobState::Pending);
            assert!(tasks.states().contains_key("sum 1"), "it is supervised by its name");
            sender.send(7).expect("it waits");
            job.ended_within(LONG).await;
            assert_eq!(job.state(), JobState::Finished(7));
            let found = store.find(job.id()).expect("it is remembered");
            assert_eq!(found.state(), JobState::Finished(7));
            assert!(store.find(2).is_none());
        });
    }

    #[test]
    fn a_job_that_panics_is_lost_and_not_pending_for_ever() {
        run(async {
            let (store, tasks) = store(2);
            let mut job = store.start((), async { panic!("it broke") });
            job.ended_within(LONG).await;
            assert_eq!(job.state(), JobState::Lost("it broke".to_owned()));
            tasks.finish_jobs(LONG).await;
            assert!(!tasks.states().contains_key("sum 1"), "nothing is left of it");
        });
    }

    #[test]
    fn the_oldest_job_that_ended_is_forgotten_before_one_that_runs() {
        run(async {
            let (store, _tasks) = store(2);
            let running = store.start((), pending());
            let mut ended = store.start((), async { 1 });
            ended.ended_within(LONG).await;
            let latest = store.start((), pending());
            let known = [&running, &ended, &latest].map(|job| store.find(job.id()).is_some());
            assert_eq!(known, [true, false, true]);
            store.start((), pending());
            let known = [&running, &latest].map(|job| store.find(job.id()).is_some());
            assert_eq!(known, [false, true], "there are never more than the capacity");
        });
    }

    #[test]
    fn at_shutdown_jobs_are_awaited_and_after_the_deadline_they_are_cut_off() {
        run(async {
            let (store, tasks) = store(2);
            let quick = store.start((), async {
                tokio::time::sleep(SOON).await;
                1
            });
            let endless = store.start((), pending());
            tasks.finish_jobs(SOON * 20).await;
            assert_eq!(quick.state(), JobState::Finished(1));
            assert!(matches!(endless.state(), JobState::Lost(_)), "{:?}", endless.state());
        });
    }
}
