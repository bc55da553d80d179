//! A machine of its own for a test: a Debian that systemd has begun, in namespaces, over a root that is shared and
//! stays as it is. It is gone with the test. The tests mount, so they run as root.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::server::{eventually, tools};

/// A running machine.
pub struct Machine {
    nspawn: Child,
    /// Its first process, as the host knows it.
    init: u32,
    cgroup: PathBuf,
    folder: tempfile::TempDir,
}

impl Machine {
    /// Begins it, with a network of its own that leads nowhere.
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
            let told = fs::read_to_string(machine.folder.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "systemd-nspawn ended with {ended:?}: {told}");
            machine.init = machine.first_process()?;
            let state = machine.run(&["systemctl", "is-system-running"]);
            let state = String::from_utf8_lossy(&state.stdout).into_owned();
            ["running\n", "degraded\n"].contains(&state.as_str()).then_some(())
        });
        machine
    }

    /// Those that nspawn begins before only prepare the way.
    fn first_process(&self) -> Option<u32> {
        let id = self.nspawn.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        let is_systemd = |child: &&str| {
            let name = fs::read_to_string(format!("/proc/{child}/comm"));
            name.is_ok_and(|name| name == "systemd\n")
        };
        children.split_whitespace().find(is_systemd)?.parse().ok()
    }

    /// Its root, as the host sees it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path.trim_start_matches('/'))
    }

    /// Runs something on it.
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

    /// Runs a program of the host in its network.
    pub fn in_its_network(&self, command: &[&str]) -> Output {
        self.within(&["--net"])
            .args(command)
            .output()
            .expect("nsenter is there")
    }

    /// What it says, and on standard error too; it has to go well.
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
        // At once, and by its own hand: who is killed leaves something behind.
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

/// What no other machine is called, of this test or of another.
fn own_name() -> String {
    static MACHINES: AtomicU32 = AtomicU32::new(0);
    let number = MACHINES.fetch_add(1, Ordering::Relaxed);
    format!("watchpost-test-{}-{number}", std::process::id())
}

/// Something to write on, over the root that is shared.
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

/// It begins in a control group of its own, below which systemd then makes what it wants.
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

/// Where version 2 of control groups is mounted, and which we are in.
fn own_cgroup() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the kernel tells");
    let mount = mounts
        .lines()
        .find(|line| line.contains(" - cgroup2 "))
        .expect("control groups are mounted");
    let point = mount.split(' ').nth(4).expect("a mount has a point");
    let groups = fs::read_to_string("/proc/self/cgroup").expect("the kernel tells");
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    Path::new(point).join(own.expect("every process is in one"))
}

/// What cannot be removed yet has somebody in it who ends just now; the kernel keeps it until then.
fn remove_groups(group: &Path) {
    let below = fs::read_dir(group).into_iter().flatten().filter_map(Result::ok);
    for entry in below.filter(|entry| entry.path().is_dir()) {
        remove_groups(&entry.path());
    }
    let _ = fs::remove_dir(group);
}
