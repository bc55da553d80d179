//! The HTTP API: identities, permissions, and the format of responses.

use std::time::Duration;

use watchpost_tests::server::{Server, eventually, eventually_within};

#[test]
fn a_new_user_gets_certificates_and_a_first_answer() {
    let server = Server::fresh("").ready();
    for file in [
        "pki/ca.crt",
        "pki/server.crt",
        "pki/server.key",
        "pki/clients/reader.crt",
        "pki/clients/agent.key",
    ] {
        assert!(server.data().join(file).is_file(), "{file}");
    }
    let status = server.get("/api/v1/status");
    assert_eq!(status.status, 200);
    assert_eq!(status.header("content-type"), Some("application/json"));
    let status = status.json();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["ready"], true);
    assert_eq!(status["tasks"]["collector"]["state"], "running");
    assert_eq!(status["listeners"].as_array().map(Vec::len), Some(2));
    assert_eq!(status["rules"]["rules"].as_array().map(Vec::len), Some(2));
    let sources = status["round"]["sources"].as_object().expect("it has sources");
    assert!(sources.len() >= 8, "{sources:?}");
    assert!(sources.values().all(|source| source["success"] == true), "{sources:?}");
}

#[test]
fn the_certificate_is_the_identity_and_the_rule_grants_permissions() {
    let server = Server::start().ready();
    let roles = |name: &str| {
        let who = server.client(name).get("/api/v1/whoami").json();
        assert_eq!(
            who["identity"]["subject"],
            format!("CN={name},OU={name},O=Watchpost"),
            "{who}"
        );
        (
            who["roles"][0].clone(),
            who["allowed_actions"].as_array().expect("a list").len(),
        )
    };
    assert_eq!(roles("admin"), ("admin".into(), 10));
    assert_eq!(roles("agent").0, "agent");
    assert!(roles("user").1 > roles("reader").1);

    let check = |name: &str, path: &str, expected: u16| {
        let answer = server.client(name).get(path);
        assert_eq!(answer.status, expected, "{name} {path}: {}", answer.text());
    };
    check("reader", "/api/v1/snapshot", 200);
    check("reader", "/metrics", 200);
    check("agent", "/api/v1/snapshot", 403);
    let denied = server.client("agent").get("/metrics").problem(403);
    assert_eq!(
        denied,
        "CN=agent,OU=agent,O=Watchpost has the role agent, which does not allow metrics.read"
    );
}

#[test]
fn an_anonymous_client_may_read_only_health_the_service_page_and_the_documents() {
    let server = Server::start().ready();
    for client in [server.anonymous_client(), server.plain_client()] {
        for path in [
            "/health",
            "/health/live",
            "/health/ready",
            "/",
            "/api/v1/whoami",
            "/wm_resource_monitor",
            "/wm_resource_monitor/api",
        ] {
            assert_eq!(client.get(path).status, 200, "{path}");
        }
        for path in [
            "/api/v1/status",
            "/api/v1/snapshot",
            "/api/v1/report",
            "/metrics",
            "/health/detailed",
            "/wm_resource_monitor/api/status",
            "/wm_resource_monitor/api/metrics",
        ] {
            let answer = client.get(path);
            let detail = answer.problem(401);
            assert!(
                detail.contains("present a client certificate or a token"),
                "{path}: {detail}"
            );
            assert!(answer.header("www-authenticate").is_some(), "{path}");
        }
    }
}

#[test]
fn as_the_documents_configure_it_the_clients_of_the_wm_monitor_need_no_certificate() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIGURATION.md"));
    let page = page.expect("it is there");
    let section = page.split("## For clients of the WM resource monitor").nth(1);
    let block = section.and_then(|section| section.split("```toml\n").nth(1)?.split("```").next());
    let ports = ["127.0.0.1:8443", "127.0.0.1:5000"];
    let settings = ports.iter().fold(block.expect("a block").to_owned(), |settings, port| {
        assert!(settings.contains(port), "{settings}");
        settings.replace(port, "127.0.0.1:0")
    });
    let server = Server::with(&settings).ready();
    let client = server.plain_client();
    for path in [
        "/wm_resource_monitor",
        "/wm_resource_monitor/api",
        "/wm_resource_monitor/api/status",
        "/wm_resource_monitor/api/metrics",
        "/metrics",
    ] {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
    assert_eq!(client.get("/api/v1/rules").status, 401);
    // The monitor promised 500 requests per second, and had no limit.
    let mut connection = client.connect().expect("it answers");
    for at in 0..1500 {
        let answer = connection
            .ask("GET", "/wm_resource_monitor/api/status")
            .expect("an answer");
        assert_eq!(answer.status, 200, "request {at}");
    }
    // The repeated roles are those of the defaults.
    let usual = Server::start().ready();
    for who in ["reader", "admin"] {
        let may = |server: &Server| server.client(who).get("/api/v1/whoami").json()["allowed_actions"].clone();
        assert_eq!(may(&server), may(&usual), "{who}");
    }
}

