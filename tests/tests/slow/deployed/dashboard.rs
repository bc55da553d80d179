//! Scrape configuration, rules and dashboard together: a Prometheus runs with these files, except for paths and
//! addresses, against a server with traffic. No panel may be empty.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use watchpost_tests::prometheus::Prometheus;
use watchpost_tests::server::{Server, eventually, program};

use super::{deploy, read};

/// Settings with a finding that is never ok.
const SETTINGS: &str = "
[rules.threshold]
thresholds = [{ metric = \"memory\", warning = 0.0001 }]
";

/// The values of the dashboard's variables in this test, with a short range.
const VARIABLES: [(&str, &str); 4] = [
    ("$__rate_interval", "20s"),
    ("$__range", "1m"),
    ("$job", "watchpost"),
    ("$instance", ".+"),
];

#[test]
fn with_these_files_every_panel_has_data() {
    let server = Server::with(SETTINGS).ready();
    let prometheus = scraping(&server);
    prometheus.found("up{job=\"watchpost\"} == 1");
    let traffic = || {
        for path in ["/metrics", "/api/v1/report", "/nothing"] {
            server.get(path);
        }
        server.anonymous_client().get("/metrics");
    };
    for query in queries() {
        eventually(&query, || {
            traffic();
            let result = prometheus
                .query(&query)
                .unwrap_or_else(|wrong| panic!("{query}: {wrong}"));
            (!result.is_empty()).then_some(())
        });
    }
    let rules = eventually("rules that were all evaluated", || evaluated(&prometheus));
    assert!(rules.len() > 30, "{rules:?}");
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        if rule["type"] == "recording" {
            prometheus.found(rule["name"].as_str().expect("a rule has a name"));
        }
    }
    // Every metric of the rules must be exported.
    for metric in metrics_of(&rules) {
        prometheus.found(&metric);
    }
}

/// Metrics that are exported only after an event.
const SOMETIMES: [&str; 2] = [
    "watchpost_cgroup_memory_limit_bytes",
    "watchpost_rule_quarantines_total",
];

/// The names of Watchpost's metrics in the rules.
fn metrics_of(rules: &[Value]) -> Vec<String> {
    let queries: Vec<_> = rules.iter().filter_map(|rule| rule["query"].as_str()).collect();
    let text = queries.join("\n");
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let words = text.split(|letter| !is_name(letter));
    let ours = words.filter(|word| {
        ["watchpost_", "node_", "process_"]
            .iter()
            .any(|ours| word.starts_with(ours))
    });
    let mut names: Vec<String> = ours
        .filter(|name| !SOMETIMES.contains(name))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    assert!(names.len() > 15, "{names:?}");
    names
}

/// All rules, after each was evaluated once.
fn evaluated(prometheus: &Prometheus) -> Option<Vec<Value>> {
    let groups = prometheus.get("/api/v1/rules").expect("Prometheus lists its rules")["groups"].clone();
    let rules: Vec<Value> = groups
        .as_array()?
        .iter()
        .filter_map(|group| group["rules"].as_array())
        .flatten()
        .cloned()
        .collect();
    let done = !rules.is_empty() && rules.iter().all(|rule| rule["health"] != "unknown");
    done.then_some(rules)
}

/// A Prometheus with the files of `deploy/prometheus`, and a certificate that is issued as they say.
fn scraping(server: &Server) -> Prometheus {
    let issued = Command::new(program())
        .args(["certs", "issue", "prometheus", "--role", "reader", "--data-dir"])
        .arg(server.data())
        .output()
        .expect("watchpost runs");
    assert!(issued.status.success(), "{}", String::from_utf8_lossy(&issued.stderr));
    let folder = server.folder().join("prometheus");
    let certificates = folder.join("watchpost");
    fs::create_dir_all(&certificates).expect("made");
    let pki = server.data().join("pki");
    for (from, to) in [
        ("ca.crt", "ca.crt"),
        ("clients/prometheus.crt", "prometheus.crt"),
        ("clients/prometheus.key", "prometheus.key"),
    ] {
        fs::copy(pki.join(from), certificates.join(to)).expect("copied");
    }
    let rules = deploy().join("prometheus/rules");
    let mut config = read("prometheus/prometheus.yml");
    for (there, here) in [
        ("/etc/prometheus/rules", path(&rules)),
        ("/etc/prometheus/watchpost", path(&certificates)),
        ("watchpost:8443", format!("localhost:{}", server.secure.port())),
        ("_interval: 15s", "_interval: 1s".to_owned()),
    ] {
        assert!(config.contains(there), "prometheus.yml says {there}");
        config = config.replace(there, &here);
    }
    let file = folder.join("prometheus.yml");
    fs::write(&file, config).expect("written");
    Prometheus::start(&file, &folder)
}

fn path(path: &Path) -> String {
    let whole: PathBuf = path.canonicalize().expect("it is there");
    whole.display().to_string()
}

/// Every query of the dashboard that must have a result, as Grafana sends it.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("grafana/watchpost.json")).expect("it is JSON");
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().expect("it has panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push(target["expr"].as_str().expect("a target has a query").to_owned());
        }
    }
    for variable in dashboard["templating"]["list"].as_array().expect("it has variables") {
        let query = variable["definition"].as_str().unwrap_or_default();
        if let Some(inside) = query.strip_prefix("label_values(") {
            let (series, label) = inside
                .trim_end_matches(')')
                .rsplit_once(", ")
                .expect("series and a label");
            found.push(format!("count by ({label}) ({series})"));
        }
    }
    assert!(found.len() > 40, "{found:?}");
    for query in &mut found {
        for (variable, value) in VARIABLES {
            *query = query.replace(variable, value);
        }
        assert!(
            !query.contains('$'),
            "{query} has a variable that this test does not know"
        );
    }
    found
}

#[test]
fn grafana_can_import_the_dashboard() {
    let dashboard: Value = serde_json::from_str(&read("grafana/watchpost.json")).expect("it is JSON");
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 39));
    assert_eq!(dashboard["id"], Value::Null, "Grafana gives it an id itself");
    let variables: Vec<_> = dashboard["templating"]["list"]
        .as_array()
        .expect("it has variables")
        .iter()
        .map(|variable| variable["name"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(variables, ["datasource", "job", "instance"]);
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let mut ids = std::collections::BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "an id comes twice: {panel}");
        if panel["type"] == "row" {
            continue;
        }
        let said = panel["description"].as_str().unwrap_or_default();
        assert!(said.ends_with('.'), "{} does not say what it shows", panel["title"]);
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{}",
            panel["title"]
        );
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        let place = |field: &str| panel["gridPos"][field].as_u64().expect("a place");
        assert!(place("x") + place("w") <= 24, "{} is out of the page", panel["title"]);
    }
    // Panels must not overlap.
    for (at, one) in panels.iter().enumerate() {
        for other in &panels[at + 1..] {
            assert!(
                !overlap(&one["gridPos"], &other["gridPos"]),
                "{} {}",
                one["title"],
                other["title"]
            );
        }
    }
}

fn overlap(one: &Value, other: &Value) -> bool {
    let along = |at: &str, length: &str| {
        let number = |of: &Value, field: &str| of[field].as_u64().unwrap_or_default();
        number(one, at) < number(other, at) + number(other, length)
            && number(other, at) < number(one, at) + number(one, length)
    };
    along("x", "w") && along("y", "h")
}
