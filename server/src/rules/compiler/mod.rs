//! Compiles uploaded components in a separate process, because malicious code can make a compiler take minutes and
//! gigabytes, and a compilation in this process cannot be stopped. This module queues the compilations; the process is
//! in `sandbox`. Built-in rules are compiled elsewhere.

mod protocol;
mod queue;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use watchpost_policies::{ArtefactKey, ComponentError, Digest, Engine, RuleModule};

pub use protocol::CompileRequest;

use super::cache::Cache;
use super::sandbox::{self, Failure, KillHandle, SELF_EXE, Task};
use super::schema::{Schemas, Validators};
use crate::tasks;
use queue::CompileQueue;

/// Maximum size of the compiled code of a component with so many bytes. Code of real rules has two to four times the size
/// of the component; the server holds it in memory while it is received.
fn max_artefact_bytes(component_bytes: usize) -> u64 {
    8 * component_bytes as u64 + (16 << 20)
}

/// Compiles uploaded components. Cheap to clone; all clones share one queue.
#[derive(Clone)]
pub struct Compiler(Arc<Parts>);

struct Parts {
    engine: Engine,
    cache: Option<Cache>,
    options: Options,
    program: PathBuf,
    validators: Validators,
    queue: CompileQueue,
    /// Digests of the components in the queue.
    waiting: Mutex<Vec<Digest>>,
    /// Notifies about an addition to `waiting`.
    added: Notify,
}

/// An entry of the queue, removed when it is dropped.
struct CompileWaiter<'p>(&'p Parts, Digest);

impl<'p> CompileWaiter<'p> {
    fn new(parts: &'p Parts, digest: Digest) -> Self {
        parts.waiting.lock().push(digest);
        parts.added.notify_waiters();
        Self(parts, digest)
    }
}

impl Drop for CompileWaiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting.lock();
        if let Some(at) = waiting.iter().position(|waiting| *waiting == self.1) {
            waiting.swap_remove(at);
        }
    }
}

/// Limits for the compilation of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Wall-clock limit, without the time in the queue.
    pub timeout: Duration,
    /// Address space limit of the process.
    pub memory_bytes: u64,
    /// Maximum number of waiting components.
    pub queue_length: usize,
}

/// A compiled component.
#[derive(Debug)]
pub struct Compiled {
    /// The compiled rule.
    pub module: RuleModule,
    /// Duration, without the time in the queue.
    pub duration: Duration,
    /// Whether the code comes from the cache.
    pub from_cache: bool,
}

/// Why a component was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The component is not a rule.
    #[error(transparent)]
    Refused(#[from] ComponentError),
    /// The timeout is exceeded.
    #[error(
        "the compilation exceeded {limit:?} and was stopped: make the component smaller and its largest functions shorter, \
         or raise rules.compiler.timeout"
    )]
    TooLong {
        /// The exceeded limit.
        limit: Duration,
    },
    /// The memory limit is exceeded.
    #[error(
        "the compilation exceeded {limit_bytes} bytes of memory and was stopped: make the component smaller and its largest \
         functions shorter, or raise rules.compiler.max_memory"
    )]
    TooMuch {
        /// The exceeded limit.
        limit_bytes: u64,
    },
    /// The queue is full.
    #[error("the compile queue is full: try again in a minute")]
    Busy,
    /// The process failed.
    #[error("the compiler process ended without a result: {0}. Try again, and report a bug if the error persists")]
    Broken(String),
}

impl Compiler {
    /// A compiler for this engine, which stores compiled code in the cache, if there is one.
    pub fn new(engine: Engine, cache: Option<Cache>, options: Options) -> Self {
        Self::by_program(engine, cache, options, Path::new(SELF_EXE))
    }

    /// Like [`Self::new`], with the path of a Watchpost executable, for programs that are not Watchpost themselves.
    pub fn by_program(engine: Engine, cache: Option<Cache>, options: Options, program: &Path) -> Self {
        Self(Arc::new(Parts {
            engine,
            cache,
            queue: CompileQueue::new(options.queue_length),
            waiting: Mutex::default(),
            added: Notify::new(),
            options,
            validators: Validators::new(program.to_owned()),
            program: program.to_owned(),
        }))
    }

