//! Valid and invalid files, alone and next to each other.

use std::os::unix::fs::symlink;

use super::super::fixture::{Machine, count, value};
use super::*;
use crate::metrics::Kind;

fn textfile(machine: &Machine) -> Textfile {
    let options = HostOptions {
        textfile_dir: Some(machine.path().join("text")),
        ..machine.options()
    };
    Textfile::new(&options, patterns(&["cpu", "node_memory_*"]))
}

fn measured(machine: &Machine) -> Reading {
    textfile(machine).measure(5000).expect("measured")
}

fn error(reading: &Reading) -> Option<f64> {
    value(reading, "node_textfile_scrape_error", &[])
}

#[test]
fn the_metrics_of_all_files_are_reported_with_their_types_and_times() {
    let machine = Machine::new()
        .with(
            "text/apt.prom",
            "# TYPE apt_upgrades_pending gauge\napt_upgrades_pending{origin=\"a\"} 3\n",
        )
        .with(
            "text/backup.prom",
            "backup_runs_total 7\napt_upgrades_pending{origin=\"b\"} 4\n",
        )
        .with("text/backup.prom.tmp", "not read")
        .with("text/README", "not read");
    let reading = measured(&machine);
    assert_eq!(value(&reading, "apt_upgrades_pending", &["a"]), Some(3.0));
    assert_eq!(value(&reading, "apt_upgrades_pending", &["b"]), Some(4.0));
    assert_eq!(value(&reading, "backup_runs_total", &[]), Some(7.0));
    assert_eq!(error(&reading), Some(0.0));
    assert_eq!(reading.gaps, []);
    let path = machine.path().join("text/apt.prom");
    let modified = fs::metadata(&path)
        .expect("it is there")
        .modified()
        .expect("it has a time");
    let modified = modified
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs_f64();
    let mtime = value(&reading, "node_textfile_mtime_seconds", &[&path.to_string_lossy()]).expect("it was read");
    assert!((mtime - modified).abs() < 0.001, "{mtime} {modified}");
    let families: Vec<_> = reading
        .families
        .iter()
        .map(|family| (family.name.as_str(), family.kind))
        .collect();
    assert_eq!(
        families,
        [
            ("apt_upgrades_pending", Kind::Gauge),
            ("backup_runs_total", Kind::Unknown)
        ]
    );
}

#[test]
fn without_a_directory_there_is_no_error() {
    let mut textfile = Textfile::new(&Machine::new().options(), Vec::new());
    let reading = textfile.measure(1).expect("measured");
    assert_eq!((error(&reading), reading.samples.len()), (Some(0.0), 1));
}

#[test]
fn an_invalid_file_costs_only_itself() {
    let machine = Machine::new()
        .with("text/a.prom", "a 1\n")
        .with("text/b.prom", "b 1\nb 2\n")
        .with("text/c.prom", "c 1\n");
    let reading = measured(&machine);
    assert_eq!(
        (count(&reading, "a"), count(&reading, "b"), count(&reading, "c")),
        (1, 0, 1)
    );
    assert_eq!(count(&reading, "node_textfile_mtime_seconds"), 2);
    assert_eq!(error(&reading), Some(1.0));
    assert!(
        reading.gaps[0]
            .reason
            .contains("b.prom: line 2: the series is there twice"),
        "{:?}",
        reading.gaps
    );
}

#[test]
fn the_metrics_of_a_file_that_became_invalid_are_missing_until_it_is_valid_again() {
    let machine = Machine::new().with("text/a.prom", "a 1\n");
    let mut textfile = textfile(&machine);
    assert_eq!(textfile.measure(1).expect("measured").gaps, []);
    machine.write("text/a.prom", "a 1\na 2");
    for _ in 0..2 {
        let reading = textfile.measure(2).expect("measured");
        assert_eq!(reading.gaps[0].metrics, patterns(&["a"]));
        assert_eq!(count(&reading, "a"), 0);
    }
    machine.write("text/a.prom", "b 3\n");
    let reading = textfile.measure(3).expect("measured");
    assert_eq!((reading.gaps.len(), value(&reading, "b", &[])), (0, Some(3.0)));
    fs::remove_file(machine.path().join("text/a.prom")).expect("removed");
    let reading = textfile.measure(4).expect("measured");
    assert_eq!(
        (reading.gaps.len(), reading.samples.len()),
        (0, 1),
        "a deleted file is no error"
    );
}

#[test]
fn a_name_that_is_measured_or_reserved_is_an_error() {
    for name in [
        "cpu",
        "node_memory_MemFree_bytes",
        "watchpost_x",
        "node_textfile_mtime_seconds",
        "up",
        "chunks",
    ] {
        let machine = Machine::new().with("text/a.prom", format!("good 1\n{name} 1\n"));
        let reading = measured(&machine);
        let reason = &reading.gaps[0].reason;
        assert!(
            reason.contains("line 2: Watchpost itself measures or reserves "),
            "{reason}"
        );
        assert_eq!((count(&reading, "good"), error(&reading)), (0, Some(1.0)));
    }
    let machine = Machine::new().with("text/a.prom", "cpu_fan 1\nnode_md_disks 1\nupdates 1\n");
    assert_eq!(measured(&machine).gaps, []);
}

