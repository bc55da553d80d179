//! The page for Prometheus as a rendering: of each round, once. What is on it is for `metrics`.

use super::{Evaluations, Renderings};
use crate::metrics::{Rendered, render};

/// The pages of the rounds that are published from now on.
pub type MetricsPages = Renderings<Rendered>;

/// Renders the page of each round.
pub fn metrics_pages(evaluations: &Evaluations) -> MetricsPages {
    Renderings::new(evaluations, |judged| render(&judged.round.snapshot, &judged.report))
}
