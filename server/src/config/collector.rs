//! Settings of the collector: intervals and timeouts.

use std::path::PathBuf;
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
        /// The directory of text files with metrics of other programs, in the text format of Prometheus. All files
        /// that end in `.prom` are read. Without it, none are.
        pub textfile_dir: Option<PathBuf>,
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
        /// How often the source is measured. Rounds in between reuse its last result.
        pub interval: Option<Duration> where "100ms" ..= "1d",
        /// Timeout for the source.
        pub timeout: Option<Duration> where "10ms" ..= "1h",
    }
}

impl Checked for SourceSettings {}
