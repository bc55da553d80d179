//! Settings of the collector: intervals and timeouts.

use std::time::Duration;

use serde_json::json;

use super::declare::{Checked, section};

section! {
    /// The collector.
    pub struct Collector {
        /// How often the machine is measured.
        pub interval: Duration where "100ms" ..= "1h" = "10s",
        /// Timeout for a source. A source that takes longer is recorded as a gap.
        pub timeout: Duration where "10ms" ..= "1h" = "5s",
        /// How old readings may be on a metrics page for Prometheus. A scrape that finds older ones measures the fast
        /// sources of the host again, once for all scrapes that arrive meanwhile. Rules and history use rounds only. With
        /// a value of `collector.interval` or more, scrapes measure nothing.
        pub max_age: Duration where "0s" ..= "1h" = "1s",
        /// Sources with an interval or a timeout of their own.
        pub sources: Vec<SourceSettings> = json!([]),
    }
}

impl Checked for Collector {}

section! {
    /// A source.
    pub struct SourceSettings {
        /// The name of the source, as in `/api/v1/status`: `host.filesystems`.
        pub name: String,
        /// How often the source is measured. Rounds in between reuse its last result, and scrapes do not measure it.
        pub interval: Option<Duration> where "100ms" ..= "1d",
        /// Timeout for the source.
        pub timeout: Option<Duration> where "10ms" ..= "1h",
    }
}

impl Checked for SourceSettings {}
