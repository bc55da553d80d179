//! Evaluates each round of each host with the active rules and publishes the result as data. It renders nothing and
//! decides nothing by itself: what is made of a round is the work of those who observe `evaluations` or subscribe there.

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
use crate::rules::{ActiveRule, Rules};
use crate::tasks::{self, Tasks};

/// A round of one host and what the rules say of it.
#[derive(Debug)]
pub struct Judged {
    /// The machine that was measured; the same as in the round and in the report.
    pub host: HostId,
    /// What was measured.
    pub round: Arc<Round>,
    /// The rules that judged it, which may have been replaced since.
    pub rules: Arc<ActiveRule>,
    /// The report of this host that the rules were shown, if there was one: that of the round before.
    pub previous: Option<Arc<Report>>,
    /// What the rules say.
    pub report: Arc<Report>,
    /// What rules in shadow mode say of it, if there are any.
    pub shadow: Option<Arc<Compared>>,
    /// How long the active rules took.
    pub took: Duration,
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
    /// With these rules, for those who follow these evaluations.
    pub fn new(rules: Rules, evaluations: Evaluations) -> Self {
        Self { rules, evaluations }
    }

    /// Evaluates a round and publishes the result. Each round is judged on the report of the last of its host, so rounds
    /// of one host come one after the other.
    pub async fn judge(&self, round: Arc<Round>) {
        let last = self.evaluations.latest(&round.host);
        let rules = self.rules.current();
        match tasks::block(move || evaluate(round, rules, last.as_deref())).await {
            Ok(judged) => self.evaluations.publish(judged).await,
            Err(panic) => log::error!(reason = panic.as_str(); "a round could not be judged"),
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

/// What the judge of this machine works with.
pub struct Parts {
    /// This machine.
    pub host: HostId,
    /// The rules.
    pub rules: Rules,
    /// Where rounds are published.
    pub evaluations: Evaluations,
    /// Where judgements are recorded.
    pub decisions: Decisions,
    /// Where sources and shadows are counted.
    pub service_metrics: Arc<ServiceMetrics>,
}

/// Sets the judge to work on what this machine measures, and those who follow it.
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

fn evaluate(round: Arc<Round>, rules: Arc<ActiveRule>, last: Option<&Judged>) -> Judged {
    let previous = last.map(|last| last.report.clone());
    let began = Instant::now();
    let report = Arc::new(rules.set.judge(&round.snapshot, previous.as_deref()));
    let took = began.elapsed();
    let last_shadow = last.and_then(|last| last.shadow.as_deref());
    let shadow = compare(&rules, &round.snapshot, &report, last_shadow).map(Arc::new);
    Judged {
        host: round.host.clone(),
        round,
        rules,
        previous,
        report,
        shadow,
        took,
    }
}

#[cfg(test)]
mod tests {
    use super::test_round::{host, round, rules};
    use super::*;

    #[test]
    fn a_round_is_judged_on_what_was_found_on_its_own_host() {
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
