//! The settings of the rules, and of what each may take. What the rules' own settings mean, they know
//! themselves.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};
use watchpost_policies::{Digest, Limits};

use super::declare::{Checked, section};
use super::raw_settings::Reader;
use super::size::{Size, size};
use super::trusted_keys::TrustedKey;
use crate::rules::compiler::Options;
use crate::rules::signing::Provenance;
use crate::rules::{Settings, registry};

section! {
    /// The rules.
    pub struct Rules {
        /// The settings of the threshold rule; docs/RULES.md tells of them.
        pub threshold: Map<String, Value> = Map::new(),
        /// The settings of the role rule; docs/RULES.md tells of them.
        pub role: Map<String, Value> = Map::new(),
        /// Certificates, by their fingerprints (SHA-256, 64 hexadecimal digits), that may look at rules and change them
        /// whatever the role rule says: for the day on which it says something wrong.
        pub break_glass: Vec<Digest> = json!([]),
        /// A rule that somebody brought and that fails so often, one time after the other, is put aside: what was good
        /// before is in force again.
        pub max_consecutive_faults: u32 where 1 ..= 1000 = 5,
        /// A folder whose rules are put in force by themselves, and again when they change; docs/RULES.md tells of it.
        pub dir: Option<PathBuf>,
        /// The keys whose signatures on rules are believed: each a `name` (letters, digits, `-`, `_` and `.`) and a
        /// `key`, which is a public key as `watchpost rules keygen` makes it, or the path of the file that it is in.
        pub trusted_keys: Vec<TrustedKey> = json!([]),
        /// Whether a rule that somebody brings has to be signed by one of them. What is in force already stays.
        pub require_signature: bool = false,
        /// The rules that may be brought, by the SHA-256 of their components (64 hexadecimal digits, as `sha256sum`
        /// prints them). None named means any.
        pub allowed_digests: Vec<Digest> = json!([]),
        /// What a rule may take and give. A rule that wants more is stopped, and that is a fault.
        pub limits: RuleLimits,
        /// What compiling a rule that was uploaded may take. It has a process of its own, and one is compiled at a time.
        pub compiler: RuleCompiler,
    }
}

impl Checked for Rules {}

impl Rules {
    /// The settings of the built-in rules, as those read them.
    pub fn settings(&self) -> Settings {
        let json = |table: &Map<String, Value>| Value::Object(table.clone()).to_string();
        Settings {
            threshold: json(&self.threshold),
            role: json(&self.role),
        }
    }

    /// As the registry takes them. A reload gives it the same again.
    pub fn options(&self) -> registry::Options {
        registry::Options {
            configured: self.settings(),
            break_glass: self.break_glass.clone(),
            max_consecutive_faults: self.max_consecutive_faults,
            provenance: self.provenance(),
        }
    }

    /// What is wanted of those who bring rules.
    pub fn provenance(&self) -> Provenance {
        Provenance {
            trusted_keys: self.trusted_keys.iter().map(TrustedKey::trusted).collect(),
            require_signature: self.require_signature,
            allowed_digests: self.allowed_digests.clone(),
        }
    }
}

section! {
    /// What compiling a rule that was uploaded may take.
    pub struct RuleCompiler {
        /// The longest that one may take. A rule in Python takes ten seconds or so, and longer on a busy machine, for
        /// compiling has a low priority.
        pub timeout: Duration where "1s" ..= "1h" = "2m",
        /// The most memory of the process that compiles it; a rule in Python takes half a GiB.
        pub max_memory: Size where "128MiB" ..= "1024GiB" = "2GiB",
        /// How many others may wait for their turn before the answer is "busy".
        pub queue_length: usize where 0 ..= 1000 = 16,
    }
}

impl Checked for RuleCompiler {}

impl RuleCompiler {
    /// As the compiler takes them.
    pub fn options(&self) -> Options {
        Options {
            timeout: self.timeout,
            memory_bytes: self.max_memory.bytes(),
            queue_length: self.queue_length,
        }
    }
}

