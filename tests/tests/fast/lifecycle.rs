//! Start, reload and shutdown of the server.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Output;

use watchpost_tests::http::Connection;
use watchpost_tests::server::{Server, command, configure, eventually, program};
use watchpost_tests::template;

fn said(output: &Output) -> (Option<i32>, String) {
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn in_folder(settings: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("watchpost.toml"), settings).expect("written");
    said(&command(folder.path()).args(arguments).output().expect("it runs"))
}

#[test]
fn generated_files_are_kept_over_restarts() {
    let server = Server::fresh("").ready();
    let files = [
        "ca.key",
        "ca.crt",
        "server.key",
        "server.crt",
        "clients/admin.key",
        "clients/admin.crt",
    ];
    let read =
        |folder: &std::path::Path| files.map(|file| fs::read(folder.join("data/pki").join(file)).expect("it is there"));
    let before = read(server.folder());
    let mode = |path: &str| {
        fs::metadata(server.folder().join(path))
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("data"), 0o700);
    assert_eq!(mode("data/pki/ca.key"), 0o600);
    assert_eq!(mode("data/pki/clients/admin.key"), 0o600);
    let folder = server.stop();
    let server = Server::in_folder(folder, "").ready();
    assert!(read(server.folder()) == before, "a key was overwritten");
    assert_eq!(server.get("/api/v1/status").status, 200);
}

/// The files that the first start creates in the data folder, each with its mode and its inode, which differs for a
/// file that is written again.
fn kept_files(folder: &Path) -> BTreeMap<PathBuf, (u32, u64)> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.join("pki"), folder.join("cache"), folder.join("cache.key")];
    while let Some(path) = left.pop() {
        let metadata = fs::metadata(&path).expect("it is there");
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).expect("it is read");
            left.extend(entries.map(|entry| entry.expect("it is read").path()));
        }
        found.insert(path, (metadata.mode() & 0o777, metadata.ino()));
    }
    found
}

#[test]
fn copied_keys_and_compiled_rules_are_used_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    template::copy_to(&data);
    let given = kept_files(&data);
    for (path, mode) in [
        ("pki", 0o700),
        ("pki/ca.key", 0o600),
        ("pki/ca.crt", 0o644),
        ("pki/clients/admin.key", 0o600),
        ("cache.key", 0o600),
    ] {
        assert_eq!(given[&data.join(path)].0, mode, "{path}");
    }
    let compiled = given
        .keys()
        .filter(|path| path.extension().is_some_and(|ending| ending == "compiled"));
    assert_eq!(compiled.count(), 2);
    let folder = Server::in_folder(folder, "").ready().stop();
    assert_eq!(
        kept_files(&folder.path().join("data")),
        given,
        "something was made again"
    );
}

#[test]
fn a_server_without_data_creates_its_own_authority() {
    let authority = |server: Server| fs::read(server.data().join("pki/ca.crt")).expect("it is there");
    let [copied, one, other] = [Server::start(), Server::fresh(""), Server::fresh("")].map(authority);
    assert!(copied != one && one != other);
}

#[test]
fn on_sigterm_the_server_exits_cleanly_and_soon() {
    let mut server = Server::start().ready();
    let mut idle = server.client("reader").connect().expect("it answers");
    assert_eq!(idle.ask("GET", "/health/ready").expect("an answer").status, 200);
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
    server.logged("stopped");
}

/// Requests more than the socket buffers can hold, and reads nothing.
#[test]
fn the_ready_file_has_every_address_and_is_removed_on_shutdown() {
    let mut server = Server::start();
    let addresses: Vec<_> = server
        .listeners()
        .iter()
        .map(|listener| (listener.tls, listener.address))
        .collect();
    assert_eq!(addresses, [(true, server.secure), (false, server.plain)]);
    assert!(addresses.iter().all(|(_, address)| address.port() != 0));
    assert_eq!(server.plain_client().get("/health/live").status, 200);
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
    assert!(!server.ready_file().exists());
}

