//! Background work: tasks, which are restarted when they panic, and jobs, which run once. Each has a name and a state.
//! This is the only module that spawns; clippy.toml enforces that.
#![expect(clippy::disallowed_methods, reason = "this module is the one that spawns")]

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use utoipa::ToSchema;

use crate::clock;
use crate::metrics::ServiceMetrics;

/// The delay before a task that panicked is restarted. It doubles with each panic, up to [`MAX_BACKOFF`].
const INITIAL_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// A task that ran this long before it panicked starts again with [`INITIAL_BACKOFF`].
const BACKOFF_RESET_AFTER: Duration = Duration::from_secs(60);

/// All background work of the process. Cheap to clone.
#[derive(Clone)]
pub struct Tasks(Arc<Shared>);

struct Shared {
    states: Mutex<BTreeMap<String, TaskState>>,
    stop: watch::Sender<bool>,
    /// The running jobs, by name.
    jobs: watch::Sender<BTreeMap<String, AbortHandle>>,
    /// The runtime of jobs. It is not the one of the starting thread, which may end before the job.
    runtime: Handle,
    service_metrics: Arc<ServiceMetrics>,
}

/// The state of a task or job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TaskState {
    /// The current condition.
    pub state: Condition,
    /// Start of the condition.
    #[serde(rename = "since", with = "watchpost_policies::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub since_ms: u64,
    /// The number of restarts.
    pub restarts: u64,
    /// The message of the last panic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_panic: Option<String>,
}

