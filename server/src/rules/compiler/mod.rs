//! Compiles components that came from outside, in a process of its own: a compiler given hostile code may take minutes
//! and gigabytes, and nothing stops one that runs in this process. Here is who is compiled for and when; the process is
//! in `confined`. The rules that Watchpost brings are not compiled here.

mod protocol;
mod queue;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use watchpost_policies::{ArtefactKey, Digest, Engine, Refusal, RuleModule};

pub use protocol::CompileRequest;

use super::cache::Cache;
use super::sandbox::{self, Failure, KillHandle, SELF_EXE, Task};
use super::schema::Schemas;
use crate::tasks;
use queue::CompileQueue;

/// Compiles components that came from outside. Cheap to clone; all clones take turns with each other.
#[derive(Clone)]
pub struct Compiler(Arc<Parts>);

struct Parts {
    engine: Engine,
    cache: Option<Cache>,
    options: Options,
    program: PathBuf,
    turns: CompileQueue,
    /// What waits for its turn.
    wanted: Mutex<Vec<Digest>>,
    /// That something more does.
    comes: Notify,
}

/// One that waits for its turn, until it is dropped.
struct CompileWaiter<'p>(&'p Parts, Digest);

impl<'p> CompileWaiter<'p> {
    fn new(parts: &'p Parts, digest: Digest) -> Self {
        parts.wanted.lock().push(digest);
        parts.comes.notify_waiters();
        Self(parts, digest)
    }
}

impl Drop for CompileWaiter<'_> {
    fn drop(&mut self) {
        let mut wanted = self.0.wanted.lock();
        if let Some(at) = wanted.iter().position(|wanted| *wanted == self.1) {
            wanted.swap_remove(at);
        }
    }
}

/// What compiling one component may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The longest that it may take, from its turn on.
    pub timeout: Duration,
    /// The most memory that its process may have, as address space.
    pub memory_bytes: u64,
    /// How many others may wait for their turn.
    pub queue_length: usize,
}

/// A component that was compiled and said who it is.
#[derive(Debug)]
pub struct Compiled {
    /// The rule.
    pub module: RuleModule,
    /// How long it took, without the wait for its turn.
    pub took: Duration,
    /// Whether compiled code of it was kept from another time.
    pub from_cache: bool,
}

/// Why a component was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It is no rule.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It takes too long.
    #[error(
        "compiling it took longer than {limit:?} and was stopped: make it smaller and its largest functions shorter, or \
         allow more by rules.compiler.timeout"
    )]
    TooLong {
        /// The limit.
        limit: Duration,
    },
    /// It takes too much.
    #[error(
        "compiling it took more than {limit_bytes} bytes of memory and was stopped: make it smaller and its largest \
         functions shorter, or allow more by rules.compiler.max_memory"
    )]
    TooMuch {
        /// The limit.
        limit_bytes: u64,
    },
    /// Too many wait already.
    #[error("other components are being compiled, and as many wait as may: try again in a minute")]
    Busy,
    /// The process did not do what it is there for.
    #[error(
        "the process that compiles it ended without an answer: {0}. Try again, and report it if that does not help"
    )]
    Broken(String),
}

impl Compiler {
    /// For this engine. What it compiles is kept in the cache, if there is one.
    pub fn new(engine: Engine, cache: Option<Cache>, options: Options) -> Self {
        Self::by_program(engine, cache, options, Path::new(SELF_EXE))
    }

    /// The same with another Watchpost than the running program, for programs that are none.
    pub fn by_program(engine: Engine, cache: Option<Cache>, options: Options, program: &Path) -> Self {
        Self(Arc::new(Parts {
            engine,
            cache,
            turns: CompileQueue::new(options.queue_length),
            wanted: Mutex::default(),
            comes: Notify::new(),
            options,
            program: program.to_owned(),
        }))
    }

