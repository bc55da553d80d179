//! The API profile `pixcrawler`, tested by the walkthrough in the documents of PixCrawler's resource monitor: the same
//! URLs, variables and log lines.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};
use watchpost::config::{Config, Environment, Sources};
use watchpost_tests::azure::{Azure, Metric, Place, Proof};
use watchpost_tests::http::Client;
use watchpost_tests::ports;
use watchpost_tests::server::{Server, command, eventually};

/// The listeners of the test: the one of the monitor and the default ones.
const LISTENERS: &str = "listeners = [{ address = \"127.0.0.1:0\" }, { address = \"127.0.0.1:0\", tls = false }, \
                         { address = \"127.0.0.1:0\", tls = false, api = \"pixcrawler\" }]\n";

/// In a container, the root is a file system of a type that is left out by default.
const ROOT: &str = "[host]\nexclude_types = [\"proc\", \"sysfs\", \"cgroup*\", \"devpts\", \"mqueue\"]\n";

/// A Watchpost with these variables in its `.env` file, and where its face `resource` is.
fn monitor(variables: &str, settings: &str) -> (Server, SocketAddr) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(".env"), variables).expect("written");
    let server = Server::in_folder(folder, &format!("{LISTENERS}{settings}")).ready();
    let address = shown(&server);
    (server, address)
}

/// The last listener without TLS.
fn shown(server: &Server) -> SocketAddr {
    let listeners = server.listeners();
    let last = listeners.iter().rev().find(|listener| !listener.tls);
    last.expect("it listens without TLS").address
}

fn curl(arguments: &[&str], url: &str) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error"])
        .args(arguments)
        .arg(url)
        .output()
        .expect("curl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn metrics(address: SocketAddr) -> Value {
    let body = curl(&[], &format!("http://{address}/metrics"));
    serde_json::from_str(&body).expect("JSON")
}

/// The walk: lowered thresholds in a `.env` file, both URLs by curl, and lines on standard error at every poll.
fn walk(prefix: &str) {
    let variables = "MODE=local\nPOLL_INTERVAL_SECONDS=1\nMEMORY_THRESHOLD_WARN=0.001\nMEMORY_THRESHOLD_ALERT=0.002\n\
                     DISK_THRESHOLD_WARN=0\nDISK_THRESHOLD_ALERT=100.5\nCHUNK_THRESHOLD_WARN=0\n";
    let variables: String = variables.lines().map(|line| format!("{prefix}{line}\n")).collect();
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(".env"), variables).expect("written");
    let settings = format!("{LISTENERS}{ROOT}[log]\nformat = \"json\"\n[pixcrawler]\nlog_lines = true\n");
    fs::write(folder.path().join("watchpost.toml"), settings).expect("written");
    let server = Server::prepared(folder).ready();
    let address = shown(&server);

    assert_eq!(
        curl(&[], &format!("http://{address}/health")),
        r#"{"status":"healthy"}"#
    );
    let body = curl(&[], &format!("http://{address}/metrics"));
    let read: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        read["statuses"],
        json!({"disk": "WARN", "memory": "ALERT", "chunks": "WARN", "overall": "ALERT"}),
        "{body}"
    );
    assert!(
        read["metrics"]["disk_pct"].is_f64() && read["metrics"]["memory_pct"].is_f64(),
        "{body}"
    );
    assert!(read["metrics"]["active_chunks"].is_i64(), "{body}");
    let at = [
        "{\"metrics\":{\"disk_pct\":",
        ",\"memory_pct\":",
        ",\"active_chunks\":0},\"statuses\":{\"disk\":\"WARN\"",
    ];
    let at = at.map(|part| body.find(part).unwrap_or(usize::MAX));
    assert!(
        at[0] == 0 && at[0] < at[1] && at[1] < at[2] && at[2] < body.len(),
        "{body}"
    );
    let updated = read["last_updated"].as_str().expect("a time");
    assert_eq!(pattern(updated), "9999-99-99T99:99:99.999999+99:99");

    let expected = [
        ("ERROR - RESOURCE ALERT", "MEMORY", "ALERT"),
        ("WARNING - RESOURCE WARNING", "DISK", "WARN"),
        ("WARNING - RESOURCE WARNING", "CHUNKS", "WARN"),
    ];
    for (begin, name, status) in expected {
        let lines = eventually("a line at every poll", || {
            let lines = lines_of(&server, name);
            (lines.len() > 2).then_some(lines)
        });
        for line in lines {
            let (before, after) = line.split_once(&format!("] - {name}: ")).expect("a value");
            let shape = format!(
                "9999-99-99 99:99:99,999 - PixCrawler.resource_monitoring - {begin} [9999-99-99T99:99:99.999999"
            );
            assert_eq!(pattern(before).replace('+', "-"), shape, "{line}");
            let value = after.strip_suffix(&format!(" (Status: {status})")).expect("a status");
            assert_eq!(value.contains('.'), name != "CHUNKS", "{line}");
            value.parse::<f64>().expect("a number");
        }
    }
}