#[test]
fn where_the_ready_file_cannot_be_written_it_does_not_start() {
    let folder = tempfile::tempdir().expect("a folder");
    configure(folder.path(), "");
    template::copy_to(&folder.path().join("data"));
    let none = folder.path().join("none/ready.json");
    let output = command(folder.path())
        .args(["serve", "--ready-file"])
        .arg(&none)
        .output()
        .expect("it runs");
    let (code, text) = said(&output);
    assert_eq!(code, Some(74), "{text}");
    assert!(text.contains("the ready file "), "{text}");
}

fn begin_and_do_not_read(server: &Server) -> Connection {
    const MANY: usize = 500;
    let mut connection = server.client("reader").connect().expect("it answers");
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    connection.send(request.repeat(MANY).as_bytes()).expect("it is taken");
    let mut answered = None;
    eventually("it to wait for its reader", || {
        let metrics = server.get("/metrics").text();
        let value = |name: &str| -> usize {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(0, |line| line.trim().parse().expect("a number"))
        };
        // The request itself is one of them.
        let waits = value("watchpost_http_requests_in_flight ") == 2;
        let before = answered.replace(value(
            "watchpost_http_requests_total{method=\"read\",route=\"metrics\",status=\"2xx\"} ",
        ));
        // Since the last look, only that look was answered.
        (waits && before.is_some() && answered == before.map(|before| before + 1)).then_some(())
    });
    connection
}

#[test]
fn during_shutdown_the_server_is_not_ready_and_finishes_open_requests() {
    let mut server = Server::with("[http]\nrequests_per_second = 0").ready();
    let mut slow = begin_and_do_not_read(&server);
    server.signal("TERM");
    let refused = eventually("not to be ready", || {
        Some(server.plain_client().get("/health/ready")).filter(|answer| answer.status == 503)
    });
    assert_eq!(refused.json()["reason"], "shutting down");
    let (answer, mut whole) = (slow.answer(false).expect("the first answer"), 1);
    while slow.answer(false).is_ok_and(|next| next.status == 200) {
        whole += 1;
    }
    assert!(answer.status == 200 && whole > 1);
    assert_eq!(slow.rest(), b"", "an answer was cut");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn requests_beyond_the_drain_timeout_are_aborted_and_change_the_exit_code() {
    let mut server = Server::with("[http]\nrequests_per_second = 0\n[server]\ndrain_timeout = \"200ms\"").ready();
    let _slow = begin_and_do_not_read(&server);
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(75));
    server.logged("cut_off=true");
}

#[test]
fn a_reload_applies_reloadable_settings_and_logs_those_that_need_a_restart() {
    let server = Server::start().ready();
    let severity = |metric: &str| {
        let report = server.get("/api/v1/report").json();
        let findings = report["findings"].as_array().expect("a list").clone();
        findings
            .into_iter()
            .find(|finding| finding["subject"]["metric"] == metric)
            .map(|finding| finding["severity"].clone())
    };
    assert_eq!(severity("memory"), Some("ok".into()));
    server.configure(
        "[rules.threshold]\nthresholds = [{ metric = \"memory\", alert = 0.1 }]\n[server]\nworkers = 7\n[log]\nlevel = \"debug\"",
    );
    server.signal("HUP");
    server.logged("configuration reloaded");
    assert!(server.logged("needs a restart").contains("server.workers"));
    eventually("the new level", || {
        (severity("memory") == Some("alert".into())).then_some(())
    });
    assert!(severity("disk").is_some(), "the other defaults stay");
    assert_eq!(server.get("/api/v1/status").json()["rules"]["generation"], 2);
}

#[test]
fn an_invalid_configuration_changes_nothing() {
    let server = Server::start().ready();
    for (wrong, expected) in [
        (
            "[rules.threshold]\nthresholds = [{ metric = \"disk\", warning = 95, alert = 90 }]",
            "must be below the alert level",
        ),
        ("[servr]\nworkers = 3", "servr"),
        (
            "[log]\nlevel = \"debug/disk\"\n[rules.threshold]\nthresholds = []",
            "log.level",
        ),
    ] {
        server.configure(wrong);
        server.signal("HUP");
        server.logged(expected);
    }
    assert_eq!(server.get("/api/v1/status").json()["rules"]["generation"], 1);
    assert_eq!(server.get("/api/v1/report").json()["faults"], serde_json::json!([]));
    let metrics = server.get("/metrics").text();
    assert!(
        metrics.contains("watchpost_config_reloads_total{outcome=\"failure\"} 3"),
        "{metrics}"
    );
}

