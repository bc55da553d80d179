//! Counts what a round of this machine tells about Watchpost itself: how its sources do, and how rules in shadow mode
//! differ. Rounds of other hosts were measured elsewhere and are not counted.

use std::sync::Arc;

use super::Evaluations;
use crate::host_id::HostId;
use crate::metrics::ServiceMetrics;
use crate::rules::shadow::ShadowComparison;

/// Counts before publication: a scrape that has a round has its numbers too.
pub(super) fn observe(evaluations: &Evaluations, host: HostId, service_metrics: Arc<ServiceMetrics>) {
    evaluations.before_publication(move |judged| {
        if judged.host != host {
            return;
        }
        let sources = judged.round.sources.iter();
        service_metrics.set_sources(sources.map(|(name, source)| (&**name, source.health())));
        let shadows = judged.shadow.iter().flat_map(|shadow| &shadow.rules);
        service_metrics.set_shadow_rounds(shadows.map(ShadowComparison::round));
    });
}