fn lines_of(server: &Server, name: &str) -> Vec<String> {
    let mark = format!("] - {name}: ");
    let mut lines = server.log_lines();
    lines.retain(|line| line.contains("RESOURCE ") && line.contains(&mark));
    lines
}

/// Replaces every digit by a nine, and a negative offset by a positive one.
fn pattern(text: &str) -> String {
    let (date, rest) = text.split_at(text.len().saturating_sub(6));
    let digits = |text: &str| -> String {
        text.chars()
            .map(|letter| if letter.is_ascii_digit() { '9' } else { letter })
            .collect()
    };
    format!("{}{}", digits(date), digits(rest).replace('-', "+"))
}

#[test]
fn the_walk_through_works_with_the_names_of_its_documents() {
    walk("PIXCRAWLER_");
}

#[test]
fn the_walk_through_works_with_the_names_that_the_program_really_read() {
    walk("");
}

#[test]
fn how_often_it_polls_is_as_the_variable_says() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("watchpost.toml"), LISTENERS).expect("written");
    let output = command(folder.path())
        .arg("check")
        .env("PIXCRAWLER_POLL_INTERVAL_SECONDS", "45")
        .env("DISK_THRESHOLD_WARN", "70")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("interval = \"45s\"  # environment PIXCRAWLER_POLL_INTERVAL_SECONDS"),
        "{text}"
    );
    assert!(text.contains("# environment DISK_THRESHOLD_WARN"), "{text}");
}

#[test]
fn an_unavailable_database_is_unknown_and_every_status_is_200() {
    let url = format!(
        "DB_URL=postgresql://postgres:postgres@127.0.0.1:{}/pixcrawler\n",
        ports::CLOSED
    );
    let (_server, address) = monitor(&url, ROOT);
    let read = metrics(address);
    assert_eq!(read["metrics"]["active_chunks"], Value::Null, "{read}");
    assert!(
        read["metrics"]
            .as_object()
            .is_some_and(|all| all.contains_key("active_chunks"))
    );
    assert_eq!(read["statuses"]["chunks"], "UNKNOWN", "{read}");
    assert_ne!(read["statuses"]["overall"], "OK", "{read}");
}

