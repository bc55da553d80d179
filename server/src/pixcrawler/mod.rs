//! What PixCrawler's resource monitor said of a machine, in its words: three values, a status for each and the worst
//! of them. It judges nothing; the statuses are those that the rules found.

mod lines;
mod rendering;

use jiff::Zoned;
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Finding, Labels, Sample, Severity, Snapshot};

pub use self::rendering::{Rendering, ResourceRenderings, renderings, write_log_lines};

use crate::collect::Mode;

/// What a client reads before the first round.
pub const EMPTY_METRICS: &str = r#"{"metrics":{},"statuses":{},"last_updated":null}"#;

/// One round in the monitor's words.
#[derive(Clone, Debug, PartialEq)]
pub struct Resources {
    disk: Standing,
    memory: Standing,
    chunks: Standing,
    time: Zoned,
}

/// What was measured of one metric, and what the rules say of it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Standing {
    value: Option<f64>,
    severity: Severity,
}

/// The keys are in the order in which they always were.
#[derive(Serialize, ToSchema)]
#[schema(as = Resources)]
pub struct Body {
    /// What was measured.
    metrics: Metrics,
    /// What the rules say of it.
    statuses: Statuses,
    /// When, with the offset; nothing before the first round.
    #[schema(value_type = Option<String>, required)]
    last_updated: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ResourceMetrics)]
struct Metrics {
    /// How full the disk is.
    disk_pct: Option<f64>,
    /// How full the memory is.
    memory_pct: Option<f64>,
    /// How many chunks are in work.
    active_chunks: Option<i64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ResourceStatuses)]
struct Statuses {
    /// `OK`, `WARN`, `ALERT` or `UNKNOWN`; not there before the first round.
    #[schema(required = false)]
    disk: &'static str,
    /// The same.
    #[schema(required = false)]
    memory: &'static str,
    /// The same.
    #[schema(required = false)]
    chunks: &'static str,
    /// The worst of the three.
    #[schema(required = false)]
    overall: &'static str,
}

impl Resources {
    /// What was measured and found, as the monitor would have seen it at this time.
    pub fn new(snapshot: &Snapshot, findings: &[Finding], mode: Mode, time: Zoned) -> Self {
        let of_azure = |labels: &Labels| labels.get("resource").is_some();
        let whole = |labels: &Labels| labels.as_slice().is_empty();
        let root = |labels: &Labels| labels.get("mountpoint") == Some("/");
        let standing = |metric, is_meant: &dyn Fn(&Labels) -> bool| Standing::of(snapshot, findings, metric, is_meant);
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

    /// As JSON. The monitor told its time without saying where; here the offset is told.
    pub fn body(&self) -> String {
        let overall = [self.disk, self.memory, self.chunks].map(|standing| standing.severity);
        let body = Body {
            metrics: Metrics {
                disk_pct: self.disk.value,
                memory_pct: self.memory.value,
                active_chunks: self.chunks.value.map(|chunks| chunks as i64),
            },
            statuses: Statuses {
                disk: word(self.disk.severity),
                memory: word(self.memory.severity),
                chunks: word(self.chunks.severity),
                overall: word(overall.into_iter().max().unwrap_or(Severity::Unknown)),
            },
            last_updated: self.time.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string(),
        };
        serde_json::to_string(&body).unwrap_or_else(|_| EMPTY_METRICS.to_owned())
    }

    /// The lines that the monitor logged, each with its end: one for each value that is at a level, at every round.
    pub fn lines(&self) -> Vec<String> {
        let all = [
            ("DISK", self.disk, lines::Number::Float),
            ("MEMORY", self.memory, lines::Number::Float),
            ("CHUNKS", self.chunks, lines::Number::Whole),
        ];
        all.into_iter()
            .filter_map(|(name, standing, number)| lines::line(name, standing, number, &self.time))
            .collect()
    }
}

impl Standing {
    /// The worst of the samples that are meant, and the worst that is said of any of them. What is missing is unknown
    /// at least, even where a rule does not mind.
    fn of(snapshot: &Snapshot, findings: &[Finding], metric: &str, is_meant: &dyn Fn(&Labels) -> bool) -> Self {
        let about = |finding: &&Finding| finding.subject.metric == metric;
        let said_of = |labels: &Labels| {
            let same = |finding: &&Finding| about(finding) && finding.subject.labels == *labels;
            findings.iter().filter(same).map(|finding| finding.severity).max()
        };
        let worst = meant(snapshot, metric, is_meant)
            .map(|sample| (said_of(sample.labels()).unwrap_or(Severity::Ok), sample.value()))
            .max_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
        // Where a rule was not heard, or nothing was measured, the metric is spoken of as a whole.
        let said = findings.iter().filter(about).filter(|finding| {
            let labels = &finding.subject.labels;
            let whole = labels.as_slice().is_empty() && (finding.carried || worst.is_none());
            is_meant(labels) || whole
        });
        let said = said.map(|finding| finding.severity).max();
        let otherwise = match worst {
            Some(_) => Severity::Ok,
            None => Severity::Unknown,
        };
        Self {
            value: worst.map(|(_, value)| value),
            severity: said.map_or(otherwise, |said| said.max(otherwise)),
        }
    }
}

fn meant<'s>(
    snapshot: &'s Snapshot,
    metric: &str,
    is_meant: &dyn Fn(&Labels) -> bool,
) -> impl Iterator<Item = &'s Sample> {
    let samples = snapshot.samples();
    let start = samples.partition_point(|sample| sample.metric().as_str() < metric);
    let of_metric = samples[start..]
        .iter()
        .take_while(move |sample| sample.metric().as_str() == metric);
    of_metric.filter(move |sample| is_meant(sample.labels()))
}

/// The monitor had three words, and called what it could not measure `OK`.
fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "OK",
        Severity::Unknown => "UNKNOWN",
        Severity::Warning => "WARN",
        Severity::Alert => "ALERT",
    }
}

#[cfg(test)]
mod tests;
