//! Configures wasmtime: the features that guests may use, and the allocation of instances. The pool needs much address
//! space; without enough of it, instances are allocated on demand.

use std::num::NonZeroUsize;

use serde::Serialize;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy};

use crate::limits::Limits;

/// A component with an interpreter has dozens of core instances: componentize-py makes 38.
pub(super) const CORE_INSTANCES: u32 = 64;
pub(super) const TABLES: u32 = 64;
/// They share one memory; the adapter has a second one.
pub(super) const MEMORIES: u32 = 4;

/// Reusing a slot for the same rule needs no system call, so there are slots for a hundred rules and their other
/// versions, even if only a few run at once. They cost address space only.
const WARM_SLOTS: u32 = 256;

/// This much of a memory stays resident and is zeroed instead of returned to the kernel. It is enough for rules made
/// with the SDK; returning pages and faulting them in again prevents two cores from being faster than one.
const RETAINED_MEMORY_BYTES: usize = 256 << 10;
const RETAINED_TABLE_BYTES: usize = 16 << 10;

/// Maximum number of frames in a backtrace.
const FRAMES: NonZeroUsize = NonZeroUsize::new(8).expect("eight is not zero");

/// How instances are allocated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "allocation")]
pub enum Allocation {
    /// In preallocated slots, which is fast.
    Pooling,
    /// On demand, because the pool does not fit into the address space.
    OnDemand {
        /// Why the pool could not be created.
        reason: String,
    },
}

/// An engine with a pool, or without one if the address space does not suffice.
pub(super) fn engine(limits: &Limits) -> wasmtime::Result<(Engine, Allocation)> {
    let mut pooled = guest_features(limits);
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    let reason = match Engine::new(&pooled) {
        Ok(engine) => return Ok((engine, Allocation::Pooling)),
        Err(error) => format!("{error:#}"),
    };
    Ok((Engine::new(&one_by_one(limits))?, Allocation::OnDemand { reason }))
}

/// An engine that compiles for another engine and reserves no memory. The allocation of instances does not affect the
/// code; the address space of each memory does.
pub(super) fn compiling(limits: &Limits, is_pooled: bool) -> wasmtime::Result<Engine> {
    let mut config = if is_pooled {
        guest_features(limits)
    } else {
        one_by_one(limits)
    };
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    // Such a compilation has lower priority than other work of the machine.
    config.parallel_compilation(false);
    Engine::new(&config)
}

fn one_by_one(limits: &Limits) -> Config {
    let mut config = guest_features(limits);
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    // The default reserves 4 GiB for every memory, which may not fit either.
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

/// Features that wasmtime is built without (threads, garbage collection, async) are not mentioned; every other feature
/// that affects results or safety is set explicitly, even to its default.
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
    // The panic message of a guest is read from a core dump, which is only taken on a trap.
    config.coredump_on_trap(true);
    config.wasm_backtrace_max_frames(Some(FRAMES));
    config
}
