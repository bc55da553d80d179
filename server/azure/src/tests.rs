//! Tests of queries and of the processing of responses, without a server.

use std::time::Duration;

use serde_json::json;
use watchpost_policies::MetricName;

use super::answer::Answer;
use super::query::{self, MetricQuery, Subject, UnknownMetrics};
use super::*;
use watchpost_source::probe::Reading;

const VM: &str = "/subscriptions/S-1/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm-1";

/// 2026-11-21T01:02:03.500Z.
const NOW: u64 = 1_795_222_923_500;

fn mapping(metric: &str, name: &str) -> Mapping {
    Mapping {
        metric: MetricName::new(metric).expect("a name"),
        name: name.to_owned(),
        namespace: None,
        kind: None,
        aggregation: Aggregation::Average,
        transform: Transform::Identity,
        unit: None,
        filter: None,
        labels: Vec::new(),
    }
}

fn settings(names: &[&str], mappings: Vec<Mapping>) -> Settings {
    let resource = |name: &&str| Resource {
        // A type without built-in metrics.
        id: ResourceId::new(&VM.replace("virtualMachines/vm-1", &format!("things/{name}"))).expect("an id"),
        region: Some("westeurope".to_owned()),
    };
    Settings {
        resources: names.iter().map(resource).collect(),
        mappings,
        ..Settings::default()
    }
}

fn queries_of(settings: &Settings, batched: bool) -> (Vec<Subject>, Vec<MetricQuery>) {
    let subjects = query::subjects(settings);
    let queries = query::queries(&subjects, &UnknownMetrics::default(), batched, NOW);
    (subjects, queries)
}

#[test]
fn a_query_has_one_namespace_filter_and_aggregation() {
    let total = Mapping {
        aggregation: Aggregation::Total,
        ..mapping("c", "C")
    };
    let guest = Mapping {
        namespace: Some("Guest".to_owned()),
        ..mapping("d", "D")
    };
    let filtered = Mapping {
        filter: Some("LUN eq '*'".to_owned()),
        ..mapping("e", "E")
    };
    let all = vec![
        mapping("a", "A"),
        mapping("b", "B"),
        mapping("a2", "a"),
        total,
        guest,
        filtered,
    ];
    let (_, queries) = queries_of(&settings(&["x"], all), false);
    let names: Vec<_> = queries.iter().map(|query| query.names.join(",")).collect();
    assert_eq!(names, ["A,B", "C", "D", "E"]);
}

#[test]
fn a_query_is_written_as_a_url() {
    let filtered = |metric: &str, name: &str| Mapping {
        filter: Some("LUN eq '*'".to_owned()),
        ..mapping(metric, name)
    };
    let settings = settings(&["x y"], vec![filtered("a", "A, or B"), filtered("c", "C/Sec")]);
    let (subjects, queries) = queries_of(&settings, false);
    assert_eq!(
        queries[0].address(&settings, &subjects[0], NOW),
        "https://management.azure.com/subscriptions/S-1/resourceGroups/g/providers/Microsoft.Compute/things/x%20y\
         /providers/Microsoft.Insights/metrics?api-version=2024-02-01\
         &timespan=2026-11-21T00%3A52%3A03Z%2F2026-11-21T01%3A02%3A03Z&interval=PT1M\
         &metricnames=A%252%20or%20B%2CC%2FSec&aggregation=average&%24filter=LUN%20eq%20%27%2A%27"
    );
}

#[test]
fn an_interval_is_written_in_its_largest_unit_and_fits_twice_into_the_window() {
    let check = |seconds: u64, interval: &str, start: &str| {
        let mut settings = settings(&["x"], vec![mapping("a", "A")]);
        settings.interval = Duration::from_secs(seconds);
        let (subjects, queries) = queries_of(&settings, false);
        let address = queries[0].address(&settings, &subjects[0], NOW);
        assert!(address.contains(&format!("&interval={interval}&")), "{address}");
        assert!(address.contains(&format!("T{start}Z%2F")), "{address}");
    };
    check(30, "PT30S", "00%3A52%3A03");
    check(60, "PT1M", "00%3A52%3A03");
    check(3600, "PT1H", "23%3A02%3A03");
    check(86_400, "P1D", "01%3A02%3A03");
}

