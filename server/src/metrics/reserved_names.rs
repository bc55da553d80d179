//! Which names are taken on a page. Two families must not share one, and `OpenMetrics` is strict about it: a
//! counter `x_total` is a family `x`, so there is no room for a gauge `x` beside it.

use std::collections::HashSet;

use super::page::Kind;

/// Names of families, and of all samples that they may have.
#[derive(Default)]
pub(super) struct Claims(HashSet<String>);

impl Claims {
    /// Takes the names of a family, or none of them if one is taken.
    pub(super) fn claim(&mut self, name: &str, kind: Kind) -> bool {
        let stem = kind.stem(name);
        let endings: &[&str] = match kind {
            Kind::Counter => &["", "_created", "_total"],
            Kind::Gauge | Kind::Unknown => &[""],
            Kind::Histogram => &["", "_bucket", "_count", "_created", "_sum"],
            Kind::Info => &["", "_info"],
        };
        let names = endings.iter().map(|ending| format!("{stem}{ending}"));
        let names: Vec<String> = names.collect();
        let free = names.iter().all(|name| !self.0.contains(name));
        if free {
            self.0.extend(names);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_takes_its_name_and_those_of_its_samples() {
        let mut claims = Claims::default();
        assert!(claims.claim("took_seconds", Kind::Histogram));
        assert!(!claims.claim("took_seconds_sum", Kind::Gauge));
        assert!(claims.claim("x_total", Kind::Counter));
        assert!(!claims.claim("x", Kind::Gauge));
        assert!(!claims.claim("x_created", Kind::Gauge));
        assert!(claims.claim("y", Kind::Gauge));
        assert!(!claims.claim("y_total", Kind::Counter));
        assert!(claims.claim("y_total", Kind::Unknown));
    }
}
