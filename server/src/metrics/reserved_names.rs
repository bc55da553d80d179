//! Reserves the names on a page. Two families must not share a name, and `OpenMetrics` is strict about it: a counter
//! `x_total` is a family `x`, so a gauge `x` cannot exist as well.

use std::collections::HashSet;

use watchpost_source::Kind;

/// The names of families and of all samples that they may have.
#[derive(Default)]
pub(super) struct Claims(HashSet<String>);

impl Claims {
    /// Reserves the names of a family; reserves none of them and returns `false` if one is taken.
    pub(super) fn claim(&mut self, name: &str, kind: Kind) -> bool {
        let stem = super::page::stem(kind, name);
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
    fn a_family_reserves_its_name_and_those_of_its_samples() {
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
