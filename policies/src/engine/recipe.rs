//! Compiles for an engine in another process, which may be killed at any moment; the engine's own process loads the
//! code. It runs no rule and starts no process.

use serde::{Deserialize, Serialize};

use super::artefact::{self, ArtefactKey};
use super::{Allocation, Engine, pool};
use crate::digest::Digest;
use crate::limits::Limits;
use crate::text_limits::{MAX_REASON_BYTES, guest_text};

/// The parameters that determine whether an engine can load code compiled elsewhere. Serializable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The limits of the engine.
    pub limits: Limits,
    /// Whether the engine has a pool; code for a pool omits checks that are needed otherwise.
    pub is_pooled: bool,
}

/// Why a compilation failed.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The component is invalid.
    #[error("it is not a valid component: {reason}")]
    Invalid {
        /// The message of the validator.
        reason: String,
    },
    /// Memory is exhausted.
    #[error("not enough memory to compile the component")]
    OutOfMemory,
    /// A limit is out of range, or wasmtime rejected its configuration.
    #[error("could not create the compiler: {0}")]
    Setup(String),
}

impl Engine {
    /// The recipe to compile for this engine.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            limits: self.limits().clone(),
            is_pooled: *self.allocation() == Allocation::Pooling,
        }
    }
}

impl Recipe {
    /// Compiles a component on this thread only and seals the code for [`RuleModule::load`]. Time and memory are
    /// unlimited, so the caller has to limit both for untrusted components.
    ///
    /// [`RuleModule::load`]: crate::RuleModule::load
    pub fn compile(&self, wasm: &[u8], key: &ArtefactKey) -> Result<Vec<u8>, RecipeError> {
        self.limits.check().map_err(RecipeError::Setup)?;
        let engine = pool::compiling(&self.limits, self.is_pooled);
        let engine = engine.map_err(|error| RecipeError::Setup(format!("{error:#}")))?;
        let code = engine.precompile_component(wasm).map_err(|error| {
            if error.is::<wasmtime::OutOfMemory>() {
                return RecipeError::OutOfMemory;
            }
            let reason = guest_text(&format!("{error:#}"), MAX_REASON_BYTES);
            RecipeError::Invalid { reason }
        })?;
        Ok(artefact::sealed(&engine, Digest::of(wasm), &code, key))
    }
}
