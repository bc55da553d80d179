//! The state of the machine as a page: severity, findings and since when, utilization, and what is not measured. It
//! reads one evaluated round and reloads itself; it needs no script.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use askama::Template;
use jiff::Timestamp;
use watchpost_policies::{Finding, Report, Sample, Severity, Snapshot};

use super::rendered;
use crate::api::latest::Latest;
use crate::api::process::{Service, VERSION};
use crate::clock;
use crate::judge::Judged;

/// More findings are counted, and the report has all of them.
const MAX_PROBLEMS: usize = 20;
/// The fullest disks; a machine may have hundreds of mounts.
const MAX_DISKS: usize = 8;

#[derive(Template)]
#[template(path = "machine.html")]
struct Machine<'p> {
    host: &'p str,
    severity: Severity,
    headline: String,
    problems: Vec<Problem<'p>>,
    more_problems: usize,
    meters: Vec<Meter>,
    gaps: Vec<Gap<'p>>,
    facts: Vec<Fact>,
}

/// A finding that is not ok.
struct Problem<'p> {
    severity: Severity,
    message: &'p str,
    rule: &'p str,
    since: String,
    since_shown: String,
    age: String,
    carried: bool,
}

/// A percentage as a bar.
struct Meter {
    name: String,
    /// With one decimal.
    value: String,
    /// The width of the bar, from 0 to 100.
    width: String,
    /// The severity of the finding about it; `none` if no rule evaluates it.
    severity: String,
}

struct Gap<'p> {
    source: &'p str,
    reason: &'p str,
}

struct Fact {
    name: &'static str,
    value: String,
}

/// The page about the latest round, if there was one.
pub(in crate::api::routes) fn machine(latest: &Latest, service: &Service, now_ms: u64) -> HttpResponse {
    let judged = latest.judged();
    let report = latest.report_of(judged.as_deref());
    let page = match &judged {
        None => Machine {
            host: service.host().as_str(),
            severity: Severity::Unknown,
            headline: "Nothing has been measured yet; the first round is in progress.".to_owned(),
            problems: Vec::new(),
            more_problems: 0,
            meters: Vec::new(),
            gaps: Vec::new(),
            facts: program(service, now_ms),
        },
        Some(judged) => {
            let is_stale = latest.is_outdated(judged);
            of_round(judged, &report, is_stale, service, now_ms)
        }
    };
    rendered(StatusCode::OK, &page)
}

fn of_round<'p>(
    judged: &'p Judged,
    report: &'p Report,
    is_stale: bool,
    service: &'p Service,
    now_ms: u64,
) -> Machine<'p> {
    let snapshot = &*judged.round.snapshot;
    let age_ms = u64::try_from(judged.age().as_millis()).unwrap_or(u64::MAX);
    let mut standings: Vec<&Finding> = report.standings().collect();
    standings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.since_ms));
    let more_problems = standings.len().saturating_sub(MAX_PROBLEMS);
    standings.truncate(MAX_PROBLEMS);
    let mut facts = vec![Fact {
        name: "Measured",
        value: format!("{}, {} ago", shown(report.time_ms()), age(age_ms)),
    }];
    facts.extend(of_machine(snapshot, now_ms));
    facts.extend(program(service, now_ms));
    Machine {
        host: report.host(),
        severity: report.severity(),
        headline: match is_stale {
            true => format!(
                "No round was completed for {}: this is the last one. The log says why.",
                age(age_ms)
            ),
            false => headline(report),
        },
        problems: standings.into_iter().map(|finding| problem(finding, now_ms)).collect(),
        more_problems,
        meters: meters(report, snapshot),
        gaps: snapshot
            .gaps()
            .iter()
            .map(|gap| Gap {
                source: &gap.source,
                reason: &gap.reason,
            })
            .collect(),
        facts,
    }
}

/// The number of findings of each severity.
fn headline(report: &Report) -> String {
    let count = |severity| {
        let of_severity = |finding: &&Finding| finding.severity == severity;
        report.findings().iter().filter(of_severity).count()
    };
    let (alerts, warnings) = (count(Severity::Alert), count(Severity::Warning));
    let (unknown, ok) = (count(Severity::Unknown), count(Severity::Ok));
    let plural = |count: usize, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    };
    let parts = [
        plural(alerts, "alert", "alerts"),
        plural(warnings, "warning", "warnings"),
        plural(unknown, "unknown", "unknown"),
        plural(report.faults().len(), "failed rule", "failed rules"),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    match (parts.is_empty(), ok) {
        (true, 0) => "No rule evaluates anything, so nothing is known to be ok.".to_owned(),
        (true, 1) => "The only finding is ok.".to_owned(),
        (true, ok) => format!("All {ok} findings are ok."),
        (false, ok) => format!("{}; {ok} ok", parts.join(", ")),
    }
}

