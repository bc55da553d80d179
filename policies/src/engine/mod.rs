//! The only module that uses wasmtime: compiles components without imports and calls them under limits. It does not
//! interpret results.

mod artefact;
mod guard;
mod inspect;
mod panic_message;
mod pool;
mod program;
mod recipe;
mod slots;
mod ticker;

use std::sync::Arc;

use wasmtime::component::{Component, Linker};

pub use artefact::{ArtefactError, ArtefactKey};
pub use pool::Allocation;
pub use program::Kind;
pub(crate) use program::{CallCost, Program};
pub use recipe::{Recipe, RecipeError};

use crate::digest::Digest;
use crate::fault::ComponentError;
use crate::limits::Limits;
use crate::rule::Stage;
use crate::text_limits::{MAX_REASON_BYTES, guest_text};
use guard::Guard;
use slots::{Slot, Slots};
use ticker::Ticker;

/// Runs rules. Cheap to clone; all clones share one pool of instances.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    wasmtime: wasmtime::Engine,
    linker: Linker<Guard>,
    limits: Limits,
    allocation: Allocation,
    slots: Slots,
    ticker: Ticker,
}

/// Why an engine could not be created.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A limit is out of range.
    #[error("{0}")]
    Limits(String),
    /// wasmtime rejected its configuration.
    #[error("could not create the rule engine: {0}")]
    Setup(String),
    /// The thread of the ticker could not be started.
    #[error("could not start the ticker of the rule engine")]
    Ticker(#[source] std::io::Error),
}

impl Engine {
    /// Creates an engine; one per process is enough.
    pub fn new(limits: Limits) -> Result<Self, EngineError> {
        limits.check().map_err(EngineError::Limits)?;
        let (wasmtime, allocation) = pool::engine(&limits).map_err(|error| EngineError::Setup(format!("{error:#}")))?;
        let ticker = Ticker::start(wasmtime.weak()).map_err(EngineError::Ticker)?;
        Ok(Self(Arc::new(Inner {
            // The linker stays empty: a rule has no imports.
            linker: Linker::new(&wasmtime),
            slots: Slots::new(limits.instances),
            wasmtime,
            limits,
            allocation,
            ticker,
        })))
    }

    /// The limits for rules.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// How instances are allocated.
    pub fn allocation(&self) -> &Allocation {
        &self.0.allocation
    }

    /// Compiles a component, which takes a fifth of a second for a rule in Rust and seconds for a component with an
    /// interpreter.
    pub(crate) fn compile(&self, wasm: &[u8], passed: &mut impl FnMut(Stage)) -> Result<Program, ComponentError> {
        let sections = inspect::whole(wasm, &self.0.limits)?;
        passed(Stage::Whole);
        inspect::names(sections)?;
        passed(Stage::Contract);
        let component = Component::new(&self.0.wasmtime, wasm).map_err(|error| ComponentError::Invalid {
            reason: guest_text(&format!("{error:#}"), MAX_REASON_BYTES),
        })?;
        let program = self.program(component)?;
        passed(Stage::Compiled);
        Ok(program)
    }

    /// Refuses, before compilation, bytes that are not a component, are too large, import anything or export no
    /// contract.
    pub fn check_bytes(&self, wasm: &[u8]) -> Result<(), ComponentError> {
        inspect::names(inspect::whole(wasm, &self.0.limits)?)
    }

    /// Loads a compiled component, if this engine can use it and its MAC is valid.
    pub(crate) fn restore(&self, wasm: Digest, artefact: &[u8], key: &ArtefactKey) -> Result<Program, ArtefactError> {
        let component = artefact::open(&self.0.wasmtime, wasm, artefact, key)?;
        self.program(component)
            .map_err(|refusal| ArtefactError::Refused(Box::new(refusal)))
    }

    fn program(&self, component: Component) -> Result<Program, ComponentError> {
        let kind = inspect::contract(&self.0.wasmtime, &component)?;
        Program::new(self.clone(), component, kind)
    }

    fn slot(&self) -> Slot<'_> {
        self.0.slots.wait(&self.0.ticker)
    }

    fn slot_within_wait(&self) -> Option<Slot<'_>> {
        self.0.slots.wait_at_most(self.0.limits.instance_wait(), &self.0.ticker)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("limits", &self.0.limits)
            .field("allocation", &self.0.allocation)
            .finish_non_exhaustive()
    }
}
