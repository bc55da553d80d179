//! Rounds for tests, evaluated by the built-in rules, which are compiled once.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use watchpost_policies::{Gap, Kind, Labels, Limits, MetricName, Rule, Sample, Snapshot, Unit};

use super::{Judged, evaluate};
use crate::collect::collector::Round;
use crate::host_id::HostId;
use crate::rules::{LoadedGeneration, Rules, Settings};

/// The built-in rules with their defaults.
pub(crate) fn rules() -> &'static Rules {
    static RULES: OnceLock<Rules> = OnceLock::new();
    let settings = Settings {
        threshold: "{}".to_owned(),
        role: "{}".to_owned(),
    };
    RULES.get_or_init(|| Rules::load(Limits::default(), &settings, None).expect("the built-in rules load"))
}

pub(crate) fn host(name: &str) -> HostId {
    HostId::new(name).expect("a legal name")
}

/// A round of a machine whose disk is ok; its time equals its number.
pub(crate) fn round(name: &str, number: u64) -> Round {
    with_disk(name, number, 10.0)
}

/// A round of a machine with this usage of its disk, in percent.
pub(crate) fn with_disk(name: &str, number: u64, percent: f64) -> Round {
    with_disks(name, number, &[percent], &[])
}

/// A round of a machine that measures no disk.
pub(crate) fn without_disk(name: &str, number: u64) -> Round {
    with_disks(name, number, &[], &[])
}

/// A round of a machine with these usages of its disks, in percent.
pub(crate) fn with_disks(name: &str, number: u64, some: &[f64], others: &[f64]) -> Round {
    let disks = some.iter().chain(others).enumerate().map(|(at, percent)| {
        let labels = Labels::new([("mountpoint", format!("/{at:02}"))]).expect("legal labels");
        let metric = MetricName::new("disk").expect("legal");
        Sample::new(metric, labels, *percent, Unit::new("%"), number).expect("finite")
    });
    with_samples(name, number, disks.collect(), Vec::new())
}

/// A round with these measurements.
pub(crate) fn with_samples(name: &str, number: u64, samples: Vec<Sample>, gaps: Vec<Gap>) -> Round {
    let snapshot = Snapshot::new(name.to_owned(), number, Labels::none(), samples, gaps);
    Round {
        host: host(name),
        number,
        snapshot: Arc::new(snapshot),
        families: Arc::default(),
        started_ms: number,
        started: Instant::now(),
        duration: Duration::ZERO,
        sources: BTreeMap::new(),
    }
}

/// The built-in threshold rule with these settings.
pub(crate) fn threshold_rule(settings: &str) -> Rule {
    let module = rules().builtin(Kind::Threshold);
    module.with_settings(settings).expect("the settings are valid")
}

/// A generation with these threshold rules and the built-in role rule.
pub(crate) fn generation_of(number: i64, thresholds: Vec<Rule>) -> LoadedGeneration {
    let role = rules().current().set.role().clone();
    LoadedGeneration::of_rules(number, thresholds.into_iter().chain([role]).collect())
}

/// The same round, evaluated as the first of its host.
pub(crate) fn judged(name: &str, number: u64) -> Judged {
    evaluate(Arc::new(round(name, number)), rules().current(), None)
}

/// A round after another, evaluated.
pub(crate) fn after(last: Option<&Judged>, round: Round) -> Judged {
    evaluate(Arc::new(round), rules().current(), last)
}