    /// The rule of these bytes: from the cache where they were compiled before, else by a process of its own, one at a
    /// time. Whoever drops the answer's future ends that process.
    pub async fn module(&self, wasm: Bytes) -> Result<Compiled, CompileError> {
        let (parts, bytes) = (self.0.clone(), wasm.clone());
        let (digest, kept) = on_a_thread(move || {
            parts.engine.check_bytes(&bytes)?;
            let digest = Digest::of(&bytes);
            Ok((digest, parts.kept(digest)?))
        })
        .await?;
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let wanting = CompileWaiter::new(&self.0, digest);
        let turn = self.0.turns.take().await.ok_or(CompileError::Busy)?;
        drop(wanting);
        let (parts, leash) = (self.0.clone(), KillHandle::default());
        let _held = leash.hold();
        on_a_thread(move || {
            let done = parts.compiled(digest, &wasm, &leash);
            // Not before the process is gone, also where nobody waits for it any more.
            drop(turn);
            done
        })
        .await
    }

    /// By which settings are held against what a rule says of them, in a process of its own too.
    pub fn schemas(&self) -> Schemas {
        Schemas::Apart(self.0.program.clone())
    }

    /// Whether compiled code is kept at all.
    pub fn keeps(&self) -> bool {
        self.0.cache.is_some()
    }

    /// Waits until somebody waits for another one than this to be compiled.
    pub async fn another_is_wanted(&self, than: Digest) {
        loop {
            // Whoever comes while we look is heard too.
            let mut comes = pin!(self.0.comes.notified());
            comes.as_mut().enable();
            if self.0.wanted.lock().iter().any(|wanted| *wanted != than) {
                return;
            }
            comes.await;
        }
    }

    /// Whether compiled code of it is kept, so that it is there in a moment.
    pub fn is_kept(&self, digest: Digest) -> bool {
        self.0.cache.as_ref().is_some_and(|cache| cache.is_kept(digest))
    }
}

impl Parts {
    fn kept(&self, digest: Digest) -> Result<Option<Compiled>, Refusal> {
        let Some(cache) = &self.cache else { return Ok(None) };
        let began = Instant::now();
        let module = cache.get(&self.engine, digest)?;
        Ok(module.map(|module| Compiled {
            module,
            took: began.elapsed(),
            from_cache: true,
        }))
    }

    fn compiled(&self, digest: Digest, wasm: &[u8], leash: &KillHandle) -> Result<Compiled, CompileError> {
        // Whoever had the turn before may have brought the same.
        if let Some(kept) = self.kept(digest)? {
            return Ok(kept);
        }
        let began = Instant::now();
        let broken = |why: String| CompileError::Broken(why);
        // For this one process. The key of the cache stays here, for who has it can have anything loaded at any time.
        let mut secret = [0; 32];
        openssl::rand::rand_bytes(&mut secret).map_err(|error| broken(error.to_string()))?;
        let recipe = self.engine.recipe();
        let task = Task {
            program: &self.program,
            command: "compile",
            memory_bytes: self.options.memory_bytes,
            // By the kernel's clock it may work no longer than by ours; should ours stand still, that one does not.
            cpu_seconds: self.options.timeout.as_secs() + 1,
            timeout: self.options.timeout,
            // It has to fit into the memory of its process.
            max_answer_bytes: self.options.memory_bytes,
            input: &|to| protocol::write(to, &recipe, &secret, wasm),
        };
        let artefact = sandbox::run(&task, leash).map_err(|failure| self.told(failure))?;
        let loaded = RuleModule::load(&self.engine, digest, &artefact, &ArtefactKey::new(secret));
        let module = loaded.map_err(|why| broken(format!("what it wrote is not loaded: {why}")))??;
        if let Some(cache) = &self.cache {
            cache.put(&module);
        }
        Ok(Compiled {
            module,
            took: began.elapsed(),
            from_cache: false,
        })
    }

    fn told(&self, failure: Failure) -> CompileError {
        match failure {
            Failure::Refused(why) => CompileError::Refused(Refusal::Invalid { why }),
            Failure::TooLong | Failure::TimedOut => CompileError::TooLong {
                limit: self.options.timeout,
            },
            Failure::TooMuch => CompileError::TooMuch {
                limit_bytes: self.options.memory_bytes,
            },
            Failure::Broken(why) => CompileError::Broken(why),
        }
    }
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CompileError> + Send + 'static,
) -> Result<T, CompileError> {
    let done = tasks::block(work).await;
    done.unwrap_or_else(|panic| Err(CompileError::Broken(panic)))
}
