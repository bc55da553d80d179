//! What a number means, as a sentence: a table for names that are well known, and a plain sentence for all others.
//! It names nothing; what is called how is told in `naming`.

use std::borrow::Cow;

use watchpost_policies::Unit;

/// The help for a family, by its name outside; `metric` and `unit` are what it is called inside.
pub(super) fn help(name: &str, metric: &str, unit: &Unit) -> Cow<'static, str> {
    let known = HELP_TEXTS.binary_search_by_key(&name, |(known, _)| *known);
    match known {
        Ok(at) => Cow::Borrowed(HELP_TEXTS[at].1),
        Err(_) => Cow::Owned(family_help(name).unwrap_or_else(|| format!("The metric {metric} in {unit}."))),
    }
}

/// Names of which there are as many as the kernel has fields.
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
        return Some(format!("The field {field} of /proc/net/netstat or snmp."));
    }
    if let Some(resource) = within("node_pressure_", "_waiting_seconds_total") {
        return Some(format!("How long at least one task waited for {resource}."));
    }
    if let Some(resource) = within("node_pressure_", "_stalled_seconds_total") {
        return Some(format!("How long no task could go on for want of {resource}."));
    }
    for (prefix, verb) in [
        ("node_network_receive_", "received"),
        ("node_network_transmit_", "sent"),
    ] {
        if let Some(what) = within(prefix, "_total") {
            return Some(match what {
                "bytes" | "packets" => format!("How many {what} a network device {verb}."),
                "errs" => format!("How many packets a network device {verb} with an error."),
                "drop" => format!("How many packets were dropped that a network device should have {verb}."),
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
        "When the machine was started, in seconds since 1970.",
    ),
    (
        "node_context_switches_total",
        "How often a CPU went from one task to another.",
    ),
    (
        "node_cpu_core_throttles_total",
        "How often a core was slowed down because it was too hot.",
    ),
    ("node_cpu_frequency_hertz", "How fast a CPU is clocked."),
    ("node_cpu_frequency_max_hertz", "How fast a CPU can be clocked at most."),
    ("node_cpu_frequency_min_hertz", "How slowly a CPU can be clocked."),
    (
        "node_cpu_guest_seconds_total",
        "How long a CPU ran virtual machines, by mode.",
    ),
    ("node_cpu_info", "What the CPUs are."),
    (
        "node_cpu_scaling_frequency_hertz",
        "How fast the kernel lets a CPU run.",
    ),
    (
        "node_cpu_scaling_frequency_max_hertz",
        "How fast the kernel lets a CPU run at most.",
    ),
    (
        "node_cpu_scaling_frequency_min_hertz",
        "How slowly the kernel lets a CPU run.",
    ),
    ("node_cpu_seconds_total", "How long a CPU spent in each mode."),
    (
        "node_disk_discard_time_seconds_total",
        "How long discards took, all together.",
    ),
    ("node_disk_discarded_sectors_total", "How many sectors were discarded."),
    (
        "node_disk_discards_completed_total",
        "How many discards were completed.",
    ),
    (
        "node_disk_discards_merged_total",
        "How many discards were merged with others.",
    ),
    (
        "node_disk_flush_requests_time_seconds_total",
        "How long flushes took, all together.",
    ),
    ("node_disk_flush_requests_total", "How many flushes were completed."),
    ("node_disk_info", "What the block devices are."),
    ("node_disk_io_now", "How many reads and writes are under way."),
    ("node_disk_io_time_seconds_total", "How long a disk had anything to do."),
    (
        "node_disk_io_time_weighted_seconds_total",
        "How long reads and writes were under way, times how many there were.",
    ),
    ("node_disk_read_bytes_total", "How many bytes were read from a disk."),
    (
        "node_disk_read_time_seconds_total",
        "How long reads took, all together.",
    ),
    ("node_disk_reads_completed_total", "How many reads were completed."),
    (
        "node_disk_reads_merged_total",
        "How many reads were merged with others.",
    ),
    (
        "node_disk_write_time_seconds_total",
        "How long writes took, all together.",
    ),
    ("node_disk_writes_completed_total", "How many writes were completed."),
    (
        "node_disk_writes_merged_total",
        "How many writes were merged with others.",
    ),
    (
        "node_disk_written_bytes_total",
        "How many bytes were written to a disk.",
    ),
    (
        "node_entropy_available_bits",
        "How much entropy the kernel has gathered.",
    ),
    ("node_entropy_pool_size_bits", "How much entropy the kernel can hold."),
    ("node_filefd_allocated", "How many files are open on the whole machine."),
    (
        "node_filefd_maximum",
        "How many files may be open on the whole machine.",
    ),
    (
        "node_filesystem_avail_bytes",
        "How much room a filesystem has for users who are not root.",
    ),
    (
        "node_filesystem_device_error",
        "1 if a filesystem could not be asked, 0 if it could.",
    ),
    ("node_filesystem_files", "How many inodes a filesystem has."),
    (
        "node_filesystem_files_free",
        "How many inodes of a filesystem are free.",
    ),
    ("node_filesystem_free_bytes", "How much room a filesystem has."),
    ("node_filesystem_mount_info", "What is mounted where."),
    (
        "node_filesystem_readonly",
        "1 if a filesystem is read-only, 0 if it can be written to.",
    ),
    ("node_filesystem_size_bytes", "How large a filesystem is."),
    ("node_forks_total", "How many processes were started."),
    ("node_hwmon_chip_names", "What the chips are called that have sensors."),
    ("node_hwmon_fan_rpm", "How fast a fan turns."),
    ("node_hwmon_in_volts", "What voltage a sensor measures."),
    ("node_hwmon_power_watt", "What power a sensor measures."),
    ("node_hwmon_sensor_label", "What a sensor is called by its driver."),
    ("node_hwmon_temp_celsius", "What temperature a sensor measures."),
    (
        "node_hwmon_temp_crit_celsius",
        "The temperature at which a sensor's part is in danger.",
    ),
    (
        "node_hwmon_temp_max_celsius",
        "The temperature that a sensor's part should not exceed.",
    ),
    ("node_intr_total", "How many interrupts were served."),
    (
        "node_load1",
        "How many tasks ran or wanted to run, averaged over 1 minute.",
    ),
    (
        "node_load15",
        "How many tasks ran or wanted to run, averaged over 15 minutes.",
    ),
    (
        "node_load5",
        "How many tasks ran or wanted to run, averaged over 5 minutes.",
    ),
    ("node_os_info", "Which operating system it is."),
    ("node_os_version", "The operating system's version as a number."),
    ("node_processes_max_processes", "How many processes there may be."),
    ("node_processes_max_threads", "How many threads there may be."),
    ("node_processes_pids", "How many processes there are."),
    ("node_processes_state", "How many processes are in each state."),
    ("node_processes_threads", "How many threads there are."),
    ("node_procs_blocked", "How many tasks wait for a disk."),
    ("node_procs_running", "How many tasks run or want to run."),
    (
        "node_thermal_zone_temp",
        "How hot a thermal zone is, in degrees Celsius.",
    ),
    (
        "node_time_seconds",
        "What time the machine thinks it is, in seconds since 1970.",
    ),
    ("node_uname_info", "What the kernel calls itself and the machine."),
    ("watchpost_active_chunks", "How many chunks of work are under way."),
    (
        "watchpost_cgroup_cpu_limit_cores",
        "How many cores the own control group may use.",
    ),
    (
        "watchpost_cgroup_cpu_seconds_total",
        "How long the own control group used a CPU.",
    ),
    (
        "watchpost_cgroup_memory_bytes",
        "How much memory the own control group uses.",
    ),
    (
        "watchpost_cgroup_memory_limit_bytes",
        "How much memory the own control group may use.",
    ),
    (
        "watchpost_cgroup_oom_kills_total",
        "How many processes of the own control group were killed for want of memory.",
    ),
    (
        "watchpost_cgroup_pids",
        "How many processes and threads the own control group has.",
    ),
    (
        "watchpost_cgroup_pids_limit",
        "How many processes and threads the own control group may have.",
    ),
    (
        "watchpost_cgroup_throttled_seconds_total",
        "How long the own control group had to wait because it had used its share of the CPUs.",
    ),
    ("watchpost_chunks", "How many chunks of work there are, by status."),
    (
        "watchpost_chunks_failed_since_last_look",
        "How many chunks of work failed since they were counted before.",
    ),
    (
        "watchpost_chunks_oldest_active_seconds",
        "How long the chunk that is longest under way has been there.",
    ),
    (
        "watchpost_chunks_retries",
        "How often chunks of work were tried again, all in all.",
    ),
    ("watchpost_cpu_core_ratio", "How much of a core is used; 1 is all."),
    ("watchpost_cpu_ratio", "How much of the CPUs is used; 1 is all."),
    (
        "watchpost_disk_busy_ratio",
        "How much of the time a disk has anything to do; 1 is always.",
    ),
    (
        "watchpost_disk_ratio",
        "How much of a filesystem's room is used; 1 is full.",
    ),
    (
        "watchpost_inodes_ratio",
        "How many of a filesystem's inodes are used; 1 is all.",
    ),
    (
        "watchpost_load_per_core",
        "How many tasks ran or wanted to run for each core, averaged over a while.",
    ),
    (
        "watchpost_memory_ratio",
        "How much of the memory is used and could not be given away; 1 is all.",
    ),
    (
        "watchpost_open_files_ratio",
        "How many of the files that may be open are open; 1 is all.",
    ),
    ("watchpost_swap_ratio", "How much of the swap space is used; 1 is all."),
    ("watchpost_temperature_celsius", "How hot a part of the machine is."),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str) -> String {
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
            (
                "node_load1",
                "How many tasks ran or wanted to run, averaged over 1 minute.",
            ),
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
                "How long at least one task waited for io.",
            ),
            (
                "node_network_receive_bytes_total",
                "How many bytes a network device received.",
            ),
            (
                "node_network_transmit_errs_total",
                "How many packets a network device sent with an error.",
            ),
            ("node_network_up", "The property up of a network device."),
            ("node_never_heard_of", "The metric wind in km/h."),
            ("watchpost_wind_km_h", "The metric wind in km/h."),
        ] {
            assert_eq!(told(name), expected);
        }
        let plain = help("watchpost_birds", "birds", &Unit::default());
        assert_eq!(plain, "The metric birds in plain counts.");
    }

    #[test]
    fn all_sentences_of_the_table_are_sentences() {
        for (name, text) in HELP_TEXTS {
            assert!(
                text.ends_with('.') && text.starts_with(|first: char| first.is_uppercase() || first == '1'),
                "{name}"
            );
        }
    }
}
