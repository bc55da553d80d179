//! What a rule may take and give. Each bound has a default that the rules which Watchpost brings, and guests
//! in Python and JavaScript, stay well under; each has a test that obeys it and one that breaks it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits of one engine. They hold for each call by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest component. A rule in Rust has 95 to 215 KB, one in JavaScript 12 MB, one in Python 19 MB.
    pub component_bytes: usize,
    /// The longest that `describe` and `check-settings` may take: a person waits for them.
    pub describe_ms: u64,
    /// The longest that `judge` may take. It runs beside the requests, once a round.
    pub judge_ms: u64,
    /// The longest that `decide` may take. A request waits for it.
    pub decide_ms: u64,
    /// The most memory that an instance may have, all its memories together.
    pub memory_bytes: usize,
    /// The most elements that a table may have; interpreters bring large ones.
    pub table_elements: usize,
    /// The stack that its calls may fill, in bytes.
    pub stack_bytes: usize,
    /// The largest answer of any call, as the host would keep it.
    pub answer_bytes: usize,
    /// The most findings of one rule in one round.
    pub findings: usize,
    /// The longest text in an answer: a sentence, a reason, a name.
    pub text_bytes: usize,
    /// How many instances may be alive at once. The bound stands in front of the pool.
    pub instances: u32,
    /// How long a decision waits for an instance before it is busy.
    pub instance_wait_ms: u64,
    /// How many decisions a generation remembers.
    pub decision_cache_entries: usize,
}

/// An hour; whoever waits longer waits for something else.
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
            answer_bytes: 8 << 20,
            findings: 10_000,
            text_bytes: 2048,
            instances: 16,
            instance_wait_ms: 100,
            decision_cache_entries: 10_000,
        }
    }
}

impl Limits {
    /// Says which limit makes no sense, and what would. Below the least of them the rules that Watchpost brings
    /// could not answer, whatever they are shown.
    pub fn check(&self) -> Result<(), String> {
        let ranges = [
            // No component of any use is smaller; of larger ones the compiler makes gigabytes.
            ("component_bytes", self.component_bytes as u64, 64 << 10, 256 << 20),
            // Each instance may take 64 core instances and 4 GiB of address space for each of four memories.
            ("instances", u64::from(self.instances), 1, 1000),
            // A thread has 2 MiB of stack, and a rule is called from one.
            ("stack_bytes", self.stack_bytes as u64, 16 << 10, 1 << 20),
            ("memory_bytes", self.memory_bytes as u64, 64 << 10, 4 << 30),
            // The pool reserves so many for each table of each instance.
            ("table_elements", self.table_elements as u64, 1000, 1_000_000),
            // The default threshold rule keeps its findings within 4 MiB, and to 9,000.
            ("answer_bytes", self.answer_bytes as u64, 5 << 20, 1 << 30),
            ("findings", self.findings as u64, 9000, 1_000_000),
            // The default rules cut their sentences and reasons at 1,500 bytes.
            ("text_bytes", self.text_bytes as u64, 1600, 16 << 20),
            // Ten kilobytes each, at the worst.
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
        let outside = ranges
            .iter()
            .find(|(_, value, least, most)| value < least || value > most);
        outside.map_or(Ok(()), |(name, value, least, most)| {
            Err(format!(
                "the limit {name} is {value}; it has to be between {least} and {most}"
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

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.instance_wait_ms)
    }
}