/// The condition of a task or job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TaskCondition)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It is running.
    Running,
    /// It panicked and waits to be restarted.
    Waiting,
    /// It has ended.
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

    /// Starts a task on this thread's runtime. `create` makes it, again after each panic; it ends when it returns, or
    /// on [`stop`](Self::stop).
    pub fn spawn<F>(&self, name: impl Into<String>, create: impl FnMut() -> F + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let (tasks, name) = (self.clone(), name.into());
        tasks.set_condition(&name, Condition::Running, None);
        tasks.0.service_metrics.task_started(&name);
        let mut stopped = self.stopped();
        actix_web::rt::spawn(async move {
            tokio::select! {
                () = tasks.supervise(&name, create) => {}
                () = stopped.wait() => {}
            }
            tasks.set_condition(&name, Condition::Ended, None);
        });
    }

    /// Starts a task that cannot be restarted, on this thread's runtime. The returned future resolves to its result, or
    /// to the message of its panic; the task continues if that future is dropped, also after [`stop`](Self::stop).
    pub fn spawn_once<T, W>(
        &self,
        name: &'static str,
        work: W,
    ) -> impl Future<Output = Result<T, String>> + Unpin + use<T, W>
    where
        T: 'static,
        W: Future<Output = T> + 'static,
    {
        let tasks = self.clone();
        tasks.set_condition(name, Condition::Running, None);
        let running = actix_web::rt::spawn(async move {
            let result = logging_panic(name, work).await;
            tasks.set_condition(name, Condition::Ended, None);
            result
        });
        running.map(|joined| joined.unwrap_or_else(|join_error| Err(panic_message(join_error))))
    }

    async fn supervise<F>(&self, name: &str, mut create: impl FnMut() -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        let mut backoff = INITIAL_BACKOFF;
        loop {
            let began = std::time::Instant::now();
            // Unlike a plain `JoinHandle`, this handle aborts the task when it is dropped on a stop.
            let mut running = spawn_scoped(create());
            let Err(join_error) = (&mut running.0).await else {
                return;
            };
            let reason = panic_message(join_error);
            log::error!(task = name, reason = reason.as_str(); "a task panicked and is restarted");
            self.set_condition(name, Condition::Waiting, Some(reason));
            self.0.service_metrics.task_restarted(name);
            if began.elapsed() > BACKOFF_RESET_AFTER {
                backoff = INITIAL_BACKOFF;
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
            self.set_condition(name, Condition::Running, None);
        }
    }

    /// Starts a job: work that runs once and is not restarted. `ended` gets its result, or the reason why there is
    /// none: its panic, or that it was aborted. A job does not end with [`stop`](Self::stop) but in
    /// [`finish_jobs`](Self::finish_jobs).
    pub fn run_job<T: Send + 'static>(
        &self,
        name: String,
        work: impl Future<Output = T> + Send + 'static,
        ended: impl FnOnce(Result<T, String>) + Send + 'static,
    ) {
        let running = self.0.runtime.spawn(work);
        self.set_condition(&name, Condition::Running, None);
        self.0.jobs.send_modify(|jobs| {
            jobs.insert(name.clone(), running.abort_handle());
        });
        let tasks = self.clone();
        self.0.runtime.spawn(async move {
            ended(running.await.map_err(|join_error| {
                if join_error.is_cancelled() {
                    return "it was aborted because Watchpost shut down".to_owned();
                }
                let reason = panic_message(join_error);
                log::error!(task = name.as_str(), reason = reason.as_str(); "a job panicked");
                reason
            }));
            tasks.remove(&name);
            tasks.0.jobs.send_modify(|jobs| {
                jobs.remove(&name);
            });
        });
    }

    /// Waits until all jobs have ended, and aborts those that run longer than `timeout`.
    pub async fn finish_jobs(&self, timeout: Duration) {
        let mut jobs = self.0.jobs.subscribe();
        // The sender lives as long as `self`, so waiting ends only without jobs or with the timeout.
        if tokio::time::timeout(timeout, jobs.wait_for(BTreeMap::is_empty))
            .await
            .is_ok()
        {
            return;
        }
        for (name, job) in jobs.borrow().iter() {
            log::warn!(task = name.as_str(); "aborting a job that did not finish before the shutdown timeout");
            job.abort();
        }
        let _ = jobs.wait_for(BTreeMap::is_empty).await;
    }

    /// The states of all tasks and jobs, by name.
    pub fn states(&self) -> BTreeMap<String, TaskState> {
        self.0.states.lock().clone()
    }

    /// Stops all tasks. They are dropped at their next await point.
    pub fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    /// A signal that resolves when tasks have to stop.
    pub fn stopped(&self) -> Stopped {
        Stopped(self.0.stop.subscribe())
    }

    fn set_condition(&self, name: &str, state: Condition, panic: Option<String>) {
        let mut states = self.0.states.lock();
        let initial = TaskState {
            state,
            since_ms: clock::now_ms(),
            restarts: 0,
            last_panic: None,
        };
        let task = states.entry(name.to_owned()).or_insert_with(|| initial.clone());
        (task.state, task.since_ms) = (state, initial.since_ms);
        if panic.is_some() {
            task.restarts += 1;
            task.last_panic = panic;
        }
    }

    fn remove(&self, name: &str) {
        self.0.states.lock().remove(name);
    }
}

/// Unnamed work that is aborted when this is dropped.
pub struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Resolves when the tasks have to stop.
#[derive(Clone)]
pub struct Stopped(watch::Receiver<bool>);

impl Stopped {
    /// Waits until the tasks have to stop.
    pub async fn wait(&mut self) {
        // If the sender was dropped, no stop can be signalled any more: that counts as a stop.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }

    /// Whether the tasks have to stop.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }
}

/// Runs blocking work on a blocking thread. A panic becomes its message.
pub async fn block<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let guard = BlockingGuard::new();
    let caught = move || {
        let _guard = guard;
        std::panic::catch_unwind(AssertUnwindSafe(work))
    };
    match tokio::task::spawn_blocking(caught).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(panic)) => Err(message_of(panic.as_ref())),
        Err(join_error) => Err(panic_message(join_error)),
    }
}

