//! Downsampling: the points of each step become one. Pure.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the points of a step are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Aggregate {
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// Their mean.
    #[default]
    Mean,
    /// The last.
    Last,
}

/// One point per step, at the step's start; a step without points has none. Steps are counted from `from_ms`, and the
/// points are ordered by time.
pub fn downsample(points: &[(u64, f64)], from_ms: u64, step_ms: u64, aggregate: Aggregate) -> Vec<(u64, f64)> {
    let step = |time_ms: u64| time_ms.saturating_sub(from_ms) / step_ms.max(1);
    let combine = |points: &[(u64, f64)]| {
        let begin = from_ms.saturating_add(step(points[0].0) * step_ms);
        (begin, aggregate.of(points))
    };
    points
        .chunk_by(|one, next| step(one.0) == step(next.0))
        .map(combine)
        .collect()
}

impl Aggregate {
    fn of(self, points: &[(u64, f64)]) -> f64 {
        let mut values = points.iter().map(|(_, value)| *value);
        match self {
            Self::Min => values.fold(f64::INFINITY, f64::min),
            Self::Max => values.fold(f64::NEG_INFINITY, f64::max),
            // Each is divided first, because a sum of large values may overflow.
            Self::Mean => values.map(|value| value / points.len() as f64).sum(),
            Self::Last => values.next_back().unwrap_or(f64::NAN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_points_of_a_step_become_one_at_its_beginning() {
        let points = [(1000, 1.0), (1500, 3.0), (1999, 2.0), (4000, 7.0)];
        let check = |aggregate, first: f64| {
            let made = downsample(&points, 1000, 1000, aggregate);
            assert_eq!(made, [(1000, first), (4000, 7.0)], "{aggregate:?}");
        };
        check(Aggregate::Min, 1.0);
        check(Aggregate::Max, 3.0);
        check(Aggregate::Mean, 2.0);
        check(Aggregate::Last, 2.0);
        assert_eq!(downsample(&[], 0, 1000, Aggregate::Mean), []);
    }

    #[test]
    fn a_mean_of_the_largest_numbers_does_not_overflow() {
        let points = [(0, f64::MAX), (1, f64::MAX)];
        assert_eq!(downsample(&points, 0, 10, Aggregate::Mean), [(0, f64::MAX)]);
    }
}
