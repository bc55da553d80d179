//! A compiled component and its calls. Each call gets a new instance, a deadline and a memory limit, and returns a
//! result or a typed misbehaviour.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Lower, TypedFunc,
};
use wasmtime::{Store, Trap, WasmBacktrace, WasmCoreDump};

use super::artefact::{self, ArtefactError, ArtefactKey};
use super::guard::{Exceeded, Guard};
use super::{Engine, panic_message};
use crate::bindings::{RawManifest, RawPlan, Role, Threshold, role, threshold};
use crate::digest::Digest;
use crate::fault::{Busy, ComponentError, Misbehaviour, Problem};
use crate::limits::Limits;
use crate::report::Cost;
use crate::text_limits::{MAX_NAME_BYTES, MAX_REASON_BYTES, guest_text};

/// The kind of a rule: the contract that it implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Evaluates measurements.
    Threshold,
    /// Decides requests.
    Role,
}

impl Kind {
    /// The name of the kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
            Self::Role => "role",
        }
    }

    const fn interface(self) -> &'static str {
        match self {
            Self::Threshold => "watchpost:rules/threshold-rule@1.0.0",
            Self::Role => "watchpost:rules/role-rule@1.0.0",
        }
    }
}

/// A compiled component that exports a contract.
#[derive(Clone)]
pub(crate) struct Program(Arc<Inner>);

struct Inner {
    engine: Engine,
    component: Component,
    ready: InstancePre<Guard>,
    kind: Kind,
    describe: ComponentExportIndex,
    check_settings: ComponentExportIndex,
    /// `judge` or `decide`.
    verdict: ComponentExportIndex,
}

/// The cost of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallCost {
    pub(crate) time: Duration,
    pub(crate) memory_bytes: u64,
}

impl CallCost {
    pub(crate) fn by(self, rule: &str) -> Cost {
        Cost {
            rule: rule.to_owned(),
            time: self.time,
            memory_bytes: self.memory_bytes,
        }
    }
}

type Judged = Result<Vec<threshold::FindingResult>, String>;
type RoleDecision = Result<role::Decision, String>;

impl Program {
    pub(super) fn new(engine: Engine, component: Component, kind: Kind) -> Result<Self, ComponentError> {
        let wrong_shape = |error: wasmtime::Error| ComponentError::WrongTypes {
            interface: kind.interface().to_owned(),
            reason: guest_text(&format!("{error:#}"), MAX_REASON_BYTES),
        };
        let ready = engine.0.linker.instantiate_pre(&component).map_err(wrong_shape)?;
        let interface = component.get_export_index(None, kind.interface());
        let export = |name: &str| {
            let found = component.get_export_index(interface.as_ref(), name);
            found.ok_or_else(|| ComponentError::WrongTypes {
                interface: kind.interface().to_owned(),
                reason: format!("{name} is missing"),
            })
        };
        let inner = Inner {
            describe: export("describe")?,
            check_settings: export("check-settings")?,
            verdict: export(match kind {
                Kind::Threshold => "judge",
                Kind::Role => "decide",
            })?,
            engine,
            ready,
            kind,
            component,
        };
        Ok(Self(Arc::new(inner)))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    pub(crate) fn limits(&self) -> &Limits {
        self.0.engine.limits()
    }

    pub(crate) fn seal(&self, wasm: Digest, key: &ArtefactKey) -> Result<Vec<u8>, ArtefactError> {
        artefact::seal(&self.0.engine.0.wasmtime, wasm, &self.0.component, key)
    }

    /// Compares every type of the interface with the contract once; the calls rely on it.
    pub(crate) fn check_types(&self) -> Result<Result<(), ComponentError>, Misbehaviour> {
        let _slot = self.0.engine.slot();
        let Running { mut store, instance } = self.start(self.limits().describe_time())?;
        let compared = match self.0.kind {
            Kind::Threshold => Threshold::new(&mut store, &instance).map(drop),
            Kind::Role => Role::new(&mut store, &instance).map(drop),
        };
        Ok(compared.map_err(|error| ComponentError::WrongTypes {
            interface: self.0.kind.interface().to_owned(),
            reason: guest_text(&format!("{error:#}"), MAX_REASON_BYTES),
        }))
    }

    pub(crate) fn describe(&self) -> Result<RawManifest, Misbehaviour> {
        let _slot = self.0.engine.slot();
        let time = self.limits().describe_time();
        Ok(match self.0.kind {
            Kind::Threshold => {
                let (manifest,): (threshold::Manifest,) = self.call(&self.0.describe, time, ())?.0;
                manifest.into()
            }
            Kind::Role => {
                let (manifest,): (role::Manifest,) = self.call(&self.0.describe, time, ())?.0;
                manifest.into()
            }
        })
    }

    /// `actions` are passed to role rules only.
    pub(crate) fn check_settings(
        &self,
        settings: &str,
        actions: &[&str],
    ) -> Result<Result<RawPlan, Vec<Problem>>, Misbehaviour> {
        fn convert<P: Into<RawPlan>, Q: Into<Problem>>(answer: Result<P, Vec<Q>>) -> Result<RawPlan, Vec<Problem>> {
            answer
                .map(Into::into)
                .map_err(|problems| problems.into_iter().map(Into::into).collect())
        }
        let _slot = self.0.engine.slot();
        let time = self.limits().describe_time();
        let check = &self.0.check_settings;
        Ok(match self.0.kind {
            Kind::Threshold => {
                type Checked = Result<threshold::Plan, Vec<threshold::Problem>>;
                let ((answer,), _) = self.call::<_, (Checked,)>(check, time, (settings,))?;
                convert(answer)
            }
            Kind::Role => {
                type Checked = Result<role::Plan, Vec<role::Problem>>;
                let ((answer,), _) = self.call::<_, (Checked,)>(check, time, (settings, actions))?;
                convert(answer)
            }
        })
    }

    pub(crate) fn judge(
        &self,
        round: threshold::Round<'_>,
        settings: &[u8],
    ) -> Result<(Vec<threshold::FindingResult>, CallCost), Misbehaviour> {
        let _slot = self.0.engine.slot();
        let time = self.limits().judge_time();
        let ((answer,), spent) = self.call::<_, (Judged,)>(&self.0.verdict, time, (round, settings))?;
        let findings = answer.map_err(|message| self.returned_error(message))?;
        Ok((findings, spent))
    }

    pub(crate) fn decide(
        &self,
        request: role::Request<'_>,
        standings: &[role::Standing<'_>],
        settings: &[u8],
    ) -> Result<Result<(role::Decision, CallCost), Misbehaviour>, Busy> {
        let _slot = self.0.engine.slot_within_wait().ok_or(Busy)?;
        let time = self.limits().decide_time();
        let called = self.call::<_, (RoleDecision,)>(&self.0.verdict, time, (request, standings, settings));
        Ok(called.and_then(|((answer,), spent)| {
            let decision = answer.map_err(|message| self.returned_error(message))?;
            Ok((decision, spent))
        }))
    }

    fn returned_error(&self, message: String) -> Misbehaviour {
        Misbehaviour::ReturnedError {
            message: guest_text(&message, self.limits().text_bytes),
        }
    }

    /// Calls a function in a new instance. The caller holds a slot.
    fn call<Params, Answer>(
        &self,
        function: &ComponentExportIndex,
        limit: Duration,
        params: Params,
    ) -> Result<(Answer, CallCost), Misbehaviour>
    where
        Params: ComponentNamedList + Lower,
        Answer: ComponentNamedList + Lift + 'static,
    {
        let began = Instant::now();
        let Running { mut store, instance } = self.start(limit)?;
        let function: TypedFunc<Params, Answer> = instance
            .get_typed_func(&mut store, function)
            .map_err(|error| self.misbehaviour(&error, &store, limit))?;
        let answer = function
            .call(&mut store, params)
            .map_err(|error| self.misbehaviour(&error, &store, limit))?;
        let memory_bytes = store.data().peak_memory as u64;
        drop(store);
        let spent = CallCost {
            time: began.elapsed(),
            memory_bytes,
        };
        Ok((answer, spent))
    }

    fn start(&self, limit: Duration) -> Result<Running, Misbehaviour> {
        let Inner { engine, ready, .. } = &*self.0;
        let mut store = Store::new(&engine.0.wasmtime, Guard::new(self.limits()));
        store.limiter(|guard| guard);
        // One more tick, because the first one may come immediately.
        let ticks = limit.as_nanos().div_ceil(super::ticker::TICK.as_nanos()) + 1;
        store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX));
        // The size of texts and lists is counted while they are read from the guest and before they are allocated: a
        // list may reference the same large text a thousand times.
        store.set_hostcall_fuel(self.limits().result_bytes);
        let instance = ready
            .instantiate(&mut store)
            .map_err(|error| self.misbehaviour(&error, &store, limit))?;
        Ok(Running { store, instance })
    }

