//! A server for a test: the real program with its own data folder and free ports. It ends with the test.

use std::io::{BufRead, BufReader, PipeReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::http::{Answer, Client};
use crate::template;

/// The deadline of waits: longer than any step takes on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Default settings of tests.
const QUIET: &str = "
[collector]
interval = \"1s\"
[http]
requests_per_second = 0
";

/// A pipe holds 64 KiB; one with so much in it has space for some lines.
const FILLED_PIPE: usize = 56 << 10;

/// The file with the addresses of the listeners.
const READY: &str = "ready.json";

/// The content of the ready file.
#[derive(Deserialize)]
struct ReadyFile {
    listeners: Vec<Listener>,
}

/// An address that a server listens on.
#[derive(Deserialize)]
pub struct Listener {
    /// The address, with the port that the system chose.
    pub address: SocketAddr,
    /// Whether the listener uses TLS.
    pub tls: bool,
}

/// A running server.
pub struct Server {
    child: Child,
    /// Standard error, while no thread reads it.
    unread: Option<PipeReader>,
    folder: tempfile::TempDir,
    log: Arc<Mutex<Vec<String>>>,
    /// The address of the listener with TLS.
    pub secure: SocketAddr,
    /// The address of the listener without TLS.
    pub plain: SocketAddr,
}

/// The path of the program, which is built together with the tests.
pub fn program() -> PathBuf {
    // The test binary is in TARGET/PROFILE/deps.
    let here = std::env::current_exe().expect("this test is somewhere");
    let folder = here.ancestors().nth(2).expect("cargo's folders");
    folder.join("watchpost-under-test")
}

/// The resident memory of a process, in megabytes.
pub fn resident_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("a line");
    kilobytes.parse::<f64>().expect("a number") / 1024.0
}

/// Waits until `look` returns a value; panics with `what` at the deadline.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually_within(what, START_TIMEOUT, look)
}

