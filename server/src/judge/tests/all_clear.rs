//! A property of every output: it says "ok" only where a finding says so. Random settings, activations, deactivations,
//! gaps, missing series and failing rules follow each other; the seed of a failed case is in its message.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use watchpost_policies::{
    Engine, Finding, Gap, Kind, Labels, Limits, MetricName, MetricPattern, Report, Rule, RuleModule, Sample, Severity,
    Unit,
};

use super::change_log::{Change, changes};
use super::test_round::{generation_of, rules, with_samples};
use super::{Judged, evaluate};
use crate::clock;
use crate::collect::Mode;
use crate::metrics::{Encoding, Format, Rendered, body};
use crate::pixcrawler::Resources;
use crate::rules::builtin;

const CASES: u64 = 150;
const ROUNDS: u64 = 8;

/// The series that a machine may measure.
const SERIES: [(&str, &[(&str, &str)]); 10] = [
    ("active_chunks", &[]),
    ("cpu", &[]),
    ("cpu", &[("resource", "vm-1")]),
    ("cpu_mean_1m", &[]),
    ("disk", &[("mountpoint", "/")]),
    ("disk", &[("mountpoint", "/data")]),
    ("disk", &[("resource", "vm-1")]),
    ("inodes", &[("mountpoint", "/")]),
    ("memory", &[]),
    ("memory", &[("resource", "vm-1")]),
];

/// A small generator of numbers (xorshift64): the same seed gives the same case.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn settings(&mut self) -> String {
        let count = self.below(4);
        let thresholds: Vec<_> = (0..count).map(|_| self.threshold()).collect();
        json!({"defaults": !self.once_in(4), "thresholds": thresholds}).to_string()
    }

    fn threshold(&mut self) -> Value {
        let metric = self.of(&[
            "disk",
            "memory",
            "active_chunks",
            "cpu_mean_1m",
            "cpu",
            "*",
            "d*",
            "swap",
        ]);
        let labels = self.of(&[
            &[] as &[_],
            &[("mountpoint", "/")],
            &[("mountpoint", "*")],
            &[("resource", "*")],
        ]);
        let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
        let (low, high) = (self.below(60), 60 + self.below(40));
        let below = self.once_in(4);
        let (warning, alert) = if below { (high, low) } else { (low, high) };
        let clear = if below {
            low + self.below(10)
        } else {
            high - self.below(10)
        };
        json!({
            "metric": metric,
            "labels": labels,
            "direction": if below { "below" } else { "above" },
            "warning": warning,
            "alert": {"enter": alert, "clear": clear},
            "missing": self.of(&["ok", "optional", "unknown", "warning", "alert"]),
            "quiet": self.once_in(4),
        })
    }

    fn samples(&mut self) -> Vec<Sample> {
        let mut samples = Vec::new();
        for (metric, labels) in SERIES {
            if !self.once_in(4) {
                let metric = MetricName::new(metric).expect("a legal name");
                let labels = Labels::new(labels.iter().copied()).expect("legal labels");
                let value = self.below(101) as f64;
                samples.push(Sample::new(metric, labels, value, Unit::new("percent"), 1).expect("finite"));
            }
        }
        samples
    }

    fn gaps(&mut self) -> Vec<Gap> {
        let count = self.below(3);
        let mut gap = || {
            let pattern = self.of(&["disk", "memory", "active_chunks", "cpu*", "*"]);
            Gap {
                source: "host".to_owned(),
                metrics: vec![MetricPattern::new(pattern).expect("a legal pattern")],
                reason: "it hangs".to_owned(),
            }
        };
        (0..count).map(|_| gap()).collect()
    }
}

/// A rule that fails in every round: it has no time.
fn failing() -> RuleModule {
    let limits = Limits {
        judge_ms: 0,
        ..Limits::default()
    };
    let engine = Engine::new(limits).expect("there is an engine");
    RuleModule::compile(&engine, builtin::THRESHOLD).expect("it is compiled")
}

