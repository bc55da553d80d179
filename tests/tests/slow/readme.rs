//! Every command of the README is executed as it is printed, in a fresh clone, or the README's test names another test
//! of CI that does the same. So a README that does not work is found here and not by its reader.

use std::fs;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use watchpost_tests::document::{commands, readme};
use watchpost_tests::http::Client;
use watchpost_tests::server::{eventually, tools};

/// The first command. It keeps running, and the others use the server that it started.
const START: &str = "make run";

/// How long `make run` may take until the server listens. Dependencies are compiled already, unless the features of the
/// program differ from those of the tests.
const BUILD_TIMEOUT: Duration = Duration::from_secs(20 * 60);

/// How long any other command may take. The longest of them compiles a rule and its dependencies.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How long another run of this test, or another server, may use the ports.
const PORTS_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// The exit code of `timeout` where the time was up.
const TIMED_OUT: i32 = 124;

/// The ports of the default configuration, which the README's commands name.
const PORTS: [u16; 2] = [8443, 8080];

/// Commands that are not executed here, because other tests have what they need: an engine for containers, a machine
/// with systemd. Each with a file and a text in that file, so that the other test cannot disappear unnoticed.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    // Executed as it is printed, before this test.
    ("make test", ".ci/run", "\nmake lint test test-all\n"),
    // From the same Dockerfile, by the engine of the tests and on what they compiled.
    ("make image", "Makefile", "--test slow --test image\n"),
    // The same read-only root and the same folder in a volume, without a network, so no port is published.
    (
        "docker run --detach --name watchpost --publish 8443:8443 --volume watchpost:/var/lib/watchpost --read-only watchpost",
        "tests/tests/image/main.rs",
        "fn with_a_read_only_root_and_no_rights_it_is_healthy_and_answers()",
    ),
    (
        "until docker exec watchpost watchpost healthcheck; do sleep 1; done",
        "tests/tests/image/engine.rs",
        "podman(&[\"healthcheck\", \"run\", &self.id])",
    ),
    // The files are read in the container's root instead of being copied out of it.
    (
        "docker cp watchpost:/var/lib/watchpost/pki ./pki",
        "tests/tests/image/engine.rs",
        "self.root().join(\"var/lib/watchpost/pki\")",
    ),
    (
        "curl --cacert pki/ca.crt --cert pki/clients/admin.crt --key pki/clients/admin.key https://localhost:8443/api/v1/report",
        "tests/tests/image/main.rs",
        "container.get(host, \"/api/v1/whoami\")",
    ),
    // Made of the program that the tests compiled, and installed by dpkg, for the machine has no way out.
    (
        "make deb && apt install ./target/debian/watchpost_*.deb",
        "tests/tests/slow/package/mod.rs",
        "\"dpkg\", \"--install\"",
    ),
    // The package's test takes these two from the README and executes them below the machine's root.
    (
        "cd /var/lib/watchpost/pki",
        "tests/tests/slow/package/mod.rs",
        AS_A_SERVICE,
    ),
    (
        "curl --cacert ca.crt --cert clients/admin.crt --key clients/admin.key https://localhost:8443/api/v1/report",
        "tests/tests/slow/package/mod.rs",
        AS_A_SERVICE,
    ),
];

const AS_A_SERVICE: &str = "blocks(&readme(), \"systemd service\", \"sh\")";

/// Waits until the ports are free and no other run of this test is going to take them.
fn lock() -> File {
    let path = std::env::temp_dir().join("watchpost-readme-test.lock");
    let file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    within(PORTS_TIMEOUT, "another run of this test still uses the ports", || {
        file.try_lock().is_ok()
    });
    within(PORTS_TIMEOUT, "another program listens on 8443 or 8080", || {
        PORTS.iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
    });
    file
}