#[test]
fn every_metric_of_another_source_is_reserved() {
    let reserved = Textfile::new(&HostOptions::default(), Vec::new()).reserved;
    for pattern in patterns(&[
        "active_chunks",
        "chunks",
        "chunks_*",
        "rules_behind",
        "rules_quarantined",
    ]) {
        assert!(reserved.contains(&pattern), "{pattern}");
    }
}

#[test]
fn a_series_in_two_files_is_an_error_of_the_second() {
    let machine = Machine::new()
        .with("text/a.prom", "x 1\n")
        .with("text/b.prom", "x 2\ny 3\n");
    let reading = measured(&machine);
    assert_eq!(value(&reading, "x", &[]), Some(1.0));
    assert_eq!(count(&reading, "y"), 0);
    assert!(
        reading.gaps[0]
            .reason
            .contains("b.prom: line 1: another file has the same series"),
        "{:?}",
        reading.gaps
    );
}

#[test]
fn a_value_that_is_not_finite_is_a_gap() {
    let machine = Machine::new().with("text/a.prom", "x NaN\ny 1\n");
    let reading = measured(&machine);
    assert_eq!((value(&reading, "y", &[]), count(&reading, "x")), (Some(1.0), 0));
    assert_eq!(reading.gaps[0].metrics, patterns(&["x"]));
    assert_eq!(error(&reading), Some(0.0), "the file itself is valid");
}

#[test]
fn the_number_of_series_has_a_maximum() {
    let series =
        |name: &str, number: usize| -> String { (0..number).map(|at| format!("{name}{{at=\"{at}\"}} 1\n")).collect() };
    let machine = Machine::new()
        .with("text/a.prom", series("a", MAX_SERIES))
        .with("text/b.prom", series("b", 1));
    let reading = measured(&machine);
    assert_eq!((count(&reading, "a"), count(&reading, "b")), (MAX_SERIES, 0));
    assert!(
        reading.gaps[0]
            .reason
            .contains("b.prom: line 1: the text files have more series than the maximum of 2000"),
        "{:?}",
        reading.gaps
    );
}

#[test]
fn the_size_of_a_file_has_a_maximum() {
    let max = usize::try_from(MAX_FILE_BYTES).expect("it fits");
    let filled = |bytes: usize| format!("x 1\n#{}\n", "c".repeat(bytes - "x 1\n#\n".len()));
    let machine = Machine::new().with("text/a.prom", filled(max));
    assert_eq!(count(&measured(&machine), "x"), 1);
    machine.write("text/a.prom", filled(max + 1));
    let reading = measured(&machine);
    assert!(
        reading.gaps[0].reason.contains("larger than 1048576 bytes"),
        "{:?}",
        reading.gaps
    );
}

#[test]
fn the_number_of_files_has_a_maximum() {
    let machine = Machine::new();
    for at in 0..MAX_FILES {
        machine.write(&format!("text/{at:03}.prom"), format!("x{at} 1\n"));
    }
    assert_eq!(error(&measured(&machine)), Some(0.0));
    machine.write("text/more.prom", "more 1\n");
    let reading = measured(&machine);
    assert_eq!((error(&reading), count(&reading, "more")), (Some(1.0), 0));
    assert!(
        reading.gaps[0].reason.contains("the last 1 by name are not read"),
        "{:?}",
        reading.gaps
    );
}

#[test]
fn what_is_not_a_file_is_an_error_and_does_not_block() {
    let machine = Machine::new()
        .with("text/folder.prom/x", "")
        .with("text/latin.prom", b"x{a=\"\xe4\"} 1\n")
        .with("elsewhere", "linked 1\n");
    let at = |name: &str| machine.path().join("text").join(name);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("pipe.prom"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("made");
    symlink(machine.path().join("elsewhere"), at("link.prom")).expect("linked");
    symlink(at("nothing"), at("dangling.prom")).expect("linked");
    let reading = measured(&machine);
    assert_eq!(value(&reading, "linked", &[]), None);
    let reasons: Vec<_> = reading.gaps.iter().map(|gap| gap.reason.as_str()).collect();
    for (file, reason) in [
        ("dangling.prom", "it is a symbolic link"),
        ("link.prom", "it is a symbolic link"),
        ("folder.prom", "not a regular file"),
        ("latin.prom", "not UTF-8"),
        ("pipe.prom", "not a regular file"),
    ] {
        let is_it = |text: &&str| text.contains(file) && text.contains(reason);
        assert!(reasons.iter().any(is_it), "{file}: {reasons:?}");
    }
}

#[test]
fn a_missing_directory_is_an_error_and_its_metrics_are_missing() {
    let machine = Machine::new().with("text/a.prom", "a 1\n");
    let mut textfile = textfile(&machine);
    textfile.measure(1).expect("measured");
    fs::rename(machine.path().join("text"), machine.path().join("other")).expect("renamed");
    let reading = textfile.measure(2).expect("measured");
    assert_eq!(error(&reading), Some(1.0));
    assert_eq!(reading.gaps[0].metrics, patterns(&["a"]));
    assert!(
        reading.gaps[0].reason.contains("collector.textfile_dir"),
        "{:?}",
        reading.gaps
    );
}
