//! Evaluates each round of each host with the active rules and publishes the result as data. The observers and
//! subscribers of `evaluations` render, record and log it.

#[cfg(test)]
#[path = "tests/all_clear.rs"]
mod all_clear_tests;
mod change_log;
mod evaluations;
mod judgement_records;
pub mod metrics_page;
mod renderings;
mod service_metrics;
#[cfg(test)]
pub(crate) mod test_round;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use watchpost_policies::Report;

pub use self::evaluations::{Evaluations, Subscription};
pub use self::renderings::Renderings;

use crate::collect::collector::Round;
use crate::decisions::Decisions;
use crate::host_id::HostId;
use crate::metrics::ServiceMetrics;
use crate::rules::shadow::{Compared, compare};
use crate::rules::{LoadedGeneration, Rules};
use crate::tasks::{self, Tasks};

/// A round of one host and its evaluation.
#[derive(Debug)]
pub struct Judged {
    /// The measured machine; the same as in the round and in the report.
    pub host: HostId,
    /// The measured round.
    pub round: Arc<Round>,
    /// The generation that evaluated the round; it may have been replaced since.
    pub rules: Arc<LoadedGeneration>,
    /// The previous report of this host, which the rules received; `None` in its first round.
    pub previous: Option<Arc<Report>>,
    /// The report of the active rules.
    pub report: Arc<Report>,
    /// The comparison with the rules in shadow mode, if there are any.
    pub shadow: Option<Arc<Compared>>,
    /// Duration of the evaluation by the active rules.
    pub duration: Duration,
    /// When the evaluation started, right after the measurement. Its age does not depend on the time of day.
    pub started: Instant,
}

impl AsRef<Report> for Judged {
    fn as_ref(&self) -> &Report {
        &self.report
    }
}

/// Evaluates rounds of any host. Cheap to clone.
#[derive(Clone)]
pub struct Judge {
    rules: Rules,
    evaluations: Evaluations,
}

impl Judge {
    /// A judge that evaluates with `rules` and publishes to `evaluations`.
    pub fn new(rules: Rules, evaluations: Evaluations) -> Self {
        Self { rules, evaluations }
    }

    /// Evaluates a round and publishes the result. Each evaluation uses the previous report of the host, so rounds of
    /// one host must not be evaluated concurrently.
    pub async fn judge(&self, round: Arc<Round>) {
        let last = self.evaluations.latest(&round.host);
        let rules = self.rules.current();
        match tasks::block(move || evaluate(round, rules, last.as_deref())).await {
            Ok(judged) => self.evaluations.publish(judged).await,
            Err(panic) => log::error!(reason = panic.as_str(); "could not evaluate a round"),
        }
    }

    async fn follow(self, mut rounds: watch::Receiver<Option<Arc<Round>>>) {
        while rounds.changed().await.is_ok() {
            let round = rounds.borrow_and_update().clone();
            if let Some(round) = round {
                self.judge(round).await;
            }
        }
    }
}

/// The dependencies of the judge of this machine.
pub struct Parts {
    /// The id of this machine.
    pub host: HostId,
    /// The active rules.
    pub rules: Rules,
    /// Evaluated rounds are published here.
    pub evaluations: Evaluations,
    /// Judgements are recorded here.
    pub decisions: Decisions,
    /// The states of sources and shadows are counted here.
    pub service_metrics: Arc<ServiceMetrics>,
}

/// Starts the evaluation of this machine's rounds, with its observers and subscribers.
pub fn start(tasks: &Tasks, measured: watch::Receiver<Option<Arc<Round>>>, parts: Parts) {
    let Parts {
        host,
        rules,
        evaluations,
        decisions,
        service_metrics,
    } = parts;
    service_metrics::observe(&evaluations, host, service_metrics);
    judgement_records::observe(&evaluations, decisions);
    change_log::start(tasks, &evaluations);
    let judge = Judge::new(rules, evaluations);
    tasks.spawn("judge", move || judge.clone().follow(measured.clone()));
}

fn evaluate(round: Arc<Round>, rules: Arc<LoadedGeneration>, last: Option<&Judged>) -> Judged {
    let previous = last.map(|last| last.report.clone());
    let started = Instant::now();
    let report = Arc::new(rules.set.judge(&round.snapshot, previous.as_deref()));
    let duration = started.elapsed();
    let last_shadow = last.and_then(|last| last.shadow.as_deref());
    let shadow = compare(&rules, &round.snapshot, &report, last_shadow).map(Arc::new);
    Judged {
        host: round.host.clone(),
        round,
        rules,
        previous,
        report,
        shadow,
        duration,
        started,
    }
}

#[cfg(test)]
mod tests {
    use super::test_round::{host, round, rules};
    use super::*;

    #[test]
    fn a_round_is_evaluated_with_the_previous_report_of_its_host() {
        actix_web::rt::System::new().block_on(async {
            let evaluations = Evaluations::new();
            let judge = Judge::new(rules().clone(), evaluations.clone());
            for (name, number) in [("edge-1", 1), ("edge-2", 1), ("edge-1", 2)] {
                judge.judge(Arc::new(round(name, number))).await;
            }
            let of = |name| evaluations.latest(&host(name)).expect("it was judged");
            let (one, other) = (of("edge-1"), of("edge-2"));
            assert_eq!((one.round.number, one.report.host()), (2, "edge-1"));
            assert_eq!((other.round.number, other.report.host()), (1, "edge-2"));
            assert!(other.previous.is_none(), "the rules did not see this host before");
            let previous = one.previous.as_ref().expect("it is the second");
            assert_eq!((previous.host(), previous.time_ms()), ("edge-1", 1));
        });
    }
}
