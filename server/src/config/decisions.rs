//! Settings of the decision records. The content of a record is defined in `decisions`.

use std::time::Duration;

use serde_json::json;

use super::declare::{Checked, section};
use crate::decisions::{Masked, Options, WhenFull};

section! {
    /// The records of denied requests and of changed findings.
    pub struct Decisions {
        /// Whether decisions are recorded.
        pub enabled: bool = true,
        /// Whether allowed requests are recorded too. Denied requests and permitted changes of rules always are.
        pub record_allowed: bool = false,
        /// Whether a record is written when the finding of a threshold rule changes.
        pub record_judgements: bool = true,
        /// Fields replaced by `***` in stored records and logs. Masking `identity` also masks
        /// `identity_details`. Masking `identity`, `resource` or `roles` also masks `reason`, because a reason
        /// may contain them.
        pub mask: Vec<Masked> = json!([]),
        /// How long records are kept.
        pub retention: Duration where "1h" ..= "3650d" = "30d",
        /// The maximum number of records of this machine. When it is exceeded, the oldest are deleted. Anonymous
        /// clients may use a quarter of it, and shadow rules half. Break-glass access and changes of rules may use
        /// half, and no other record displaces them.
        pub max_records: u64 where 1 ..= 100_000_000 = 100_000,
        /// The maximum number of records that wait to be written.
        pub queue_capacity: usize where 1 ..= 1_000_000 = 1_000,
        /// What happens when the queue is full: the next record is dropped, or its request waits for space, for
        /// at most one second.
        pub when_full: WhenFull = "drop",
        /// The number of denied requests of one identity for one action in a minute that are recorded one by one. The
        /// others are counted in one record.
        pub max_repeats: u32 where 1 ..= 1_000_000 = 5,
        /// Whether each record is also logged, with the target `watchpost::decisions`.
        pub log: bool = false,
    }
}

impl Checked for Decisions {}

impl Decisions {
    /// Converts to the options of the decision records.
    pub fn options(&self) -> Options {
        let given = self.clone();
        Options {
            enabled: given.enabled,
            record_allowed: given.record_allowed,
            record_judgements: given.record_judgements,
            mask: given.mask,
            retention: given.retention,
            max_records: given.max_records,
            queue_capacity: given.queue_capacity,
            when_full: given.when_full,
            max_repeats: given.max_repeats,
            log: given.log,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigErrors, Sources};
    use crate::decisions::{Masked, WhenFull};

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
    fn an_unknown_field_cannot_be_masked() {
        let config = load("[decisions]\nmask = ['identity', 'request_id']\nwhen_full = 'block'\n");
        let decisions = config.expect("both are fields").decisions;
        assert_eq!(decisions.mask, [Masked::Identity, Masked::RequestId]);
        assert_eq!(decisions.when_full, WhenFull::Block);
        for (setting, key) in [
            ("mask = ['identity', 'name']", "decisions.mask[1]"),
            ("when_full = 'wait'", "decisions.when_full"),
            ("queue_capacity = 0", "decisions.queue_capacity"),
            ("max_records = 0", "decisions.max_records"),
            ("retention = '59m'", "decisions.retention"),
        ] {
            let errors = load(&format!("[decisions]\n{setting}\n"))
                .expect_err(setting)
                .to_string();
            assert!(errors.contains(key), "{errors}");
        }
    }
}
