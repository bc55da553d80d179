//! The number of series on the metrics page, after every operation of the API was used with several outcomes.

use serde_json::{Value, json};
use watchpost_tests::server::Server;

/// The limit for one machine with two CPUs, which docs/METRICS.md promises; each further CPU adds its own series.
const MAX_SERIES: usize = 900;
const CPUS: usize = 2;
const MAX_SERIES_PER_CPU: usize = 25;

/// The limit for the series about Watchpost itself.
const MAX_OWN_SERIES: usize = 450;

/// Most of a page is measured; this is the share of the requests.
const MAX_REQUEST_SERIES: usize = 250;

/// A path with parameters that exist for reading, and with others for changes, so that the rules stay active.
fn filled(path: &str, method: &str) -> String {
    let name = if method == "get" { "threshold" } else { "weekend" };
    path.replace("{name}", name)
        .replace("{digest}", &"0".repeat(64))
        .replace("{id}", "1")
        .replace("{file}", "pages.css")
}

/// Uses each operation: with a body, without one, with an unknown parameter, with another method, without credentials.
fn use_every_operation(server: &Server) -> usize {
    let (admin, anonymous) = (server.client("admin"), server.anonymous_client());
    let document = server.get("/openapi.json").json();
    let mut used = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        let methods = item.as_object().expect("methods").keys();
        for method in methods.filter(|method| *method != "parameters") {
            let (path, upper) = (filled(path, method), method.to_uppercase());
            let statuses = [
                admin.ask(&upper, &path).status,
                admin.send(&upper, &path, &json!({})).status,
                admin.ask(&upper, &format!("{path}?nonsense=1")).status,
                admin.ask("BREW", &path).status,
                admin.ask("OPTIONS", &path).status,
                anonymous.ask(&upper, &path).status,
            ];
            assert!(
                statuses.iter().all(|status| (200..=503).contains(status)),
                "{statuses:?}"
            );
            used += 1;
        }
        admin.ask("HEAD", &filled(path, "get"));
    }
    for number in 0..50 {
        admin.get(&format!("/no/such/path/{number}"));
        admin.ask(&format!("METHOD{number}"), "/metrics");
    }
    used
}

fn series(page: &str) -> Vec<&str> {
    let lines = page.lines();
    lines
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect()
}

#[test]
fn a_machine_has_at_most_900_series_after_every_operation_was_used() {
    let settings = "listeners = [{ address = \"127.0.0.1:0\" }, { address = \"127.0.0.1:0\", tls = false }, \
                    { address = \"127.0.0.1:0\", tls = false, api = \"pixcrawler\" }]\n[http]\nrequests_per_second = 0";
    let server = Server::with(settings).ready();
    let fresh = series(&server.get("/metrics").text()).len();
    let used = use_every_operation(&server);
    assert!(used > 40, "{used} operations");
    let page = server.get("/metrics").text();
    let all = series(&page);
    let requests = all
        .iter()
        .filter(|line| line.starts_with("watchpost_http_request"))
        .count();
    let counts = format!("{used} operations, {fresh} series before, {requests} about requests");
    // A label `cpu` has the number of the CPU.
    let of_cpu = |number: usize| {
        let label = format!("cpu=\"{number}\"");
        all.iter().filter(|line| line.contains(&label)).count()
    };
    let cpus = (0..).take_while(|number| of_cpu(*number) > 0).count();
    assert!(cpus > 0, "{page}");
    for number in 0..cpus {
        assert!(of_cpu(number) <= MAX_SERIES_PER_CPU, "CPU {number}:\n{page}");
    }
    let max = MAX_SERIES + cpus.saturating_sub(CPUS) * MAX_SERIES_PER_CPU;
    assert!(all.len() <= max, "{} series ({counts}):\n{page}", all.len());
    let is_own = |line: &&&str| line.starts_with("watchpost_") || line.starts_with("process_");
    let own = all.iter().filter(is_own).count();
    assert!(
        own <= MAX_OWN_SERIES,
        "{own} series about Watchpost itself ({counts}):\n{page}"
    );
    assert!(
        requests <= MAX_REQUEST_SERIES,
        "{requests} series about requests:\n{page}"
    );
    for class in [
        "rules_read",
        "rules_change",
        "chunks",
        "history",
        "wm",
        "health",
        "other",
    ] {
        let line = format!("watchpost_http_requests_total{{method=\"read\",route=\"{class}\"");
        let written = format!("watchpost_http_requests_total{{method=\"write\",route=\"{class}\"");
        assert!(page.contains(&line) || page.contains(&written), "{class}:\n{page}");
    }
    // A second use of everything adds no series about requests.
    use_every_operation(&server);
    let page = server.get("/metrics").text();
    let again = series(&page);
    let again = again
        .iter()
        .filter(|line| line.starts_with("watchpost_http_request"))
        .count();
    assert_eq!(again, requests);
}