    /// Compiles a component, or loads its code from the cache. One compilation runs at a time; dropping the future
    /// kills its process.
    pub async fn module(&self, wasm: Bytes) -> Result<Compiled, CompileError> {
        let (parts, bytes) = (self.0.clone(), wasm.clone());
        let (digest, cached) = on_a_thread(move || {
            parts.engine.check_bytes(&bytes)?;
            let digest = Digest::of(&bytes);
            Ok((digest, parts.cached(digest)?))
        })
        .await?;
        if let Some(cached) = cached {
            return Ok(cached);
        }
        let waiter = CompileWaiter::new(&self.0, digest);
        let permit = self.0.queue.acquire().await.ok_or(CompileError::Busy)?;
        drop(waiter);
        let (parts, kill_handle) = (self.0.clone(), KillHandle::default());
        let _kill_on_drop = kill_handle.kill_on_drop();
        on_a_thread(move || {
            let done = parts.compiled(digest, &wasm, &kill_handle);
            // The permit is held until the process has ended, even if the future was dropped.
            drop(permit);
            done
        })
        .await
    }

    /// Validates settings against the schemas of rules, in a separate process too.
    pub fn schemas(&self) -> Schemas {
        Schemas::Sandboxed(self.0.validators.clone())
    }

    /// Whether there is a cache of compiled code.
    pub fn has_cache(&self) -> bool {
        self.0.cache.is_some()
    }

    /// Waits until a compilation of another component is requested.
    pub async fn wait_for_other(&self, than: Digest) {
        loop {
            // Enabled before the check, so an addition during the check is not missed.
            let mut added = pin!(self.0.added.notified());
            added.as_mut().enable();
            if self.0.waiting.lock().iter().any(|waiting| *waiting != than) {
                return;
            }
            added.await;
        }
    }

    /// Whether the cache has code of this component.
    pub fn is_cached(&self, digest: Digest) -> bool {
        self.0.cache.as_ref().is_some_and(|cache| cache.is_cached(digest))
    }
}

impl Parts {
    fn cached(&self, digest: Digest) -> Result<Option<Compiled>, ComponentError> {
        let Some(cache) = &self.cache else { return Ok(None) };
        let began = Instant::now();
        let module = cache.get(&self.engine, digest)?;
        Ok(module.map(|module| Compiled {
            module,
            duration: began.elapsed(),
            from_cache: true,
        }))
    }

    fn compiled(&self, digest: Digest, wasm: &[u8], kill_handle: &KillHandle) -> Result<Compiled, CompileError> {
        // The previous compilation may have been of the same component.
        if let Some(cached) = self.cached(digest)? {
            return Ok(cached);
        }
        let began = Instant::now();
        let broken = |reason: String| CompileError::Broken(reason);
        // A key for this process only: a process with the key of the cache could have any code loaded later.
        let mut secret = [0; 32];
        openssl::rand::rand_bytes(&mut secret).map_err(|error| broken(error.to_string()))?;
        let recipe = self.engine.recipe();
        let task = Task {
            program: &self.program,
            command: "compile",
            memory_bytes: self.options.memory_bytes,
            // A second line of defence by the kernel: the processor time is limited to the timeout, rounded up by a
            // second.
            cpu_seconds: self.options.timeout.as_secs() + 1,
            timeout: self.options.timeout,
            max_answer_bytes: max_artefact_bytes(wasm.len()),
            input: &|to| protocol::write(to, &recipe, &secret, wasm),
        };
        let artefact = sandbox::run(&task, kill_handle).map_err(|failure| self.compile_error(failure))?;
        let loaded = RuleModule::load(&self.engine, digest, &artefact, &ArtefactKey::new(secret));
        let module = loaded.map_err(|reason| broken(format!("its output cannot be loaded: {reason}")))??;
        if let Some(cache) = &self.cache {
            cache.put(&module);
        }
        Ok(Compiled {
            module,
            duration: began.elapsed(),
            from_cache: false,
        })
    }

    fn compile_error(&self, failure: Failure) -> CompileError {
        match failure {
            Failure::Refused(reason) => CompileError::Refused(ComponentError::Invalid { reason }),
            Failure::TooLong | Failure::TimedOut => CompileError::TooLong {
                limit: self.options.timeout,
            },
            Failure::TooMuch => CompileError::TooMuch {
                limit_bytes: self.options.memory_bytes,
            },
            Failure::Broken(reason) => CompileError::Broken(reason),
        }
    }
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CompileError> + Send + 'static,
) -> Result<T, CompileError> {
    let done = tasks::block(work).await;
    done.unwrap_or_else(|panic| Err(CompileError::Broken(panic)))
}
