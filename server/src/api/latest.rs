//! The latest round of this machine, for handlers. It returns immediately and never waits for the next round.

use std::sync::Arc;
use std::time::Duration;

use watchpost_policies::Report;

use super::error::ApiError;
use crate::host_id::HostId;
use crate::judge::{Evaluations, Judged};
use crate::rules::registry::LatestRound;

/// The latest round. Cheap to clone.
#[derive(Clone)]
pub struct Latest {
    evaluations: Evaluations,
    host: HostId,
    before_the_first: Arc<Report>,
    stale_after: Duration,
}

impl Latest {
    /// Reads what is published for this host; `before_the_first` is used until the first round, and a round that is
    /// older than `stale_after` does not describe the machine.
    pub fn new(evaluations: Evaluations, host: HostId, before_the_first: Report, stale_after: Duration) -> Self {
        Self {
            evaluations,
            host,
            before_the_first: Arc::new(before_the_first),
            stale_after,
        }
    }

    /// The latest round, or none before the first.
    pub fn judged(&self) -> Option<Arc<Judged>> {
        self.evaluations.latest(&self.host)
    }

    /// The latest round, or an error before the first.
    pub fn needed(&self) -> Result<Arc<Judged>, ApiError> {
        self.judged().ok_or_else(|| ApiError::Unavailable {
            reason: "nothing has been measured yet; the first round is in progress".to_owned(),
            after_seconds: 1,
        })
    }

    /// The latest round with everything that a trial of a rule needs.
    pub fn moment(&self) -> LatestRound {
        let judged = self.judged();
        LatestRound {
            report: self.report_of(judged.as_deref()),
            snapshot: judged.map(|judged| judged.round.snapshot.clone()),
        }
    }

    /// Whether this round is too old to describe the machine: no newer one arrives.
    pub fn is_outdated(&self, judged: &Judged) -> bool {
        judged.age() > self.stale_after
    }

    /// The latest report.
    pub fn report(&self) -> Arc<Report> {
        self.report_of(self.judged().as_deref())
    }

    /// The report of this round, in which everything is unknown if the round is outdated; or the placeholder before the
    /// first.
    pub fn report_of(&self, judged: Option<&Judged>) -> Arc<Report> {
        let report = match judged {
            None => &self.before_the_first,
            Some(judged) if self.is_outdated(judged) => judged.outdated_report(),
            Some(judged) => &judged.report,
        };
        report.clone()
    }
}
