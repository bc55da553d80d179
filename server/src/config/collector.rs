//! The settings of how often the machine is measured.

use std::time::Duration;

use serde_json::json;

use super::declare::{Checked, section};

section! {
    /// How often.
    pub struct Collector {
        /// The time from one round of measuring to the next.
        pub interval: Duration where "100ms" ..= "1h" = "10s",
        /// How long a part of the machine may take to answer before it is a gap.
        pub timeout: Duration where "10ms" ..= "1h" = "5s",
        /// Sources that are asked otherwise than the rest.
        pub sources: Vec<SourceSettings> = json!([]),
    }
}

impl Checked for Collector {}

section! {
    /// One source.
    pub struct SourceSettings {
        /// Its name, as `/api/v1/status` lists it: `host.filesystems`.
        pub name: String,
        /// The time from one question to the next; in rounds between, the last answer counts.
        pub interval: Option<Duration> where "100ms" ..= "1d",
        /// How long it may take to answer.
        pub timeout: Option<Duration> where "10ms" ..= "1h",
    }
}

impl Checked for SourceSettings {}
