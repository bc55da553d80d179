//! Checks that samples are declared; the tests of the probes use it.

use watchpost_policies::Sample;

use super::find;

/// Why a sample is not as declared in the catalogue; `None` if it is. Without a source, the declaration of any source
/// counts.
pub(crate) fn reason(source: Option<&str>, sample: &Sample) -> Option<String> {
    let name = sample.metric().as_str();
    let declarations = || find(name).filter(|(of, _)| source.is_none_or(|source| *of == source));
    if declarations().next().is_none() {
        let of = source.map(|source| format!(" of {source}")).unwrap_or_default();
        return Some(format!(
            "{name}{of} is not in the catalogue; declare it in server/src/metrics/catalogue/table.rs"
        ));
    }
    let fits = declarations().any(|(_, metric)| {
        let labels = sample.labels().as_slice();
        // The unit of names that the kernel defines differs.
        (metric.unit == sample.unit().as_str() || metric.name.ends_with('*'))
            && labels.iter().all(|label| metric.labels.contains(&label.name.as_str()))
    });
    (!fits).then(|| format!("{name} has another unit or other labels than its declaration: {sample:?}"))
}

#[cfg(test)]
mod tests {
    use watchpost_policies::{Labels, MetricName, Unit};

    use super::*;

    #[test]
    fn undeclared_names_units_and_labels_are_found() {
        let check = |source: Option<&str>, name: &str, label: &str, unit: &str, expected: Option<&str>| {
            let labels = Labels::new([(label, "a")]).expect("a legal label");
            let name = MetricName::new(name).expect("a legal name");
            let sample = Sample::new(name, labels, 1.0, Unit::new(unit), 1).expect("finite");
            let found = reason(source, &sample).unwrap_or_default();
            assert!(found.contains(expected.unwrap_or_default()), "{found}");
            assert_eq!(found.is_empty(), expected.is_none(), "{found}");
        };
        check(Some("host.filesystems"), "disk", "mountpoint", "percent", None);
        check(None, "disk", "mountpoint", "percent", None);
        check(
            Some("host.cpu"),
            "disk",
            "mountpoint",
            "percent",
            Some("disk of host.cpu is not in"),
        );
        check(None, "wind", "at", "km/h", Some("wind is not in the catalogue"));
        check(None, "disk", "mountpoint", "bytes", Some("another unit"));
        check(None, "disk", "colour", "percent", Some("other labels"));
    }
}