#[test]
fn what_is_measured_is_judged_and_served() {
    let server = Server::start().ready();
    let snapshot = server.get("/api/v1/snapshot").json();
    let has = |metric: &str| {
        snapshot["samples"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|sample| sample["metric"] == metric)
    };
    for metric in [
        "cpu",
        "memory",
        "disk",
        "node_load1",
        "node_memory_MemTotal_bytes",
        "node_filesystem_size_bytes",
        "node_boot_time_seconds",
    ] {
        assert!(has(metric), "{metric} in {snapshot}");
    }
    let report = server.get("/api/v1/report").json();
    assert_eq!(report["faults"], serde_json::json!([]));
    let severity = |metric: &str| {
        let findings = report["findings"].as_array().expect("a list");
        let found = findings.iter().find(|finding| finding["subject"]["metric"] == metric);
        found.map(|finding| finding["severity"].clone())
    };
    for metric in ["memory", "disk"] {
        let severity = severity(metric).unwrap_or_else(|| panic!("{metric} in {report}"));
        assert_ne!(severity, "unknown", "{metric}");
    }
    // There is no mean in the first minute.
    assert_eq!(severity("cpu_mean_1m"), None);
    let evaluated = eventually_within("an evaluated processor", Duration::from_secs(120), || {
        let report = server.get("/api/v1/report").json();
        let findings = report["findings"].as_array().expect("a list").clone();
        let cpu = findings
            .into_iter()
            .find(|finding| finding["subject"]["metric"] == "cpu_mean_1m")?;
        (cpu["severity"] != "unknown").then_some(cpu)
    });
    assert!(evaluated["value"].is_number(), "{evaluated}");
}

#[test]
fn a_sandboxed_process_can_use_neither_files_nor_sockets_nor_other_processes() {
    let server = Server::start().ready();
    let sandbox = eventually("the report of the sandbox", || {
        let status = server.get("/api/v1/status").json();
        status.get("sandbox").cloned()
    });
    assert_eq!(sandbox["allowed"], serde_json::json!([]), "{sandbox}");
    assert_eq!(sandbox["seccomp"], true, "{sandbox}");
}

#[test]
fn every_refusal_is_a_problem_document_with_the_id_of_the_request() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    assert_eq!(admin.get("/nothing").problem(404), "no such path: /nothing");
    assert_eq!(
        admin.get("/wm_resource_monitor/").problem(404),
        "no such path: /wm_resource_monitor/"
    );
    let wrong = admin.ask("DELETE", "/api/v1/status");
    assert_eq!(wrong.problem(405), "DELETE is not allowed; use GET, HEAD, OPTIONS");
    assert_eq!(wrong.header("allow"), Some("GET, HEAD, OPTIONS"));

    let sent = admin.clone().with("x-request-id", "tick-42.a_b").get("/nothing");
    assert_eq!(sent.header("x-request-id"), Some("tick-42.a_b"));
    for insane in ["a b", "<script>", &"x".repeat(65)] {
        let made = admin.clone().with("x-request-id", insane).get("/nothing");
        assert_ne!(made.header("x-request-id"), Some(insane));
        assert_eq!(made.header("x-request-id").map(str::len), Some(16));
    }
    server.logged("path=/nothing");
}

#[test]
fn head_and_options_are_answered_everywhere() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    for path in [
        "/",
        "/api/v1/status",
        "/health",
        "/metrics",
        "/wm_resource_monitor/api/status",
    ] {
        let head = admin.ask("HEAD", path);
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(
            head.header("content-type"),
            admin.get(path).header("content-type"),
            "{path}"
        );
        let options = server.anonymous_client().ask("OPTIONS", path);
        assert_eq!(
            (options.status, options.header("allow")),
            (200, Some("GET, HEAD, OPTIONS")),
            "{path}"
        );
    }
}

