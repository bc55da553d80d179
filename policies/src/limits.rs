//! Limits of rules. The built-in rules, and guests in Python and JavaScript, stay well below each default; each limit
//! has a test that obeys it and one that exceeds it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits of one engine, applied to each call separately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Maximum size of a component in bytes. A rule in Rust has 95 to 215 KB, one in JavaScript 12 MB, one in Python 19
    /// MB.
    pub component_bytes: usize,
    /// Time limit of `describe` and `check-settings`, in milliseconds; a person waits for them.
    pub describe_ms: u64,
    /// Time limit of `judge`, in milliseconds. It runs once per round, concurrently with requests.
    pub judge_ms: u64,
    /// Time limit of `decide`, in milliseconds; a request waits for it.
    pub decide_ms: u64,
    /// Maximum memory of an instance in bytes, all its memories together.
    pub memory_bytes: usize,
    /// Maximum number of elements of a table; interpreters need large ones.
    pub table_elements: usize,
    /// Maximum stack of a call in bytes.
    pub stack_bytes: usize,
    /// Maximum size of a result in bytes, as the host stores it.
    pub result_bytes: usize,
    /// Maximum number of findings of one rule per round.
    pub findings: usize,
    /// Maximum length of a text in a result, in bytes: a message, a reason, a name.
    pub text_bytes: usize,
    /// Maximum number of concurrent instances; callers queue for them.
    pub instances: u32,
    /// How long a decision waits for an instance before it fails as busy, in milliseconds.
    pub instance_wait_ms: u64,
    /// Maximum number of cached decisions per generation.
    pub decision_cache_entries: usize,
}

/// One hour.
const MAX_DURATION_MS: u64 = 3_600_000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            component_bytes: 32 << 20,
            describe_ms: 500,
            judge_ms: 500,
            decide_ms: 100,
            memory_bytes: 64 << 20,
            table_elements: 100_000,
            stack_bytes: 512 << 10,
            result_bytes: 8 << 20,
            findings: 10_000,
            text_bytes: 2048,
            instances: 16,
            instance_wait_ms: 100,
            decision_cache_entries: 10_000,
        }
    }
}

impl Limits {
    /// Checks that all limits are in range. Below the minimum the built-in rules could not return a result for any
    /// input.
    pub fn check(&self) -> Result<(), String> {
        let ranges = [
            // No useful component is smaller; a larger one can take gigabytes to compile.
            ("component_bytes", self.component_bytes as u64, 64 << 10, 256 << 20),
            // Each instance may need 64 core instances and 4 GiB of address space for each of four memories.
            ("instances", u64::from(self.instances), 1, 1000),
            // Rules are called on threads with 2 MiB of stack.
            ("stack_bytes", self.stack_bytes as u64, 16 << 10, 1 << 20),
            ("memory_bytes", self.memory_bytes as u64, 64 << 10, 4 << 30),
            // The pool reserves this number for each table of each instance.
            ("table_elements", self.table_elements as u64, 1000, 1_000_000),
            // The default threshold rule limits its findings to 9,000 and 4 MiB.
            ("result_bytes", self.result_bytes as u64, 5 << 20, 1 << 30),
            ("findings", self.findings as u64, 9000, 1_000_000),
            // The default rules truncate their messages and reasons at 1,500 bytes.
            ("text_bytes", self.text_bytes as u64, 1600, 16 << 20),
            // A decision takes at max ten kilobytes.
            (
                "decision_cache_entries",
                self.decision_cache_entries as u64,
                0,
                1_000_000,
            ),
            ("describe_ms", self.describe_ms, 0, MAX_DURATION_MS),
            ("judge_ms", self.judge_ms, 0, MAX_DURATION_MS),
            ("decide_ms", self.decide_ms, 0, MAX_DURATION_MS),
            ("instance_wait_ms", self.instance_wait_ms, 0, MAX_DURATION_MS),
        ];
        let outside = ranges.iter().find(|(_, value, min, max)| value < min || value > max);
        outside.map_or(Ok(()), |(name, value, min, max)| {
            Err(format!(
                "the limit {name} is {value}; it must be between {min} and {max}"
            ))
        })
    }

    pub(crate) fn describe_time(&self) -> Duration {
        Duration::from_millis(self.describe_ms)
    }

    pub(crate) fn judge_time(&self) -> Duration {
        Duration::from_millis(self.judge_ms)
    }

    pub(crate) fn decide_time(&self) -> Duration {
        Duration::from_millis(self.decide_ms)
    }

    pub(crate) fn instance_wait(&self) -> Duration {
        Duration::from_millis(self.instance_wait_ms)
    }
}
