//! Rounds for tests, evaluated by the built-in rules, which are compiled once.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use watchpost_policies::{Labels, Limits, MetricName, Sample, Snapshot, Unit};

use super::{Judged, evaluate};
use crate::collect::collector::Round;
use crate::host_id::HostId;
use crate::rules::{Rules, Settings};

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

/// A round of a machine with this disk usage, in percent.
pub(crate) fn with_disk(name: &str, number: u64, percent: f64) -> Round {
    let metric = MetricName::new("disk").expect("legal");
    let disk = Sample::new(metric, Labels::none(), percent, Unit::new("%"), number).expect("finite");
    let snapshot = Snapshot::new(name.to_owned(), number, Labels::none(), vec![disk], Vec::new());
    Round {
        host: host(name),
        number,
        snapshot: Arc::new(snapshot),
        families: Arc::default(),
        started_ms: number,
        duration: Duration::ZERO,
        sources: BTreeMap::new(),
    }
}

/// The same round, evaluated as the first of its host.
pub(crate) fn judged(name: &str, number: u64) -> Judged {
    evaluate(Arc::new(round(name, number)), rules().current(), None)
}

/// A round after another, evaluated.
pub(crate) fn after(last: Option<&Judged>, round: Round) -> Judged {
    evaluate(Arc::new(round), rules().current(), last)
}
