//! Builds the requests: groups the metrics of all resources into as few queries as Azure's limits allow, and
//! writes their URLs. It sends nothing.

use std::collections::HashMap;

use watchpost_policies::MetricName;

use super::backoff::written;
use super::resource::ResourceId;
use super::settings::{Aggregation, Endpoints, Mapping, Settings};
use super::{http, tables};

/// Azure's limit.
const MAX_METRICS_PER_REQUEST: usize = 20;

/// Azure's limit.
const MAX_RESOURCES_PER_BATCH: usize = 50;

/// The API versions whose responses are parsed.
const VERSION: &str = "2024-02-01";
const BATCH_VERSION: &str = "2023-10-01";

/// An unknown metric is queried again after a day, because an agent may have been installed.
const UNKNOWN_METRIC_TTL_MS: u64 = 24 * 60 * 60 * 1000;

/// A resource and its requested metrics.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) id: ResourceId,
    region: Option<String>,
    /// The unique value of the label `resource`.
    pub(crate) label: String,
    pub(crate) mappings: Vec<Mapping>,
    /// Metrics that the resource cannot have, with the reason.
    pub(crate) absent: Vec<(MetricName, &'static str)>,
}

/// Some metrics of a resource, or of several in a batch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MetricQuery {
    pub(crate) group: MetricGroup,
    pub(crate) names: Vec<String>,
    /// Indexes into the list of subjects; more than one is a batch.
    pub(crate) subjects: Vec<usize>,
    /// The region of the batch endpoint.
    region: Option<String>,
}

/// What all metrics of a query have in common. Azure accepts several aggregations at once, but then reports a
/// metric without one of them as missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MetricGroup {
    pub(crate) namespace: Option<String>,
    pub(crate) filter: Option<String>,
    pub(crate) aggregation: Aggregation,
}

impl MetricGroup {
    fn of(mapping: &Mapping) -> Self {
        Self {
            namespace: mapping.namespace.clone(),
            filter: mapping.filter.clone(),
            aggregation: mapping.aggregation,
        }
    }
}

/// Metrics that a resource does not have: the reason, and until when it applies.
#[derive(Debug, Default)]
pub(crate) struct UnknownMetrics(HashMap<(String, Option<String>, String), (u64, String)>);

impl UnknownMetrics {
    /// Records that a resource does not have a metric.
    pub(crate) fn remember(&mut self, id: &ResourceId, group: &MetricGroup, name: &str, reason: String, now_ms: u64) {
        let until_ms = now_ms.saturating_add(UNKNOWN_METRIC_TTL_MS);
        self.0.insert(key(id, group, name), (until_ms, reason));
    }

    /// The reason why the resource does not have this metric, if it is known.
    pub(crate) fn reason(&self, id: &ResourceId, mapping: &Mapping, now_ms: u64) -> Option<&str> {
        let (until_ms, reason) = self.0.get(&key(id, &MetricGroup::of(mapping), &mapping.name))?;
        (now_ms < *until_ms).then_some(reason)
    }
}

fn key(id: &ResourceId, group: &MetricGroup, name: &str) -> (String, Option<String>, String) {
    (id.key(), group.namespace.clone(), name.to_lowercase())
}

/// The requested metrics of each resource.
pub(crate) fn subjects(settings: &Settings) -> Vec<Subject> {
    let is_namesake =
        |id: &ResourceId, other: &ResourceId| id.name().eq_ignore_ascii_case(other.name()) && id.key() != other.key();
    let is_alone = |id: &ResourceId| !settings.resources.iter().any(|other| is_namesake(id, &other.id));
    let mut seen = Vec::new();
    let mut subjects = Vec::new();
    for resource in &settings.resources {
        let id = &resource.id;
        if seen.contains(&id.key()) {
            continue;
        }
        seen.push(id.key());
        let mappings = mappings(id.kind(), &settings.mappings);
        let absent = tables::table(id.kind()).map_or(&[][..], |table| table.absent);
        let absent = absent
            .iter()
            .filter_map(|(metric, reason)| Some((MetricName::new(metric).ok()?, *reason)));
        let is_absent = |(metric, _): &(MetricName, &str)| mappings.iter().all(|mapping| mapping.metric != *metric);
        subjects.push(Subject {
            absent: absent.filter(is_absent).collect(),
            // If two resources have the same name, the label is the full id.
            label: if is_alone(id) { id.name() } else { id.as_str() }.to_owned(),
            id: id.clone(),
            region: resource.region.clone(),
            mappings,
        });
    }
    subjects
}

