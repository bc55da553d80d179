//! The Debian package on a system with systemd: installation, sandboxing by the unit, reload, watchdog, update, removal
//! and purge.

mod by_hand;
mod contents;
mod making;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use watchpost_tests::document::{blocks, document, readme};
use watchpost_tests::guests::NUMBERED_BYTES;
use watchpost_tests::guests::numbered;
use watchpost_tests::machine::Machine;
use watchpost_tests::server::eventually;

use self::making::{later, package};

const CONFIGURATION: &str = "/etc/watchpost/watchpost.toml";

/// Changed settings: a short interval, so that the tests are fast.
const OURS: &str = "[collector]\ninterval = \"500ms\"\n";

/// Copies a package to the container.
fn copy_package(machine: &Machine, package: &Path) -> &'static str {
    fs::copy(package, machine.path("/root/watchpost.deb")).expect("copied");
    "/root/watchpost.deb"
}

fn mode(machine: &Machine, path: &str) -> u32 {
    fs::metadata(machine.path(path)).expect(path).permissions().mode() & 0o7777
}

fn curl(machine: &Machine, path: &str) -> String {
    let pki = machine.path("/var/lib/watchpost/pki");
    let file = |name: &str| pki.join(name).display().to_string();
    let output = machine.in_its_network(&[
        "curl",
        "--silent",
        "--show-error",
        "--cacert",
        &file("ca.crt"),
        "--cert",
        &file("clients/admin.crt"),
        "--key",
        &file("clients/admin.key"),
        &format!("https://localhost:8443{path}"),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(machine: &Machine, path: &str) -> serde_json::Value {
    let text = curl(machine, path);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
}

#[test]
fn the_package_is_installed_serves_is_updated_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = package(folder.path());
    let second = later(&first);
    let machine = Machine::boot();

    machine.says(&["dpkg", "--install", copy_package(&machine, &first)]);
    it_is_there_and_begun(&machine);
    it_answers_as_the_document_shows(&machine);
    contents::every_page_that_a_page_names_is_there(&machine);
    contents::documents_lead_somewhere(&machine);
    contents::the_sbom_is_valid_and_names_the_version(&machine);
    it_measures_and_compiles_within_its_bounds(&machine);
    what_the_unit_leaves_out_cannot_be_there(&machine);
    it_is_read_again(&machine);
    it_is_begun_again_when_it_stands_still(&machine);
    keys_of_root_are_shown_to_it(&machine);

    machine.says(&["dpkg", "--install", copy_package(&machine, &second)]);
    let kept = fs::read_to_string(machine.path(CONFIGURATION)).expect("it is there");
    assert!(kept.ends_with(OURS), "an update leaves the configuration alone");
    assert_eq!(machine.property("watchpost", "ActiveState"), "active");
    let versions = machine.says(&["dpkg-query", "--show", "watchpost"]);
    assert!(versions.contains("0.1.0-2"), "{versions}");

    machine.says(&["dpkg", "--remove", "watchpost"]);
    assert!(!machine.path("/usr/bin/watchpost").exists());
    assert_eq!(machine.property("watchpost", "ActiveState"), "inactive");
    assert!(machine.path(CONFIGURATION).exists() && machine.path("/var/lib/watchpost/watchpost.db").exists());
    let output = machine.says(&["dpkg", "--purge", "watchpost"]);
    assert!(output.contains("deleting /var/lib/watchpost"), "{output}");
    for gone in ["/var/lib/watchpost", CONFIGURATION] {
        assert!(!machine.path(gone).exists(), "{gone}");
    }
    assert!(
        machine.path("/etc/watchpost/credentials/server.key").exists(),
        "keys are not ours to delete"
    );
}

fn it_is_there_and_begun(machine: &Machine) {
    let property = |name| machine.property("watchpost", name);
    // `dpkg` waited for the start, and the start for the first round.
    assert_eq!(
        (property("ActiveState"), property("UnitFileState")),
        ("active".into(), "enabled".into())
    );
    assert!(
        property("StatusText").contains("2 rules, generation 1"),
        "{}",
        property("StatusText")
    );
    assert_eq!(
        (property("User"), property("Type")),
        ("watchpost".into(), "notify".into())
    );
    assert_eq!(
        machine.says(&["systemd-analyze", "verify", "--man=no", "watchpost.service"]),
        ""
    );

    let user: u32 = machine
        .says(&["id", "--user", "watchpost"])
        .trim()
        .parse()
        .expect("a number");
    assert_eq!(
        (mode(machine, "/var/lib/watchpost"), mode(machine, "/etc/watchpost")),
        (0o700, 0o750)
    );
    assert_eq!(
        (
            mode(machine, CONFIGURATION),
            mode(machine, "/etc/watchpost/credentials")
        ),
        (0o640, 0o700)
    );
    let database = fs::metadata(machine.path("/var/lib/watchpost/watchpost.db")).expect("it remembers");
    assert_eq!(database.uid(), user);
    let group = machine.says(&["stat", "--format", "%U:%G", CONFIGURATION]);
    assert_eq!(group, "root:watchpost\n");
    let conffiles = machine.says(&["cat", "/var/lib/dpkg/info/watchpost.conffiles"]);
    assert_eq!(conffiles, format!("{CONFIGURATION}\n"));
    let depends = machine.says(&["dpkg-query", "--show", "--showformat=${Depends}", "watchpost"]);
    assert!(depends.contains("libssl3") && depends.contains("libpq5"), "{depends}");
    for file in [
        "/usr/share/bash-completion/completions/watchpost",
        "/usr/share/zsh/vendor-completions/_watchpost",
        "/usr/share/fish/vendor_completions.d/watchpost.fish",
    ] {
        assert!(
            fs::metadata(machine.path(file)).is_ok_and(|file| file.len() > 500),
            "{file}"
        );
    }
}

fn it_answers_as_the_document_shows(machine: &Machine) {
    let [_, request] = &blocks(&document("DEPLOYMENT.md"), "Debian package", "sh")[..] else {
        panic!("the package is made and installed, and then asked");
    };
    // The README installs it in the first line, and asks it in the others.
    let [short] = &blocks(&readme(), "systemd service", "sh")[..] else {
        panic!("one block makes, installs and asks it");
    };
    let (installed, asked) = short.split_once('\n').expect("it has more than one line");
    assert!(installed.starts_with("make deb && apt install "), "{installed}");
    for request in [request.as_str(), asked] {
        let own = "/var/lib/watchpost/pki";
        let request = request.replace(own, &machine.path(own).display().to_string());
        let output = machine.in_its_network(&["sh", "-euc", &request]);
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(report.contains("\"severity\""), "{report}{output:?}");
    }
}

/// The sandboxing of the unit allows compiled rules, the sandbox process that compiles an upload, and reading the
/// mounts of the system's first process.
fn it_measures_and_compiles_within_its_bounds(machine: &Machine) {
    let snapshot = json(machine, "/api/v1/snapshot");
    assert_eq!(snapshot["gaps"], serde_json::json!([]));
    let samples = snapshot["samples"].as_array().expect("a list");
    let of = |metric: &str| {
        let those = samples.iter().filter(move |sample| sample["metric"] == metric);
        those.cloned().collect::<Vec<_>>()
    };
    let processes: usize = machine
        .says(&["sh", "-c", "ls -d /proc/[0-9]* | wc -l"])
        .trim()
        .parse()
        .expect("a number");
    let reported = of("node_processes_pids")[0]["value"].as_f64().expect("a number") as usize;
    assert!(reported.abs_diff(processes) <= 5, "{reported} of {processes} processes");
    for sample in of("node_filesystem_readonly") {
        let point = sample["labels"]["mountpoint"].as_str().expect("a mount point");
        let (own, others) = (
            point.starts_with("/var/lib/watchpost"),
            point.starts_with("/tmp/systemd-private"),
        );
        assert!(!own && !others, "what the unit mounts is not the machine's: {sample}");
        if point == "/tmp" {
            assert_eq!(sample["value"], 0.0, "it can be written to, though not by the service");
        }
    }
    assert!(!of("node_filesystem_readonly").is_empty());

    // The unit allows the calls by which the compiler of rules denies itself others.
    let sandbox = eventually("a probed sandbox", || {
        let sandbox = json(machine, "/api/v1/status")["sandbox"].clone();
        (!sandbox.is_null()).then_some(sandbox)
    });
    assert_eq!(sandbox["seccomp"], true, "{sandbox}");
    let rule = numbered(7);
    assert_eq!(rule.len(), NUMBERED_BYTES);
    fs::write(machine.path("/root/rule.wasm"), rule).expect("written");
    let pki = "/var/lib/watchpost/pki";
    let output = machine.says(&[
        "watchpost",
        "rules",
        "push",
        "/root/rule.wasm",
        "--activate",
        "--server",
        "https://127.0.0.1:8443",
        "--cacert",
        &format!("{pki}/ca.crt"),
        "--cert",
        &format!("{pki}/clients/admin.crt"),
        "--key",
        &format!("{pki}/clients/admin.key"),
    ]);
    assert_eq!(json(machine, "/api/v1/status")["rules"]["generation"], 2, "{output}");
    // The system call filter and the limits have blocked nothing that is needed.
    let journal = machine.says(&[
        "journalctl",
        "--no-pager",
        "--unit",
        "watchpost",
        "--priority",
        "warning",
    ]);
    assert!(
        !journal.contains("not permitted") && !journal.contains("denied"),
        "{journal}"
    );
}

/// As the comments of the unit say: with one option it does not start, and with the other its measurements are wrong.
fn what_the_unit_leaves_out_cannot_be_there(machine: &Machine) {
    let with = |line: &str| {
        let drop_in = machine.path("/etc/systemd/system/watchpost.service.d");
        fs::create_dir_all(&drop_in).expect("made");
        fs::write(drop_in.join("test.conf"), format!("[Service]\n{line}\n")).expect("written");
        machine.says(&["systemctl", "daemon-reload"]);
        machine.run(&["systemctl", "restart", "watchpost"]).status.success()
    };
    assert!(
        !with("MemoryDenyWriteExecute=yes\nRestart=no"),
        "machine code can be made"
    );
    assert!(with("ProtectProc=invisible"));
    // The first round may see the process that probes the sandbox too.
    eventually("a round that sees only the server itself", || {
        let snapshot = json(machine, "/api/v1/snapshot");
        let samples = snapshot["samples"].as_array().expect("a list");
        let pids = samples.iter().find(|sample| sample["metric"] == "node_processes_pids");
        (pids.expect("it is measured")["value"] == 1.0).then_some(())
    });
    assert!(with(""));
}

fn it_is_read_again(machine: &Machine) {
    let file = machine.path(CONFIGURATION);
    let text = fs::read_to_string(&file).expect("it is there");
    // Its own section is there already, and everything in it a comment.
    let text = text.replace("[collector]\n", "");
    fs::write(&file, format!("{text}{OURS}")).expect("written");
    machine.says(&["systemctl", "reload", "watchpost"]);
    eventually("the end of the reload", || {
        let log = machine.says(&["journalctl", "--no-pager", "--unit", "watchpost"]);
        log.contains("configuration reloaded").then_some(())
    });
    eventually("to be running", || {
        (machine.property("watchpost", "SubState") == "running").then_some(())
    });
}

fn it_is_begun_again_when_it_stands_still(machine: &Machine) {
    let drop_in = machine.path("/etc/systemd/system/watchpost.service.d");
    fs::create_dir_all(&drop_in).expect("made");
    fs::write(
        drop_in.join("test.conf"),
        "[Service]\nWatchdogSec=1s\nRestartSec=100ms\n",
    )
    .expect("written");
    machine.says(&["systemctl", "daemon-reload"]);
    machine.says(&["systemctl", "restart", "watchpost"]);
    let (restarts, pid) = (
        || machine.property("watchpost", "NRestarts"),
        || machine.property("watchpost", "MainPID"),
    );
    let first = pid();
    // There is a round every half second, so the watchdog does not restart it.
    let rounds = || json(machine, "/api/v1/status")["round"]["number"].as_u64();
    eventually("some rounds", || rounds().filter(|rounds| *rounds > 6));
    assert_eq!((restarts(), pid()), ("0".to_owned(), first.clone()));
    machine.says(&["systemctl", "kill", "--kill-whom=main", "--signal=STOP", "watchpost"]);
    eventually("another process", || {
        (restarts() == "1" && pid() != first).then_some(())
    });
    eventually("to be active", || {
        (machine.property("watchpost", "ActiveState") == "active").then_some(())
    });
}

/// As the comments of the unit say: keys that only root may read, by a path in the configuration.
fn keys_of_root_are_shown_to_it(machine: &Machine) {
    let (credentials, made) = (
        machine.path("/etc/watchpost/credentials"),
        machine.path("/var/lib/watchpost/pki"),
    );
    for (from, to) in [
        ("server.crt", "server.pem"),
        ("server.key", "server.key"),
        ("ca.crt", "clients.pem"),
    ] {
        fs::copy(made.join(from), credentials.join(to)).expect("copied");
        fs::set_permissions(credentials.join(to), PermissionsExt::from_mode(0o600)).expect("root's alone");
    }
    let file = machine.path(CONFIGURATION);
    let shown = "/run/credentials/watchpost.service/key_";
    let tls = format!(
        "[tls]\ncertificate = \"{shown}server.pem\"\nkey = \"{shown}server.key\"\nclient_ca = \"{shown}clients.pem\"\n"
    );
    let text = fs::read_to_string(&file).expect("it is there");
    fs::write(&file, text.replace("[tls]\n", &tls)).expect("written");
    machine.says(&["systemctl", "restart", "watchpost"]);
    assert_eq!(json(machine, "/api/v1/whoami")["identity"]["kind"], "certificate");
    let other = machine.run(&[
        "runuser",
        "--user=nobody",
        "--",
        "ls",
        "/run/credentials/watchpost.service",
    ]);
    assert!(!other.status.success(), "no other user may read them");
}