fn problem(finding: &Finding, now_ms: u64) -> Problem<'_> {
    Problem {
        severity: finding.severity,
        message: &finding.message,
        rule: &finding.rule,
        since: clock::written(finding.since_ms),
        since_shown: shown(finding.since_ms),
        age: age(now_ms.saturating_sub(finding.since_ms)),
        carried: finding.carried,
    }
}

fn meters(report: &Report, snapshot: &Snapshot) -> Vec<Meter> {
    let whole = |sample: &&Sample| sample.labels().as_slice().is_empty();
    let single = |metric: &'static str, name: &str| {
        let sample = of_metric(snapshot, metric).find(whole)?;
        Some(meter(name.to_owned(), sample, report))
    };
    // In the first minute there is no mean.
    let cpu = single("cpu_mean_1m", "CPU, mean of a minute").or_else(|| single("cpu", "CPU"));
    let mut meters: Vec<_> = [cpu, single("memory", "Memory")].into_iter().flatten().collect();
    let mut disks: Vec<_> = of_metric(snapshot, "disk")
        .filter_map(|sample| Some((sample, sample.labels().get("mountpoint")?)))
        .collect();
    disks.sort_by(|(one, _), (other, _)| other.value().total_cmp(&one.value()));
    disks.truncate(MAX_DISKS);
    meters.extend(
        disks
            .into_iter()
            .map(|(sample, mountpoint)| meter(mountpoint.to_owned(), sample, report)),
    );
    meters
}

fn meter(name: String, sample: &Sample, report: &Report) -> Meter {
    let same = |finding: &&Finding| {
        finding.subject.metric == sample.metric().as_str() && finding.subject.labels == *sample.labels()
    };
    let severity = report
        .findings()
        .iter()
        .filter(same)
        .map(|finding| finding.severity)
        .max();
    Meter {
        name,
        value: format!("{:.1}", sample.value()),
        width: format!("{:.1}", sample.value().clamp(0.0, 100.0)),
        severity: severity.map_or("none".to_owned(), |severity| severity.to_string()),
    }
}

fn of_metric<'s>(snapshot: &'s Snapshot, metric: &'static str) -> impl Iterator<Item = &'s Sample> {
    let samples = snapshot.samples().iter();
    samples.filter(move |sample| sample.metric().as_str() == metric)
}

fn of_machine(snapshot: &Snapshot, now_ms: u64) -> Vec<Fact> {
    let value = |metric| of_metric(snapshot, metric).next().map(Sample::value);
    let mut facts = Vec::new();
    if let Some(booted) = value("node_boot_time_seconds") {
        let uptime_ms = now_ms.saturating_sub((booted * 1000.0) as u64);
        facts.push(Fact {
            name: "Uptime",
            value: age(uptime_ms),
        });
    }
    if let (Some(one), Some(five), Some(fifteen)) = (value("node_load1"), value("node_load5"), value("node_load15")) {
        facts.push(Fact {
            name: "Load",
            value: format!("{one:.2}, {five:.2}, {fifteen:.2} (1, 5, 15 minutes)"),
        });
    }
    facts
}

fn program(service: &Service, now_ms: u64) -> Vec<Fact> {
    let uptime_ms = now_ms.saturating_sub(service.started_ms());
    vec![Fact {
        name: "Watchpost",
        value: format!("{VERSION}, started {} ago", age(uptime_ms)),
    }]
}

/// A time to the second: `2026-11-21 01:31:27 UTC`.
fn shown(time_ms: u64) -> String {
    let time = i64::try_from(time_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(Timestamp::UNIX_EPOCH)
        .strftime("%Y-%m-%d %H:%M:%S UTC")
        .to_string()
}

/// A duration in its two largest units: `3 d 4 h`.
fn age(duration_ms: u64) -> String {
    let seconds = duration_ms / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_shown_in_its_two_largest_units() {
        let check = |seconds: u64, expected| assert_eq!(age(seconds * 1000), expected);
        check(0, "0 s");
        check(59, "59 s");
        check(60, "1 min");
        check(3 * 3600, "3 h");
        check(3 * 3600 + 120, "3 h 2 min");
        check(2 * 86_400 + 59, "2 d");
        check(2 * 86_400 + 7200, "2 d 2 h");
    }
}
