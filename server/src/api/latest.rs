//! The latest of what was measured and judged, for handlers. They never wait for the next.

use std::sync::Arc;

use tokio::sync::watch;
use watchpost_policies::Report;

use super::error::ApiError;
use crate::judge::Judged;
use crate::rules::registry::Moment;

/// The latest round. Cheap to clone.
#[derive(Clone)]
pub struct Latest {
    judged: watch::Receiver<Option<Arc<Judged>>>,
    before_the_first: Arc<Report>,
}

impl Latest {
    /// What is published there; `before_the_first` stands in until something is.
    pub fn new(judged: watch::Receiver<Option<Arc<Judged>>>, before_the_first: Report) -> Self {
        Self {
            judged,
            before_the_first: Arc::new(before_the_first),
        }
    }

    /// The latest round, if there was one.
    pub fn judged(&self) -> Option<Arc<Judged>> {
        self.judged.borrow().clone()
    }

    /// The latest round, or the answer to somebody who came too early.
    pub fn needed(&self) -> Result<Arc<Judged>, ApiError> {
        self.judged().ok_or_else(|| ApiError::Unavailable {
            why: "nothing has been measured yet; the first round is on its way".to_owned(),
            after_seconds: 1,
        })
    }

    /// All of it, for those who try rules on it.
    pub fn moment(&self) -> Moment {
        Moment {
            report: self.report(),
            snapshot: self.judged().map(|judged| judged.round.snapshot.clone()),
        }
    }

    /// The latest report.
    pub fn report(&self) -> Arc<Report> {
        self.judged()
            .map_or_else(|| self.before_the_first.clone(), |judged| judged.report.clone())
    }
}
