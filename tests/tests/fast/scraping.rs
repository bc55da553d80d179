//! Metrics, tested with Prometheus and its tools.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use watchpost_tests::prometheus::Prometheus;
use watchpost_tests::server::{Server, eventually};

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

fn fed(program: &mut Command, input: &[u8]) -> (bool, String) {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("piped").write_all(input).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn promtool_complains_only_about_metric_names_of_node_exporter() {
    let server = Server::start().ready();
    // Requests with several statuses, for the request metrics.
    server.get("/nothing");
    server.anonymous_client().get("/metrics");
    let answer = server.get("/metrics");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let (_, said) = fed(Command::new("promtool").args(["check", "metrics"]), &answer.body);
    let ours: Vec<_> = said
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with("node_"))
        .collect();
    assert!(ours.is_empty(), "{ours:#?}");
    let inherited = said.lines().filter(|line| line.starts_with("node_"));
    for line in inherited {
        assert!(
            line.contains("camelCase") || line.contains("abbreviated") || line.contains("base unit"),
            "{line}"
        );
    }
}

#[test]
fn a_strict_reader_of_openmetrics_takes_every_line() {
    let server = Server::start().ready();
    server.get("/nothing");
    let answer = server.client("admin").with("accept", OPEN_METRICS).get("/metrics");
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(answer.text().ends_with("# EOF\n"));
    let reader = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
                  names = [family.name for family in read(sys.stdin.read())]\nassert len(names) == len(set(names))\nprint(len(names))";
    let python = watchpost_tests::server::tools().join("clients/bin/python3");
    let (taken, said) = fed(Command::new(python).args(["-c", reader]), &answer.body);
    assert!(taken, "{said}");
    assert!(said.trim().parse::<usize>().expect("a count") > 50, "{said}");
    assert!(
        answer.text().contains("\nwatchpost_samples_dropped 0\n"),
        "nothing that is measured here has the name of something else"
    );
}

#[test]
fn every_encoding_holds_the_same_metrics() {
    let server = Server::start().ready();
    let families = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.lines()
            .filter(|line| line.starts_with("# TYPE"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let get = |accept: &str| {
        let answer = server.client("admin").with("accept-encoding", accept).get("/metrics");
        assert_eq!(answer.header("content-encoding"), Some(accept));
        answer.body
    };
    let unpacked = |program: &str, bytes: &[u8]| {
        let file = server.folder().join("packed");
        fs::write(&file, bytes).expect("written");
        let output = Command::new(program)
            .arg("-dc")
            .stdin(fs::File::open(&file).expect("it is there"))
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let plain = families(&server.get("/metrics").body);
    assert_eq!(families(&unpacked("gzip", &get("gzip"))), plain);
    assert_eq!(families(&unpacked("zstd", &get("zstd"))), plain);
}

/// The lines of one family, without its comments.
fn series(page: &str, family: &str) -> Vec<String> {
    let lines = page.lines().filter(|line| line.starts_with(family));
    lines.map(str::to_owned).collect()
}

#[test]
fn counters_are_measured_by_a_scrape_if_they_are_older_than_max_age() {
    let server = Server::with("[collector]\ninterval = \"1h\"\nmax_age = \"1s\"\n").ready();
    let max_age = Duration::from_secs(1);
    let cpu = |page: &str| series(page, "node_cpu_seconds_total");
    let round = series(&server.get("/metrics").text(), "watchpost_snapshot_timestamp_seconds");
    // On a busy machine, these scrapes may take longer than a second.
    let (begin, first) = eventually("a new reading, and two scrapes within a second after it", || {
        let old = server.get("/metrics").text();
        let (begin, new) = eventually("counters that are measured again", || {
            let begin = Instant::now();
            let page = server.get("/metrics").text();
            (cpu(&page) != cpu(&old)).then_some((begin, page))
        });
        let within = ["/metrics", "/wm_resource_monitor/api/metrics"].map(|path| server.get(path).text());
        if begin.elapsed() >= max_age {
            return None;
        }
        for page in within {
            assert_eq!(cpu(&page), cpu(&new), "it is not older than max_age");
        }
        Some((begin, new))
    });
    let later = eventually("counters that are measured again", || {
        let page = server.get("/metrics").text();
        (cpu(&page) != cpu(&first)).then_some(page)
    });
    assert!(begin.elapsed() >= max_age, "{:?}", begin.elapsed());
    assert_eq!(
        series(&later, "watchpost_snapshot_timestamp_seconds"),
        round,
        "there was one round"
    );
    for of_round in [
        "watchpost_cpu_ratio",
        "watchpost_disk_busy_ratio",
        "watchpost_finding",
        "watchpost_source_last_success_timestamp_seconds",
    ] {
        assert_eq!(series(&later, of_round), series(&first, of_round));
    }
}

#[test]
fn a_client_that_may_not_read_metrics_causes_no_measurement() {
    let server = Server::with("[collector]\ninterval = \"1h\"\nmax_age = \"0s\"\n").ready();
    let measurements = || {
        let page = server.get("/metrics").text();
        let success = series(&page, "watchpost_scrape_measurements_total{outcome=\"success\"}");
        let count = success[0].rsplit_once(' ').expect("a value").1;
        count.parse::<u64>().expect("a count")
    };
    let before = measurements();
    for path in ["/metrics", "/wm_resource_monitor/api/metrics"] {
        assert_eq!(server.anonymous_client().get(path).status, 401);
        assert_eq!(server.plain_client().get(path).status, 401);
    }
    // Pages that are no metrics page measure nothing either.
    for path in ["/api/v1/report", "/api/v1/status", "/api/v1/snapshot"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert_eq!(measurements(), before + 1, "that of the second count itself");
}

#[test]
fn a_real_prometheus_scrapes_it_with_a_client_certificate() {
    let server = Server::start().ready();
    let (folder, pki) = (server.folder().join("prometheus"), server.data().join("pki"));
    fs::create_dir(&folder).expect("made");
    let pki = pki.display();
    let config = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: watchpost\n  scheme: https\n  tls_config: \
         {{ ca_file: {pki}/ca.crt, cert_file: {pki}/clients/reader.crt, key_file: {pki}/clients/reader.key, server_name: localhost }}\n  \
         static_configs: [{{ targets: ['{}'] }}]\n- job_name: anonymous\n  scheme: https\n  tls_config: {{ ca_file: {pki}/ca.crt, server_name: localhost }}\n  \
         static_configs: [{{ targets: ['{}'] }}]\n",
        server.secure, server.secure
    );
    fs::write(folder.join("prometheus.yml"), config).expect("written");
    let prometheus = Prometheus::start(&folder.join("prometheus.yml"), &folder);
    prometheus.found("up{job=\"watchpost\"} == 1");
    prometheus.found("up{job=\"anonymous\"} == 0");
    for series in [
        "node_memory_MemTotal_bytes",
        "node_filesystem_size_bytes",
        "node_cpu_seconds_total",
        "watchpost_build_info",
        "watchpost_report_severity",
        "watchpost_source_success",
    ] {
        prometheus.found(series);
    }
}