/// What happened in all cases, to see that the generator reaches it.
#[derive(Debug, Default)]
struct Reached(BTreeMap<&'static str, u64>);

impl Reached {
    fn count(&mut self, what: &'static str, happened: bool) {
        *self.0.entry(what).or_default() += u64::from(happened);
    }
}

#[test]
fn no_output_is_ok_without_a_finding_that_says_so() {
    let failing = failing();
    let mut reached = Reached::default();
    for seed in 1..=CASES {
        // Neighbouring seeds start far apart.
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut last: Option<Judged> = None;
        let mut active = Arc::new(generation_of(
            1,
            vec![configured(&mut random, rules().builtin(Kind::Threshold))],
        ));
        for number in 1..=ROUNDS {
            if random.once_in(3) {
                let thresholds = match random.below(4) {
                    0 => Vec::new(),
                    1 => vec![configured(&mut random, &failing)],
                    _ => vec![configured(&mut random, rules().builtin(Kind::Threshold))],
                };
                let generation = active.generation.number + 1;
                active = Arc::new(generation_of(generation, thresholds));
            }
            let round = with_samples("edge-1", number, random.samples(), random.gaps());
            let judged = evaluate(Arc::new(round), active.clone(), last.as_ref());
            let place = format!("seed {seed}, round {number}");
            check(&judged, &place, &mut reached);
            check_outdated(&judged, &place, &mut reached);
            last = Some(judged);
        }
    }
    assert_eq!(reached.0.len(), 9, "{reached:?}");
    assert!(reached.0.values().all(|count| *count > 0), "{reached:?}");
}

/// A rule with random settings; those with two thresholds of one identity are refused, and others are tried.
fn configured(random: &mut Random, module: &RuleModule) -> Rule {
    loop {
        if let Ok(rule) = module.with_settings(&random.settings()) {
            return rule;
        }
    }
}

fn check(judged: &Judged, place: &str, reached: &mut Reached) {
    let (report, snapshot) = (&judged.report, &judged.round.snapshot);
    let findings = report.findings();
    reached.count("fault", !report.faults().is_empty());
    reached.count("carried finding", findings.iter().any(|finding| finding.carried));
    reached.count("no finding", findings.is_empty());

    // A finding that is ok is about a value of this round.
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Ok) {
        let is_measured = snapshot.samples().iter().any(|sample| {
            (sample.metric().as_str(), sample.labels()) == (&finding.subject.metric, &finding.subject.labels)
                && Some(sample.value()) == finding.value
        });
        assert!(is_measured && !finding.carried, "{place}: {finding:?}");
    }

    let may_be_ok = report.faults().is_empty()
        && !findings.is_empty()
        && findings.iter().all(|finding| finding.severity == Severity::Ok);
    reached.count("report is ok", may_be_ok);
    let written = serde_json::to_value(&**report).expect("it is data");
    assert_eq!(written["severity"] == "ok", may_be_ok, "{place}: {written}");

    let ok = findings.iter().filter(|finding| finding.severity == Severity::Ok);
    check_page(judged, &judged.report, (may_be_ok, ok.count()), place);
    for mode in [Mode::Local, Mode::Azure] {
        let resources = Resources::new(snapshot, findings, mode, clock::here(clock::now()));
        let statuses: Value = serde_json::from_str(&resources.body()).expect("it is JSON");
        check_pixcrawler(&statuses["statuses"], report, mode, place, reached);
    }
    for change in changes(judged) {
        match change {
            Change::Ok(finding) => {
                assert!(findings.contains(finding), "{place}: {finding:?}");
                assert_eq!(finding.severity, Severity::Ok, "{place}: {finding:?}");
                reached.count("ok again", true);
            }
            Change::Ended { rule, subject, reason } => {
                let message = reason.message(rule, subject);
                assert!(!message.contains("ok"), "{place}: {message}");
                reached.count("no longer evaluated", true);
            }
            Change::Finding(_) | Change::MoreEnded { .. } | Change::Fault(_) => {}
        }
    }
}

