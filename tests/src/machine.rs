//! A container for a test: Debian with systemd in namespaces, over a shared read-only root. It is removed after the
//! test. These tests need root, because they mount.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::server::{eventually, tools};

/// A running container with systemd.
pub struct Machine {
    nspawn: Child,
    /// The process id of its first process on the host.
    init: u32,
    cgroup: PathBuf,
    folder: tempfile::TempDir,
}

impl Machine {
    /// Starts it with an isolated network.
    pub fn boot() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        lay_root(folder.path());
        let name = own_name();
        let cgroup = own_cgroup().join(&name);
        fs::create_dir(&cgroup).expect("the tests may make control groups");
        let mut machine = Self {
            nspawn: begin(folder.path(), &cgroup, &name),
            init: 0,
            cgroup,
            folder,
        };
        eventually("a machine that is up", || {
            let ended = machine.nspawn.try_wait().expect("it is ours");
            let log = fs::read_to_string(machine.folder.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "systemd-nspawn ended with {ended:?}: {log}");
            machine.init = machine.first_process()?;
            let state = machine.run(&["systemctl", "is-system-running"]);
            let state = String::from_utf8_lossy(&state.stdout).into_owned();
            ["running\n", "degraded\n"].contains(&state.as_str()).then_some(())
        });
        machine
    }

    /// The child processes that nspawn starts earlier only prepare the container.
    fn first_process(&self) -> Option<u32> {
        let id = self.nspawn.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        let is_systemd = |child: &&str| {
            let name = fs::read_to_string(format!("/proc/{child}/comm"));
            name.is_ok_and(|name| name == "systemd\n")
        };
        children.split_whitespace().find(is_systemd)?.parse().ok()
    }

    /// The path of its root on the host.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path.trim_start_matches('/'))
    }

    /// Runs a command in it.
    pub fn run(&self, command: &[&str]) -> Output {
        self.within(&["--all", "--root", "--wd"])
            .args([
                "env",
                "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "DEBIAN_FRONTEND=noninteractive",
            ])
            .args(command)
            .output()
            .expect("nsenter is there")
    }

    /// Runs a program of the host in its network namespace.
    pub fn in_its_network(&self, command: &[&str]) -> Output {
        self.within(&["--net"])
            .args(command)
            .output()
            .expect("nsenter is there")
    }

    /// Runs a command that must succeed, and returns standard output and error.
    pub fn says(&self, command: &[&str]) -> String {
        let output = self.run(command);
        let text = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert!(
            output.status.success(),
            "{command:?}: {}\n{}",
            output.status,
            text.concat()
        );
        text.concat()
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        let shown = self.says(&["systemctl", "show", "--value", "--property", name, unit]);
        shown.trim().to_owned()
    }

    fn within(&self, namespaces: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init.to_string()])
            .args(namespaces)
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let journal = self.run(&["journalctl", "--no-pager", "--lines", "50", "--unit", "watchpost"]);
            #[expect(clippy::print_stderr, reason = "the test has failed, and this may say why")]
            {
                eprintln!("its journal:\n{}", String::from_utf8_lossy(&journal.stdout));
            }
        }
        // A clean shutdown, because a killed container would leave mounts behind.
        let ended = self.run(&["systemctl", "poweroff", "--force", "--force"]);
        if !ended.status.success() {
            let _ = self.nspawn.kill();
        }
        let _ = self.nspawn.wait();
        let folder = self.folder.path();
        let _ = Command::new("umount").arg(folder.join("root")).arg(folder).status();
        remove_groups(&self.cgroup);
    }
}

/// A unique name of a container.
fn own_name() -> String {
    static MACHINES: AtomicU32 = AtomicU32::new(0);
    let number = MACHINES.fetch_add(1, Ordering::Relaxed);
    format!("watchpost-test-{}-{number}", std::process::id())
}

/// A writable overlay over the shared root.
fn lay_root(folder: &Path) {
    let lower = tools().join("debian/root");
    assert!(lower.is_dir(), "`make test-all` makes {}", lower.display());
    mount(&["-t", "tmpfs", "tmpfs"], folder);
    for part in ["upper", "work", "root"] {
        fs::create_dir(folder.join(part)).expect("made");
    }
    let (lower, at) = (lower.display(), folder.display());
    let layers = format!("lowerdir={lower},upperdir={at}/upper,workdir={at}/work");
    mount(&["-t", "overlay", "overlay", "-o", &layers], &folder.join("root"));
}

/// The container's own control group, in which systemd creates others.
fn begin(folder: &Path, cgroup: &Path, name: &str) -> Child {
    let log = fs::File::create(folder.join("log")).expect("the folder can be written");
    Command::new("sh")
        .args(["-c", "echo $$ > \"$0\"/cgroup.procs && exec systemd-nspawn \"$@\""])
        .arg(cgroup)
        .arg(format!("--directory={}", folder.join("root").display()))
        .arg(format!("--machine={name}"))
        .args([
            "--boot",
            "--register=no",
            "--keep-unit",
            "--private-network",
            "--link-journal=no",
        ])
        .args(["--console=pipe", "--quiet"])
        .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect("sh is there")
}

fn mount(what: &[&str], to: &Path) {
    let status = Command::new("mount").args(what).arg(to).status();
    assert!(
        status.expect("mount is there").success(),
        "the tests mount, so they run as root"
    );
}

/// The mount point of cgroup v2, and the control group of this process.
fn own_cgroup() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("procfs is readable");
    let mount = mounts
        .lines()
        .find(|line| line.contains(" - cgroup2 "))
        .expect("control groups are mounted");
    let point = mount.split(' ').nth(4).expect("a mount has a point");
    let groups = fs::read_to_string("/proc/self/cgroup").expect("procfs is readable");
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    Path::new(point).join(own.expect("every process is in one"))
}

/// Removes a control group; the kernel refuses as long as a process in it is exiting, so it retries.
fn remove_groups(group: &Path) {
    let below = fs::read_dir(group).into_iter().flatten().filter_map(Result::ok);
    for entry in below.filter(|entry| entry.path().is_dir()) {
        remove_groups(&entry.path());
    }
    let _ = fs::remove_dir(group);
}
