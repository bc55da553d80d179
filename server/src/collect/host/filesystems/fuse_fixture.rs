//! A real hanging file system for tests: FUSE with a server that does not answer, answers, or dies. Requires
//! root and `/dev/fuse`.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use super::super::fixture::{Machine, value};
use super::*;

/// A mounted file system. Dropping it releases all waiting threads.
struct Fuse {
    directory: TempDir,
    device: Option<File>,
}

impl Fuse {
    /// Mounts without answering the kernel's INIT request, so all other requests wait.
    fn mounted() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let device = device.expect("this test needs /dev/fuse, and root; run it on a machine that has both");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let options = CString::new(options).expect("no zero in it");
        mount(
            "hung",
            directory.path(),
            "fuse",
            MountFlags::empty(),
            options.as_c_str(),
        )
        .expect("this test needs to mount a FUSE file system; run it as root, and not in a container that may not");
        Self {
            directory,
            device: Some(device),
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Answers from now on, until the mount is removed. Reports 25 percent usage.
    fn answer(&mut self) {
        let device = self.device.take().expect("it answers once");
        thread::spawn(move || serve(device));
    }

    /// Closes the device, so the kernel fails all waiting requests.
    fn die(&mut self) {
        self.device = None;
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        self.die();
        // The directory can only be removed after the unmount; a failed test has already reported its error.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

const STATFS: u32 = 17;
const INIT: u32 = 26;

/// The minimal protocol: INIT and STATFS. Reading fails when the mount is removed.
fn serve(mut device: File) {
    let mut request = vec![0; 256 * 1024];
    while let Ok(length) = device.read(&mut request) {
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().expect("four bytes"));
        if length < 40 {
            return;
        }
        let body = match word(4) {
            INIT => words(&[7, 31, 0, 0, 0, 4096, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            // Blocks, free, available, files, free files, each in two words; then sizes.
            STATFS => words(&[100, 0, 75, 0, 75, 0, 10, 0, 5, 0, 4096, 255, 4096, 0, 0, 0, 0, 0, 0, 0]),
            _ => Vec::new(),
        };
        let is_known = !body.is_empty();
        let not_implemented = rustix::io::Errno::NOSYS.raw_os_error();
        let error = if is_known { 0 } else { -not_implemented };
        let length = u32::try_from(16 + body.len()).expect("it is short");
        let mut reply = words(&[length]);
        reply.extend(error.to_ne_bytes());
        reply.extend(&request[8..16]);
        reply.extend(body);
        if device.write_all(&reply).is_err() {
            return;
        }
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// A machine with two mounts: the real root and the test's own.
struct Scene {
    machine: Machine,
    filesystems: Filesystems,
    threads: &'static str,
}

impl Scene {
    fn new(threads: &'static str, fuse: &Fuse) -> Self {
        let own = fs::read_to_string("/proc/self/mountinfo").expect("every process has one");
        let points = [PathBuf::from("/"), fuse.path().to_owned()];
        let is_relevant = |line: &&str| {
            let mount = mountinfo::parse(line.as_bytes());
            mount.first().is_some_and(|mount| points.contains(&mount.mount_point))
        };
        let lines: Vec<_> = own.lines().filter(is_relevant).collect();
        assert_eq!(lines.len(), 2, "{own}");
        let machine = Machine::new().with("proc/self/mountinfo", lines.join("\n"));
        let options = HostOptions {
            rootfs: PathBuf::from("/"),
            mount_timeout: Duration::from_secs(1),
            exclude_types: Vec::new(),
            ..machine.options()
        };
        let pool = StatfsPool::new(threads, options.mount_timeout, Arc::new(usage));
        Self {
            machine,
            filesystems: Filesystems::with_pool(&options, pool),
            threads,
        }
    }

    fn measure(&mut self, now_ms: u64) -> Reading {
        let reading = self.filesystems.measure(now_ms).expect("measured");
        let root = disk(&reading, "/");
        assert!(root.is_some(), "the root is always measured: {reading:?}");
        reading
    }

    fn measure_until(&mut self, what: &str, mut is_so: impl FnMut(&Reading) -> bool) -> Reading {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let reading = self.measure(9);
            if is_so(&reading) {
                return reading;
            }
            assert!(Instant::now() < deadline, "{what}: {:?}", reading.gaps);
        }
    }

    fn threads(&self) -> usize {
        let tasks = fs::read_dir("/proc/self/task")
            .expect("every process has some")
            .flatten();
        let is_worker = |name: io::Result<String>| name.is_ok_and(|name| name.trim() == self.threads);
        tasks
            .filter(|task| is_worker(fs::read_to_string(task.path().join("comm"))))
            .count()
    }
}

fn disk(reading: &Reading, point: &str) -> Option<f64> {
    let is_it = |sample: &&watchpost_policies::Sample| {
        sample.metric().as_str() == "disk" && sample.labels().get("mountpoint") == Some(point)
    };
    reading.samples.iter().find(is_it).map(|sample| sample.value())
}

#[test]
fn a_hung_file_system_is_one_gap_and_is_measured_when_it_answers_again() {
    let mut fuse = Fuse::mounted();
    let point = fuse.path().display().to_string();
    let mut scene = Scene::new("hung-and-back", &fuse);
    for round in 0..20 {
        let begun = Instant::now();
        let reading = scene.measure(1_700_000_000_000 + round * 1000);
        // Only the first round waits for the timeout.
        let max_ms = if round == 0 { 5000 } else { 900 };
        assert!(
            begun.elapsed() < Duration::from_millis(max_ms),
            "round {round}: {:?}",
            begun.elapsed()
        );
        assert_eq!(disk(&reading, &point), None);
        assert_eq!(
            value(&reading, "node_filesystem_device_error", &["hung", "fuse", &point]),
            Some(1.0)
        );
        assert_eq!(reading.gaps.len(), 1, "{:?}", reading.gaps);
        let gap = &reading.gaps[0];
        assert_eq!(
            (gap.source.as_str(), &gap.metrics),
            ("host.filesystems", &patterns(&METRICS))
        );
        assert!(gap.reason.contains(&point), "{}", gap.reason);
        assert!(gap.reason.contains("since 2023-11-14T22:13:20Z"), "{}", gap.reason);
        assert!(scene.threads() <= 2, "round {round}: {} threads", scene.threads());
    }
    fuse.answer();
    let reading = scene.measure_until("it answers again", |reading| reading.gaps.is_empty());
    assert_eq!(disk(&reading, &point), Some(25.0));
    assert_eq!(value(&reading, "inodes", &["hung", "fuse", &point]), Some(50.0));
    assert_eq!(
        value(&reading, "node_filesystem_device_error", &["hung", "fuse", &point]),
        Some(0.0)
    );
}

#[test]
fn a_file_system_whose_server_died_releases_its_thread_and_is_dropped_when_unmounted() {
    let mut fuse = Fuse::mounted();
    let mut scene = Scene::new("hung-and-gone", &fuse);
    assert!(scene.measure(1).gaps[0].reason.contains("has not answered"));
    fuse.die();
    let died = |reading: &Reading| reading.gaps[0].reason.contains("not connected");
    scene.measure_until("the server is gone", died);
    assert!(scene.threads() <= 2, "{} threads", scene.threads());
    unmount(fuse.path(), UnmountFlags::DETACH).expect("unmounted");
    let mounts = fs::read_to_string(scene.machine.path().join("proc/self/mountinfo")).expect("written before");
    let point = fuse.path().display().to_string();
    let left: Vec<_> = mounts.lines().filter(|line| !line.contains(&point)).collect();
    scene.machine.write("proc/self/mountinfo", left.join("\n"));
    let reading = scene.measure(3);
    assert_eq!(reading.gaps, []);
    assert!(
        reading
            .samples
            .iter()
            .all(|sample| sample.labels().get("mountpoint") == Some("/"))
    );
}