    fn misbehaviour(&self, error: &wasmtime::Error, store: &Store<Guard>, limit: Duration) -> Misbehaviour {
        let limits = self.limits();
        match store.data().exceeded {
            Some(Exceeded::Memory) => {
                return Misbehaviour::OutOfMemory {
                    limit_bytes: limits.memory_bytes as u64,
                };
            }
            Some(Exceeded::Table) => {
                return Misbehaviour::TableTooLarge {
                    limit_elements: limits.table_elements as u64,
                };
            }
            None => {}
        }
        let Some(trap) = error.downcast_ref::<Trap>() else {
            return unreadable(error, limits);
        };
        match trap {
            Trap::Interrupt => return Misbehaviour::timeout(limit),
            Trap::StackOverflow => {
                return Misbehaviour::StackOverflow {
                    limit_bytes: limits.stack_bytes as u64,
                };
            }
            _ => {}
        }
        let trap = match trap {
            Trap::MemoryOutOfBounds => {
                "out-of-bounds memory access; in Rust and C often caused by a full stack".to_owned()
            }
            trap => trap.to_string(),
        };
        let dump = error.downcast_ref::<WasmCoreDump>();
        if let Some(message) = dump.and_then(|dump| panic_message::read(dump, store)) {
            let message = guest_text(&message, limits.text_bytes);
            return Misbehaviour::Panic { message };
        }
        Misbehaviour::Trap {
            trap,
            frames: frames(error),
        }
    }
}

struct Running {
    store: Store<Guard>,
    instance: Instance,
}

/// The misbehaviour for a result that cannot be read from the guest. wasmtime does not export the type of this error,
/// so its message is matched; a test covers it.
fn unreadable(error: &wasmtime::Error, limits: &Limits) -> Misbehaviour {
    let what = format!("{error:#}");
    if what.contains("fuel allocated for hostcalls") {
        return Misbehaviour::ResultTooLarge {
            limit_bytes: limits.result_bytes as u64,
        };
    }
    let what = guest_text(&what, MAX_REASON_BYTES);
    Misbehaviour::UndecodableResult { what }
}

/// The names come from the guest and may contain any text.
fn frames(error: &wasmtime::Error) -> Vec<String> {
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let dump = error.downcast_ref::<WasmCoreDump>();
    let frames = backtrace.map(WasmBacktrace::frames).or(dump.map(WasmCoreDump::frames));
    let names = frames.unwrap_or_default().iter().filter_map(|frame| frame.func_name());
    names.take(3).map(|name| guest_text(name, MAX_NAME_BYTES)).collect()
}
