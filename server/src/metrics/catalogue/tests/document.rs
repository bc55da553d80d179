//! Tests that docs/METRICS.md matches the declarations: its tables are generated from the catalogue, from the service
//! metrics and from a page with every family.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use watchpost_policies::{Labels, Limits, MetricName, Sample, Snapshot, Unit};

use crate::metrics::catalogue::{DeclaredMetric, declared, kind, metrics_of, sources};
use crate::metrics::service_metrics::declarations;
use crate::metrics::{
    Build, Encoding, FinishedRequest, Format, Rendered, RouteClass, ServiceMetrics, SourceHealth, body,
};
use crate::rules::{Rules, Settings, by_default};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/METRICS.md");
const OPENING: &str = "<!-- made from the declarations: ";
const END_MARKER: &str = "<!-- until here -->";

#[test]
fn the_document_matches_the_declarations() {
    let document = std::fs::read_to_string(DOCUMENT).expect("the document");
    let mut expected = document.clone();
    for (name, made) in [("measured", measured()), ("service", service())] {
        let start = format!("{OPENING}{name} -->\n");
        let start = expected
            .find(&start)
            .map(|at| at + start.len())
            .expect("an opening marker");
        let end = expected[start..]
            .find(END_MARKER)
            .map(|at| start + at)
            .expect("an end marker");
        expected.replace_range(start..end, &format!("\n{made}\n"));
    }
    if document == expected {
        return;
    }
    let test = std::env::current_exe().expect("a test has a file");
    let generated = test.with_file_name(Path::new(DOCUMENT).file_name().expect("it has one"));
    std::fs::write(&generated, expected).expect("the folder of the tests is written to");
    panic!(
        "docs/METRICS.md does not match the declarations in server/src/metrics; update it with\ncp {} docs/METRICS.md",
        generated.display()
    );
}

#[test]
fn the_threshold_rule_accepts_every_example() {
    let examples: Vec<_> = declared().filter_map(|(_, metric)| example(&metric)).collect();
    assert!(examples.len() > 10, "{examples:?}");
    let settings: toml::Table =
        toml::from_str(&format!("thresholds = [\n{}\n]", examples.join(",\n"))).expect("the examples are TOML");
    let settings = Settings {
        threshold: serde_json::to_string(&settings).expect("JSON"),
        role: "{}".to_owned(),
    };
    if let Err(error) = Rules::load(Limits::default(), &settings, None) {
        panic!("{}", crate::error_chain::error_chain(&error));
    }
}

fn example(metric: &DeclaredMetric) -> Option<String> {
    let fields = metric.example?;
    Some(format!("{{ metric = \"{}\", {fields} }}", metric.name))
}

/// A table for each source.
fn measured() -> String {
    let mut text = String::new();
    for source in sources() {
        writeln!(text, "### {}\n\nSource: {}.\n", source.name, source.about).expect("a String");
        text.push_str("| metric | unit | type | labels | meaning | example threshold |\n");
        text.push_str("| --- | --- | --- | --- | --- | --- |\n");
        for metric in metrics_of(source.name) {
            let exported = metric.exported(metric.name);
            let mut name = code(metric.name);
            if exported != metric.name {
                write!(name, ", on the page {}", code(&exported)).expect("a String");
            }
            row(
                &mut text,
                &[
                    name,
                    metric.unit.to_owned(),
                    kind(metric.name).to_owned(),
                    codes(metric.labels),
                    metric.help_text(metric.name),
                    example(&metric).map(|example| code(&example)).unwrap_or_default(),
                ],
            );
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// One table of all families that are not measured.
fn service() -> String {
    let mut text = String::from("| family | type | labels | meaning |\n| --- | --- | --- | --- |\n");
    let declared = declarations().iter();
    let mut labels: BTreeMap<&str, &[&str]> = declared.map(|family| (family.name, family.labels)).collect();
    for family in families_of_a_page() {
        let of_samples: Vec<_> = family.labels.iter().map(String::as_str).collect();
        let labels = labels.remove(family.name.as_str()).map_or(of_samples, <[_]>::to_vec);
        row(
            &mut text,
            &[code(&family.name), family.kind, codes(&labels), family.help],
        );
    }
    // Families without a series yet are not on the page.
    for family in declarations().iter().filter(|family| labels.contains_key(family.name)) {
        let kind = format!("{:?}", family.kind).to_lowercase();
        row(
            &mut text,
            &[
                code(family.name),
                kind,
                codes(family.labels),
                family.help.trim().to_owned(),
            ],
        );
    }
    let (head, rows) = text.split_at(text.match_indices('\n').nth(1).map_or(0, |(at, _)| at + 1));
    let mut rows: Vec<_> = rows.lines().collect();
    rows.sort_unstable_by_key(|row| row.split('`').nth(1));
    format!("{head}{}\n", rows.join("\n"))
}

#[derive(Default)]
struct Family {
    name: String,
    kind: String,
    help: String,
    labels: Vec<String>,
}

/// The families of a page without measurements, on which requests, sources and findings are counted.
fn families_of_a_page() -> Vec<Family> {
    let service_metrics = ServiceMetrics::new(&Build {
        version: "1.2.3",
        commit: "abc",
        rustc: "1.95.0",
    });
    service_metrics.request_finished(&FinishedRequest {
        route: RouteClass::Wm,
        method: "GET",
        path: "/",
        status: 500,
        duration: Duration::ZERO,
    });
    service_metrics.set_sources([("host.memory", SourceHealth::default())]);
    let snapshot = Snapshot::new("edge-1".to_owned(), 1, Labels::none(), Vec::new(), Vec::new());
    // An alert has a value.
    let metric = MetricName::new("disk").expect("a legal name");
    let full = Sample::new(metric, Labels::none(), 99.0, Unit::new("percent"), 1).expect("finite");
    let judged = Snapshot::new("edge-1".to_owned(), 1, Labels::none(), vec![full], Vec::new());
    let report = by_default().judge(&judged, None);
    let page = Rendered::new(Arc::new(snapshot), [].into(), Vec::new(), Arc::new(report));
    let page = body(
        &page,
        &service_metrics.gather_with_flask(),
        Format::Text,
        Encoding::Identity,
    );
    let mut families: Vec<Family> = Vec::new();
    for line in String::from_utf8(page.to_vec()).expect("UTF-8").lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            families.push(Family {
                name: name.to_owned(),
                help: help.to_owned(),
                ..Family::default()
            });
            continue;
        }
        let family = families.last_mut().expect("a HELP text comes first");
        match line.strip_prefix("# TYPE ") {
            Some(kind) => family.kind = kind.rsplit(' ').next().unwrap_or_default().to_owned(),
            None => family
                .labels
                .extend(label_names(line).filter(|name| *name != "le").map(str::to_owned)),
        }
        family.labels.sort_unstable();
        family.labels.dedup();
    }
    families
}

/// In values, quotes are escaped, so only a label has `="`.
fn label_names(line: &str) -> impl Iterator<Item = &str> {
    let ends = line.match_indices("=\"");
    ends.filter_map(|(end, _)| line[..end].rsplit(['{', ',']).next())
}

fn row(text: &mut String, cells: &[String]) {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    writeln!(text, "| {} |", cells.join(" | ")).expect("a String");
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn codes(texts: &[&str]) -> String {
    texts.iter().map(|text| code(text)).collect::<Vec<_>>().join(" ")
}
