//! An index of the gaps of a round by the metrics that they hide. A thousand gaps may hide ten thousand series, so a
//! linear search for each series would be too slow.

use std::collections::BTreeMap;

use watchpost_rule::threshold::Gap;

/// The index of the first gap for each metric name and for each prefix of metric names.
pub(crate) struct Gaps<'r> {
    all: &'r [Gap],
    names: BTreeMap<&'r str, usize>,
    prefixes: BTreeMap<&'r str, usize>,
}

impl<'r> Gaps<'r> {
    pub(crate) fn new(all: &'r [Gap]) -> Self {
        let (mut names, mut prefixes) = (BTreeMap::new(), BTreeMap::new());
        for (at, gap) in all.iter().enumerate() {
            for pattern in &gap.metrics {
                let (texts, text) = match pattern.strip_suffix('*') {
                    Some(prefix) => (&mut prefixes, prefix),
                    None => (&mut names, pattern.as_str()),
                };
                texts.entry(text).or_insert(at);
            }
        }
        Self { all, names, prefixes }
    }

    /// The first gap that hides this metric.
    pub(crate) fn hiding(&self, metric: &str) -> Option<&'r Gap> {
        if self.all.is_empty() {
            return None;
        }
        let prefixes = (0..=metric.len()).filter_map(|end| self.prefixes.get(metric.get(..end)?));
        let first = prefixes.chain(self.names.get(metric)).min()?;
        Some(&self.all[*first])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_gap_that_names_a_metric_hides_it() {
        let gap = |source: &str, metrics: &[&str]| Gap {
            source: source.to_owned(),
            metrics: metrics.iter().map(|metric| (*metric).to_owned()).collect(),
            reason: String::new(),
        };
        let all = [
            gap("a", &["disk", "node_cpu*"]),
            gap("b", &["node_*"]),
            gap("c", &["node_cpu_seconds", "inodes"]),
        ];
        let gaps = Gaps::new(&all);
        let check = |metric: &str, source: Option<&str>| {
            let hiding = gaps.hiding(metric).map(|gap| gap.source.as_str());
            assert_eq!(hiding, source, "{metric}");
        };
        check("disk", Some("a"));
        check("disks", None);
        check("node_cpu_seconds", Some("a"));
        check("node_load1", Some("b"));
        check("inodes", Some("c"));
        assert!(Gaps::new(&[]).hiding("disk").is_none());
        let everything = [gap("all", &["*"])];
        assert!(Gaps::new(&everything).hiding("disk").is_some());
    }
}