#[test]
fn only_resources_of_one_region_type_and_subscription_are_batched() {
    let mut settings = settings(&["a", "b", "c", "d", "e", "f"], vec![mapping("m", "M")]);
    let is_changed = |settings: &mut Settings, at: usize, old: &str, new: &str| {
        let id = settings.resources[at].id.as_str().replace(old, new);
        settings.resources[at].id = ResourceId::new(&id).expect("an id");
    };
    settings.resources[1].region = Some("northeurope".to_owned());
    settings.resources[2].region = None;
    is_changed(&mut settings, 3, "S-1", "S-2");
    is_changed(&mut settings, 4, "things", "others");
    is_changed(&mut settings, 5, "S-1", "s-1");
    let (subjects, queries) = queries_of(&settings, true);
    let together: Vec<_> = queries.iter().map(|query| query.subjects.clone()).collect();
    assert_eq!(together, [vec![0, 5], vec![1], vec![2], vec![3], vec![4]]);
    settings.endpoints.metrics = Some("https://{region}.metrics.monitor.azure.com".to_owned());
    let (address, body) = queries[0].batch(&settings, &subjects, NOW);
    assert_eq!(
        address,
        "https://westeurope.metrics.monitor.azure.com/subscriptions/S-1/metrics:getBatch?api-version=2023-10-01\
         &starttime=2026-11-21T00%3A52%3A03Z&endtime=2026-11-21T01%3A02%3A03Z&interval=PT1M&metricnames=M\
         &aggregation=average&metricnamespace=Microsoft.Compute%2Fthings"
    );
    assert_eq!(
        body.matches("/subscriptions/s-1/resourcegroups/g/").count(),
        2,
        "{body}"
    );
    let (_, queries) = queries_of(&settings, false);
    assert_eq!(queries.len(), 6, "without a batch endpoint, one query per resource");
}

#[test]
fn an_unknown_metric_is_queried_again_after_a_day() {
    let settings = settings(&["x"], vec![mapping("a", "A"), mapping("b", "B")]);
    let (subjects, queries) = queries_of(&settings, false);
    let mut unknown = UnknownMetrics::default();
    unknown.remember(&subjects[0].id, &queries[0].group, "a", "it is missing".to_owned(), NOW);
    let names = |now_ms| query::queries(&subjects, &unknown, false, now_ms)[0].names.join(",");
    assert_eq!(names(NOW), "B");
    assert_eq!(names(NOW + 86_400_000), "A,B");
    assert_eq!(
        unknown.reason(&subjects[0].id, &settings.mappings[0], NOW),
        Some("it is missing")
    );
    assert_eq!(unknown.reason(&subjects[0].id, &settings.mappings[1], NOW), None);
}

fn reading_of(mappings: &[Mapping], answer: serde_json::Value) -> Reading {
    let settings = settings(&["x"], mappings.to_vec());
    let subject = &query::subjects(&settings)[0];
    let answer = Answer::read(json!({ "value": answer }).to_string().as_bytes()).expect("an answer");
    let mut reading = Reading::default();
    samples::add_samples(
        subject,
        mappings.iter(),
        &answer,
        Duration::from_secs(600),
        &mut reading,
    );
    reading
}

#[test]
fn metrics_missing_for_one_reason_share_a_gap() {
    let reading = reading_of(
        &[
            mapping("b", "Missing"),
            mapping("a", "Missing"),
            mapping("c", "Empty"),
            mapping("a", "missing"),
        ],
        json!([{ "name": { "value": "Empty" }, "timeseries": [] }]),
    );
    let gaps: Vec<_> = reading
        .gaps
        .iter()
        .map(|gap| (gap.metrics.len(), gap.reason.as_str()))
        .collect();
    assert_eq!(gaps.len(), 3, "{gaps:?}");
    assert_eq!(
        gaps[0],
        (
            2,
            "x: Azure's response has no metric \"Missing\"; check its name in azure.metrics"
        )
    );
    assert!(
        gaps.iter()
            .any(|(_, reason)| reason.contains("no average of \"Empty\" for the last 10 min")),
        "{gaps:?}"
    );
}

#[test]
fn an_illegal_label_or_an_infinite_value_is_a_gap() {
    let answer = json!([{ "name": { "value": "A" }, "unit": "Count",
        "timeseries": [{ "data": [{ "timeStamp": "2026-11-21T01:00:00Z", "average": 1e300 }] }] }]);
    let endless = Mapping {
        transform: Transform::Scale(1e300),
        ..mapping("a", "A")
    };
    let reading = reading_of(&[endless], answer.clone());
    assert!(reading.gaps[0].reason.contains("finite"), "{:?}", reading.gaps);
    let labelled = Mapping {
        labels: vec![("a-b".to_owned(), String::new())],
        ..mapping("a", "A")
    };
    let reading = reading_of(&[labelled], answer.clone());
    assert!(
        reading.gaps[0].reason.contains("is not a label name"),
        "{:?}",
        reading.gaps
    );
    let renamed = Mapping {
        labels: vec![("resource".to_owned(), "front".to_owned())],
        ..mapping("a", "A")
    };
    let reading = reading_of(&[renamed], answer);
    assert_eq!(reading.samples[0].labels().get("resource"), Some("front"));
}
