//! All probes together, on the machine that runs the tests.

use std::collections::{BTreeMap, HashSet};

use watchpost_policies::{Labels, MetricName, Sample, Snapshot};

use super::fixture::Machine;
use super::*;
use crate::collect::probe::Reading;
use crate::metrics::catalogue::undeclared;
use crate::metrics::{HOST_METRICS, HostMetric, Kind};

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
                assert_eq!(undeclared::reason(Some(probe.name()), sample), None);
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
    for sample in &samples {
        check_declaration(sample);
    }
    let snapshot = Snapshot::new("here".to_owned(), 2, Labels::none(), samples, Vec::new());
    assert!(
        snapshot.gaps().is_empty(),
        "a series twice, or in two units: {:?}",
        snapshot.gaps()
    );
}

/// The files of all refreshable probes, at this step; their counters grow.
fn write_step(machine: &Machine, step: u64) {
    let (busy, idle) = (step * step * 7, step * 100);
    let stat = format!(
        "cpu {busy} 0 0 {idle}\ncpu0 {busy} 0 0 {idle} 0 0 0 0 {step} 0\nctxt {step}\nintr {step} 1\nbtime 7\nprocesses {step}\n"
    );
    machine.write("proc/stat", stat + "procs_running 1\nprocs_blocked 0\n");
    let busy_ms = step * step * 10;
    let disk =
        format!("8 0 sda {step} 0 {step} 1 {step} 0 {step} 1 0 {busy_ms} {busy_ms} {step} 0 {step} 1 {step} 1\n");
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
    machine.write("proc/schedstat", format!("cpu0 0 0 0 0 0 0 {step} {step} {step}\n"));
    write_network(machine, step);
    let pressure = format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={step}\n");
    machine.write("proc/pressure/cpu", pressure);
    let cgroup = machine.path().join("cg");
    let mount = format!("30 23 0:26 / {} rw - cgroup2 cgroup2 rw\n", cgroup.display());
    machine.write("proc/self/mountinfo", mount);
    machine.write("proc/self/cgroup", "0::/\n");
    machine.write("cg/cpu.stat", format!("usage_usec {step}\nthrottled_usec {step}\n"));
    let clock = "sys/devices/system/clocksource/clocksource0";
    machine.write(&format!("{clock}/current_clocksource"), "tsc\n");
}

fn write_network(machine: &Machine, step: u64) {
    machine.write("sys/class/net/eth0/operstate", "up\n");
    machine.write("sys/class/net/eth0/carrier_changes", format!("{step}\n"));
    let neighbours = "10.0.0.1 0x1 0x2 02:fc:00:00:00:02 * eth0\n".repeat(step as usize);
    machine.write("proc/net/arp", format!("header\n{neighbours}"));
    machine.write("proc/net/netstat", format!("IpExt: InOctets\nIpExt: {step}\n"));
    machine.write("proc/net/snmp", format!("Tcp: CurrEstab InSegs\nTcp: 1 {step}\n"));
    machine.write("proc/net/snmp6", format!("Ip6InOctets {step}\n"));
    machine.write("proc/net/sockstat", format!("TCP: inuse {step} orphan 0\n"));
    machine.write("proc/net/softnet_stat", format!("{step:x} 0 0\n"));
    machine.write("proc/sys/net/netfilter/nf_conntrack_count", format!("{step}\n"));
    machine.write("proc/net/stat/nf_conntrack", format!("entries found\n1 {step:x}\n"));
}

/// The values of a measurement, without those that the kernel of this machine gives: no file has them.
fn values(measured: Result<Reading, String>) -> BTreeMap<String, f64> {
    let samples = measured.expect("all files exist").samples;
    let is_of_files = |sample: &Sample| !sample.metric().as_str().starts_with("node_timex_");
    let series = |sample: Sample| (format!("{}{:?}", sample.metric(), sample.labels()), sample.value());
    samples.into_iter().filter(is_of_files).map(series).collect()
}

#[test]
fn scrapes_between_rounds_do_not_change_what_rounds_measure() {
    let machine = Machine::new();
    let mut first = BTreeMap::new();
    let (mut scraped, mut undisturbed) = (probes(&machine.options()), probes(&machine.options()));
    for step in 1..40 {
        write_step(&machine, step);
        for (scraped, undisturbed) in scraped.iter_mut().zip(&mut undisturbed) {
            let (name, now_ms) = (scraped.name(), step * 5000);
            if !is_refreshable(name) {
                continue;
            }
            // A round at every third step; scrapes before and after it.
            for _ in 0..step % 3 {
                scraped.refresh(now_ms).expect("all files exist");
            }
            if step % 3 == 0 {
                let (one, other) = (values(scraped.measure(now_ms)), values(undisturbed.measure(now_ms)));
                assert_eq!(one, other, "{name} at step {step}");
                let first = first.entry(name).or_insert_with(|| one.clone());
                assert!(step == 3 || *first != one, "the files of {name} do not change");
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
        "node_netstat_Tcp_InSegs",
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

/// The declaration of a sample, if it has one, is true.
fn check_declaration(sample: &Sample) {
    let metric = sample.metric().as_str();
    let Some(declared) = HostMetric::find(metric) else {
        return;
    };
    let labels: Vec<_> = sample
        .labels()
        .as_slice()
        .iter()
        .map(|label| label.name.as_str())
        .collect();
    assert_eq!(labels, declared.labels, "{metric}");
    let is_exact = declared.name == metric;
    assert!(
        !is_exact || sample.unit().as_str() == declared.unit,
        "{metric} is in {}",
        sample.unit()
    );
    assert!(declared.kind != Kind::Counter || sample.value() >= 0.0, "{metric}");
}

#[test]
fn every_declared_metric_is_one_of_its_source() {
    let probes = probes(&HostOptions::default());
    for declared in HOST_METRICS {
        let probe = probes.iter().find(|probe| probe.name() == declared.source);
        let patterns = probe.expect(declared.source).metrics();
        let name = MetricName::new(&declared.name.replace('*', "any")).expect("a legal name");
        let is_its = patterns.iter().any(|pattern| pattern.covers(&name));
        assert!(is_its, "{} does not measure {}", declared.source, declared.name);
    }
}

#[test]
fn a_machine_without_files_gives_errors_that_name_them() {
    let machine = Machine::new();
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
        [
            "host.cgroup",
            "host.conntrack",
            "host.netstat",
            "host.pressure",
            "host.sockstat",
            "host.softnet",
            "host.system",
            "host.temperature",
            "host.textfile",
            "host.time"
        ]
    );
}