fn within(timeout: Duration, otherwise: &str, mut is_true: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_true() {
        assert!(begin.elapsed() < timeout, "{otherwise}, after {timeout:?}");
        #[expect(clippy::disallowed_methods, reason = "a condition with a deadline, polled")]
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A command without its comment.
fn bare(command: &str) -> &str {
    command.split(" # ").next().unwrap_or_default().trim()
}

/// Whether a command is executed while the server runs: it is the program itself, or uses the certificates that the
/// server made.
fn needs_server(command: &str) -> bool {
    command.starts_with("watchpost ") || command.contains(" watchpost-data/")
}

#[test]
fn every_command_is_executed_here_or_by_a_test_that_is_named() {
    let readme = readme();
    let all = commands(&readme);
    let all: Vec<&str> = all.iter().map(|command| bare(command)).collect();
    for command in &all {
        let is_elsewhere = ELSEWHERE.iter().any(|(known, _, _)| known == command);
        assert!(
            *command == START || needs_server(command) || is_elsewhere,
            "README.md has a command that no test executes: {command}"
        );
    }
    for (command, file, mark) in ELSEWHERE {
        assert!(all.contains(command), "README.md no longer has this command: {command}");
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(
            text.contains(mark),
            "{file} no longer has {mark:?}, which is the test of: {command}"
        );
    }
}

#[test]
fn in_a_fresh_clone_the_commands_do_what_the_readme_says() {
    let reader = Reader::with_a_clone();
    let readme = fs::read_to_string(reader.clone.join("README.md")).expect("it is in the repository");
    let all = commands(&readme);
    let start = all.iter().find(|command| bare(command) == START);
    let mut running = reader.start(start.expect("the README starts it"));

    let mut answers = Vec::new();
    for command in all.iter().filter(|command| needs_server(command)) {
        let output = reader.executed(command);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        let ended = match output.status.code() {
            Some(TIMED_OUT) => format!("not done within {COMMAND_TIMEOUT:?}"),
            _ => output.status.to_string(),
        };
        assert!(
            output.status.success(),
            "{command}: {ended}\n{out}{errors}\nthe server's log: {}",
            running.log()
        );
        if command.starts_with("watchpost certs issue alice") {
            reader.authenticates("alice", "user");
        }
        answers.push((bare(command), out));
    }
    let answer = |begin: &str| {
        let found = answers.iter().find(|(command, _)| command.starts_with(begin));
        &found.unwrap_or_else(|| panic!("the README has no {begin}")).1
    };
    has_the_shape_shown(&readme, answer("curl "));
    assert!(
        answer("watchpost check").contains("8443"),
        "`watchpost check` shows the settings"
    );
    assert!(
        answer("watchpost rules new").contains(" 0 failed"),
        "the new rule passes its cases"
    );
    assert!(
        answer("watchpost rules push").contains("is active"),
        "the rule is activated"
    );

    running.terminate();
    let ended = running.ended();
    assert!(
        ended.success(),
        "`make run` ends with {ended} on SIGTERM: {}",
        running.log()
    );
}

/// The answer has every field that the README shows, with values of the same JSON type; the README shows fewer fields.
fn has_the_shape_shown(readme: &str, answer: &str) {
    let (_, shown) = readme.split_once("```json\n").expect("the README shows an answer");
    let (shown, _) = shown.split_once("```").expect("the block ends");
    let shown: Value = serde_json::from_str(shown).expect("what is shown is JSON");
    let answer: Value = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    is_like(&shown, &answer);
    for field in ["generation", "host", "severity", "findings"] {
        assert!(shown.get(field).is_some(), "the README shows {field}");
    }
    let of_threshold = answer["findings"].as_array().expect("a list").iter();
    for finding in of_threshold.filter(|finding| finding["rule"] == shown["findings"][0]["rule"]) {
        for (field, value) in shown["findings"][0].as_object().expect("a finding") {
            // The labels differ from machine to machine.
            is_of_kind(value, &finding[field], field);
        }
    }
}

fn is_like(shown: &Value, answer: &Value) {
    for (field, value) in shown.as_object().expect("an object") {
        is_of_kind(value, &answer[field], field);
    }
}

fn is_of_kind(shown: &Value, value: &Value, field: &str) {
    assert_eq!(
        std::mem::discriminant(shown),
        std::mem::discriminant(value),
        "{field} is shown as {shown}, and is {value}"
    );
}

/// A clone in which the README's commands are executed.
struct Reader {
    clone: PathBuf,
    /// The folder that the README calls `target`.
    target: PathBuf,
    /// Held for as long as the ports are used. Another run of this test waits for it.
    _lock: File,
}

impl Reader {
    /// A real clone, which has only the files that are committed. It is always made in the same place, because cargo
    /// keeps what it builds for every place.
    fn with_a_clone() -> Self {
        let lock = lock();
        let clone = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme");
        let _ = fs::remove_dir_all(&clone);
        let mut git = Command::new("git");
        let made = git.args(["clone", "--quiet"]).arg(root()).arg(&clone).output();
        let made = made.expect("git is there");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // Dependencies that the tests' build has compiled need not be compiled again.
        let target = tools().parent().expect("it is in the target folder").to_owned();
        Self {
            clone,
            target,
            _lock: lock,
        }
    }

    /// A shell for a command of the README, without the variables that cargo and make set for this test. It ends after
    /// this time, and what it started ends with it.
    fn shell(&self, command: &str, timeout: Duration) -> Command {
        let mut shell = Command::new("timeout");
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let is_ours = [
                "WATCHPOST_",
                "CARGO_PKG_",
                "CARGO_MANIFEST_",
                "CARGO_BIN_",
                "MAKE",
                "MFLAGS",
            ]
            .iter()
            .any(|begin| text.starts_with(begin));
            if is_ours || ["CARGO", "CARGO_CRATE_NAME", "CARGO_TARGET_TMPDIR"].contains(&&*text) {
                shell.env_remove(&name);
            }
        }
        // Where the README says that `watchpost` is.
        let folder = self.target.join("debug");
        let path = std::env::var("PATH").unwrap_or_default();
        shell
            .args(["--kill-after=10", &timeout.as_secs().to_string(), "sh", "-c", command])
            .current_dir(&self.clone)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("PATH", format!("{}:{path}", folder.display()));
        shell
    }

    fn executed(&self, command: &str) -> Output {
        self.shell(command, COMMAND_TIMEOUT).output().expect("there is a shell")
    }

    /// Executes the command that starts the server, and waits until it has measured for the first time.
    fn start(&self, command: &str) -> Running {
        let (reader, writer) = std::io::pipe().expect("there are pipes");
        let child = self
            .shell(command, 2 * BUILD_TIMEOUT)
            .process_group(0)
            .stdout(writer.try_clone().expect("it is open"))
            .stderr(writer)
            .spawn()
            .expect("there is a shell");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // The receiver is gone once the test has ended.
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut running = Running {
            child,
            lines,
            lines_read: Vec::new(),
        };
        running.wait_until_listening();
        eventually("a first round", || {
            let probe = Client::plain(SocketAddr::from(([127, 0, 0, 1], PORTS[1])));
            (probe.get("/health/ready").status == 200).then_some(())
        });
        running
    }

    /// The server accepts this client's certificate and gives it this role.
    fn authenticates(&self, name: &str, role: &str) {
        let pki = self.clone.join("watchpost-data/pki");
        let file = |ending: &str| pki.join(format!("clients/{name}.{ending}"));
        let client = Client::new(SocketAddr::from(([127, 0, 0, 1], PORTS[0])), &pki.join("ca.crt"))
            .with_certificate(&file("crt"), &file("key"));
        let identity = client.get("/api/v1/whoami").json().to_string();
        assert!(
            identity.contains(name) && identity.contains(&format!("\"{role}\"")),
            "{identity}"
        );
    }
}

/// `make run` and its children, in a process group of their own.
struct Running {
    child: Child,
    lines: Receiver<String>,
    lines_read: Vec<String>,
}

impl Running {
    fn wait_until_listening(&mut self) {
        let begin = Instant::now();
        let listens = |log: &[String], scheme: &str, port: u16| {
            let mark = format!("listening on {scheme}://");
            let end = format!(":{port}");
            log.iter().any(|line| line.contains(&mark) && line.contains(&end))
        };
        while !(listens(&self.lines_read, "https", PORTS[0]) && listens(&self.lines_read, "http", PORTS[1])) {
            let wrong = match self.lines.recv_timeout(BUILD_TIMEOUT.saturating_sub(begin.elapsed())) {
                Ok(line) => {
                    self.lines_read.push(line);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => format!("does not listen within {BUILD_TIMEOUT:?}"),
                Err(RecvTimeoutError::Disconnected) => format!("ended with {:?}", self.child.wait()),
            };
            panic!("`make run` {wrong}: {}", self.log());
        }
    }

    /// The last lines of its output so far.
    fn log(&mut self) -> String {
        self.lines_read.extend(self.lines.try_iter());
        self.lines_read[self.lines_read.len().saturating_sub(40)..].join("\n")
    }

    /// Sends SIGTERM to the program, as a service manager would, and not to make or cargo.
    fn terminate(&self) {
        let group = self.child.id().to_string();
        let processes = fs::read_dir("/proc").expect("it is Linux").filter_map(Result::ok);
        let program = processes.map(|entry| entry.path()).find(|process| {
            let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
            // The name stands in parentheses; its state, its parent and its group follow.
            let is_watchpost = stat.contains(" (watchpost) ");
            let after = stat.rsplit_once(") ").map(|(_, after)| after).unwrap_or_default();
            is_watchpost && after.split(' ').nth(2) == Some(&group)
        });
        let program = program.expect("watchpost is in the group of `make run`");
        let id = program.file_name().expect("a number").to_owned();
        let killed = Command::new("kill").arg("-TERM").arg(id).status();
        assert!(killed.expect("kill is there").success());
    }

    fn ended(&mut self) -> ExitStatus {
        eventually("the end of `make run`", || self.child.try_wait().expect("it is ours"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The number of a group that has ended may be another's.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let group = format!("-{}", self.child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ = self.child.wait();
        }
    }
}
