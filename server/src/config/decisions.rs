//! The settings of what is recorded about decisions. What a record says is not decided here.

use std::time::Duration;

use serde_json::json;

use super::declare::{Checked, section};
use crate::decisions::{Masked, Options, WhenFull};

section! {
    /// What is recorded of who was refused what, and of what the rules found.
    pub struct Decisions {
        /// Whether anything is.
        pub enabled: bool = true,
        /// Whether what was allowed is recorded too, and not only what was refused.
        pub record_allowed: bool = false,
        /// Whether it is recorded when a threshold rule finds something else than before.
        pub record_judgements: bool = true,
        /// What is written as `***`, in the log too. `identity` is also what the rule was shown of it; and with
        /// `identity`, `resource` or `roles` goes the `reason`, where rules repeat them.
        pub mask: Vec<Masked> = json!([]),
        /// For how long records are kept.
        pub retention: Duration where "1h" ..= "3650d" = "30d",
        /// How many are kept; then the oldest go first.
        pub max_records: u64 where 1 ..= 100_000_000 = 100_000,
        /// How many may wait to be written.
        pub queue_capacity: usize where 1 ..= 1_000_000 = 1_000,
        /// What happens when that many wait: the next record is dropped, or its request waits for room, for a second at
        /// most.
        pub when_full: WhenFull = "drop",
        /// Whether each record is a line in the log too, of `watchpost::decisions`.
        pub log: bool = false,
    }
}

impl Checked for Decisions {}

impl Decisions {
    /// As the records take them.
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
    fn a_field_that_no_record_has_cannot_be_masked() {
        let taken = load("[decisions]\nmask = ['identity', 'request_id']\nwhen_full = 'block'\n");
        let taken = taken.expect("both are fields").decisions;
        assert_eq!(taken.mask, [Masked::Identity, Masked::RequestId]);
        assert_eq!(taken.when_full, WhenFull::Block);
        for (setting, key) in [
            ("mask = ['identity', 'name']", "decisions.mask[1]"),
            ("when_full = 'wait'", "decisions.when_full"),
            ("queue_capacity = 0", "decisions.queue_capacity"),
            ("max_records = 0", "decisions.max_records"),
            ("retention = '59m'", "decisions.retention"),
        ] {
            let mistakes = load(&format!("[decisions]\n{setting}\n"))
                .expect_err(setting)
                .to_string();
            assert!(mistakes.contains(key), "{mistakes}");
        }
    }
}
