//! The systemd service: notifications over a real socket, the unit, and the example configuration.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use watchpost_tests::notify_socket::Notified;
use watchpost_tests::server::{Server, command, configure, program};

/// The time without heartbeats after which a test concludes that they have stopped; rounds are short.
const QUICK: &str = "[collector]\ninterval = \"100ms\"\ntimeout = \"100ms\"\n";

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn started(notified: &Notified, watchdog: Duration) -> Server {
    let (address, usec) = (notified.address(), watchdog.as_micros().to_string());
    let address = address.to_str().expect("it is Unicode");
    Server::with_variables(QUICK, &[("NOTIFY_SOCKET", address), ("WATCHDOG_USEC", &usec)])
}

#[test]
fn systemd_is_notified_of_each_state() {
    let mut systemd = Notified::new();
    let mut server = started(&systemd, Duration::from_secs(1));
    assert_eq!(systemd.hears("EXTEND_TIMEOUT_USEC="), "EXTEND_TIMEOUT_USEC=300000000");
    systemd.hears("STATUS=starts: opens the database");
    systemd.hears("READY=1");
    assert_eq!(server.plain_client().get("/health/ready").status, 200);
    let status = systemd.hears("STATUS=");
    assert!(status.contains("2 rules, generation 1"), "{status}");
    systemd.hears("WATCHDOG=1");
    systemd.hears("WATCHDOG=1");

    server.configure(&format!("{QUICK}[log]\nlevel = \"debug\""));
    server.signal("HUP");
    systemd.hears("RELOADING=1");
    systemd.hears("MONOTONIC_USEC=");
    systemd.hears("READY=1");
    server.logged("configuration reloaded");
    server.configure("[servr]");
    server.signal("HUP");
    systemd.hears("RELOADING=1");
    systemd.hears("READY=1");
    let status = systemd.hears("STATUS=");
    assert!(status.contains("the configuration was not reloaded"), "{status}");

    server.signal("TERM");
    systemd.hears("STOPPING=1");
    assert_eq!(systemd.hears("EXTEND_TIMEOUT_USEC="), "EXTEND_TIMEOUT_USEC=40000000");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn systemd_is_notified_of_the_reason_of_a_failed_start() {
    let mut systemd = Notified::new();
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    configure(folder.path(), &format!("listeners = [{{ address = \"{address}\" }}]"));
    let ended = command(folder.path())
        .env("NOTIFY_SOCKET", systemd.address())
        .output()
        .expect("it runs");
    assert_eq!(ended.status.code(), Some(69));
    let file = folder.path().join("watchpost.toml");
    let reason = format!(
        "STATUS={}: listeners[0].address: cannot listen on {address}",
        file.display()
    );
    systemd.hears(&reason);
    assert!(!systemd.heard().iter().any(|line| line == "READY=1"));
}

/// Every judgement writes a log line here, and the log is not read: so the judge blocks, while everything else works.
#[test]
fn watchdog_heartbeats_stop_when_no_round_is_judged() {
    let mut systemd = Notified::new();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = format!(
        "{QUICK}[pixcrawler]\nlog_lines = true\n[rules.threshold]\nthresholds = [{{ metric = \"memory\", alert = 0.1 }}]"
    );
    // A slow source also writes a log line, and its task would block instead of the judge.
    let settings = settings.replace("timeout = \"100ms\"", "timeout = \"5s\"");
    configure(folder.path(), &settings);
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    let mut child = command(folder.path())
        .env("NOTIFY_SOCKET", systemd.address())
        .env("WATCHDOG_USEC", "200000")
        .stdout(Stdio::null())
        .stderr(writer.try_clone().expect("it can be shared"))
        .spawn()
        .expect("watchpost starts");
    systemd.hears("READY=1");
    systemd.hears("WATCHDOG=1");
    // More than the capacity of a pipe; the thread stays blocked.
    std::thread::spawn(move || writer.write_all(&vec![b'\n'; 4 << 20]));
    systemd.hears("STATUS=no round was evaluated for");
    assert_eq!(systemd.last("WATCHDOG=1", Duration::from_secs(1)), None);

    let read = std::thread::spawn(move || std::io::copy(&mut reader.by_ref(), &mut std::io::sink()));
    systemd.hears("WATCHDOG=1");
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    read.join()
        .expect("it does not panic")
        .expect("the pipe is read to its end");
}

#[test]
fn watchdog_heartbeats_stop_when_the_process_is_stopped() {
    let mut systemd = Notified::new();
    let mut server = started(&systemd, Duration::from_millis(200));
    systemd.hears("WATCHDOG=1");
    server.signal("STOP");
    let stopped = Instant::now();
    let last = systemd.last("WATCHDOG=1", Duration::from_secs(1));
    assert!(
        last.is_none_or(|last| last < stopped + Duration::from_millis(500)),
        "{last:?}"
    );
    server.signal("CONT");
    systemd.hears("WATCHDOG=1");
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn the_example_of_a_configuration_is_accepted() {
    let checked = Command::new(program())
        .args(["check", "--config"])
        .arg(deploy("watchpost.toml"))
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (shown, output) = (text(&checked.stdout), text(&checked.stderr));
    assert!(checked.status.success(), "{output}");
    assert!(shown.contains("data_dir = \"/var/lib/watchpost\""), "{shown}");
}

fn analyze(arguments: &[&str], unit: &Path) -> (bool, String) {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .output()
        .expect("systemd-analyze is there; `make test` installs it");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.success(), text.concat())
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = folder.path().join("watchpost.service");
    let check = |text: &str| {
        std::fs::write(&unit, text).expect("written");
        analyze(&["verify", "--man=no"], &unit)
    };
    // The program is not installed here.
    let here = program().display().to_string();
    let text = read(&deploy("systemd/watchpost.service")).replace("/usr/bin/watchpost", &here);
    assert_eq!(check(&text), (true, String::new()));
    let (good, output) = check(&text.replace("WatchdogSec=60s", "WatchdogSec=often"));
    assert!(!good || !output.is_empty(), "what is wrong is found");
}

/// The exposure level of `systemd-analyze security` is from 0 (safe) to 10 (unsafe); most services of Debian have 9.6.
#[test]
fn the_unit_is_hardened_and_documents_every_exception() {
    let unit = deploy("systemd/watchpost.service");
    let (good, output) = analyze(&["security", "--offline=yes", "--threshold=17"], &unit);
    assert!(good, "{output}");
    let (_, checks) = analyze(&["security", "--offline=yes", "--json=short"], &unit);
    let checks: Vec<serde_json::Value> = serde_json::from_str(&checks).expect("it is JSON");
    assert!(checks.len() > 50, "{checks:?}");
    let text = read(&unit);
    for check in checks
        .iter()
        .filter(|check| check["set"] == false && !check["exposure"].is_null())
    {
        let name = check["name"]
            .as_str()
            .and_then(|name| name.split('=').next())
            .expect("a name");
        assert!(
            text.contains(&format!("{name}=")),
            "{name} is neither set nor explained: {check}"
        );
    }
}

/// The database hangs, so the reload would wait for its timeout.
#[test]
fn a_stop_is_heard_while_a_reload_waits_for_the_database() {
    let mut systemd = Notified::new();
    let shared = watchpost_tests::postgres::shared();
    let proxy = watchpost_tests::proxy::Proxy::to(shared.address());
    let url = shared.database();
    let url = url.replace(&shared.address().to_string(), &proxy.address.to_string());
    let settings = |faults: u32| {
        format!(
            "[database]\nurl = \"{url}\"\n[chunks]\nenabled = false\n[history]\nenabled = false\n[rules]\n\
             max_consecutive_faults = {faults}\n[rules.role]\nroles = {{ admin = [\"*\"], r{faults} = [\"health.read\"] }}\n"
        )
    };
    let address = systemd.address();
    let address = address.to_str().expect("a path");
    let mut server = Server::with_variables(&settings(3), &[("NOTIFY_SOCKET", address)]).ready();
    systemd.hears("READY=1");
    proxy.hold();
    server.configure(&settings(4));
    server.signal("HUP");
    systemd.hears("RELOADING=1");
    server.signal("TERM");
    server.logged("stopping; running requests are answered first");
    assert!(server.ended().success());
    let log = server.log_lines();
    let reload_ended =
        |line: &&String| line.contains("cannot reload the configuration") || line.contains("configuration reloaded");
    assert_eq!(log.iter().find(reload_ended), None, "{log:?}");
}
