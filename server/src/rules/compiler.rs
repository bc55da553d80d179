//! Compiles components that came from outside.

use std::sync::Arc;
use std::time::{Duration, Instant};

use watchpost_policies::{Engine, Refusal, RuleModule};

use super::cache::Cache;
use crate::tasks;

/// Compiles components.
#[derive(Clone)]
pub struct Compiler(Arc<Inner>);

struct Inner {
    engine: Engine,
    cache: Option<Arc<Cache>>,
}

/// A compiled component.
pub struct Compiled {
    /// What it is.
    pub module: RuleModule,
    /// How long it took.
    pub took: Duration,
    /// Whether it was compiled before.
    pub from_cache: bool,
}

/// Why it was not.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It is no rule.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many wait.
    #[error("others are compiled just now; come again")]
    Busy,
    /// We are broken.
    #[error("{0}")]
    Broken(String),
}

impl Compiler {
    /// On this engine.
    pub(super) fn new(engine: Engine, cache: Option<Arc<Cache>>) -> Self {
        Self(Arc::new(Inner { engine, cache }))
    }

    /// Compiles one.
    pub async fn module(&self, wasm: Arc<[u8]>) -> Result<Compiled, CompileError> {
        let inner = self.0.clone();
        let began = Instant::now();
        let module = tasks::block(move || match &inner.cache {
            Some(cache) => cache.module(&inner.engine, &wasm),
            None => RuleModule::compile(&inner.engine, &wasm),
        });
        let module = module.await.map_err(CompileError::Broken)??;
        Ok(Compiled {
            module,
            took: began.elapsed(),
            from_cache: false,
        })
    }
}
