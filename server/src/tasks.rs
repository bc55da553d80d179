//! Work in the background: tasks, which are started again when they panic, and jobs, which are done once. Every piece
//! has a name and says how it is. The only place that spawns; clippy.toml keeps it so.
#![expect(clippy::disallowed_methods, reason = "this module is the one that spawns")]

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use utoipa::ToSchema;

use crate::clock;
use crate::metrics::ServiceMetrics;

/// A task that breaks at once is tried again after this long, and after twice as long each time, up to
/// [`MAX_BACKOFF`].
const INITIAL_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// A task that lived this long before it broke has recovered from what broke it before.
const BACKOFF_RESET_AFTER: Duration = Duration::from_secs(60);

/// All background work of a process. Cheap to clone.
#[derive(Clone)]
pub struct Tasks(Arc<Shared>);

struct Shared {
    states: Mutex<BTreeMap<String, TaskState>>,
    stop: watch::Sender<bool>,
    /// The jobs that run, by name.
    jobs: watch::Sender<BTreeMap<String, AbortHandle>>,
    /// Where jobs run. Not where they are started: that thread may end before them.
    runtime: Handle,
    service_metrics: Arc<ServiceMetrics>,
}

/// How a task is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TaskState {
    /// What it is doing.
    pub state: Condition,
    /// Since when, in milliseconds since 1970 (UTC).
    pub since_ms: u64,
    /// How often it had to be started again.
    pub restarts: u64,
    /// Why it was started again the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_panic: Option<String>,
}

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TaskCondition)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It works.
    Running,
    /// It broke and waits to be started again.
    Waiting,
    /// It did what it had to do.
    Ended,
}

impl Tasks {
    /// No work yet. Jobs will run on the runtime in which this is called.
    pub fn new(service_metrics: Arc<ServiceMetrics>) -> Self {
        Self(Arc::new(Shared {
            states: Mutex::default(),
            stop: watch::Sender::new(false),
            jobs: watch::Sender::default(),
            runtime: Handle::current(),
            service_metrics,
        }))
    }

    /// Starts a task on this thread's runtime. It is made anew by `make` whenever it panicked; it ends when it
    /// returns, or when all tasks are told to stop.
    pub fn spawn<F>(&self, name: impl Into<String>, make: impl FnMut() -> F + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let (tasks, name) = (self.clone(), name.into());
        tasks.note(&name, Condition::Running, None);
        tasks.0.service_metrics.task_started(&name);
        let mut stopped = self.stopped();
        actix_web::rt::spawn(async move {
            tokio::select! {
                () = tasks.supervise(&name, make) => {}
                () = stopped.wait() => {}
            }
            tasks.note(&name, Condition::Ended, None);
        });
    }

    async fn supervise<F>(&self, name: &str, mut make: impl FnMut() -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        let mut pause = INITIAL_BACKOFF;
        loop {
            let began = std::time::Instant::now();
            // Dropping the handle would let the task live on when all are told to stop.
            let mut running = spawn_owned(make());
            let Err(broken) = (&mut running.0).await else { return };
            let why = panic_message(broken);
            log::error!(task = name, reason = why.as_str(); "a task broke and is started again");
            self.note(name, Condition::Waiting, Some(why));
            self.0.service_metrics.task_restarted(name);
            if began.elapsed() > BACKOFF_RESET_AFTER {
                pause = INITIAL_BACKOFF;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_BACKOFF);
            self.note(name, Condition::Running, None);
        }
    }

    /// Starts a job: work that is done once and not started again. `ended` is given its result, or the reason why there
    /// is none: its panic, or that it was cut off. A job does not end when all tasks are told to stop, but in
    /// [`finish_jobs`](Self::finish_jobs).
    pub fn run_job<T: Send + 'static>(
        &self,
        name: String,
        work: impl Future<Output = T> + Send + 'static,
        ended: impl FnOnce(Result<T, String>) + Send + 'static,
    ) {
        let running = self.0.runtime.spawn(work);
        self.note(&name, Condition::Running, None);
        self.0.jobs.send_modify(|jobs| {
            jobs.insert(name.clone(), running.abort_handle());
        });
        let tasks = self.clone();
        self.0.runtime.spawn(async move {
            ended(running.await.map_err(|broken| {
                if broken.is_cancelled() {
                    return "it was cut off, for Watchpost stopped".to_owned();
                }
                let why = panic_message(broken);
                log::error!(task = name.as_str(), reason = why.as_str(); "a job broke");
                why
            }));
            tasks.forget(&name);
            tasks.0.jobs.send_modify(|jobs| {
                jobs.remove(&name);
            });
        });
    }

    /// Waits until all jobs ended, and cuts off those that run longer than this.
    pub async fn finish_jobs(&self, timeout: Duration) {
        let mut jobs = self.0.jobs.subscribe();
        // Nobody but this has the other end, so waiting ends with no job or with the time.
        if tokio::time::timeout(timeout, jobs.wait_for(BTreeMap::is_empty))
            .await
            .is_ok()
        {
            return;
        }
        for (name, job) in jobs.borrow().iter() {
            log::warn!(task = name.as_str(); "a job is cut off, for it would take too long to wait for it");
            job.abort();
        }
        let _ = jobs.wait_for(BTreeMap::is_empty).await;
    }

    /// How every task is, by name.
    pub fn states(&self) -> BTreeMap<String, TaskState> {
        self.0.states.lock().clone()
    }

    /// Tells all of them to stop. They are dropped where they wait.
    pub fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    /// Tells when they have to stop.
    pub fn stopped(&self) -> Stopped {
        Stopped(self.0.stop.subscribe())
    }

    fn note(&self, name: &str, state: Condition, panic: Option<String>) {
        let mut states = self.0.states.lock();
        let fresh = TaskState {
            state,
            since_ms: clock::now_ms(),
            restarts: 0,
            last_panic: None,
        };
        let task = states.entry(name.to_owned()).or_insert_with(|| fresh.clone());
        (task.state, task.since_ms) = (state, fresh.since_ms);
        if panic.is_some() {
            task.restarts += 1;
            task.last_panic = panic;
        }
    }

    fn forget(&self, name: &str) {
        self.0.states.lock().remove(name);
    }
}