/// After the last round, when no other arrives.
fn check_outdated(judged: &Judged, place: &str, reached: &mut Reached) {
    let report = judged.outdated_report();
    let written = serde_json::to_value(&**report).expect("it is data");
    assert_eq!(written["severity"], "unknown", "{place}: {written}");
    assert!(written["unknown_reason"].is_string(), "{place}: {written}");
    for (before, after) in judged.report.findings().iter().zip(report.findings()) {
        assert_eq!(before.subject, after.subject, "{place}");
        assert!(after.carried, "{place}: {after:?}");
        assert_eq!(
            after.severity,
            before.severity.max(Severity::Unknown),
            "{place}: {after:?}"
        );
    }
    reached.count(
        "an alert outlives its round",
        report
            .findings()
            .iter()
            .any(|finding| finding.severity == Severity::Alert),
    );
    check_page(judged, report, (false, 0), place);
    for mode in [Mode::Local, Mode::Azure] {
        let resources = Resources::new(
            &judged.round.snapshot,
            judged.report.findings(),
            mode,
            clock::here(clock::now()),
        );
        let body: Value = serde_json::from_str(&resources.outdated().body()).expect("it is JSON");
        assert_eq!(
            body["statuses"],
            json!({"disk": "UNKNOWN", "memory": "UNKNOWN", "chunks": "UNKNOWN", "overall": "UNKNOWN"}),
            "{place}"
        );
        assert_eq!(body["metrics"]["memory_pct"], Value::Null, "{place}: {body}");
    }
}

/// The page says so about the report, and counts so many findings that are ok.
fn check_page(judged: &Judged, report: &Arc<Report>, (is_ok, ok): (bool, usize), place: &str) {
    let families = judged.round.families.clone();
    let rendered = Rendered::new(judged.round.snapshot.clone(), families, Vec::new(), report.clone());
    let page = body(&rendered, &[], Format::Text, Encoding::Identity);
    let page = String::from_utf8_lossy(&page);
    let severity = format!("watchpost_report_severity{{severity=\"ok\"}} {}\n", u8::from(is_ok));
    let counted = format!("watchpost_findings{{severity=\"ok\"}} {ok}\n");
    for line in [severity, counted] {
        assert!(page.contains(&line), "{place}: {line} is missing in {page}");
    }
}

fn check_pixcrawler(statuses: &Value, report: &Report, mode: Mode, place: &str, reached: &mut Reached) {
    let is_azure = mode == Mode::Azure;
    let of_disk = |labels: &Labels| match is_azure {
        true => labels.get("resource").is_some(),
        false => labels.get("mountpoint") == Some("/"),
    };
    let of_memory = |labels: &Labels| match is_azure {
        true => labels.get("resource").is_some(),
        false => labels.as_slice().is_empty(),
    };
    let of_chunks = |labels: &Labels| labels.as_slice().is_empty();
    let says_ok = |metric: &str, selected: &dyn Fn(&Labels) -> bool| {
        let is_it = |finding: &&Finding| finding.subject.metric == metric && selected(&finding.subject.labels);
        let mut about = report.findings().iter().filter(is_it).peekable();
        about.peek().is_some() && about.all(|finding| finding.severity == Severity::Ok)
    };
    let mut all = true;
    for (name, metric, selected) in [
        ("disk", "disk", &of_disk as &dyn Fn(&Labels) -> bool),
        ("memory", "memory", &of_memory),
        ("chunks", "active_chunks", &of_chunks),
    ] {
        let is_ok = statuses[name] == "OK";
        all &= is_ok;
        assert!(!is_ok || says_ok(metric, selected), "{place}: {name} in {statuses}");
        reached.count("a status of PixCrawler is ok", is_ok);
    }
    assert_eq!(statuses["overall"] == "OK", all, "{place}: {statuses}");
    reached.count("a status of PixCrawler is unknown", statuses["overall"] == "UNKNOWN");
}
