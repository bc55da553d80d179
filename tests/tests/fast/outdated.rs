//! When rounds stop, nothing is reported as ok any more: every output says that the state of the machine is unknown,
//! until a round is completed again.

use serde_json::{Value, json};
use watchpost_tests::author::run;
use watchpost_tests::http::Client;
use watchpost_tests::server::{Server, command, eventually};

/// PixCrawler's log lines are written before a round is published, so a reader of standard error that reads nothing
/// stops the rounds. Each round has a line, because the memory is at the alert level; the rest is ok.
const SETTINGS: &str = "
mode = \"local\"
listeners = [{ address = \"127.0.0.1:0\" }, { address = \"127.0.0.1:0\", tls = false }, \
             { address = \"127.0.0.1:0\", tls = false, api = \"pixcrawler\" }]
[collector]
interval = \"100ms\"
[log]
file = \"{folder}/watchpost.log\"
[pixcrawler]
log_lines = true
[rules.threshold]
defaults = false
thresholds = [{ metric = \"memory\", alert = 0.1 }, { metric = \"active_chunks\", alert = 1000 }]
";

fn monitor(server: &Server) -> Value {
    let listeners = server.listeners();
    let last = listeners.iter().rev().find(|listener| !listener.tls);
    let client = Client::plain(last.expect("it listens without TLS").address);
    client.get("/metrics").json()
}

fn has_line(page: &str, line: &str) -> bool {
    page.lines().any(|found| found == line)
}

#[test]
fn when_no_round_is_completed_everything_is_unknown_until_the_next_one() {
    let mut server = Server::with_unread_log(SETTINGS).ready();
    let admin = server.client("admin");
    let before = eventually("the first rounds", || {
        let body = monitor(&server);
        (body["statuses"]["chunks"] == "OK").then_some(body)
    });
    assert_eq!(before["statuses"]["memory"], "ALERT");
    assert!(before["metrics"]["memory_pct"].is_f64(), "{before}");

    // The pipe fills up, and the last round grows old.
    let unknown = json!({"disk": "UNKNOWN", "memory": "UNKNOWN", "chunks": "UNKNOWN", "overall": "UNKNOWN"});
    let stopped = eventually("the end of the rounds", || {
        let body = monitor(&server);
        (body["statuses"] == unknown).then_some(body)
    });
    let nothing = json!({"disk_pct": null, "memory_pct": null, "active_chunks": null});
    assert_eq!(stopped["metrics"], nothing);
    assert!(stopped["last_updated"].is_string(), "it says since when: {stopped}");

    let report = admin.get("/api/v1/report").json();
    assert_eq!(report["severity"], "unknown", "{report}");
    let reason = report["unknown_reason"].as_str().expect("a reason");
    assert!(reason.starts_with("no new round was completed"), "{reason}");
    let findings = report["findings"].as_array().expect("the last findings");
    assert!(findings.iter().all(|finding| finding["carried"] == true), "{report}");
    let severities: Vec<_> = findings.iter().map(|finding| &finding["severity"]).collect();
    assert_eq!(
        severities,
        ["unknown", "alert"],
        "what was ok is unknown, an alert stays: {report}"
    );
    let status = admin.get("/api/v1/status").json();
    assert_eq!(
        (&status["severity"], &status["ready"]),
        (&json!("unknown"), &json!(false))
    );
    let page = admin.get("/metrics").text();
    for line in [
        "watchpost_report_severity{severity=\"ok\"} 0",
        "watchpost_report_severity{severity=\"alert\"} 0",
        "watchpost_report_severity{severity=\"unknown\"} 1",
        "watchpost_findings{severity=\"ok\"} 0",
    ] {
        assert!(has_line(&page, line), "{line} is missing in\n{page}");
    }
    let home = server.client("admin").with("accept", "text/html").get("/").text();
    assert!(home.contains("No round was completed for"), "{home}");
    assert!(home.contains("badge unknown") && !home.contains("\"ok\""), "{home}");
    let pki = server.data().join("pki");
    let mut report = command(server.folder());
    report.args([
        "report",
        "--server",
        &format!("https://localhost:{}", server.secure.port()),
    ]);
    report.arg("--cacert").arg(pki.join("ca.crt"));
    report.arg("--cert").arg(pki.join("clients/reader.crt"));
    report.arg("--key").arg(pki.join("clients/reader.key"));
    let shown = run(&mut report).with(3).out;
    assert!(
        shown.contains(": unknown at ") && shown.contains("no new round was completed"),
        "{shown}"
    );

    server.read_log();
    eventually("a new round", || {
        (monitor(&server)["statuses"]["chunks"] == "OK").then_some(())
    });
    run(&mut report).with(2);
}
