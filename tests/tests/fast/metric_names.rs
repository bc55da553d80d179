//! Names of metrics that nothing measures: in history queries, thresholds and settings; and the command that prints all
//! names.

use serde_json::{Value, json};
use watchpost_tests::author::run;
use watchpost_tests::server::{Server, command, eventually};

const MISSPELLED: &str = "[rules.threshold]\nthresholds = [{ metric = \"memry\", alert = 99 }]";
const WARNING: &str =
    "the rule threshold names the metric memry, which no source is known to measure; did you mean memory?";

#[test]
fn a_history_query_for_an_unknown_metric_is_answered_with_the_closest_names() {
    let server = Server::start().ready();
    let missing = |metric: &str| server.get(&format!("/api/v1/history?metric={metric}")).problem(404);
    assert_eq!(
        missing("memry"),
        "metric: there is no metric memry; did you mean memory? GET /api/v1/metrics lists all names"
    );
    assert!(missing("node_mem_MemTotal*").contains("did you mean "));
    assert_eq!(
        missing("frobnicated"),
        "metric: there is no metric frobnicated; GET /api/v1/metrics lists all names"
    );
    // A known metric without series is an empty answer: this machine may have no such sensor or no chunks.
    let empty =
        server.get("/api/v1/history?metric=chunks&from=2001-01-01T00:00:00Z&to=2001-01-01T00:00:01Z&host=other");
    assert_eq!((empty.status, &empty.json()["series"]), (200, &json!([])));
    eventually("a recorded round", || {
        let series = server.get("/api/v1/history?metric=memory").json()["series"]
            .as_array()
            .map(Vec::len);
        (series == Some(1)).then_some(())
    });
    let other = server.get("/api/v1/history?metric=memory&host=other");
    assert_eq!((other.status, &other.json()["series"]), (200, &json!([])));
}

#[test]
fn a_threshold_for_an_unknown_metric_is_a_warning_at_the_start_and_in_check() {
    let server = Server::with(MISSPELLED).ready();
    server.logged(WARNING);
    let checked = run(command(server.folder()).arg("check")).with(0);
    assert!(
        checked
            .error
            .contains("rules.threshold: the rule threshold names the metric memry"),
        "{}",
        checked.error
    );
    let other = Server::start().ready();
    let checked = run(command(other.folder()).arg("check")).with(0);
    assert_eq!(checked.error, "");
}

#[test]
fn new_settings_with_an_unknown_metric_are_accepted_with_a_warning() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let change = |metric: &str| {
        let settings = json!({ "thresholds": [{ "metric": metric, "alert": 99 }] });
        let answer = admin.send("PUT", "/api/v1/rules/threshold/settings", &settings);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["warnings"].clone()
    };
    assert_eq!(change("memry"), json!([WARNING]));
    server.logged(WARNING);
    assert_eq!(change("memory"), json!(null));
}

#[test]
fn the_command_prints_all_metrics_with_their_values() {
    let server = Server::start().ready();
    let pki = |name: &str| server.data().join("pki").join(name);
    let metrics = |arguments: &[&str]| {
        let mut command = command(server.folder());
        command.arg("metrics").args(arguments);
        command.args(["--server", &format!("https://localhost:{}", server.secure.port())]);
        command.arg("--cacert").arg(pki("ca.crt"));
        command
            .arg("--cert")
            .arg(pki("clients/reader.crt"))
            .arg("--key")
            .arg(pki("clients/reader.key"));
        run(&mut command)
    };
    let table = metrics(&[]).with(0).out;
    let line = |name: &str| {
        table
            .lines()
            .find(|line| line.split(' ').next() == Some(name))
            .map(str::to_owned)
    };
    let memory = line("memory").expect("a line");
    let cells: Vec<_> = memory.split_whitespace().collect();
    assert!(
        cells[1]
            .parse::<f64>()
            .is_ok_and(|percent| (0.0..=100.0).contains(&percent)),
        "{memory}"
    );
    assert_eq!(cells[2..], ["percent", "gauge", "host.memory"]);
    assert!(
        line("azure_available").is_some_and(|line| line.contains(" - ")),
        "{table}"
    );
    let columns: Vec<_> = table.lines().map(|line| line.find("gauge")).collect();
    assert!(columns.iter().flatten().count() > 20);

    let some = metrics(&["node_load*"]).with(0).out;
    assert_eq!(some.lines().count(), 4, "{some}");
    let none = metrics(&["frobnicated"]).with(0).out;
    assert!(none.starts_with("no metric matches frobnicated"), "{none}");
    let json: Value = metrics(&["memory", "--json"]).with(0).json();
    assert_eq!(json["metrics"][0]["metric"], "memory");
    assert!(json["metrics"][0]["series"][0]["value"].is_f64(), "{json}");
    let unnamed = run(command(server.folder()).arg("metrics"));
    assert!(
        unnamed.error.contains("name the server with --server"),
        "{}",
        unnamed.error
    );
}