#[test]
fn everything_else_is_refused_as_fastapi_refused_it() {
    let (server, address) = monitor("", "");
    let client = Client::plain(address);
    for path in [
        "/",
        "/health/ready",
        "/api/v1/status",
        "/wm_resource_monitor",
        "/metrics/x",
        "/docs",
    ] {
        let answer = client.get(path);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (404, r#"{"detail":"Not Found"}"#),
            "{path}"
        );
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    for (method, path) in [("POST", "/metrics"), ("DELETE", "/health"), ("OPTIONS", "/metrics")] {
        let answer = client.ask(method, path);
        let body = answer.text();
        assert_eq!(
            (answer.status, body.as_str()),
            (405, r#"{"detail":"Method Not Allowed"}"#),
            "{method}"
        );
        assert_eq!(answer.header("allow"), Some("GET"));
    }
    let head = client.ask("HEAD", "/health");
    assert_eq!((head.status, head.header("allow")), (405, Some("GET")));
    // The other listeners do not serve these paths.
    let health = server.plain_client().get("/health").json();
    assert!(health["version"].is_string(), "{health}");
    let listeners = server.get("/api/v1/status").json()["listeners"].clone();
    assert_eq!(
        (&listeners[1]["api"], &listeners[2]["api"]),
        (&json!("full"), &json!("pixcrawler"))
    );
}

#[test]
fn a_client_that_accepts_json_gets_it_from_every_listener_with_permission() {
    let server = Server::start().ready();
    let json = server
        .client("reader")
        .with("accept", "application/json, text/plain;q=0.5");
    let answer = json.get("/metrics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(
        answer.header("vary").is_some_and(|vary| vary.contains("accept")),
        "{:?}",
        answer.headers
    );
    assert!(answer.json()["statuses"]["overall"].is_string());
    for accept in ["*/*", "application/json, text/plain, */*", "text/plain"] {
        let text = server.client("reader").with("accept", accept).get("/metrics");
        let form = text.header("content-type").unwrap_or_default();
        assert!(form.starts_with("text/plain; version=0.0.4"), "{accept}: {form}");
    }
    let anonymous = server.plain_client().with("accept", "application/json");
    assert_eq!(anonymous.get("/metrics").status, 401);
    let agent = server.client("agent").with("accept", "application/json");
    assert_eq!(agent.get("/metrics").status, 403);
}

#[test]
fn only_loopback_clients_read_metrics_anonymously() {
    let (_server, address) = monitor("", "");
    let client = Client::plain(address);
    assert_eq!(client.get("/metrics").status, 200);
    for (name, value) in [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7")] {
        let relayed = client.clone().with(name, value);
        assert_eq!(relayed.get("/metrics").status, 401, "{name}");
        assert_eq!(relayed.get("/health").status, 200, "{name}");
    }

    let everywhere = LISTENERS.replacen("127.0.0.1:0\", tls = false, api", "0.0.0.0:0\", tls = false, api", 1);
    let check = |settings: &str, status: u16| {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::in_folder(folder, &format!("{everywhere}{settings}")).ready();
        let port = shown(&server).port();
        let client = Client::plain(SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(client.get("/health").text(), r#"{"status":"healthy"}"#);
        assert_eq!(client.get("/metrics").status, status);
        server.logged("the API profile pixcrawler is served to other machines without TLS");
    };
    check("", 401);
    check(
        "[rules.role.roles]\nanonymous = [\"health.read\", \"metrics.read\"]\n",
        200,
    );
}

#[test]
fn in_azure_mode_this_machine_is_not_judged_in_their_place() {
    let (server, address) = monitor("MODE=azure\n", ROOT);
    let read = metrics(address);
    assert_eq!(read["metrics"]["memory_pct"], Value::Null);
    assert_eq!(read["statuses"]["disk"], "UNKNOWN");
    let snapshot = server.get("/api/v1/snapshot").json();
    let mut count = BTreeMap::<&str, usize>::new();
    for sample in snapshot["samples"].as_array().expect("a list") {
        *count.entry(sample["metric"].as_str().expect("a name")).or_default() += 1;
    }
    for (metric, exported) in [
        ("disk", false),
        ("inodes", false),
        ("memory", false),
        ("cpu", true),
        ("node_memory_MemTotal_bytes", true),
        ("node_filesystem_size_bytes", true),
    ] {
        assert_eq!(count.contains_key(metric), exported, "{metric}");
    }
    let report = server.get("/api/v1/report").json();
    let inodes = report["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|finding| finding["subject"]["metric"] == "inodes" && finding["severity"] != "ok");
    assert_eq!(inodes, None, "no source measures them");
}

const PLAN: &str = "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Web/serverfarms/plan-1";

#[test]
fn the_env_file_of_its_documents_starts_as_printed_and_azure_is_not_contacted() {
    let printed = "# Core
PIXCRAWLER_MODE=local                  # \"local\" or \"azure\"
PIXCRAWLER_POLL_INTERVAL_SECONDS=60    # Polling frequency

# Database
PIXCRAWLER_DB_URL=postgresql+asyncpg://user:pass@localhost:5432/pixcrawler

# Azure
AZURE_CLIENT_ID=...
AZURE_CLIENT_SECRET=...
AZURE_TENANT_ID=...
PIXCRAWLER_AZURE_RESOURCE_ID=/subscriptions/.../resourceGroups/.../providers/...
";
    // The same with a resource and credentials that exist, and polls that a test can wait for.
    let real = format!(
        "PIXCRAWLER_MODE=local\nPIXCRAWLER_POLL_INTERVAL_SECONDS=1\nAZURE_TENANT_ID=t-1\nAZURE_CLIENT_ID=c-1\n\
         AZURE_CLIENT_SECRET=hunter2\nPIXCRAWLER_AZURE_RESOURCE_ID={PLAN}\n"
    );
    for variables in [printed, &real] {
        let azure = Azure::start();
        azure.application("t-1", "c-1", Proof::Secret("hunter2".to_owned()));
        let url = azure.url();
        let endpoints = format!("[azure.endpoints]\narm = \"{url}\"\nauthority = \"{url}\"\nimds = \"{url}\"\n");
        let (server, address) = monitor(variables, &format!("{endpoints}{ROOT}"));
        if variables != printed {
            eventually("a third round", || {
                let number = server.get("/api/v1/status").json()["round"]["number"].as_u64()?;
                (number >= 3).then_some(())
            });
        }
        let read = metrics(address);
        assert!(read["metrics"]["memory_pct"].is_f64(), "{read}");
        assert_eq!(read["statuses"]["memory"], "OK", "{read}");
        assert_eq!(azure.asked().len(), 0, "{variables}");
        let sources = server.get("/api/v1/status").json()["sources"].to_string();
        assert!(!sources.contains("azure"), "{sources}");
    }
}

#[test]
fn percentages_have_one_decimal_as_psutil_prints_them() {
    let (_server, address) = monitor("MODE=local\n", ROOT);
    let body = curl(&[], &format!("http://{address}/metrics"));
    for name in ["disk_pct", "memory_pct"] {
        let value = body.split(&format!("\"{name}\":")).nth(1).expect("a value");
        let value = value.split([',', '}']).next().expect("a value");
        let decimals = value.split_once('.').map(|(_, decimals)| decimals.len());
        assert_eq!(decimals, Some(1), "{body}");
    }
}

#[test]
fn in_azure_mode_the_variables_lead_to_azure() {
    let azure = Azure::start();
    azure.application("t-1", "c-1", Proof::Secret("hunter2".to_owned()));
    azure.place(Place::new(PLAN).with(Metric::new("MemoryPercentage", "Percent", &[95.5])));
    let variables = format!(
        "MODE=azure\nAZURE_RESOURCE_ID={PLAN}\nAZURE_TENANT_ID=t-1\nAZURE_CLIENT_ID=c-1\nAZURE_CLIENT_SECRET=hunter2\n\
         AZURE_METRIC_NAMES='[\"MemoryPercentage\",\"DiskQueueLength\"]'\nPOLL_INTERVAL_SECONDS=1\n"
    );
    let url = azure.url();
    let settings = format!(
        "[azure.endpoints]\narm = \"{url}\"\nauthority = \"{url}\"\nimds = \"{url}\"\n[pixcrawler]\nlog_lines = true\n"
    );
    let (server, address) = monitor(&variables, &settings);
    let read = eventually("what Azure says", || {
        Some(metrics(address)).filter(|read| !read["metrics"]["memory_pct"].is_null())
    });
    assert_eq!(read["metrics"]["memory_pct"], 95.5);
    assert_eq!(
        (&read["metrics"]["disk_pct"], &read["statuses"]["disk"]),
        (&Value::Null, &json!("UNKNOWN"))
    );
    assert_eq!(read["statuses"]["memory"], "ALERT");
    server.logged("] - MEMORY: 95.5 (Status: ALERT)");
    assert!(!server.log_lines().join("\n").contains("hunter2"));
}

#[test]
fn levels_that_no_variable_sets_are_those_of_the_rule() {
    let folder = tempfile::tempdir().expect("a folder");
    let load = |environment: [(&str, &str); 1]| {
        let sources = Sources {
            environment: environment.into_iter().collect::<Environment>(),
            working_directory: folder.path().to_owned(),
            ..Sources::default()
        };
        Config::load(&sources).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    };
    let said = load([("PIXCRAWLER_DISK_THRESHOLD_WARN", "80.0")]).rules.threshold;
    let said: watchpost_threshold::Settings = serde_json::from_value(Value::Object(said)).expect("settings");
    let default: watchpost_threshold::Settings = serde_json::from_str("{}").expect("settings");
    assert_eq!(format!("{said:?}"), format!("{default:?}"));
}