/// Starts unnamed work that ends with the returned handle at the latest.
pub fn spawn_scoped(work: impl Future<Output = ()> + 'static) -> AbortOnDrop {
    AbortOnDrop(actix_web::rt::spawn(work))
}

/// Starts work on this thread's runtime that ends by itself, or with the process: one part of a request, of which many
/// run at a time. It is not in [`Tasks::states`]; a panic is logged under its name.
pub fn spawn_detached(name: &'static str, work: impl Future<Output = ()> + 'static) {
    // The handle is not needed: dropping it detaches the work, and the panic is logged.
    drop(actix_web::rt::spawn(logging_panic(name, work)));
}

/// The result of work that runs once, or the message of its panic, which is logged.
async fn logging_panic<T>(name: &str, work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
        let reason = message_of(panic.as_ref());
        log::error!(task = name, reason = reason.as_str(); "a task panicked and is not restarted");
        reason
    })
}

/// Whether any blocking work is running or queued. Dropping a runtime waits for it, possibly for ever.
pub fn blocking_in_progress() -> bool {
    BLOCKING.load(Ordering::Acquire) > 0
}

/// Global, because blocking threads are shared by all runtimes of the process.
static BLOCKING: AtomicU64 = AtomicU64::new(0);

struct BlockingGuard;

impl BlockingGuard {
    fn new() -> Self {
        BLOCKING.fetch_add(1, Ordering::AcqRel);
        Self
    }
}

impl Drop for BlockingGuard {
    fn drop(&mut self) {
        BLOCKING.fetch_sub(1, Ordering::AcqRel);
    }
}

fn panic_message(join_error: tokio::task::JoinError) -> String {
    match join_error.try_into_panic() {
        Ok(panic) => message_of(panic.as_ref()),
        Err(cancelled) => cancelled.to_string(),
    }
}

/// The message of a panic.
pub fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "no panic message".to_owned())
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
    fn a_task_that_panics_is_restarted_and_its_message_is_stored() {
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
    fn a_task_that_never_ends_is_dropped_on_stop() {
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
            assert!(watched.await.is_err(), "the task was dropped with everything it owned");
        });
    }

    #[test]
    fn a_task_that_runs_once_returns_its_result_or_the_message_of_its_panic() {
        run(async {
            let tasks = tasks();
            let work = tasks.spawn_once("server", async { 7 });
            assert_eq!(tasks.states()["server"].state, Condition::Running);
            assert_eq!(work.await, Ok(7));
            assert_eq!(tasks.states()["server"].state, Condition::Ended);
            let broken = tasks.spawn_once("broken", async { panic!("no") });
            assert_eq!(broken.await, Err::<(), _>("no".to_owned()));
            assert_eq!(tasks.states()["broken"].state, Condition::Ended);
            assert_eq!(tasks.states()["broken"].restarts, 0, "it is not restarted");
        });
    }

    #[test]
    fn a_task_that_runs_once_continues_when_its_result_is_not_awaited() {
        run(async {
            let (done, finished) = tokio::sync::oneshot::channel();
            drop(tasks().spawn_once("server", async { done.send(7) }));
            assert_eq!(finished.await, Ok(7));
        });
    }

    #[test]
    fn detached_work_runs_without_a_handle_and_its_panic_is_contained() {
        run(async {
            spawn_detached("broken", async { panic!("no") });
            let (done, finished) = tokio::sync::oneshot::channel();
            spawn_detached("sends", async { done.send(7).expect("it is awaited") });
            assert_eq!(finished.await, Ok(7));
            let logged = logging_panic("broken", async { panic!("no") }).await;
            assert_eq!(logged, Err::<(), _>("no".to_owned()));
        });
    }

    #[test]
    fn blocking_work_that_panics_returns_its_message() {
        run(async {
            assert_eq!(block(|| 1).await, Ok(1));
            assert_eq!(block(|| panic!("no")).await, Err::<(), _>("no".to_owned()));
        });
    }
}
