//! Help texts: a table for well-known names, and a generic message for all others. The names themselves are chosen in
//! `naming`.

use std::borrow::Cow;

use watchpost_policies::Unit;

use super::host_metrics::HostMetric;

/// The help for a family. `name` is the exported name; `metric` and `unit` are the internal ones.
pub(super) fn help(name: &str, metric: &str, unit: &Unit) -> Cow<'static, str> {
    let known = HELP_TEXTS.binary_search_by_key(&name, |(known, _)| *known);
    if let Ok(at) = known {
        return Cow::Borrowed(HELP_TEXTS[at].1);
    }
    if let Some(declared) = HostMetric::find(name).filter(|declared| declared.name == name) {
        return Cow::Borrowed(declared.help);
    }
    Cow::Owned(family_help(name).unwrap_or_else(|| format!("The metric {metric} in {unit}.")))
}

/// Help for groups of names that follow the fields of the kernel.
fn family_help(name: &str) -> Option<String> {
    let strip = |prefix: &str| name.strip_prefix(prefix);
    let within = |prefix: &str, ending: &str| name.strip_prefix(prefix)?.strip_suffix(ending);
    if let Some(field) = strip("node_memory_") {
        let (field, in_bytes) = match field.strip_suffix("_bytes") {
            Some(field) => (field, " in bytes"),
            None => (field, ""),
        };
        return Some(format!("The field {field} of /proc/meminfo{in_bytes}."));
    }
    if let Some(field) = strip("node_vmstat_") {
        return Some(format!("The field {field} of /proc/vmstat."));
    }
    if let Some(field) = strip("node_netstat_") {
        return Some(format!("The field {field} of /proc/net/netstat, snmp or snmp6."));
    }
    if let Some(value) = strip("node_sockstat_") {
        return Some(format!("The number {value} of /proc/net/sockstat or sockstat6."));
    }
    if let Some(property) = strip("node_hwmon_") {
        return Some(format!(
            "The property {property} of a sensor of a hardware monitoring chip."
        ));
    }
    if let Some(resource) = within("node_pressure_", "_waiting_seconds_total") {
        return Some(format!("Time in seconds that at least one task waited for {resource}."));
    }
    if let Some(resource) = within("node_pressure_", "_stalled_seconds_total") {
        return Some(format!("Time in seconds that all tasks were stalled on {resource}."));
    }
    for (prefix, verb) in [
        ("node_network_receive_", "received"),
        ("node_network_transmit_", "sent"),
    ] {
        if let Some(what) = within(prefix, "_total") {
            return Some(match what {
                "bytes" | "packets" => format!("Number of {what} that a network device {verb}."),
                "errs" => format!("Number of packets that a network device {verb} with an error."),
                "drop" => format!("Number of packets to be {verb} that a network device dropped."),
                other => format!("The counter {other} of packets that a network device {verb}."),
            });
        }
    }
    let field = strip("node_network_")?;
    Some(format!("The property {field} of a network device."))
}

