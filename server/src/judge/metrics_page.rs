//! Renders the Prometheus page once per round. `metrics` defines its content.

use super::{Evaluations, Renderings};
use crate::metrics::{Rendered, render};

/// The pages of the rounds published from now on.
pub type MetricsPages = Renderings<Rendered>;

/// Renders the page of each round.
pub fn metrics_pages(evaluations: &Evaluations) -> MetricsPages {
    Renderings::new(evaluations, |judged| {
        render(&judged.round.snapshot, &judged.round.families, &judged.report)
    })
}
