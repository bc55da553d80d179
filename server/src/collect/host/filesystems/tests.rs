//! Tests of the conversion of results, with simulated file systems.

use super::usage::Usage;
use super::*;
use std::io;

use crate::collect::host::fixture::{Machine, count, value};

const ROOT: &str = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n";

fn answering(machine: &Machine, usage: fn(&Path) -> io::Result<Usage>) -> Filesystems {
    let options = machine.options();
    let pool = StatfsPool::new("fs-answering", options.mount_timeout, Arc::new(usage));
    Filesystems::with_pool(&options, pool)
}

fn half_full(_: &Path) -> io::Result<Usage> {
    Ok(Usage {
        block_bytes: 1024,
        blocks: 1000,
        free: 600,
        available: 400,
        files: 100,
        files_free: 75,
    })
}

#[test]
fn file_systems_are_reported_as_by_node_exporter_and_df() {
    let machine = Machine::new().with(
        "proc/1/mountinfo",
        ROOT.replace("ext4 /dev/sda1 rw", "ext4 /dev/sda1 ro"),
    );
    let reading = answering(&machine, half_full).measure(1).expect("measured");
    let labels = ["/dev/sda1", "ext4", "/"];
    let check = |metric: &str, expected: f64| assert_eq!(value(&reading, metric, &labels), Some(expected), "{metric}");
    check("disk", 50.0);
    check("inodes", 25.0);
    check("node_filesystem_size_bytes", 1_024_000.0);
    check("node_filesystem_free_bytes", 614_400.0);
    check("node_filesystem_avail_bytes", 409_600.0);
    check("node_filesystem_files", 100.0);
    check("node_filesystem_files_free", 75.0);
    check("node_filesystem_readonly", 1.0);
    check("node_filesystem_device_error", 0.0);
    assert_eq!(reading.gaps, []);
}

#[test]
fn a_file_system_that_counts_no_inodes_or_blocks_has_no_percent() {
    let machine = Machine::new().with("proc/1/mountinfo", ROOT);
    let empty = |_: &Path| Ok(Usage::default());
    let reading = answering(&machine, empty).measure(1).expect("measured");
    assert_eq!((count(&reading, "disk"), count(&reading, "inodes")), (0, 0));
    assert_eq!(count(&reading, "node_filesystem_size_bytes"), 1);
    assert_eq!(reading.gaps, []);
}

#[test]
fn a_file_system_that_fails_is_one_gap_and_the_others_are_measured() {
    let mounts = format!("{ROOT}2 1 0:9 / /mnt/a\\040b rw - fuse.x x rw\n");
    let machine = Machine::new().with("proc/1/mountinfo", mounts);
    let failing = |path: &Path| match path.ends_with("mnt/a b") {
        true => Err(io::Error::from_raw_os_error(107)),
        false => half_full(path),
    };
    let reading = answering(&machine, failing).measure(1).expect("measured");
    assert_eq!(count(&reading, "disk"), 1);
    let labels = ["x", "fuse.x", "/mnt/a b"];
    assert_eq!(value(&reading, "node_filesystem_device_error", &labels), Some(1.0));
    assert_eq!(reading.gaps.len(), 1);
    assert_eq!(reading.gaps[0].metrics, patterns(&METRICS));
    assert!(reading.gaps[0].reason.contains("/mnt/a b"), "{:?}", reading.gaps);
    assert!(reading.gaps[0].reason.contains("not connected"), "{:?}", reading.gaps);
}

#[test]
fn excluded_and_hidden_mounts_are_not_queried() {
    let mounts = format!(
        "{ROOT}2 1 0:5 / /dev rw - devtmpfs d rw\n3 1 0:6 / /dev/shm rw - tmpfs s rw\n\
         4 1 0:7 / /x rw - overlay o rw\n\
         5 1 8:2 / /mnt rw - ext4 /dev/old rw\n6 5 8:3 / /mnt rw - ext4 /dev/new rw\n\
         7 1 8:1 / /bind rw - ext4 /dev/sda1 rw\n"
    );
    let machine = Machine::new().with("proc/1/mountinfo", mounts);
    let reading = answering(&machine, half_full).measure(1).expect("measured");
    let points: Vec<_> = reading
        .samples
        .iter()
        .filter(|sample| sample.metric().as_str() == "disk")
        .map(|sample| (sample.labels().get("mountpoint"), sample.labels().get("device")))
        .collect();
    let expected = [("/", "/dev/sda1"), ("/mnt", "/dev/new"), ("/bind", "/dev/sda1")];
    assert_eq!(points, expected.map(|(point, device)| (Some(point), Some(device))));
}

#[test]
fn a_host_seen_through_mounts_is_reported_with_its_own_paths() {
    let machine = Machine::new();
    let root = machine.path().display().to_string();
    let mounts = format!(
        "1 0 8:1 / {root} rw - ext4 a rw\n2 1 8:2 / {root}/home rw - ext4 b rw\n\
         3 1 8:3 / /etc/hosts rw - ext4 c rw\n"
    );
    machine.write("proc/self/mountinfo", mounts);
    let reading = answering(&machine, half_full).measure(1).expect("measured");
    assert_eq!(value(&reading, "disk", &["a", "ext4", "/"]), Some(50.0));
    assert_eq!(value(&reading, "disk", &["b", "ext4", "/home"]), Some(50.0));
    assert_eq!(value(&reading, "disk", &["c", "ext4", "/etc/hosts"]), Some(50.0));
}

#[test]
fn a_mount_point_too_long_for_a_label_is_one_gap() {
    let machine = Machine::new().with(
        "proc/1/mountinfo",
        format!("1 0 8:1 / /{} rw - ext4 a rw\n", "x".repeat(2000)),
    );
    let reading = answering(&machine, half_full).measure(1).expect("measured");
    assert_eq!((reading.samples.len(), reading.gaps.len()), (0, 1));
}

#[test]
fn missing_mount_information_is_an_error() {
    let error = Filesystems::new(&Machine::new().options())
        .measure(1)
        .expect_err("refused");
    assert!(error.contains("mountinfo"), "{error}");
}

#[test]
fn remote_types_are_recognized() {
    for remote in ["nfs", "nfs4", "fuse", "fuse.sshfs", "fuseblk", "cifs", "9p"] {
        assert!(is_remote(remote), "{remote}");
    }
    for local in ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "vfat"] {
        assert!(!is_remote(local), "{local}");
    }
}
