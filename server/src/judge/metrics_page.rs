//! The Prometheus page of the last round, with the readings that scrapes requested since. `metrics` defines its content.

use std::sync::Arc;

use parking_lot::Mutex;
use watchpost_policies::Report;

use super::Judged;
use crate::collect::CollectorHandle;
use crate::collect::refresh::Refreshed;
use crate::metrics::Rendered;

/// The latest page, which all scrapes share until there is a newer round or a newer reading.
pub struct MetricsPages {
    collector: CollectorHandle,
    latest: Mutex<Option<Page>>,
}

/// A page and what it shows.
struct Page {
    judged: Arc<Judged>,
    refreshed: Arc<Refreshed>,
    report: Arc<Report>,
    rendered: Arc<Rendered>,
}

impl MetricsPages {
    /// The pages of the machine that this collector measures.
    pub fn new(collector: CollectorHandle) -> Self {
        Self {
            collector,
            latest: Mutex::default(),
        }
    }

    /// Readings that are at most `collector.max_age` old, if the sources answer in time. The caller has to be allowed
    /// to read metrics, because this may measure.
    pub async fn refreshed(&self) -> Arc<Refreshed> {
        self.collector.refreshed().await
    }

    /// The page of this round with the readings that are newer than it, and with this report about it. It is rendered on
    /// first use.
    pub fn of(&self, judged: Arc<Judged>, refreshed: Arc<Refreshed>, report: Arc<Report>) -> Arc<Rendered> {
        let mut latest = self.latest.lock();
        if let Some(page) = &*latest
            && Arc::ptr_eq(&page.judged, &judged)
            && Arc::ptr_eq(&page.refreshed, &refreshed)
            && Arc::ptr_eq(&page.report, &report)
        {
            return page.rendered.clone();
        }
        let is_newer = |time_ms: u64| time_ms > judged.round.started_ms;
        let newer = refreshed.readings.iter().filter(|reading| is_newer(reading.time_ms));
        let newer = newer.map(|reading| reading.samples.clone()).collect();
        let rendered = Arc::new(Rendered::new(
            judged.round.snapshot.clone(),
            judged.round.families.clone(),
            newer,
            report.clone(),
        ));
        *latest = Some(Page {
            judged,
            refreshed,
            report,
            rendered: rendered.clone(),
        });
        rendered
    }
}
