//! How to compile for an engine without being it: another process, which may be ended at any moment, makes the code
//! and this one loads it. It runs nothing, and starts no process itself.

use serde::{Deserialize, Serialize};

use super::artefact::{self, ArtefactKey};
use super::{Allocation, Engine, pool};
use crate::digest::Digest;
use crate::limits::Limits;
use crate::text_limits::{MAX_REASON_BYTES, guest_words};

/// What has to be the same for an engine to load code that was compiled elsewhere. It can be written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The limits of the engine.
    pub limits: Limits,
    /// Whether its instances live in a pool: there, code leaves out checks that it needs elsewhere.
    pub is_pooled: bool,
}

/// Why a recipe came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The component is not one.
    #[error("it is not a valid component: {why}")]
    Invalid {
        /// The validator's words.
        why: String,
    },
    /// There is no more memory.
    #[error("there is not enough memory to compile it")]
    OutOfMemory,
    /// The limits are none, or wasmtime refused its configuration.
    #[error("the compiler could not be set up: {0}")]
    Setup(String),
}

impl Engine {
    /// How to compile for it.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            limits: self.limits().clone(),
            is_pooled: *self.allocation() == Allocation::Pooling,
        }
    }
}

impl Recipe {
    /// Compiles a component on this thread alone and seals the code for [`RuleModule::load`]. It may take as long
    /// and as much memory as it likes: whoever calls this for a stranger has bounded both.
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
            let why = guest_words(&format!("{error:#}"), MAX_REASON_BYTES);
            RecipeError::Invalid { why }
        })?;
        Ok(artefact::sealed(&engine, Digest::of(wasm), &code, key))
    }
}