#[test]
fn only_the_wm_interface_has_the_names_of_the_flask_exporter() {
    let server = Server::start().ready();
    server.get("/wm_resource_monitor/api/status");
    server.get("/api/v1/status");
    assert!(!server.get("/metrics").text().contains("flask_"));
    let page = server.get("/wm_resource_monitor/api/metrics").text();
    let flask: Vec<_> = series(&page)
        .into_iter()
        .filter(|line| line.starts_with("flask_"))
        .collect();
    assert!(
        flask.contains(&"flask_http_request_total{method=\"GET\",status=\"200\"} 1"),
        "{flask:#?}"
    );
    let of_path = "{method=\"GET\",path=\"/wm_resource_monitor/api/status\",status=\"200\"} 1";
    assert!(
        flask.contains(&format!("flask_http_request_duration_seconds_count{of_path}").as_str()),
        "{flask:#?}"
    );
    assert!(!page.contains("path=\"/api/v1/status\""));
    let ours = |page: &str| {
        let heads = page
            .lines()
            .filter(|line| line.starts_with("# TYPE") && !line.contains(" flask_"));
        heads.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        ours(&page),
        ours(&server.get("/metrics").text()),
        "the rest is the same"
    );
}

#[test]
fn every_family_of_the_page_is_in_the_document_of_metrics() {
    let server = Server::start().ready();
    server.get("/wm_resource_monitor");
    let document = watchpost_tests::document::document("METRICS.md");
    let page = server.get("/wm_resource_monitor/api/metrics").text();
    let families: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(families.len() > 60, "{}", families.len());
    // The kernel defines which of these exist; the document has their prefix.
    let by_kernel = document.split('`').filter_map(|word| word.strip_suffix('*'));
    let by_kernel: Vec<_> = by_kernel.filter(|prefix| prefix.starts_with("node_")).collect();
    assert!(by_kernel.contains(&"node_memory_"), "{by_kernel:?}");
    for family in families {
        let name = family.split(' ').next().unwrap_or_default();
        let is_of_kernel = by_kernel.iter().any(|prefix| name.starts_with(prefix));
        assert!(
            is_of_kernel || document.contains(&format!("`{name}`")),
            "{name} is not in docs/METRICS.md"
        );
    }
}

#[test]
fn the_list_of_metrics_has_every_measured_name_with_its_source() {
    let server = Server::start().ready();
    let list = server.get("/api/v1/metrics?limit=1000").json();
    assert_eq!(list["next"], Value::Null);
    let metrics = list["metrics"].as_array().expect("a list");
    let find = |name: &str| metrics.iter().find(|metric| metric["metric"] == name);
    let snapshot = server.get("/api/v1/snapshot").json();
    for sample in snapshot["samples"].as_array().expect("samples") {
        let name = sample["metric"].as_str().expect("a name");
        let metric = find(name).unwrap_or_else(|| panic!("{name} is not listed"));
        assert!(metric["source"].is_string() && metric["series"] != 0, "{metric}");
    }
    let memory = find("memory").expect("listed");
    let expected = json!({
        "metric": "memory", "unit": "percent", "type": "gauge", "labels": ["resource"], "source": "host.memory",
        "help": "Share of memory that is used and cannot be reclaimed.", "exported": "watchpost_memory_ratio", "series": 1,
    });
    assert_eq!(memory, &expected);
    assert!(find("node_memory_*").is_none() && find("node_memory_MemTotal_bytes").is_some());

    let page = server.get("/api/v1/metrics?limit=2").json();
    assert_eq!(page["metrics"].as_array().map(Vec::len), Some(2));
    assert_eq!(page["next"], page["metrics"][1]["metric"]);
    let next = server.get(&format!(
        "/api/v1/metrics?limit=1&after={}",
        page["next"].as_str().expect("a name")
    ));
    assert_eq!(next.json()["metrics"][0], metrics[2]);
    let loads = server.get("/api/v1/metrics?metric=node_load*").json();
    assert_eq!(loads["metrics"].as_array().map(Vec::len), Some(3), "{loads}");
    assert_eq!(server.get("/api/v1/metrics?limit=1001").status, 400);
    assert_eq!(server.get("/api/v1/metrics?metric=a*b").status, 400);
    assert_eq!(server.anonymous_client().get("/api/v1/metrics").status, 401);
}
