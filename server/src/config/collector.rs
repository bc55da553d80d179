//! Settings of the collector: intervals and timeouts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::declare::{Checked, section};
use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use crate::collect::host::probe_names;
use crate::collect::source::{OwnSchedule, Schedule};

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
        /// The directory of text files with metrics of other programs, in the text format of Prometheus. All files
        /// that end in `.prom` are read. Without it, none are.
        pub textfile_dir: Option<PathBuf>,
        /// Sources with an interval or a timeout of their own.
        pub sources: Vec<SourceSettings> = json!([]),
    }
}

impl Checked for Collector {}

impl Collector {
    /// The schedule of sources without one of their own.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            interval: self.interval,
            timeout: self.timeout,
        }
    }

    /// How old readings may be for a scrape; `None` if scrapes measure nothing, because the last round is recent enough.
    pub fn refresh_max_age(&self) -> Option<Duration> {
        Some(self.max_age).filter(|max_age| *max_age < self.interval)
    }

    /// The schedules of the sources that have their own, by name.
    pub fn schedules(&self) -> BTreeMap<String, OwnSchedule> {
        // If a source is listed twice, the first entry counts.
        let sources = self.sources.iter().rev();
        let schedule = |source: &SourceSettings| OwnSchedule {
            schedule: Schedule {
                interval: source.interval.unwrap_or(self.interval),
                timeout: source.timeout.unwrap_or(self.timeout),
            },
            has_own_interval: source.interval.is_some(),
        };
        sources.map(|source| (source.name.clone(), schedule(source))).collect()
    }
}

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

impl Checked for SourceSettings {
    fn check_list(all: &[Self], location: &SettingLocation, errors: &mut ConfigErrors) {
        let names = probe_names();
        for (at, source) in all.iter().enumerate() {
            if !names.contains(&source.name.as_str()) {
                let remedy = format!("{:?} is not a source; write one of {}", source.name, names.join(", "));
                errors.push(location.item(at).field("name").error(remedy));
            }
        }
    }
}
