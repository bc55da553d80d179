//! Converts responses to samples, and missing values to gaps.

use std::time::Duration;

use watchpost_policies::{Gap, Labels, MeasureError, MetricName, MetricPattern, Sample, Unit};

use super::NAME;
use super::answer::{Answer, Metric, Series};
use super::query::Subject;
use super::settings::{Mapping, Transform};
use watchpost_source::probe::Reading;

/// Adds the samples of these metrics of a resource.
pub(crate) fn add_samples<'m>(
    subject: &Subject,
    mappings: impl Iterator<Item = &'m Mapping>,
    answer: &Answer,
    window: Duration,
    reading: &mut Reading,
) {
    let mut missing: Vec<(String, &MetricName)> = Vec::new();
    for mapping in mappings {
        match samples(subject, mapping, answer, window) {
            Ok(samples) => reading.samples.extend(samples),
            Err(reason) => missing.push((reason, &mapping.metric)),
        }
    }
    // Metrics that are missing for the same reason share one gap.
    while let Some((reason, _)) = missing.first().cloned() {
        let same = missing.extract_if(.., |(other, _)| *other == reason);
        let metrics: Vec<_> = same.map(|(_, metric)| metric).collect();
        add_gap(subject, metrics.into_iter(), &reason, reading);
    }
}

/// Adds a gap for these metrics of a resource.
pub(crate) fn add_gap<'m>(
    subject: &Subject,
    metrics: impl Iterator<Item = &'m MetricName>,
    reason: &str,
    reading: &mut Reading,
) {
    let mut metrics: Vec<_> = metrics.map(MetricPattern::exactly).collect();
    metrics.sort();
    metrics.dedup();
    reading.gaps.push(Gap {
        source: NAME.to_owned(),
        metrics,
        reason: format!("{}: {reason}", subject.label),
    });
}

fn samples(subject: &Subject, mapping: &Mapping, answer: &Answer, window: Duration) -> Result<Vec<Sample>, String> {
    let name = &mapping.name;
    let Some(metric) = answer.metric(name) else {
        return Err(format!(
            "Azure's response has no metric \"{name}\"; check its name in azure.metrics"
        ));
    };
    if let Some(error) = metric.error() {
        return Err(format!("Azure reports an error for \"{name}\" ({error})"));
    }
    let found = metric
        .series()
        .iter()
        .filter_map(|series| sample(subject, mapping, metric, series));
    let found = found
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    if found.is_empty() {
        let (aggregation, minutes) = (mapping.aggregation.as_str(), window.as_secs().div_ceil(60));
        return Err(format!(
            "Azure has no {aggregation} of \"{name}\" for the last {minutes} min; the resource may be stopped, or lack \
             this aggregation"
        ));
    }
    Ok(found)
}

/// The newest value of a series, if it has one.
fn sample(
    subject: &Subject,
    mapping: &Mapping,
    metric: &Metric,
    series: &Series,
) -> Option<Result<Sample, MeasureError>> {
    let (time_ms, value) = series.newest(mapping.aggregation)?;
    let value = mapping.transform.of(value);
    let resource_label = [("resource".to_owned(), subject.label.clone())];
    let mut labels = mapping.labels.clone();
    for (name, value) in resource_label.into_iter().chain(series.dimensions()) {
        // Configured labels take precedence over dimensions.
        if labels.iter().all(|(known, _)| *known != name) {
            labels.push((name, value));
        }
    }
    let unit = match (&mapping.unit, mapping.transform) {
        (Some(unit), _) => unit.clone(),
        (None, Transform::Complement) => "percent".to_owned(),
        (None, _) => metric.unit(),
    };
    let labels = Labels::new(labels);
    Some(labels.and_then(|labels| Sample::new(mapping.metric.clone(), labels, value, Unit::new(&unit), time_ms)))
}