/// The same with a deadline of its own, for what takes long by design.
pub fn eventually_within<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < deadline, "{what}: not within {deadline:?}");
        #[expect(clippy::disallowed_methods, reason = "a condition that is polled with a deadline")]
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Server {
    /// Starts a server with default settings and free ports.
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts a server with these settings in TOML; missing sections have the default settings of tests.
    pub fn with(settings: &str) -> Self {
        Self::in_folder(tempfile::tempdir().expect("a folder"), settings)
    }

    /// The same with an empty data folder: the server creates its own keys and authority, and compiles the rules. All
    /// other servers start with a copy of such a folder.
    pub fn fresh(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        configure(folder.path(), settings);
        Self::prepared_fresh(folder)
    }

    /// Starts a server in a prepared folder; `{folder}` in the settings is its path.
    pub fn in_folder(folder: tempfile::TempDir, settings: &str) -> Self {
        configure(folder.path(), settings);
        Self::prepared(folder)
    }

    /// Starts a server with these settings and environment variables.
    pub fn with_variables(settings: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        configure(folder.path(), settings);
        Self::begun(folder, variables)
    }

    /// Starts a server in a folder that has a configuration, without the default settings of tests.
    pub fn prepared(folder: tempfile::TempDir) -> Self {
        Self::begun(folder, &[])
    }

    /// The same with environment variables.
    pub fn prepared_with_variables(folder: tempfile::TempDir, variables: &[(&str, &str)]) -> Self {
        Self::begun(folder, variables)
    }

    /// The same with an empty data folder.
    pub fn prepared_fresh(folder: tempfile::TempDir) -> Self {
        Self::spawned(folder, &[])
    }

    /// Starts a server whose standard error is a pipe with little space, which is not read before
    /// [`Server::read_log`].
    pub fn with_unread_log(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        configure(folder.path(), settings);
        template::copy_to(&folder.path().join("data"));
        let mut server = Self::unread(folder, &[], FILLED_PIPE);
        (server.secure, server.plain) = server.addresses();
        server
    }

    fn begun(folder: tempfile::TempDir, variables: &[(&str, &str)]) -> Self {
        let data = folder.path().join("data");
        if !data.exists() {
            template::copy_to(&data);
        }
        Self::spawned(folder, variables)
    }

    fn spawned(folder: tempfile::TempDir, variables: &[(&str, &str)]) -> Self {
        let mut server = Self::unread(folder, variables, 0);
        server.read_log();
        (server.secure, server.plain) = server.addresses();
        server
    }

    fn unread(folder: tempfile::TempDir, variables: &[(&str, &str)], filled: usize) -> Self {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        writer.write_all(&vec![b'\n'; filled]).expect("the pipe has space");
        let ready = folder.path().join(READY);
        // A killed server leaves its ready file behind.
        let _ = std::fs::remove_file(&ready);
        let child = command(folder.path())
            .args(["serve", "--ready-file"])
            .arg(&ready)
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(writer)
            .spawn()
            .expect("watchpost starts");
        Self {
            unread: Some(reader),
            child,
            folder,
            log: Arc::default(),
            secure: SocketAddr::from(([127, 0, 0, 1], 0)),
            plain: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }

    /// Reads the log from now on.
    pub fn read_log(&mut self) {
        let stderr = self.unread.take().expect("it is not read yet");
        let lines = self.log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
    }

    fn addresses(&mut self) -> (SocketAddr, SocketAddr) {
        eventually("where watchpost listens", || {
            let ended = self.child.try_wait().expect("it is ours");
            assert!(ended.is_none(), "watchpost ended with {ended:?}");
            self.ready_file().exists().then_some(())
        });
        let listeners = self.listeners();
        let find = |tls: bool| {
            let found = listeners.iter().find(|listener| listener.tls == tls);
            found.unwrap_or_else(|| panic!("no listener with tls = {tls}")).address
        };
        (find(true), find(false))
    }

    /// The path of the ready file.
    pub fn ready_file(&self) -> PathBuf {
        self.folder.path().join(READY)
    }

    /// All listeners in the order of the configuration.
    pub fn listeners(&self) -> Vec<Listener> {
        let text = std::fs::read(self.ready_file()).expect("it is there while it listens");
        let ready: ReadyFile = serde_json::from_slice(&text).expect("addresses, as JSON");
        ready.listeners
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder with the configuration.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces the configuration, which the server reads on SIGHUP.
    pub fn configure(&self, settings: &str) {
        configure(self.folder.path(), settings);
    }

    /// A client with the certificate of this name.
    pub fn client(&self, name: &str) -> Client {
        let clients = self.data().join("pki/clients");
        let file = |ending: &str| clients.join(format!("{name}.{ending}"));
        Client::new(self.secure, &self.data().join("pki/ca.crt")).with_certificate(&file("crt"), &file("key"))
    }

    /// A client without a certificate.
    pub fn anonymous_client(&self) -> Client {
        Client::new(self.secure, &self.data().join("pki/ca.crt"))
    }

    /// A client without TLS.
    pub fn plain_client(&self) -> Client {
        Client::plain(self.plain)
    }

    /// Sends a GET request as the administrator.
    pub fn get(&self, path: &str) -> Answer {
        self.client("admin").get(path)
    }

    /// Waits until the first round was measured and judged.
    pub fn ready(self) -> Self {
        eventually("a first round", || {
            (self.plain_client().get("/health/ready").status == 200).then_some(())
        });
        self
    }

    /// The log lines so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a log line that contains this text.
    pub fn logged(&self, text: &str) -> String {
        eventually(text, || self.log_lines().into_iter().find(|line| line.contains(text)))
    }

    /// Sends a signal: `TERM`, `HUP`, `KILL`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The resident memory, in megabytes.
    pub fn resident_mb(&self) -> f64 {
        resident_mb(self.pid())
    }

    /// Waits for the process to exit.
    pub fn ended(&mut self) -> ExitStatus {
        eventually("its end", || self.child.try_wait().expect("it is ours"))
    }

    /// Stops the process if it is running, and keeps the folder.
    pub fn stop(mut self) -> tempfile::TempDir {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal("TERM");
            self.ended();
        }
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a folder"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the test has failed, and this may say why")]
            {
                eprintln!("what watchpost logged:\n{}", self.log_lines().join("\n"));
            }
        }
    }
}

/// Writes a configuration with these settings into a folder.
pub fn configure(folder: &Path, settings: &str) {
    let text = with_defaults(&settings.replace("{folder}", &folder.display().to_string()));
    std::fs::write(folder.join("watchpost.toml"), text).expect("the folder can be written");
}

/// The command of a server with the configuration in this folder.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(program());
    command
        .arg("--config")
        .arg(folder.join("watchpost.toml"))
        .arg("--data-dir")
        .arg(folder.join("data"));
    // Variables of the test would configure the program.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WATCHPOST_")) {
        command.env_remove(name);
    }
    command.current_dir(folder);
    command
}

/// Adds the default settings of tests for missing sections.
fn with_defaults(settings: &str) -> String {
    let given: toml::Table = settings.parse().expect("the settings are TOML");
    let mut whole: toml::Table = QUIET.parse().expect("ours are TOML");
    for (section, value) in given {
        match (whole.get_mut(&section), value) {
            (Some(toml::Value::Table(ours)), toml::Value::Table(theirs)) => ours.extend(theirs),
            (_, value) => drop(whole.insert(section, value)),
        }
    }
    if !whole.contains_key("listeners") {
        let listeners = "listeners = [{ address = \"127.0.0.1:0\" }, { address = \"127.0.0.1:0\", tls = false }]";
        whole.extend(listeners.parse::<toml::Table>().expect("ours are TOML"));
    }
    whole.to_string()
}

/// The folder of the tools that `make test` installs, next to the folder of the build profile.
pub fn tools() -> PathBuf {
    let here = std::env::current_exe().expect("this test is somewhere");
    here.ancestors().nth(3).expect("cargo's folders").join("tools")
}