/// The built-in metrics of a resource type, with the configured ones, which replace those of the same name.
fn mappings(kind: &str, configured: &[Mapping]) -> Vec<Mapping> {
    let of_kind = |mapping: &&Mapping| {
        mapping
            .kind
            .as_ref()
            .is_none_or(|required| required.eq_ignore_ascii_case(kind))
    };
    let configured: Vec<_> = configured.iter().filter(of_kind).cloned().collect();
    let mut all = tables::built_in(kind);
    all.retain(|built_in| configured.iter().all(|mapping| mapping.metric != built_in.metric));
    all.extend(configured);
    all
}

/// The queries for all subjects. Unknown metrics are omitted.
pub(crate) fn queries(subjects: &[Subject], unknown: &UnknownMetrics, batched: bool, now_ms: u64) -> Vec<MetricQuery> {
    let mut queries: Vec<MetricQuery> = Vec::new();
    for (at, subject) in subjects.iter().enumerate() {
        let known = |mapping: &&Mapping| unknown.reason(&subject.id, mapping, now_ms).is_none();
        for (group, names) in groups(subject.mappings.iter().filter(known)) {
            for names in names.chunks(MAX_METRICS_PER_REQUEST) {
                let query = MetricQuery {
                    group: group.clone(),
                    names: names.to_vec(),
                    subjects: vec![at],
                    region: subject.region.clone().filter(|_| batched),
                };
                let batch = queries.iter_mut().find(|other| other.accepts(&query, subjects));
                match batch {
                    Some(batch) => batch.subjects.push(at),
                    None => queries.push(query),
                }
            }
        }
    }
    queries
}

/// The distinct metric names of all mappings, grouped, in the given order.
fn groups<'m>(mappings: impl Iterator<Item = &'m Mapping>) -> Vec<(MetricGroup, Vec<String>)> {
    let mut groups: Vec<(MetricGroup, Vec<String>)> = Vec::new();
    for mapping in mappings {
        let group = MetricGroup::of(mapping);
        let at = groups.iter().position(|(known, _)| *known == group).unwrap_or_else(|| {
            groups.push((group, Vec::new()));
            groups.len() - 1
        });
        let names = &mut groups[at].1;
        if !names.iter().any(|name| name.eq_ignore_ascii_case(&mapping.name)) {
            names.push(mapping.name.clone());
        }
    }
    groups
}

impl MetricQuery {
    /// Whether the other query can be merged into this batch.
    fn accepts(&self, other: &Self, subjects: &[Subject]) -> bool {
        let one = |query: &Self| &subjects[query.subjects[0]].id;
        let same = |text: &str, other: &str| text.eq_ignore_ascii_case(other);
        self.region.is_some()
            && self.region == other.region
            && self.group == other.group
            && self.names == other.names
            && self.subjects.len() < MAX_RESOURCES_PER_BATCH
            && same(one(self).kind(), one(other).kind())
            && same(one(self).subscription(), one(other).subscription())
    }

    /// Whether it is sent to the batch endpoint. A single resource is not.
    pub(crate) fn is_batch(&self) -> bool {
        self.subjects.len() > 1
    }

    /// The query without these metrics.
    pub(crate) fn without(&self, unknown: &[String]) -> Self {
        let names = self.names.iter().filter(|name| !unknown.contains(name));
        Self {
            names: names.cloned().collect(),
            ..self.clone()
        }
    }

    /// Whether the query requests this metric.
    pub(crate) fn requests(&self, mapping: &Mapping) -> bool {
        let named = |name: &String| name.eq_ignore_ascii_case(&mapping.name);
        MetricGroup::of(mapping) == self.group && self.names.iter().any(named)
    }