/// Sorted by name.
const HELP_TEXTS: &[(&str, &str)] = &[
    (
        "node_boot_time_seconds",
        "Boot time of the machine, in seconds since 1970.",
    ),
    ("node_context_switches_total", "Number of context switches."),
    (
        "node_cpu_core_throttles_total",
        "Number of times a core was throttled because it was too hot.",
    ),
    ("node_cpu_frequency_hertz", "Current frequency of a CPU, in hertz."),
    ("node_cpu_frequency_max_hertz", "Maximum frequency of a CPU, in hertz."),
    ("node_cpu_frequency_min_hertz", "Minimum frequency of a CPU, in hertz."),
    ("node_cpu_info", "Model of the CPUs."),
    (
        "node_cpu_scaling_frequency_hertz",
        "Current scaled frequency of a CPU, in hertz.",
    ),
    (
        "node_cpu_scaling_frequency_max_hertz",
        "Maximum scaled frequency of a CPU, in hertz.",
    ),
    (
        "node_cpu_scaling_frequency_min_hertz",
        "Minimum scaled frequency of a CPU, in hertz.",
    ),
    (
        "node_cpu_seconds_total",
        "Time in seconds that a CPU spent in each mode.",
    ),
    ("node_disk_io_now", "Number of reads and writes in progress."),
    (
        "node_disk_io_time_seconds_total",
        "Time in seconds that a disk was busy.",
    ),
    (
        "node_disk_io_time_weighted_seconds_total",
        "Time in seconds that a disk was busy, weighted by the number of reads and writes in progress.",
    ),
    ("node_disk_read_bytes_total", "Number of bytes read from a disk."),
    (
        "node_disk_read_time_seconds_total",
        "Total duration of all reads, in seconds.",
    ),
    ("node_disk_reads_completed_total", "Number of completed reads."),
    (
        "node_disk_reads_merged_total",
        "Number of reads that were merged with others.",
    ),
    (
        "node_disk_write_time_seconds_total",
        "Total duration of all writes, in seconds.",
    ),
    ("node_disk_writes_completed_total", "Number of completed writes."),
    (
        "node_disk_writes_merged_total",
        "Number of writes that were merged with others.",
    ),
    ("node_disk_written_bytes_total", "Number of bytes written to a disk."),
    (
        "node_entropy_available_bits",
        "Entropy available to the kernel, in bits.",
    ),
    (
        "node_entropy_pool_size_bits",
        "Size of the kernel's entropy pool, in bits.",
    ),
    ("node_filefd_allocated", "Number of open files on the whole machine."),
    (
        "node_filefd_maximum",
        "Maximum number of open files on the whole machine.",
    ),
    (
        "node_filesystem_avail_bytes",
        "Space available to users other than root, in bytes.",
    ),
    (
        "node_filesystem_device_error",
        "1 if reading the state of a filesystem failed, 0 if it succeeded.",
    ),
    ("node_filesystem_files", "Number of inodes of a filesystem."),
    ("node_filesystem_files_free", "Number of free inodes of a filesystem."),
    ("node_filesystem_free_bytes", "Free space of a filesystem, in bytes."),
    ("node_filesystem_mount_info", "Devices and their mount points."),
    (
        "node_filesystem_readonly",
        "1 if a filesystem is read-only, 0 if it is writable.",
    ),
    ("node_filesystem_size_bytes", "Size of a filesystem, in bytes."),
    ("node_forks_total", "Number of forks."),
    ("node_intr_total", "Number of interrupts served."),
    ("node_load1", "Load average over 1 minute: running and waiting tasks."),
    (
        "node_load15",
        "Load average over 15 minutes: running and waiting tasks.",
    ),
    ("node_load5", "Load average over 5 minutes: running and waiting tasks."),
    ("node_processes_max_processes", "Maximum number of processes."),
    ("node_processes_max_threads", "Maximum number of threads."),
    ("node_processes_pids", "Number of processes."),
    ("node_processes_state", "Number of processes in each state."),
    ("node_processes_threads", "Number of threads."),
    ("node_procs_blocked", "Number of tasks blocked on I/O."),
    ("node_procs_running", "Number of runnable tasks."),
    (
        "node_thermal_zone_temp",
        "Temperature of a thermal zone, in degrees Celsius.",
    ),
    (
        "node_uname_info",
        "Kernel name, kernel version and host name, from uname.",
    ),
    ("watchpost_active_chunks", "Number of work chunks in status processing."),
    (
        "watchpost_cgroup_cpu_limit_cores",
        "CPU limit of Watchpost's control group, in cores.",
    ),
    (
        "watchpost_cgroup_cpu_seconds_total",
        "CPU time used by Watchpost's control group, in seconds.",
    ),
    (
        "watchpost_cgroup_memory_bytes",
        "Memory used by Watchpost's control group, in bytes.",
    ),
    (
        "watchpost_cgroup_memory_limit_bytes",
        "Memory limit of Watchpost's control group, in bytes.",
    ),
    (
        "watchpost_cgroup_oom_kills_total",
        "Number of processes of Watchpost's control group that the out-of-memory killer killed.",
    ),
    (
        "watchpost_cgroup_pids",
        "Number of processes and threads in Watchpost's control group.",
    ),
    (
        "watchpost_cgroup_pids_limit",
        "Maximum number of processes and threads in Watchpost's control group.",
    ),
    (
        "watchpost_cgroup_throttled_seconds_total",
        "Time in seconds that Watchpost's control group was throttled because it had used its CPU quota.",
    ),
    ("watchpost_chunks", "Number of work chunks, by status."),
    (
        "watchpost_chunks_failed_since_last_look",
        "Number of work chunks that failed since the previous count.",
    ),
    (
        "watchpost_chunks_oldest_active_seconds",
        "Age in seconds of the work chunk that has been in status processing for the longest time.",
    ),
    ("watchpost_chunks_retries", "Total number of retries of work chunks."),
    ("watchpost_cpu_core_ratio", "Utilization of a core, from 0 to 1."),
    ("watchpost_cpu_ratio", "Utilization of all CPUs, from 0 to 1."),
    (
        "watchpost_disk_busy_ratio",
        "Share of time that a disk is busy, from 0 to 1.",
    ),
    (
        "watchpost_disk_ratio",
        "Used share of a filesystem's space, from 0 to 1.",
    ),
    (
        "watchpost_inodes_ratio",
        "Used share of a filesystem's inodes, from 0 to 1.",
    ),
    (
        "watchpost_load_per_core",
        "Load average divided by the number of cores.",
    ),
    (
        "watchpost_memory_ratio",
        "Share of memory that is used and cannot be reclaimed, from 0 to 1.",
    ),
    (
        "watchpost_open_files_ratio",
        "Share of the maximum number of open files that is open, from 0 to 1.",
    ),
    ("watchpost_swap_ratio", "Used share of the swap space, from 0 to 1."),
    (
        "watchpost_temperature_celsius",
        "Temperature of a part of the machine, in degrees Celsius.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn help_for(name: &str) -> String {
        help(name, "wind", &Unit::new("km/h")).into_owned()
    }

    #[test]
    fn the_table_is_sorted_so_that_it_can_be_searched() {
        for pair in HELP_TEXTS.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} is before {}", pair[0].0, pair[1].0);
        }
    }

    #[test]
    fn every_name_has_a_sentence() {
        for (name, expected) in [
            ("node_load1", "Load average over 1 minute: running and waiting tasks."),
            (
                "node_memory_MemFree_bytes",
                "The field MemFree of /proc/meminfo in bytes.",
            ),
            (
                "node_memory_HugePages_Free",
                "The field HugePages_Free of /proc/meminfo.",
            ),
            ("node_vmstat_oom_kill", "The field oom_kill of /proc/vmstat."),
            (
                "node_pressure_io_waiting_seconds_total",
                "Time in seconds that at least one task waited for io.",
            ),
            (
                "node_network_receive_bytes_total",
                "Number of bytes that a network device received.",
            ),
            (
                "node_network_transmit_errs_total",
                "Number of packets that a network device sent with an error.",
            ),
            ("node_network_odd", "The property odd of a network device."),
            (
                "node_network_mtu_bytes",
                "Maximum size of a packet of a network device, in bytes.",
            ),
            (
                "node_netstat_Tcp_InSegs",
                "The field Tcp_InSegs of /proc/net/netstat, snmp or snmp6.",
            ),
            (
                "node_hwmon_fan_fault",
                "The property fan_fault of a sensor of a hardware monitoring chip.",
            ),
            ("node_unknown_metric", "The metric wind in km/h."),
            ("watchpost_wind_km_h", "The metric wind in km/h."),
        ] {
            assert_eq!(help_for(name), expected);
        }
        let plain = help("watchpost_birds", "birds", &Unit::default());
        assert_eq!(plain, "The metric birds in plain counts.");
    }

    #[test]
    fn every_help_text_is_a_sentence() {
        for (name, text) in HELP_TEXTS {
            assert!(
                text.ends_with('.') && text.starts_with(|first: char| first.is_uppercase() || first == '1'),
                "{name}"
            );
        }
    }
}