/// Work without a name, that is dropped where it waits when this is.
pub struct Owned(JoinHandle<()>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells when the tasks have to stop.
#[derive(Clone)]
pub struct Stopped(watch::Receiver<bool>);

impl Stopped {
    /// Returns when they have to.
    pub async fn wait(&mut self) {
        // Nobody can ask them to stop any more: that is a reason to stop.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }

    /// Whether they have to.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }
}

/// Runs something that blocks on a thread that may block. A panic in it becomes its message.
pub async fn block<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let blocks = Blocks::new();
    let caught = move || {
        let _blocks = blocks;
        std::panic::catch_unwind(AssertUnwindSafe(work))
    };
    match tokio::task::spawn_blocking(caught).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(panic)) => Err(message_of(panic.as_ref())),
        Err(broken) => Err(panic_message(broken)),
    }
}

/// Work without a name that somebody owns; it ends with its owner at the latest.
pub fn spawn_owned(work: impl Future<Output = ()> + 'static) -> Owned {
    Owned(actix_web::rt::spawn(work))
}

/// Work of its own that goes on when nobody waits for it any more. It ends by itself, or with the process.
pub fn go_on<T: 'static>(work: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    actix_web::rt::spawn(work)
}

/// Whether anything blocks a thread just now, or waits for one. A runtime that is dropped waits for it, for ever if
/// it has to.
pub fn some_block() -> bool {
    BLOCKING.load(Ordering::Acquire) > 0
}

/// Threads belong to the process and not to one of its runtimes, so this does.
static BLOCKING: AtomicU64 = AtomicU64::new(0);

struct Blocks;

impl Blocks {
    fn new() -> Self {
        BLOCKING.fetch_add(1, Ordering::AcqRel);
        Self
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        BLOCKING.fetch_sub(1, Ordering::AcqRel);
    }
}

fn panic_message(broken: tokio::task::JoinError) -> String {
    match broken.try_into_panic() {
        Ok(panic) => message_of(panic.as_ref()),
        Err(cancelled) => cancelled.to_string(),
    }
}

/// What a panic said.
pub fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it did not say why".to_owned())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    fn tasks() -> Tasks {
        let build = crate::metrics::Build {
            version: "",
            commit: "",
            rustc: "",
        };
        Tasks::new(Arc::new(ServiceMetrics::new(&build)))
    }

    fn run(test: impl Future<Output = ()>) {
        actix_web::rt::System::new().block_on(test);
    }

    #[test]
    fn a_task_that_panics_is_started_again_and_says_why() {
        run(async {
            let tasks = tasks();
            let (count, done) = (Rc::new(Cell::new(0)), Rc::new(tokio::sync::Notify::new()));
            let (counted, finished) = (count.clone(), done.clone());
            tasks.spawn("fragile", move || {
                let (count, done) = (counted.clone(), finished.clone());
                async move {
                    count.set(count.get() + 1);
                    assert!(count.get() > 2, "attempt {}", count.get());
                    done.notify_one();
                }
            });
            done.notified().await;
            while tasks.states()["fragile"].state != Condition::Ended {
                tokio::task::yield_now().await;
            }
            let state = tasks.states()["fragile"].clone();
            assert_eq!((state.restarts, state.last_panic.as_deref()), (2, Some("attempt 2")));
        });
    }

    #[test]
    fn a_task_that_never_ends_is_dropped_when_all_have_to_stop() {
        run(async {
            let tasks = tasks();
            let (dropped, watched) = tokio::sync::oneshot::channel::<()>();
            let mut dropped = Some(dropped);
            tasks.spawn("endless", move || {
                let dropped = dropped.take();
                async move {
                    std::future::pending::<()>().await;
                    drop(dropped);
                }
            });
            tokio::task::yield_now().await;
            tasks.stop();
            assert!(watched.await.is_err(), "the task was dropped with all it held");
        });
    }

    #[test]
    fn work_that_panics_on_its_thread_gives_its_message() {
        run(async {
            assert_eq!(block(|| 1).await, Ok(1));
            assert_eq!(block(|| panic!("no")).await, Err::<(), _>("no".to_owned()));
        });
    }
}