section! {
    /// What a rule may take and give.
    pub struct RuleLimits {
        /// The largest component.
        pub component_bytes: Size = size(Limits::default().component_bytes),
        /// The longest that a rule may take to describe itself or to check its settings, in milliseconds.
        pub describe_ms: u64 = Limits::default().describe_ms,
        /// The longest that one judgement may take, in milliseconds.
        pub judge_ms: u64 = Limits::default().judge_ms,
        /// The longest that one decision may take, in milliseconds. A request waits for it.
        pub decide_ms: u64 = Limits::default().decide_ms,
        /// The most memory of an instance.
        pub memory_bytes: Size = size(Limits::default().memory_bytes),
        /// The most elements of a table; interpreters bring large ones.
        pub table_elements: usize = Limits::default().table_elements,
        /// The stack that calls may fill.
        pub stack_bytes: Size = size(Limits::default().stack_bytes),
        /// The largest answer of a call.
        pub answer_bytes: Size = size(Limits::default().answer_bytes),
        /// The most findings of one rule in one round.
        pub findings: usize = Limits::default().findings,
        /// The longest text in an answer: a sentence, a reason, a name.
        pub text_bytes: Size = size(Limits::default().text_bytes),
        /// How many instances may be alive at once.
        pub instances: u32 = Limits::default().instances,
        /// How long a decision waits for an instance before the answer is "busy", in milliseconds.
        pub instance_wait_ms: u64 = Limits::default().instance_wait_ms,
        /// How many decisions are decision_cache_entries.
        pub decision_cache_entries: usize = Limits::default().decision_cache_entries,
    }
}

impl RuleLimits {
    /// As the engine takes them.
    pub fn limits(&self) -> Limits {
        Limits {
            component_bytes: self.component_bytes.as_usize(),
            describe_ms: self.describe_ms,
            judge_ms: self.judge_ms,
            decide_ms: self.decide_ms,
            memory_bytes: self.memory_bytes.as_usize(),
            table_elements: self.table_elements,
            stack_bytes: self.stack_bytes.as_usize(),
            answer_bytes: self.answer_bytes.as_usize(),
            findings: self.findings,
            text_bytes: self.text_bytes.as_usize(),
            instances: self.instances,
            instance_wait_ms: self.instance_wait_ms,
            decision_cache_entries: self.decision_cache_entries,
        }
    }
}

impl Checked for RuleLimits {
    /// Each by itself among defaults, for the engine stops at the first that makes no sense.
    fn check(&mut self, reader: &mut Reader<'_>) {
        let Ok(Value::Object(limits)) = serde_json::to_value(self.limits()) else {
            return;
        };
        for (name, value) in limits {
            let alone = serde_json::from_value::<Limits>(json!({ name.as_str(): value }));
            if let Ok(Err(sentence)) = alone.map(|limits| limits.check()) {
                reader.mistake(&[&name], sentence);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::{Config, ConfigErrors, Sources};
    use crate::rules::compiler::Options;

    fn load(text: &str) -> Result<Config, ConfigErrors> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("watchpost.toml");
        std::fs::write(&file, text).expect("written");
        Config::load(&Sources {
            file: Some(file),
            ..Sources::default()
        })
    }

    #[test]
    fn what_compiling_may_take_reaches_the_compiler() {
        let options = |text: &str| load(text).expect("it is right").rules.compiler.options();
        let default = Options {
            timeout: Duration::from_secs(120),
            memory_bytes: 2 << 30,
            queue_length: 16,
        };
        assert_eq!(options(""), default);
        let service_metrics = Options {
            timeout: Duration::from_secs(5),
            memory_bytes: 128 << 20,
            queue_length: 0,
        };
        let text = "[rules.compiler]\ntimeout = '5s'\nmax_memory = '128MiB'\nqueue_length = 0\n";
        assert_eq!(options(text), service_metrics);
        for (setting, key) in [
            ("max_memory = '127MiB'", "max_memory"),
            ("timeout = '999ms'", "timeout"),
            ("queue_length = 1001", "queue_length"),
        ] {
            let mistakes = load(&format!("[rules.compiler]\n{setting}\n"))
                .expect_err(setting)
                .to_string();
            assert!(mistakes.contains(&format!("rules.compiler.{key}")), "{mistakes}");
        }
    }
}
