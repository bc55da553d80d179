//! Settings of the rules, their limits and the compiler. The settings of a rule itself are opaque here; the rule
//! validates them.

use std::collections::BTreeSet;
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
use crate::rules::{Settings, builtin, registry};
use crate::store::rules::VersionQuota;

section! {
    /// The rules.
    pub struct Rules {
        /// Settings of the threshold rule; see docs/RULES.md.
        pub threshold: Map<String, Value> = Map::new(),
        /// Settings of the role rule; see docs/RULES.md.
        pub role: Map<String, Value> = Map::new(),
        /// SHA-256 fingerprints of certificates (64 hexadecimal digits) that may read and change rules
        /// regardless of the role rule: emergency access in case the role rule locks everyone out.
        pub break_glass: Vec<Digest> = json!([]),
        /// The number of consecutive faults after which an uploaded rule is quarantined and the last good
        /// version is activated again.
        pub max_consecutive_faults: u32 where 1 ..= 1000 = 5,
        /// A directory of rules. They are activated automatically, and again when their files change; see
        /// docs/RULES.md.
        pub dir: Option<PathBuf>,
        /// The keys that rule signatures are verified with. Each has a `name` (letters, digits, `-`, `_` and
        /// `.`) and a `key`: a public key as `watchpost rules keygen` prints it, or the path of its file.
        pub trusted_keys: Vec<TrustedKey> = json!([]),
        /// Whether an uploaded rule must be signed by one of the trusted keys. Active rules are not deactivated.
        pub require_signature: bool = false,
        /// SHA-256 digests of the components that may be uploaded (64 hexadecimal digits, as `sha256sum` prints
        /// them). Without any, all may.
        pub allowed_digests: Vec<Digest> = json!([]),
        /// The maximum number of stored versions per rule. When it is reached, an upload is rejected until versions
        /// are deleted.
        pub max_versions: usize where 1 ..= 100_000 = 200,
        /// The maximum size of all stored versions together.
        pub max_stored_size: Size where "1MiB" ..= "1024GiB" = "4GiB",
        /// The maximum size of the compiled code on disk. Beyond it, the code that was not used for the longest time
        /// is deleted, except that of active rules; it is compiled again when it is needed.
        pub max_cache_size: Size where "1MiB" ..= "1024GiB" = "4GiB",
        /// Limits of a rule. Exceeding one stops the rule and counts as a fault.
        pub limits: RuleLimits,
        /// Limits of compiling an uploaded rule. The compiler is a separate process, and compiles one rule at a
        /// time.
        pub compiler: RuleCompiler,
    }
}

impl Checked for Rules {}

impl Rules {
    /// The settings of the built-in rules as JSON, the form in which the rules read them.
    pub fn settings(&self) -> Settings {
        let json = |table: &Map<String, Value>| Value::Object(table.clone()).to_string();
        Settings {
            threshold: json(&self.threshold),
            role: json(&self.role),
        }
    }

    /// The roles that a development certificate can have: the built-in ones, and those that the settings of the role rule
    /// define or match as an organisational unit.
    pub fn roles(&self) -> BTreeSet<String> {
        let defined = self.role.get("roles").and_then(Value::as_object);
        let defined = defined.into_iter().flat_map(Map::keys).map(String::as_str);
        let entries = self.role.get("identities").and_then(Value::as_array);
        let units = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| entry["match"]["attributes"]["OU"].as_str());
        let units = units.filter(|unit| !unit.contains('*'));
        let all = builtin::ROLES.into_iter().chain(defined).chain(units);
        all.filter(|role| *role != builtin::ANONYMOUS)
            .map(str::to_owned)
            .collect()
    }

    /// Converts to the options of the registry. A reload passes them again.
    pub fn options(&self) -> registry::Options {
        registry::Options {
            configured: self.settings(),
            break_glass: self.break_glass.clone(),
            max_consecutive_faults: self.max_consecutive_faults,
            provenance: self.provenance(),
            quota: VersionQuota {
                max_versions: self.max_versions,
                max_bytes: self.max_stored_size.bytes(),
            },
        }
    }

    /// The requirements on uploaded rules.
    pub fn provenance(&self) -> Provenance {
        Provenance {
            trusted_keys: self.trusted_keys.iter().map(TrustedKey::trusted).collect(),
            require_signature: self.require_signature,
            allowed_digests: self.allowed_digests.clone(),
        }
    }
}

section! {
    /// Limits of compiling an uploaded rule.
    pub struct RuleCompiler {
        /// Timeout for compiling one rule. A rule in Python takes about ten seconds, and longer on a busy
        /// machine, because the compiler runs at low priority.
        pub timeout: Duration where "1s" ..= "1h" = "2m",
        /// The maximum memory of the compiler process. A rule in Python takes about 512 MiB.
        pub max_memory: Size where "128MiB" ..= "1024GiB" = "2GiB",
        /// The maximum number of rules that wait for the compiler. When the queue is full, an upload is answered
        /// with "busy".
        pub queue_length: usize where 0 ..= 1000 = 16,
    }
}

