//! Every command of the README is executed as it is printed, in a fresh clone, or a test of CI is named that does the
//! same: nobody is first to find out that the README does not work.

use std::fs;
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

/// The first command. It keeps running, and the others ask it.
const START: &str = "make run";

/// How long `make run` may build before it listens: all dependencies, where this build has others.
const BUILD: Duration = Duration::from_secs(20 * 60);

/// What the README says that it listens on.
const PORTS: [u16; 2] = [8443, 8080];

/// Commands that are not executed here: what they need (an engine for containers, a machine with systemd, or this very
/// test) other tests have. Each with a file and what has to stand there, so that the README does not outlive its test.
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
    // These two are executed as they are printed, below the machine's root.
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

const AS_A_SERVICE: &str = "blocks(&readme(), \"As a service\", \"sh\")";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A command without the comment that stands beside it.
fn bare(command: &str) -> &str {
    command.split(" # ").next().unwrap_or_default().trim()
}

/// Whether it is executed while Watchpost runs: it is Watchpost itself, or uses the certificates of its first start.
fn is_beside(command: &str) -> bool {
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
            *command == START || is_beside(command) || is_elsewhere,
            "README.md has a command that no test executes: {command}"
        );
    }
    for (command, file, mark) in ELSEWHERE {
        assert!(all.contains(command), "README.md has this command no more: {command}");
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(
            text.contains(mark),
            "{file} no longer has {mark:?}, which stands for: {command}"
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
    for command in all.iter().filter(|command| is_beside(command)) {
        let output = reader.executed(command);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{command}: {}\n{out}{told}\nwatchpost: {}",
            output.status,
            running.said()
        );
        if command.starts_with("watchpost certs issue alice") {
            reader.is_known("alice", "user");
        }
        answers.push((bare(command), out));
    }
    let answer = |begin: &str| {
        let found = answers.iter().find(|(command, _)| command.starts_with(begin));
        &found.unwrap_or_else(|| panic!("the README has no {begin}")).1
    };
    has_the_shape_shown(&readme, answer("curl "));
    assert!(answer("watchpost check").contains("8443"), "what is in force is shown");
    assert!(
        answer("watchpost rules new").contains(" 0 failed"),
        "the rule passes its own cases"
    );
    assert!(
        answer("watchpost rules push").contains("in force"),
        "the rule is activated"
    );

    running.terminate();
    let ended = running.ended();
    assert!(
        ended.success(),
        "`make run` ends with {ended} on SIGTERM: {}",
        running.said()
    );
}

/// The answer has all fields that the README shows, and values of the same kind; the README has shortened it.
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
            // What it is about has labels of its own.
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

/// Somebody who does what the README says, in a clone.
struct Reader {
    clone: PathBuf,
    /// What the README calls `target`.
    target: PathBuf,
}

impl Reader {
    /// A real clone, where nothing helps that is not in the repository. It is always made in the same place: cargo
    /// keeps what it built for every place, and would keep it for each run of this test.
    fn with_a_clone() -> Self {
        let clone = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme");
        let _ = fs::remove_dir_all(&clone);
        let mut git = Command::new("git");
        let made = git.args(["clone", "--quiet"]).arg(root()).arg(&clone).output();
        let made = made.expect("git is there");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // Dependencies that this build has compiled need not be compiled again.
        let target = tools().parent().expect("it is in the target folder").to_owned();
        Self { clone, target }
    }

    /// A command of the README in its shell, which has nothing of what cargo and make tell this test.
    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
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
        // The README calls the program `watchpost`, and says that this is where it lies.
        let folder = self.target.join("debug");
        let path = std::env::var("PATH").unwrap_or_default();
        shell
            .args(["-c", command])
            .current_dir(&self.clone)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("PATH", format!("{}:{path}", folder.display()));
        shell
    }

    fn executed(&self, command: &str) -> Output {
        self.shell(command).output().expect("there is a shell")
    }

    /// Executes what starts it, and waits until it has measured for the first time.
    fn start(&self, command: &str) -> Running {
        for port in PORTS {
            let free = TcpListener::bind(("127.0.0.1", port));
            assert!(
                free.is_ok(),
                "port {port} is taken, and the README's commands need it: {free:?}"
            );
        }
        let (reader, writer) = std::io::pipe().expect("there are pipes");
        let child = self
            .shell(command)
            .process_group(0)
            .stdout(writer.try_clone().expect("it is open"))
            .stderr(writer)
            .spawn()
            .expect("there is a shell");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Nobody is there to receive it once the test has ended.
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut running = Running {
            child,
            lines,
            log: Vec::new(),
        };
        running.listens();
        eventually("a first round", || {
            let probe = Client::plain(SocketAddr::from(([127, 0, 0, 1], PORTS[1])));
            (probe.get("/health/ready").status == 200).then_some(())
        });
        running
    }

    /// Whoever has this certificate is known by its name and role.
    fn is_known(&self, name: &str, role: &str) {
        let pki = self.clone.join("watchpost-data/pki");
        let file = |ending: &str| pki.join(format!("clients/{name}.{ending}"));
        let client = Client::new(SocketAddr::from(([127, 0, 0, 1], PORTS[0])), &pki.join("ca.crt"))
            .with_certificate(&file("crt"), &file("key"));
        let told = client.get("/api/v1/whoami").json().to_string();
        assert!(told.contains(name) && told.contains(&format!("\"{role}\"")), "{told}");
    }
}

/// What `make run` started, in a process group of its own.
struct Running {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
}

impl Running {
    fn listens(&mut self) {
        let begin = Instant::now();
        let listens = |log: &[String], scheme: &str, port: u16| {
            let mark = format!("listening on {scheme}://");
            let end = format!(":{port}");
            log.iter().any(|line| line.contains(&mark) && line.contains(&end))
        };
        while !(listens(&self.log, "https", PORTS[0]) && listens(&self.log, "http", PORTS[1])) {
            let wrong = match self.lines.recv_timeout(BUILD.saturating_sub(begin.elapsed())) {
                Ok(line) => {
                    self.log.push(line);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => format!("does not listen within {BUILD:?}"),
                Err(RecvTimeoutError::Disconnected) => format!("ended with {:?}", self.child.wait()),
            };
            panic!("`make run` {wrong}: {}", self.said());
        }
    }

    /// The end of what it said so far.
    fn said(&mut self) -> String {
        self.log.extend(self.lines.try_iter());
        self.log[self.log.len().saturating_sub(40)..].join("\n")
    }

    /// Ends the program as a service manager would, without a word to make or cargo.
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
        let told = Command::new("kill").arg("-TERM").arg(id).status();
        assert!(told.expect("kill is there").success());
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