#[test]
fn responses_have_the_content_type_that_the_client_accepts() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let form = |path: &str, accept: &str| {
        let answer = admin.clone().with("accept-encoding", accept).get(path);
        let vary = answer.header("vary").unwrap_or_default().to_owned();
        assert!(vary.contains("accept-encoding"), "{path} {accept}: {vary}");
        (answer.header("content-encoding").map(str::to_owned), answer.body)
    };
    let snapshot = "/api/v1/snapshot";
    for (accept, expected) in [
        ("gzip", Some("gzip")),
        ("br", Some("br")),
        ("zstd", Some("zstd")),
        ("deflate", Some("deflate")),
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip;q=1.0, zstd;q=0.1", Some("gzip")),
        ("zstd;q=0, gzip", Some("gzip")),
        ("identity", None),
        ("sparkle", None),
    ] {
        let (encoding, body) = form(snapshot, accept);
        assert_eq!(encoding.as_deref(), expected, "{accept}");
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&body).is_ok(),
            expected.is_none(),
            "{accept}"
        );
    }
    assert_eq!(form("/health", "gzip").0, None, "it is too small to be worth it");
    assert_eq!(form("/metrics", "gzip").0.as_deref(), Some("gzip"));
    assert_eq!(
        form("/metrics", "br").0,
        None,
        "its parts cannot be put together in this form"
    );
}

#[test]
fn clients_of_the_wm_monitor_find_their_paths_and_fields() {
    let server = Server::start().ready();
    let admin = server.client("admin");
    let page = admin.get("/wm_resource_monitor");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    for part in [
        "<title>WM Resource Monitor</title>",
        "Workload Management Resource Control Monitor",
        "/wm_resource_monitor/api/status",
        "/wm_resource_monitor/api/metrics",
        "X.509 certificates",
        "<a href=\"/\">",
    ] {
        assert!(page.text().contains(part), "{part}");
    }
    let index = admin.get("/wm_resource_monitor/api").json();
    assert_eq!(
        index["endpoints"]["status"],
        "https://localhost/wm_resource_monitor/api/status"
    );
    assert_eq!(
        index["endpoints"]["metrics"],
        "https://localhost/wm_resource_monitor/api/metrics"
    );
    assert!(index["version"].is_string());

    let answer = admin.get("/wm_resource_monitor/api/status?anything=1");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.text().ends_with("}\n"));
    let status = answer.json();
    let keys: Vec<_> = status.as_object().expect("an object").keys().cloned().collect();
    let known = [
        "last_cycle_duration",
        "last_cycle_start",
        "python_version",
        "status",
        "timestamp",
        "uptime",
        "version",
    ];
    assert_eq!(keys, known);
    assert_eq!(status["status"], "healthy");
    let python = status["python_version"].as_str().expect("a text");
    let python: Result<Vec<u32>, _> = python.split('.').map(str::parse).collect();
    assert_eq!(python, Ok(vec![0, 0, 0]), "a version that says that there is no Python");
    assert!(status["uptime"].is_f64() && status["last_cycle_duration"].is_f64());
    for time in ["timestamp", "last_cycle_start"] {
        assert!(
            status[time].as_str().is_some_and(|time| time.ends_with("+00:00")),
            "{status}"
        );
    }
    let metrics = admin.get("/wm_resource_monitor/api/metrics");
    assert_eq!(
        metrics.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for family in [
        "flask_http_request_total{",
        "flask_http_request_duration_seconds_bucket{",
        "process_resident_memory_bytes ",
    ] {
        assert!(metrics.text().contains(family), "{family}");
    }
}

#[test]
fn a_python_client_with_a_certificate_is_served() {
    let server = Server::start().ready();
    let pki = server.data().join("pki");
    let program = format!(
        "import requests\n\
         answer = requests.get('https://localhost:{port}/api/v1/report', verify='{pki}/ca.crt',\n    \
             cert=('{pki}/clients/reader.crt', '{pki}/clients/reader.key'), timeout=20)\n\
         assert answer.headers['content-type'] == 'application/json', answer.headers\n\
         print(answer.status_code, answer.json()['host'])",
        port = server.secure.port(),
        pki = pki.display(),
    );
    let python = watchpost_tests::server::tools().join("clients/bin/python3");
    let output = std::process::Command::new(python)
        .args(["-c", &program])
        .output()
        .expect("python runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.starts_with("200 "),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn health_has_the_format_that_its_clients_expect() {
    let server = Server::start().ready();
    let check = |path: &str, word: &str| {
        let health = server.plain_client().get(path).json();
        assert_eq!(health["status"], word, "{path}");
        assert!(health["timestamp"].is_string() && health["version"].is_string() && health["uptime"].is_f64());
    };
    check("/health", "healthy");
    let live = server.plain_client().get("/health/live");
    assert_eq!(
        live.json(),
        serde_json::json!({ "status": "alive" }),
        "it reveals nothing else"
    );
    check("/health/ready", "ready");
    let detailed = server.get("/health/detailed").json();
    for (section, key) in [
        ("system_info", "cpu_count"),
        ("system_info", "hostname"),
        ("system_info", "platform"),
        ("memory_usage", "total_gb"),
        ("memory_usage", "percent"),
        ("disk_usage", "total_gb"),
        ("disk_usage", "percent"),
    ] {
        assert!(!detailed[section][key].is_null(), "{section}.{key} in {detailed}");
    }
}