#[test]
fn all_configuration_errors_are_reported_together_with_remedies() {
    let (code, output) = in_folder(
        "[collector]\nintervall = \"1s\"\n[http]\nmax_body = \"lots\"\n[log]\nformat = \"xml\"\n[tls]\ncertificate = \"a.crt\"",
        &["check"],
    );
    assert_eq!(code, Some(78));
    for part in [
        "watchpost.toml",
        "collector.intervall",
        "interval",
        "http.max_body",
        "log.format",
        "json",
        "tls.key",
    ] {
        assert!(output.contains(part), "{part} in:\n{output}");
    }
    let (code, output) = in_folder(
        "[rules.threshold]\nthresholds = [{ metric = \"disk\", warning = 95, alert = 90 }]",
        &["check"],
    );
    assert_eq!(code, Some(78));
    assert!(
        output.contains("rules.threshold.thresholds[0].warning") && output.contains("must be below the alert level 90"),
        "{output}"
    );
    let (code, output) = in_folder("[listeners", &["check"]);
    assert_eq!(code, Some(78));
    assert!(output.contains("line 1"), "{output}");
}

#[test]
fn check_prints_the_effective_configuration_without_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let hash = "ab".repeat(32);
    fs::write(
        folder.path().join("watchpost.toml"),
        format!("tokens = [{{ name = \"grafana\", sha256 = \"{hash}\" }}]\n[collector]\ninterval = \"30s\""),
    )
    .expect("written");
    let output = command(folder.path())
        .arg("check")
        .env("WATCHPOST_LOG__FORMAT", "json")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains("interval = \"30s\"") && text.contains("format = \"json\"") && text.contains("grafana"),
        "{text}"
    );
    assert!(!text.contains(&hash), "{text}");
    assert!(!folder.path().join("data").exists(), "a check leaves nothing behind");
}

#[test]
fn a_failed_start_prints_its_problems_and_has_an_exit_code() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    let check = |settings: &str, code: i32, parts: &[&str]| {
        let (found, output) = in_folder(settings, &[]);
        assert_eq!(found, Some(code), "{output}");
        for part in parts {
            assert!(output.contains(part), "{part} in:\n{output}");
        }
    };
    check(
        &format!("listeners = [{{ address = \"{address}\" }}]"),
        69,
        &[&address.to_string(), "choose another port"],
    );
    check(
        "[tls]\ncertificate = \"/nowhere/a.crt\"\nkey = \"/nowhere/a.key\"\nclient_ca = \"/nowhere/ca.crt\"",
        78,
        &["/nowhere/a.crt", "cannot read"],
    );
    check(
        "[log]\nfile = \"/proc/nothing/here.log\"",
        74,
        &["/proc/nothing/here.log"],
    );
}

#[test]
fn a_wrong_command_line_has_the_exit_code_64() {
    let folder = tempfile::tempdir().expect("a folder");
    configure(folder.path(), "");
    template::copy_to(&folder.path().join("data"));
    for arguments in [
        &["--no-such-flag"][..],
        &["no-such-command"],
        &["check", "-v", "-q"],
        &["--set", "log.level"],
        &["certs", "issue", "al ice", "--role", "reader"],
        &["certs", "revoke", "unknown"],
        &["rules", "list", "--server", "localhost:1"],
        &["help", "no-such-command"],
        &["report", "--interval", "0"],
    ] {
        let (code, output) = said(&command(folder.path()).args(arguments).output().expect("it runs"));
        assert_eq!(code, Some(64), "{arguments:?}: {output}");
    }
}

#[test]
fn verbosity_flags_set_the_log_level() {
    let folder = tempfile::tempdir().expect("a folder");
    configure(folder.path(), "");
    let level = |flag: &str| {
        let output = command(folder.path()).args(["check", flag]).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text
            .lines()
            .find(|line| line.starts_with("level = "))
            .map(str::to_owned);
        line.unwrap_or_else(|| panic!("{flag}: {output:?}"))
    };
    for (flag, expected) in [("-v", "debug"), ("-vv", "trace"), ("-q", "warn"), ("-qq", "error")] {
        let line = level(flag);
        assert!(line.starts_with(&format!("level = \"{expected}\"")), "{flag}: {line}");
    }
}

