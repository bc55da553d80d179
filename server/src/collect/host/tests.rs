//! All probes together, on the machine that runs the tests.

use std::collections::{BTreeMap, HashSet};

use watchpost_policies::{Labels, Snapshot};

use super::*;

#[test]
fn probes_have_unique_names_and_legal_patterns() {
    let probes = probes(&HostOptions::default());
    let names: HashSet<_> = probes.iter().map(|probe| probe.name()).collect();
    assert_eq!(names.len(), probes.len());
    for probe in &probes {
        assert!(probe.name().starts_with("host."), "{}", probe.name());
        assert!(!probe.metrics().is_empty(), "{}", probe.name());
    }
}

#[test]
fn every_probe_measures_this_machine_and_declares_its_metrics() {
    let mut samples = Vec::new();
    for mut probe in probes(&HostOptions::default()) {
        for now_ms in [1, 2] {
            let reading = probe.measure(now_ms).expect("this machine has all files");
            for sample in &reading.samples {
                let is_declared = probe.metrics().iter().any(|pattern| pattern.covers(sample.metric()));
                assert!(is_declared, "{} does not declare {}", probe.name(), sample.metric());
                assert_eq!(sample.time_ms(), now_ms);
            }
            if now_ms == 2 {
                samples.extend(reading.samples);
            }
        }
    }
    let expected = [
        "cpu",
        "memory",
        "load_per_core",
        "open_files",
        "node_uname_info",
        "node_memory_MemTotal_bytes",
    ];
    for metric in expected {
        assert!(
            samples.iter().any(|sample| sample.metric().as_str() == metric),
            "{metric}"
        );
    }
    for sample in &samples {
        let is_in_bounds = sample.unit().as_str() != "percent" || (0.0..=100.0).contains(&sample.value());
        assert!(is_in_bounds, "{} is {}", sample.metric(), sample.value());
    }
    let snapshot = Snapshot::new("here".to_owned(), 2, Labels::none(), samples, Vec::new());
    assert!(
        snapshot.gaps().is_empty(),
        "a series twice, or in two units: {:?}",
        snapshot.gaps()
    );
}

/// The files whose counters change, at this step; all of them grow.
fn write_step(machine: &fixture::Machine, step: u64) {
    let (busy, idle) = (step * step * 7, step * 100);
    let stat = format!(
        "cpu {busy} 0 0 {idle}\ncpu0 {busy} 0 0 {idle}\nctxt {step}\nintr {step} 1\nbtime 7\nprocesses {step}\n"
    );
    machine.write("proc/stat", stat + "procs_running 1\nprocs_blocked 0\n");
    let busy_ms = step * step * 10;
    let disk = format!("8 0 sda {step} 0 {step} 1 {step} 0 {step} 1 0 {busy_ms} {busy_ms} 0 0 0 0 0 0\n");
    machine.write("proc/diskstats", disk);
    machine.write("proc/uptime", format!("{step}00.00 1.00\n"));
    machine.write("proc/loadavg", "0.50 0.50 0.25 1/99 1234\n");
    machine.write(
        "proc/net/dev",
        format!("eth0:{step} 1 0 0 0 0 0 0 {step} 1 0 0 0 0 0 0\n"),
    );
    machine.write("proc/meminfo", format!("MemTotal: 1000 kB\nMemAvailable: {step} kB\n"));
    machine.write("proc/vmstat", format!("pgfault {step}\npgpgin {step}\noom_kill 0\n"));
    machine.write("proc/sys/fs/file-nr", format!("{step}\t0\t1000\n"));
}

#[test]
fn scrapes_between_rounds_do_not_change_what_rounds_measure() {
    let machine = fixture::Machine::new();
    let (mut scraped, mut undisturbed) = (probes(&machine.options()), probes(&machine.options()));
    for step in 1..40 {
        write_step(&machine, step);
        for (scraped, undisturbed) in scraped.iter_mut().zip(&mut undisturbed) {
            let name = scraped.name();
            // A round at every third step; scrapes before and after it.
            let scrapes = if is_refreshable(name) { step % 3 } else { 0 };
            for _ in 0..scrapes {
                drop(scraped.refresh(step * 5000));
            }
            if step % 3 == 0 {
                let (one, other) = (scraped.measure(step * 5000), undisturbed.measure(step * 5000));
                assert_eq!(one, other, "{name} at step {step}");
            }
        }
    }
}

#[test]
fn a_scrape_reads_the_counters_of_this_machine() {
    let mut metrics = HashSet::new();
    for mut probe in probes(&HostOptions::default()) {
        if is_refreshable(probe.name()) {
            probe.measure(1).expect("this machine has all files");
            let reading = probe.refresh(2).expect("this machine has all files");
            assert!(reading.samples.iter().all(|sample| sample.time_ms() == 2));
            metrics.extend(reading.samples.iter().map(|sample| sample.metric().to_string()));
        }
    }
    for counter in [
        "node_cpu_seconds_total",
        "node_context_switches_total",
        "node_network_receive_bytes_total",
        "node_vmstat_pgfault",
    ] {
        assert!(metrics.contains(counter), "{counter}");
    }
    for derived in ["cpu", "cpu_core", "disk_busy"] {
        assert!(
            !metrics.contains(derived),
            "{derived} covers the time since the last round"
        );
    }
}

#[test]
fn a_machine_without_files_gives_errors_that_name_them() {
    let machine = fixture::Machine::new();
    let mut outcomes = BTreeMap::new();
    for mut probe in probes(&machine.options()) {
        let outcome = probe.measure(1);
        if let Err(reason) = &outcome {
            assert!(reason.contains(&machine.path().display().to_string()), "{reason}");
        }
        outcomes.insert(probe.name(), outcome.is_ok());
    }
    let well: Vec<_> = outcomes
        .iter()
        .filter(|(_, is_ok)| **is_ok)
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(
        well,
        ["host.cgroup", "host.pressure", "host.system", "host.temperature"]
    );
}
