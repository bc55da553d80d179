//! What is asked: which resources have which metrics to tell, laid into as few questions as Azure takes, and each as
//! the address that asks it. It asks nobody.

use std::collections::HashMap;

use watchpost_policies::MetricName;

use super::backoff::written;
use super::resource::ResourceId;
use super::settings::{Aggregation, Endpoints, Mapping, Settings};
use super::{http, tables};

/// The most names that Azure takes at once.
const MAX_METRICS_PER_REQUEST: usize = 20;

/// The most resources of one batch.
const MAX_RESOURCES_PER_BATCH: usize = 50;

/// The versions of Azure's interfaces that answers are read by.
const VERSION: &str = "2024-02-01";
const BATCH_VERSION: &str = "2023-10-01";

/// What Azure does not have is asked for again after a day, for an agent may have been installed.
const UNKNOWN_METRIC_TTL_MS: u64 = 24 * 60 * 60 * 1000;

/// A resource and what is wanted of it.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) id: ResourceId,
    region: Option<String>,
    /// What tells it from the other resources.
    pub(super) label: String,
    pub(super) mappings: Vec<Mapping>,
    /// Metrics of ours that it cannot have, and why.
    pub(super) absent: Vec<(MetricName, &'static str)>,
}

/// Some metrics of a resource, or of several that are asked for together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MetricQuery {
    pub(super) matter: MetricGroup,
    pub(super) names: Vec<String>,
    /// Places in the list of subjects; more than one is a batch.
    pub(super) subjects: Vec<usize>,
    /// Where a batch is answered.
    region: Option<String>,
}

/// What all metrics of a question have in common. Azure takes several aggregations at once, and then says of a metric
/// that does not have all of them that it has none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MetricGroup {
    pub(super) namespace: Option<String>,
    pub(super) filter: Option<String>,
    pub(super) aggregation: Aggregation,
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

/// Metrics that a resource was found not to have: why, and until when that is believed.
#[derive(Debug, Default)]
pub(super) struct UnknownMetrics(HashMap<(String, Option<String>, String), (u64, String)>);

impl UnknownMetrics {
    /// Remembers that a resource does not have a metric.
    pub(super) fn remember(&mut self, id: &ResourceId, matter: &MetricGroup, name: &str, why: String, now_ms: u64) {
        let until_ms = now_ms.saturating_add(UNKNOWN_METRIC_TTL_MS);
        self.0.insert(key(id, matter, name), (until_ms, why));
    }

    /// Why the resource does not have this metric, if so.
    pub(super) fn why(&self, id: &ResourceId, mapping: &Mapping, now_ms: u64) -> Option<&str> {
        let (until_ms, why) = self.0.get(&key(id, &MetricGroup::of(mapping), &mapping.name))?;
        (now_ms < *until_ms).then_some(why)
    }
}

fn key(id: &ResourceId, matter: &MetricGroup, name: &str) -> (String, Option<String>, String) {
    (id.key(), matter.namespace.clone(), name.to_lowercase())
}

/// What is wanted of each resource.
pub(super) fn subjects(settings: &Settings) -> Vec<Subject> {
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
            .filter_map(|(metric, why)| Some((MetricName::new(metric).ok()?, *why)));
        let is_absent = |(metric, _): &(MetricName, &str)| mappings.iter().all(|mapping| mapping.metric != *metric);
        subjects.push(Subject {
            absent: absent.filter(is_absent).collect(),
            // Where two have one name, the name tells nobody which is meant.
            label: if is_alone(id) { id.name() } else { id.as_str() }.to_owned(),
            id: id.clone(),
            region: resource.region.clone(),
            mappings,
        });
    }
    subjects
}

/// The ready metrics of a type, and one's own in the place of those that have the same name.
fn mappings(kind: &str, service_metrics: &[Mapping]) -> Vec<Mapping> {
    let of_kind = |mapping: &&Mapping| {
        mapping
            .kind
            .as_ref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(kind))
    };
    let service_metrics: Vec<_> = service_metrics.iter().filter(of_kind).cloned().collect();
    let mut all = tables::ready(kind);
    all.retain(|ready| {
        service_metrics
            .iter()
            .all(|service_metrics| service_metrics.metric != ready.metric)
    });
    all.extend(service_metrics);
    all
}

/// The questions that all subjects together make. What is unknown is not asked for.
pub(super) fn questions(
    subjects: &[Subject],
    unknown: &UnknownMetrics,
    batched: bool,
    now_ms: u64,
) -> Vec<MetricQuery> {
    let mut questions: Vec<MetricQuery> = Vec::new();
    for (at, subject) in subjects.iter().enumerate() {
        let known = |mapping: &&Mapping| unknown.why(&subject.id, mapping, now_ms).is_none();
        for (matter, names) in matters(subject.mappings.iter().filter(known)) {
            for names in names.chunks(MAX_METRICS_PER_REQUEST) {
                let question = MetricQuery {
                    matter: matter.clone(),
                    names: names.to_vec(),
                    subjects: vec![at],
                    region: subject.region.clone().filter(|_| batched),
                };
                let fitting = questions.iter_mut().find(|other| other.takes(&question, subjects));
                match fitting {
                    Some(batch) => batch.subjects.push(at),
                    None => questions.push(question),
                }
            }
        }
    }
    questions
}

/// The names of all mappings, each once, by what they have in common, in the order in which they come.
fn matters<'m>(mappings: impl Iterator<Item = &'m Mapping>) -> Vec<(MetricGroup, Vec<String>)> {
    let mut matters: Vec<(MetricGroup, Vec<String>)> = Vec::new();
    for mapping in mappings {
        let matter = MetricGroup::of(mapping);
        let at = matters
            .iter()
            .position(|(known, _)| *known == matter)
            .unwrap_or_else(|| {
                matters.push((matter, Vec::new()));
                matters.len() - 1
            });
        let names = &mut matters[at].1;
        if !names.iter().any(|name| name.eq_ignore_ascii_case(&mapping.name)) {
            names.push(mapping.name.clone());
        }
    }
    matters
}