    /// The URL of the query for one resource.
    pub(crate) fn address(&self, settings: &Settings, subject: &Subject, now_ms: u64) -> String {
        let (start, end) = window(settings, now_ms);
        let mut pairs = vec![
            ("api-version", VERSION.to_owned()),
            ("timespan", format!("{start}/{end}")),
        ];
        pairs.extend(self.pairs(settings));
        pairs.extend(
            self.group
                .namespace
                .clone()
                .map(|namespace| ("metricnamespace", namespace)),
        );
        pairs.extend(self.group.filter.clone().map(|filter| ("$filter", filter)));
        let (arm, path) = (&settings.endpoints.arm, http::encoded_path(subject.id.as_str()));
        format!(
            "{arm}{path}/providers/Microsoft.Insights/metrics?{}",
            http::encoded(&pairs)
        )
    }

    /// The URL and the body of a batch query.
    pub(crate) fn batch(&self, settings: &Settings, subjects: &[Subject], now_ms: u64) -> (String, String) {
        let (start, end) = window(settings, now_ms);
        let first = &subjects[self.subjects[0]].id;
        let namespace = self.group.namespace.clone().unwrap_or_else(|| first.kind().to_owned());
        let mut pairs = vec![
            ("api-version", BATCH_VERSION.to_owned()),
            ("starttime", start),
            ("endtime", end),
        ];
        pairs.extend(self.pairs(settings));
        pairs.push(("metricnamespace", namespace));
        pairs.extend(self.group.filter.clone().map(|filter| ("filter", filter)));
        let base = batch_endpoint(&settings.endpoints, self.region.as_deref().unwrap_or_default());
        let subscription = http::encoded_path(first.subscription());
        let address = format!(
            "{base}/subscriptions/{subscription}/metrics:getBatch?{}",
            http::encoded(&pairs)
        );
        let ids: Vec<_> = self.subjects.iter().map(|at| subjects[*at].id.key()).collect();
        (address, serde_json::json!({ "resourceids": ids }).to_string())
    }

    /// The endpoints whose backoff applies: the subscription, which Azure throttles, and the resource, which may
    /// fail.
    pub(crate) fn backoff_endpoints(&self, subjects: &[Subject]) -> [String; 2] {
        let first = &subjects[self.subjects[0]].id;
        let subscription = first.subscription().to_lowercase();
        match &self.region {
            Some(region) if self.is_batch() => [format!("{subscription} in {region}"), format!("batches in {region}")],
            _ => [subscription, first.key()],
        }
    }

    fn pairs(&self, settings: &Settings) -> [(&'static str, String); 3] {
        // Names are separated by commas. Azure expects a comma within a name as `%2`.
        let names: Vec<_> = self.names.iter().map(|name| name.replace(',', "%2")).collect();
        [
            ("interval", duration(settings.interval.as_secs())),
            ("metricnames", names.join(",")),
            ("aggregation", self.group.aggregation.as_str().to_owned()),
        ]
    }
}

/// The batch endpoint of the region.
fn batch_endpoint(endpoints: &Endpoints, region: &str) -> String {
    let base = endpoints.metrics.as_deref().unwrap_or_default();
    base.replace("{region}", &http::encoded_path(&region.to_lowercase().replace(' ', "")))
}

/// The most recent time span, at least two intervals, because a shorter one could fall between two points.
fn window(settings: &Settings, now_ms: u64) -> (String, String) {
    let length = settings.window.max(settings.interval.saturating_mul(2));
    let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    (written(now_ms.saturating_sub(length_ms)), written(now_ms))
}

/// An ISO 8601 duration in the largest unit that fits: `PT1M`.
fn duration(seconds: u64) -> String {
    let (count, unit) = match seconds {
        days if days > 0 && days.is_multiple_of(86_400) => return format!("P{}D", days / 86_400),
        hours if hours > 0 && hours.is_multiple_of(3600) => (hours / 3600, 'H'),
        minutes if minutes.is_multiple_of(60) => (minutes / 60, 'M'),
        seconds => (seconds, 'S'),
    };
    format!("PT{count}{unit}")
}