#[test]
fn a_full_disk_at_the_start_is_reported_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("data");
    fs::create_dir(&disk).expect("made");
    let mount = |arguments: &[&str]| {
        let status = std::process::Command::new(arguments[0])
            .args(&arguments[1..])
            .arg(&disk)
            .status();
        assert!(
            status.expect("it runs").success(),
            "the tests mount a small disk, so they run as root"
        );
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs"]);
    fs::write(disk.join("filler"), vec![0; 16 << 10]).expect("written");
    fs::write(folder.path().join("watchpost.toml"), "").expect("written");
    let (code, output) = said(&command(folder.path()).output().expect("it runs"));
    mount(&["umount"]);
    assert_eq!(code, Some(74), "{output}");
    assert!(output.contains("No space left on device"), "{output}");
    assert_eq!(output.lines().count(), 1, "{output}");
}

#[test]
fn the_log_goes_to_a_file_as_json_and_the_level_is_obeyed() {
    let server = Server::with("[log]\nformat = \"json\"").ready();
    server.get("/health");
    let line = server.logged("/health");
    let line: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
    assert_eq!(
        (line["level"].as_str(), line["target"].as_str()),
        (Some("INFO"), Some("watchpost::access"))
    );

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("watchpost.log");
    let settings = format!(
        "listeners = [{{ address = \"127.0.0.1:0\", tls = false }}]\n[log]\nfile = \"{}\"",
        file.display()
    );
    fs::write(folder.path().join("watchpost.toml"), settings).expect("written");
    let mut child = command(folder.path()).spawn().expect("it starts");
    let text = || fs::read_to_string(&file).unwrap_or_default();
    eventually("a line in the file", || {
        text().contains("listening on http://").then_some(())
    });
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
}

#[test]
fn healthcheck_reports_readiness() {
    let server = Server::start().ready();
    let ask = |url: &str| {
        command(server.folder())
            .args(["healthcheck", "--url", url])
            .status()
            .expect("it runs")
            .code()
    };
    let url = format!("http://{}/health/ready", server.plain);
    let printed = |more: &[&str]| {
        let output = command(server.folder())
            .args(["healthcheck", "--url", &url])
            .args(more)
            .output();
        String::from_utf8_lossy(&output.expect("it runs").stdout).into_owned()
    };
    assert_eq!(printed(&[]), format!("{url}: ready\n"));
    assert_eq!(printed(&["-q"]), "");
    assert_eq!(ask(&format!("http://{}/health/ready", server.plain)), Some(0));
    let strict = Server::with(
        "listeners = [{ address = \"127.0.0.1:0\", client_auth = \"required\" }, { address = \"127.0.0.1:0\", tls = false }]",
    )
    .ready();
    let url = format!("https://{}/health/ready", strict.secure);
    let shown = command(strict.folder())
        .args(["healthcheck", "--url", &url])
        .status()
        .expect("it runs");
    assert_eq!(shown.code(), Some(0), "it shows the reader's certificate");
    assert_eq!(ask(&format!("https://{}/health/ready", server.secure)), Some(0));
    assert_eq!(
        ask(&format!(
            "http://127.0.0.1:{}/health/ready",
            watchpost_tests::ports::CLOSED
        )),
        Some(69)
    );
}

#[test]
fn the_program_prints_its_version_and_writes_its_manual() {
    let folder = tempfile::tempdir().expect("a folder");
    let print = |arguments: &[&str]| {
        let output = command(folder.path()).args(arguments).output().expect("it runs");
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(print(&["--version"]).starts_with(concat!("watchpost ", env!("CARGO_PKG_VERSION"), " (commit ")));
    assert!(print(&["completions", "bash"]).contains("healthcheck"));
    assert!(print(&["man"]).contains(".TH WATCHPOST 1"));
    assert!(print(&["help", "rules", "push"]).contains("watchpost rules push rule.wasm --activate"));
    let short = std::process::Command::new(program())
        .args(["-c", "nowhere.toml", "check"])
        .output();
    let (code, text) = said(&short.expect("it runs"));
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("nowhere.toml"), "{text}");
}
