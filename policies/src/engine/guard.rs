//! Limits the memory and tables of a running instance and records its peak. Time and stack are limited elsewhere.

use wasmtime::ResourceLimiter;

use super::pool;
use crate::limits::Limits;

/// The limits of an instance and its usage.
pub(super) struct Guard {
    memory_bytes: usize,
    table_elements: usize,
    memory: usize,
    pub(super) peak_memory: usize,
    last_growth: usize,
    pub(super) exceeded: Option<Exceeded>,
}

#[derive(Clone, Copy)]
pub(super) enum Exceeded {
    Memory,
    Table,
}

impl Guard {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            memory: 0,
            peak_memory: 0,
            last_growth: 0,
            exceeded: None,
        }
    }
}

impl ResourceLimiter for Guard {
    /// The limit applies to all memories of the instance together.
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = (self.memory - current).saturating_add(desired);
        if total > self.memory_bytes {
            self.exceeded = Some(Exceeded::Memory);
            wasmtime::bail!("memory limit");
        }
        self.last_growth = total - self.memory;
        self.memory = total;
        self.peak_memory = self.peak_memory.max(total);
        Ok(true)
    }

    /// The memory's own maximum may be lower than the limit.
    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory -= self.last_growth;
        self.last_growth = 0;
        Ok(())
    }

    fn instances(&self) -> usize {
        pool::CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        pool::TABLES as usize
    }

    fn memories(&self) -> usize {
        pool::MEMORIES as usize
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.table_elements {
            self.exceeded = Some(Exceeded::Table);
            wasmtime::bail!("table limit");
        }
        Ok(true)
    }
}
