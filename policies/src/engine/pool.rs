//! How wasmtime is set up: what guests may use, and where their instances live. The pool needs much address
//! space; where there is too little of it, instances are allocated one by one.

use std::num::NonZeroUsize;

use serde::Serialize;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy};

use crate::limits::Limits;

/// An interpreter in a component is dozens of core instances: componentize-py makes 38.
pub(super) const CORE_INSTANCES: u32 = 64;
pub(super) const TABLES: u32 = 64;
/// They share one memory; a second one belongs to its adapter.
pub(super) const MEMORIES: u32 = 4;

/// A slot that last held the same rule is set up again without the kernel; so there are slots for a hundred
/// rules and their other versions, even if only a few run at once. They cost address space only.
const WARM_SLOTS: u32 = 256;

/// So much of a memory stays with its slot and is set to zero rather than given back to the kernel. Rules made
/// with the SDK fit in; giving pages back and faulting them in again is what keeps two cores from being faster
/// than one.
const RETAINED_MEMORY_BYTES: usize = 256 << 10;
const RETAINED_TABLE_BYTES: usize = 16 << 10;

/// More frames than this tell a person nothing new.
const FRAMES: NonZeroUsize = NonZeroUsize::new(8).expect("eight is not zero");

/// Where instances live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "allocation")]
pub enum Allocation {
    /// In slots that are made once: the quick way.
    Pooling,
    /// One by one, because the pool did not fit.
    OnDemand {
        /// Why not.
        why: String,
    },
}

/// The engine with a pool, or one without where the pool finds no room.
pub(super) fn engine(limits: &Limits) -> wasmtime::Result<(Engine, Allocation)> {
    let mut pooled = guest_features(limits);
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    let why = match Engine::new(&pooled) {
        Ok(engine) => return Ok((engine, Allocation::Pooling)),
        Err(error) => format!("{error:#}"),
    };
    Ok((Engine::new(&one_by_one(limits))?, Allocation::OnDemand { why }))
}

/// An engine that compiles for such a one and reserves nothing. Where instances live is no part of the code; how
/// much address space each memory has is.
pub(super) fn compiling(limits: &Limits, is_pooled: bool) -> wasmtime::Result<Engine> {
    let mut config = if is_pooled {
        guest_features(limits)
    } else {
        one_by_one(limits)
    };
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    // Whoever compiles so does it beside something more important.
    config.parallel_compilation(false);
    Engine::new(&config)
}

fn one_by_one(limits: &Limits) -> Config {
    let mut config = guest_features(limits);
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    // The default reserves 4 GiB for every memory; where the pool did not fit, that may not either.
    config.memory_reservation(limits.memory_bytes as u64);
    config.memory_reservation_for_growth(0);
    config.memory_guard_size(64 << 10);
    config
}

fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    let count = limits.instances;
    pool.total_component_instances(count);
    pool.total_core_instances(count * CORE_INSTANCES);
    pool.total_memories((count * MEMORIES).max(WARM_SLOTS));
    pool.max_unused_warm_slots(WARM_SLOTS);
    pool.total_tables(count * TABLES);
    pool.max_core_instances_per_component(CORE_INSTANCES);
    pool.max_memories_per_component(MEMORIES);
    pool.max_tables_per_component(TABLES);
    pool.max_memory_size(limits.memory_bytes);
    pool.table_elements(limits.table_elements);
    pool.linear_memory_keep_resident(RETAINED_MEMORY_BYTES);
    pool.table_keep_resident(RETAINED_TABLE_BYTES);
    pool
}

/// What wasmtime was built without (threads, garbage collection, async) is not named; of the rest, everything on
/// which an answer or its safety depends is said here, also where it is the default.
fn guest_features(limits: &Limits) -> Config {
    let mut config = Config::new();
    config.strategy(Strategy::Cranelift);
    config.wasm_component_model(true);
    config.concurrency_support(false);
    config.wasm_memory64(false);
    config.wasm_multi_memory(false);
    config.wasm_custom_page_sizes(false);
    config.wasm_wide_arithmetic(false);
    // The same input gives the same answer on every machine.
    config.wasm_relaxed_simd(false);
    config.relaxed_simd_deterministic(true);
    config.cranelift_nan_canonicalization(true);
    config.epoch_interruption(true);
    config.max_wasm_stack(limits.stack_bytes);
    config.memory_init_cow(true);
    // A core dump is how the last words of a guest are read; it is taken only when it traps.
    config.coredump_on_trap(true);
    config.wasm_backtrace_max_frames(Some(FRAMES));
    config
}
