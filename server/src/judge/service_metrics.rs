//! Updates the service metrics with each round of this machine: the states of its sources and the differences of rules
//! in shadow mode. Rounds of other hosts are not counted.

use std::sync::Arc;

use super::Evaluations;
use crate::host_id::HostId;
use crate::metrics::ServiceMetrics;
use crate::rules::shadow::ShadowComparison;

/// Runs before publication, so a scrape of a round includes its numbers.
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