impl Checked for RuleCompiler {}

impl RuleCompiler {
    /// Converts to the options of the compiler.
    pub fn options(&self) -> Options {
        Options {
            timeout: self.timeout,
            memory_bytes: self.max_memory.bytes(),
            queue_length: self.queue_length,
        }
    }
}

section! {
    /// Limits of a rule.
    pub struct RuleLimits {
        /// The maximum size of a component.
        pub component_bytes: Size = size(Limits::default().component_bytes),
        /// Timeout for a rule to describe itself or to validate its settings, in milliseconds.
        pub describe_ms: u64 = Limits::default().describe_ms,
        /// Timeout for one judgement, in milliseconds.
        pub judge_ms: u64 = Limits::default().judge_ms,
        /// Timeout for one decision, in milliseconds. The request waits for the decision.
        pub decide_ms: u64 = Limits::default().decide_ms,
        /// The maximum memory of an instance.
        pub memory_bytes: Size = size(Limits::default().memory_bytes),
        /// The maximum number of elements of a table. Interpreters need large tables.
        pub table_elements: usize = Limits::default().table_elements,
        /// The maximum stack size of a call.
        pub stack_bytes: Size = size(Limits::default().stack_bytes),
        /// The maximum size of a call's result.
        pub result_bytes: Size = size(Limits::default().result_bytes),
        /// The maximum number of findings of one rule in one round.
        pub findings: usize = Limits::default().findings,
        /// The maximum length of a text in a result: a message, a reason or a name.
        pub text_bytes: Size = size(Limits::default().text_bytes),
        /// The maximum number of concurrent instances.
        pub instances: u32 = Limits::default().instances,
        /// How long a decision waits for an instance before it is answered with "busy", in milliseconds.
        pub instance_wait_ms: u64 = Limits::default().instance_wait_ms,
        /// The maximum number of decisions in the cache.
        pub decision_cache_entries: usize = Limits::default().decision_cache_entries,
    }
}

impl RuleLimits {
    /// Converts to the limits of the engine.
    pub fn limits(&self) -> Limits {
        Limits {
            component_bytes: self.component_bytes.as_usize(),
            describe_ms: self.describe_ms,
            judge_ms: self.judge_ms,
            decide_ms: self.decide_ms,
            memory_bytes: self.memory_bytes.as_usize(),
            table_elements: self.table_elements,
            stack_bytes: self.stack_bytes.as_usize(),
            result_bytes: self.result_bytes.as_usize(),
            findings: self.findings,
            text_bytes: self.text_bytes.as_usize(),
            instances: self.instances,
            instance_wait_ms: self.instance_wait_ms,
            decision_cache_entries: self.decision_cache_entries,
        }
    }
}

impl Checked for RuleLimits {
    /// Each limit is checked by itself among defaults, because the engine stops at the first invalid one.
    fn check(&mut self, reader: &mut Reader<'_>) {
        let Ok(Value::Object(limits)) = serde_json::to_value(self.limits()) else {
            return;
        };
        for (name, value) in limits {
            let alone = serde_json::from_value::<Limits>(json!({ name.as_str(): value }));
            if let Ok(Err(message)) = alone.map(|limits| limits.check()) {
                reader.error(&[&name], message);
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
    fn the_roles_of_certificates_are_those_that_are_built_in_defined_or_matched() {
        let roles = |text: &str| {
            load(text)
                .expect("it is right")
                .rules
                .roles()
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(roles(""), ["admin", "agent", "reader", "user"]);
        let text = "[rules.role.roles]\nanonymous = []\noperator = ['rules.*']\n\
                    [[rules.role.identities]]\nmatch = { attributes = { OU = 'operations' } }\nroles = ['admin']\n\
                    [[rules.role.identities]]\nmatch = { attributes = { OU = 'dev-*' } }\nroles = ['reader']\n";
        assert_eq!(
            roles(text),
            ["admin", "agent", "operations", "operator", "reader", "user"]
        );
    }

    #[test]
    fn compiler_limits_reach_the_compiler() {
        let options = |text: &str| load(text).expect("it is right").rules.compiler.options();
        let default = Options {
            timeout: Duration::from_secs(120),
            memory_bytes: 2 << 30,
            queue_length: 16,
        };
        assert_eq!(options(""), default);
        let lowest = Options {
            timeout: Duration::from_secs(5),
            memory_bytes: 128 << 20,
            queue_length: 0,
        };
        let text = "[rules.compiler]\ntimeout = '5s'\nmax_memory = '128MiB'\nqueue_length = 0\n";
        assert_eq!(options(text), lowest);
        for (setting, key) in [
            ("max_memory = '127MiB'", "max_memory"),
            ("timeout = '999ms'", "timeout"),
            ("queue_length = 1001", "queue_length"),
        ] {
            let errors = load(&format!("[rules.compiler]\n{setting}\n"))
                .expect_err(setting)
                .to_string();
            assert!(errors.contains(&format!("rules.compiler.{key}")), "{errors}");
        }
    }
}
