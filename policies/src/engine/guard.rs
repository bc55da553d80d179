//! Stands beside a running instance and counts what it takes. It bounds memory and tables; time and stack are
//! bounded elsewhere.

use wasmtime::ResourceLimiter;

use super::pool;
use crate::limits::Limits;

/// What an instance may take, and what it took.
pub(super) struct Guard {
    memory_bytes: usize,
    table_elements: usize,
    memory: usize,
    pub(super) most_memory: usize,
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
            most_memory: 0,
            last_growth: 0,
            exceeded: None,
        }
    }
}

impl ResourceLimiter for Guard {
    /// The limit is for all memories of the instance together.
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = (self.memory - current).saturating_add(desired);
        if total > self.memory_bytes {
            self.exceeded = Some(Exceeded::Memory);
            wasmtime::bail!("memory limit");
        }
        self.last_growth = total - self.memory;
        self.memory = total;
        self.most_memory = self.most_memory.max(total);
        Ok(true)
    }

    /// The memory's own maximum may be lower than ours.
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