impl MetricQuery {
    /// Whether the other can be asked with it.
    fn takes(&self, other: &Self, subjects: &[Subject]) -> bool {
        let one = |question: &Self| &subjects[question.subjects[0]].id;
        let same = |text: &str, other: &str| text.eq_ignore_ascii_case(other);
        self.region.is_some()
            && self.region == other.region
            && self.matter == other.matter
            && self.names == other.names
            && self.subjects.len() < MAX_RESOURCES_PER_BATCH
            && same(one(self).kind(), one(other).kind())
            && same(one(self).subscription(), one(other).subscription())
    }

    /// Whether it is asked of those who answer batches. One resource alone is asked for as ever.
    pub(super) fn is_batch(&self) -> bool {
        self.subjects.len() > 1
    }

    /// The same for the metrics that are left.
    pub(super) fn without(&self, unknown: &[String]) -> Self {
        let names = self.names.iter().filter(|name| !unknown.contains(name));
        Self {
            names: names.cloned().collect(),
            ..self.clone()
        }
    }

    /// Whether it asks for this.
    pub(super) fn asks_for(&self, mapping: &Mapping) -> bool {
        let named = |name: &String| name.eq_ignore_ascii_case(&mapping.name);
        MetricGroup::of(mapping) == self.matter && self.names.iter().any(named)
    }

    /// Where it is asked, for one resource.
    pub(super) fn address(&self, settings: &Settings, subject: &Subject, now_ms: u64) -> String {
        let (start, end) = window(settings, now_ms);
        let mut pairs = vec![
            ("api-version", VERSION.to_owned()),
            ("timespan", format!("{start}/{end}")),
        ];
        pairs.extend(self.pairs(settings));
        pairs.extend(
            self.matter
                .namespace
                .clone()
                .map(|namespace| ("metricnamespace", namespace)),
        );
        pairs.extend(self.matter.filter.clone().map(|filter| ("$filter", filter)));
        let (arm, path) = (&settings.endpoints.arm, http::encoded_path(subject.id.as_str()));
        format!(
            "{arm}{path}/providers/Microsoft.Insights/metrics?{}",
            http::encoded(&pairs)
        )
    }

    /// Where it is asked for several resources, and the body that names them.
    pub(super) fn batch(&self, settings: &Settings, subjects: &[Subject], now_ms: u64) -> (String, String) {
        let (start, end) = window(settings, now_ms);
        let first = &subjects[self.subjects[0]].id;
        let namespace = self.matter.namespace.clone().unwrap_or_else(|| first.kind().to_owned());
        let mut pairs = vec![
            ("api-version", BATCH_VERSION.to_owned()),
            ("starttime", start),
            ("endtime", end),
        ];
        pairs.extend(self.pairs(settings));
        pairs.push(("metricnamespace", namespace));
        pairs.extend(self.matter.filter.clone().map(|filter| ("filter", filter)));
        let base = batch_endpoint(&settings.endpoints, self.region.as_deref().unwrap_or_default());
        let subscription = http::encoded_path(first.subscription());
        let address = format!(
            "{base}/subscriptions/{subscription}/metrics:getBatch?{}",
            http::encoded(&pairs)
        );
        let ids: Vec<_> = self.subjects.iter().map(|at| subjects[*at].id.key()).collect();
        (address, serde_json::json!({ "resourceids": ids }).to_string())
    }

    /// Who may want us to wait: all of a subscription when it is asked too often, and the resource when it has trouble.
    pub(super) fn whom(&self, subjects: &[Subject]) -> [String; 2] {
        let first = &subjects[self.subjects[0]].id;
        let subscription = first.subscription().to_lowercase();
        match &self.region {
            Some(region) if self.is_batch() => [format!("{subscription} in {region}"), format!("batches in {region}")],
            _ => [subscription, first.key()],
        }
    }

    fn pairs(&self, settings: &Settings) -> [(&'static str, String); 3] {
        // Names are separated by commas, so one in a name is written otherwise, as Azure wants it.
        let names: Vec<_> = self.names.iter().map(|name| name.replace(',', "%2")).collect();
        [
            ("interval", duration(settings.interval.as_secs())),
            ("metricnames", names.join(",")),
            ("aggregation", self.matter.aggregation.as_str().to_owned()),
        ]
    }
}

/// Where batches about resources of this region are answered.
fn batch_endpoint(endpoints: &Endpoints, region: &str) -> String {
    let base = endpoints.metrics.as_deref().unwrap_or_default();
    base.replace("{region}", &http::encoded_path(&region.to_lowercase().replace(' ', "")))
}

/// The newest minutes. One that is shorter than two intervals could lie between two points.
fn window(settings: &Settings, now_ms: u64) -> (String, String) {
    let length = settings.window.max(settings.interval.saturating_mul(2));
    let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    (written(now_ms.saturating_sub(length_ms)), written(now_ms))
}

/// As ISO 8601 writes it, in the largest unit that fits: `PT1M`.
fn duration(seconds: u64) -> String {
    let (count, unit) = match seconds {
        days if days > 0 && days.is_multiple_of(86_400) => return format!("P{}D", days / 86_400),
        hours if hours > 0 && hours.is_multiple_of(3600) => (hours / 3600, 'H'),
        minutes if minutes.is_multiple_of(60) => (minutes / 60, 'M'),
        seconds => (seconds, 'S'),
    };
    format!("PT{count}{unit}")
}
