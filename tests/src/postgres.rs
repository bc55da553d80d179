//! A PostgreSQL server for tests: created on first use, with a new database for each test, and removed with the test
//! process.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, mpsc};

use crate::ports;
use crate::server::eventually;

/// A running server.
pub struct Postgres {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Postgres {
    /// A separate server, for tests that stop it.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let programs = programs();
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("made");
        if is_root() {
            let owned = Command::new("chown")
                .arg("-R")
                .arg("postgres")
                .arg(folder.path())
                .status();
            assert!(owned.expect("chown runs").success());
        }
        let made = as_unprivileged_user(&programs.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args([
                "--auth=trust",
                "--username=watchpost",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (child, port) = ports::started(
            "PostgreSQL",
            |port| Self::run(&data, port),
            |_| takes_connections(&data),
        );
        Self { folder, port, child }
    }

    fn run(data: &Path, port: u16) -> Child {
        let mut command = as_unprivileged_user(&programs().join("postgres"));
        command
            .arg("-D")
            .arg(data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            .args([
                "-c",
                "unix_socket_directories=",
                "-c",
                "fsync=off",
                "-c",
                "max_connections=200",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        spawned_for_good(command)
    }

    /// Creates a database and returns its URL.
    pub fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        assert!(self.psql("postgres", &format!("CREATE DATABASE {name}")));
        self.url(&name)
    }

    /// The URL of a database.
    pub fn url(&self, name: &str) -> String {
        format!("postgres://watchpost@127.0.0.1:{}/{name}", self.port)
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Runs one statement; returns whether it succeeded.
    pub fn psql(&self, database: &str, statement: &str) -> bool {
        let output = Command::new("psql")
            .args([
                "--no-psqlrc",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                "-d",
                &self.url(database),
                "-c",
                statement,
            ])
            .output();
        output.expect("psql runs; `make test` installs it").status.success()
    }

    /// Stops it in fast mode.
    pub fn stop(&mut self) {
        let _ = Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .status();
        self.child.wait().expect("it is ours");
    }

    /// Starts it again on the same port.
    pub fn start_again(&mut self) {
        let data = self.folder.path().join("data");
        self.child = eventually("PostgreSQL where it was", || {
            ports::ready("PostgreSQL", Self::run(&data, self.port), || takes_connections(&data))
        });
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The server that the tests of a process share.
pub fn shared() -> &'static Postgres {
    static SHARED: LazyLock<Postgres> = LazyLock::new(Postgres::start);
    &SHARED
}

/// Whether the server is ready: it writes this into its own folder.
fn takes_connections(data: &Path) -> bool {
    const STATUS_LINE: usize = 7;
    let pid = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    pid.lines()
        .nth(STATUS_LINE)
        .is_some_and(|status| status.trim() == "ready")
}

/// The folder of the server programs, which Debian does not have in the PATH.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is there; `make test` installs it");
    let programs = versions.flatten().map(|version| version.path().join("bin"));
    programs
        .filter(|folder| folder.join("initdb").exists())
        .max()
        .expect("a version")
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// PostgreSQL refuses to run as root, and must exit with this process.
fn as_unprivileged_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg("--").arg(program).current_dir("/");
    command
}

/// The parent-death signal is sent when the starting thread ends, so that thread is kept.
fn spawned_for_good(mut command: Command) -> Child {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = sender.send(command.spawn());
        loop {
            std::thread::park();
        }
    });
    receiver.recv().expect("the thread reports").expect("it starts")
}
