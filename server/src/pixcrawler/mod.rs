//! The output of PixCrawler's resource monitor: three values, a status for each, and the worst of them. The statuses
//! come from the rules' findings.

mod lines;
mod rendering;

use jiff::Zoned;
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Finding, Labels, Sample, Severity, Snapshot};

pub use self::rendering::{PixCrawlerRenderings, Rendering, renderings, write_log_lines};

use crate::collect::Mode;

/// The response before the first round.
pub const EMPTY_METRICS: &str = r#"{"metrics":{},"statuses":{},"last_updated":null}"#;

/// One round in the monitor's format.
#[derive(Clone, Debug, PartialEq)]
pub struct Resources {
    disk: Standing,
    memory: Standing,
    chunks: Standing,
    time: Zoned,
}

/// The value of a metric and the worst finding about it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Standing {
    value: Option<f64>,
    severity: Severity,
}

/// The response body. The order of its keys is part of the format.
#[derive(Serialize, ToSchema)]
#[schema(as = Resources)]
pub struct Body {
    /// The measured values.
    metrics: Metrics,
    /// The statuses from the rules' findings.
    statuses: Statuses,
    /// The time of the round, with the offset; null before the first round.
    #[schema(value_type = Option<String>, required)]
    last_updated: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ResourceMetrics)]
struct Metrics {
    /// The used share of the disk, in percent.
    disk_pct: Option<f64>,
    /// The used share of the memory, in percent.
    memory_pct: Option<f64>,
    /// The number of chunks in status `processing`.
    active_chunks: Option<i64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ResourceStatuses)]
struct Statuses {
    /// `OK`, `WARN`, `ALERT` or `UNKNOWN`; missing before the first round.
    #[schema(required = false)]
    disk: &'static str,
    /// The status of the memory, with the same values.
    #[schema(required = false)]
    memory: &'static str,
    /// The status of the chunks, with the same values.
    #[schema(required = false)]
    chunks: &'static str,
    /// The worst of the three statuses.
    #[schema(required = false)]
    overall: &'static str,
}

/// Rounded to one decimal, as the monitor's values were.
fn one_decimal(value: f64) -> f64 {
    // Formatting rounds the exact value, as Python does; a multiplication by ten would be inexact.
    format!("{value:.1}").parse().unwrap_or(value)
}

impl Resources {
    /// The monitor's view of a snapshot and its findings at this time.
    pub fn new(snapshot: &Snapshot, findings: &[Finding], mode: Mode, time: Zoned) -> Self {
        let of_azure = |labels: &Labels| labels.get("resource").is_some();
        let whole = |labels: &Labels| labels.as_slice().is_empty();
        let root = |labels: &Labels| labels.get("mountpoint") == Some("/");
        let standing =
            |metric, is_selected: &dyn Fn(&Labels) -> bool| Standing::of(snapshot, findings, metric, is_selected);
        let (disk, memory) = match mode {
            Mode::Local => (standing("disk", &root), standing("memory", &whole)),
            Mode::Azure => (standing("disk", &of_azure), standing("memory", &of_azure)),
        };
        Self {
            disk,
            memory,
            chunks: standing("active_chunks", &whole),
            time,
        }
    }

    /// The same round when it is too old to describe the machine: nothing is known, and the time says since when.
    pub fn outdated(&self) -> Self {
        let nothing = Standing {
            value: None,
            severity: Severity::Unknown,
        };
        Self {
            disk: nothing,
            memory: nothing,
            chunks: nothing,
            time: self.time.clone(),
        }
    }

    /// The response as JSON. The monitor's time had no offset; this one does.
    pub fn body(&self) -> String {
        let overall = [self.disk, self.memory, self.chunks].map(|standing| standing.severity);
        let body = Body {
            metrics: Metrics {
                disk_pct: self.disk.value.map(one_decimal),
                memory_pct: self.memory.value.map(one_decimal),
                active_chunks: self.chunks.value.map(|chunks| chunks as i64),
            },
            statuses: Statuses {
                disk: status_text(self.disk.severity),
                memory: status_text(self.memory.severity),
                chunks: status_text(self.chunks.severity),
                overall: status_text(overall.into_iter().max().unwrap_or(Severity::Unknown)),
            },
            last_updated: self.time.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string(),
        };
        serde_json::to_string(&body).expect("a body has string keys, so it can be written as JSON")
    }

    /// The monitor's log lines, each with its line end: one for each value at a warning or alert level, in every round.
    pub fn lines(&self) -> Vec<String> {
        let all = [
            ("DISK", self.disk, lines::Number::Float),
            ("MEMORY", self.memory, lines::Number::Float),
            ("CHUNKS", self.chunks, lines::Number::Integer),
        ];
        all.into_iter()
            .filter_map(|(name, standing, number)| lines::line(name, standing, number, &self.time))
            .collect()
    }
}

impl Standing {
    /// The worst selected sample, and the worst severity of any of them. A sample without a finding is `Unknown`, because
    /// no rule has evaluated it; and so is a missing value, whatever the findings say.
    fn of(snapshot: &Snapshot, findings: &[Finding], metric: &str, is_selected: &dyn Fn(&Labels) -> bool) -> Self {
        let about = |finding: &&Finding| finding.subject.metric == metric;
        let severity_of = |labels: &Labels| {
            let same = |finding: &&Finding| about(finding) && finding.subject.labels == *labels;
            findings.iter().filter(same).map(|finding| finding.severity).max()
        };
        let worst = selected_samples(snapshot, metric, is_selected)
            .map(|sample| {
                (
                    severity_of(sample.labels()).unwrap_or(Severity::Unknown),
                    sample.value(),
                )
            })
            .max_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
        // If a rule failed or nothing was measured, the finding is about the metric without labels.
        let severities = findings.iter().filter(about).filter(|finding| {
            let labels = &finding.subject.labels;
            let whole = labels.as_slice().is_empty() && (finding.carried || worst.is_none());
            is_selected(labels) || whole
        });
        let found = severities.map(|finding| finding.severity).max();
        let minimum = worst.map_or(Severity::Unknown, |(severity, _)| severity);
        Self {
            value: worst.map(|(_, value)| value),
            severity: found.map_or(minimum, |found| found.max(minimum)),
        }
    }
}

fn selected_samples<'s>(
    snapshot: &'s Snapshot,
    metric: &str,
    is_selected: &dyn Fn(&Labels) -> bool,
) -> impl Iterator<Item = &'s Sample> {
    let samples = snapshot.samples();
    let start = samples.partition_point(|sample| sample.metric().as_str() < metric);
    let of_metric = samples[start..]
        .iter()
        .take_while(move |sample| sample.metric().as_str() == metric);
    of_metric.filter(move |sample| is_selected(sample.labels()))
}

/// The status text. The monitor had three, and reported values that it could not measure as `OK`. Here `OK` means that a
/// finding says so.
fn status_text(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "OK",
        Severity::Unknown => "UNKNOWN",
        Severity::Warning => "WARN",
        Severity::Alert => "ALERT",
    }
}

#[cfg(test)]
mod tests;
