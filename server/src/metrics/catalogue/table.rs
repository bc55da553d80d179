//! The declarations of all measured metrics, by source. The sources measure them; HELP texts that follow from a name are
//! in `help`.

use super::{DeclaredMetric, DeclaredSource};

const fn metric(name: &'static str, unit: &'static str) -> DeclaredMetric {
    DeclaredMetric::new(name, unit)
}

const FILESYSTEM: &[&str] = &["device", "fstype", "mountpoint"];
const DEVICE: &[&str] = &["device"];
const SENSOR: &[&str] = &["chip", "sensor"];
const RESOURCE: &[&str] = &["resource"];

pub(super) const SOURCES: &[DeclaredSource] = &[
    DeclaredSource {
        name: "host.cpu",
        about: "`/proc/stat`",
        metrics: &[
            metric("cpu", "percent").example("warning = 90, alert = 95"),
            metric("cpu_core", "percent")
                .labels(&["core"])
                .example("warning = 95, quiet = true"),
            metric("cpu_mean_1m", "percent").example("warning = 90, alert = 95"),
            metric("node_cpu_seconds_total", "seconds").labels(&["cpu", "mode"]),
        ],
    },
    DeclaredSource {
        name: "host.load",
        about: "`/proc/loadavg` and `/proc/stat`",
        metrics: &[
            metric("load_per_core", "").example("warning = 2, alert = 4"),
            metric("node_boot_time_seconds", "seconds"),
            metric("node_context_switches_total", ""),
            metric("node_forks_total", ""),
            metric("node_intr_total", ""),
            metric("node_load1", ""),
            metric("node_load15", ""),
            metric("node_load5", ""),
            metric("node_procs_blocked", ""),
            metric("node_procs_running", ""),
        ],
    },
    DeclaredSource {
        name: "host.memory",
        about: "`/proc/meminfo` and `/proc/vmstat`; in a container its own limit",
        metrics: &[
            metric("memory", "percent").example("warning = 80, alert = 90"),
            metric("node_memory_*", "bytes")
                .help("A field of /proc/meminfo; the kernel defines which exist. Counts have no unit."),
            metric("swap", "percent").example("warning = 50, alert = 80, missing = \"ok\""),
        ],
    },
    DeclaredSource {
        name: "host.cgroup",
        about: "the control group of Watchpost's process",
        metrics: &[
            metric("watchpost_cgroup_cpu_limit_cores", ""),
            metric("watchpost_cgroup_cpu_seconds_total", "seconds"),
            metric("watchpost_cgroup_memory_bytes", "bytes"),
            metric("watchpost_cgroup_memory_limit_bytes", "bytes"),
            metric("watchpost_cgroup_oom_kills_total", ""),
            metric("watchpost_cgroup_pids", ""),
            metric("watchpost_cgroup_pids_limit", ""),
            metric("watchpost_cgroup_throttled_seconds_total", "seconds"),
        ],
    },
    DeclaredSource {
        name: "host.filesystems",
        about: "`/proc/self/mountinfo` and `statfs` of each mount point",
        metrics: &[
            metric("disk", "percent")
                .labels(FILESYSTEM)
                .example("warning = 80, alert = 90"),
            metric("inodes", "percent")
                .labels(FILESYSTEM)
                .example("warning = 80, alert = 90, missing = \"optional\""),
            metric("node_filesystem_avail_bytes", "bytes").labels(FILESYSTEM),
            metric("node_filesystem_device_error", "").labels(FILESYSTEM),
            metric("node_filesystem_files", "").labels(FILESYSTEM),
            metric("node_filesystem_files_free", "").labels(FILESYSTEM),
            metric("node_filesystem_free_bytes", "bytes").labels(FILESYSTEM),
            metric("node_filesystem_readonly", "").labels(FILESYSTEM),
            metric("node_filesystem_size_bytes", "bytes").labels(FILESYSTEM),
        ],
    },
    DeclaredSource {
        name: "host.disks",
        about: "`/proc/diskstats`",
        metrics: &[
            metric("disk_busy", "percent")
                .labels(DEVICE)
                .example("warning = 90, quiet = true"),
            metric("node_disk_io_now", "").labels(DEVICE),
            metric("node_disk_io_time_seconds_total", "seconds").labels(DEVICE),
            metric("node_disk_io_time_weighted_seconds_total", "seconds").labels(DEVICE),
            metric("node_disk_read_bytes_total", "bytes").labels(DEVICE),
            metric("node_disk_read_time_seconds_total", "seconds").labels(DEVICE),
            metric("node_disk_reads_completed_total", "").labels(DEVICE),
            metric("node_disk_reads_merged_total", "").labels(DEVICE),
            metric("node_disk_write_time_seconds_total", "seconds").labels(DEVICE),
            metric("node_disk_writes_completed_total", "").labels(DEVICE),
            metric("node_disk_writes_merged_total", "").labels(DEVICE),
            metric("node_disk_written_bytes_total", "bytes").labels(DEVICE),
        ],
    },
    DeclaredSource {
        name: "host.network",
        about: "`/proc/net/dev` and `/sys/class/net`",
        metrics: &[
            metric("node_network_receive_bytes_total", "bytes").labels(DEVICE),
            metric("node_network_receive_drop_total", "").labels(DEVICE),
            metric("node_network_receive_errs_total", "").labels(DEVICE),
            metric("node_network_receive_packets_total", "").labels(DEVICE),
            metric("node_network_transmit_bytes_total", "bytes").labels(DEVICE),
            metric("node_network_transmit_drop_total", "").labels(DEVICE),
            metric("node_network_transmit_errs_total", "").labels(DEVICE),
            metric("node_network_transmit_packets_total", "").labels(DEVICE),
        ],
    },
    DeclaredSource {
        name: "host.processes",
        about: "`/proc/[0-9]*/stat` and `/proc/sys/kernel`",
        metrics: &[
            metric("node_processes_max_processes", ""),
            metric("node_processes_max_threads", ""),
            metric("node_processes_pids", ""),
            metric("node_processes_state", "").labels(&["state"]),
            metric("node_processes_threads", ""),
        ],
    },
    DeclaredSource {
        name: "host.files",
        about: "`/proc/sys/fs/file-nr` and `/proc/sys/kernel/random`",
        metrics: &[
            metric("node_entropy_available_bits", ""),
            metric("node_entropy_pool_size_bits", ""),
            metric("node_filefd_allocated", ""),
            metric("node_filefd_maximum", ""),
            metric("open_files", "percent").example("warning = 80, alert = 90"),
        ],
    },
    DeclaredSource {
        name: "host.pressure",
        about: "`/proc/pressure`",
        metrics: &[
            metric("node_pressure_cpu_waiting_seconds_total", "seconds"),
            metric("node_pressure_io_stalled_seconds_total", "seconds"),
            metric("node_pressure_io_waiting_seconds_total", "seconds"),
            metric("node_pressure_memory_stalled_seconds_total", "seconds"),
            metric("node_pressure_memory_waiting_seconds_total", "seconds"),
        ],
    },
    DeclaredSource {
        name: "host.temperature",
        about: "`/sys/class/hwmon` and `/sys/class/thermal`",
        metrics: &[
            metric("node_thermal_zone_temp", "celsius").labels(&["type", "zone"]),
            metric("temperature", "celsius")
                .labels(SENSOR)
                .example("warning = 80, alert = 90, missing = \"ok\""),
        ],
    },
    DeclaredSource {
        name: "host.system",
        about: "`/proc/sys/kernel` and `/etc/os-release`",
        metrics: &[metric("node_uname_info", "").labels(&[
            "domainname",
            "machine",
            "nodename",
            "release",
            "sysname",
            "version",
        ])],
    },
    DeclaredSource {
        name: "host.netstat",
        about: "`/proc/net/netstat`, `/proc/net/snmp` and `/proc/net/snmp6`",
        metrics: &[],
    },
    DeclaredSource {
        name: "host.sockstat",
        about: "`/proc/net/sockstat`, `/proc/net/sockstat6` and the queues of `/proc/net/udp`",
        metrics: &[],
    },
    DeclaredSource {
        name: "host.softnet",
        about: "`/proc/net/softnet_stat`",
        metrics: &[],
    },
    DeclaredSource {
        name: "host.conntrack",
        about: "`/proc/sys/net/netfilter` and `/proc/net/stat/nf_conntrack`",
        metrics: &[],
    },
    DeclaredSource {
        name: "host.time",
        about: "the clock and the kernel's adjustment of it (`adjtimex`)",
        metrics: &[],
    },
    DeclaredSource {
        name: "host.textfile",
        about: "the files of `collector.textfile_dir`, whose metrics have their own names",
        metrics: &[],
    },
    DeclaredSource {
        name: "chunks",
        about: "the database of work chunks",
        metrics: &[
            metric("active_chunks", "").example("warning = 35, alert = 40, missing = \"optional\""),
            metric("chunks", "")
                .labels(&["status"])
                .example("labels = { status = \"failed\" }, warning = 10, missing = \"ok\""),
            metric("chunks_failed_since_last_look", "").example("warning = 1, missing = \"optional\""),
            metric("chunks_oldest_active_seconds", "seconds").example("warning = 3600, missing = \"optional\""),
            metric("chunks_retries", "").example("warning = 1000, missing = \"optional\""),
        ],
    },
    DeclaredSource {
        name: "certificates",
        about: "the certificates and revocation lists of this server",
        metrics: &[
            metric("certificate_remaining_seconds", "seconds")
                .labels(&["kind"])
                .example("direction = \"below\", warning = 2592000, alert = 604800")
                .help("Seconds until the server certificate, the last client authority or the first revocation list expires; below zero afterwards."),
        ],
    },
    DeclaredSource {
        name: "rules",
        about: "the state of the rules on this server",
        metrics: &[
            metric("rules_behind", "")
                .example("alert = 1, missing = \"optional\"")
                .help("1 if a newer generation of rules could not be loaded on this server, 0 if not."),
            metric("rules_quarantined", "")
                .example("alert = 1, missing = \"optional\"")
                .help("Number of rules in quarantine."),
        ],
    },
    DeclaredSource {
        name: "azure",
        about: "Azure Monitor; `azure.metrics` adds others",
        metrics: &[
            metric("azure_available", "")
                .labels(RESOURCE)
                .help("1 if the virtual machine is available, 0 if not."),
            metric("azure_disk_queue", "")
                .labels(RESOURCE)
                .help("Number of queued disk operations."),
            metric("azure_disk_read_bytes", "bytes")
                .labels(RESOURCE)
                .help("Number of bytes read from disks in a minute."),
            metric("azure_disk_reads_per_second", "per_second")
                .labels(RESOURCE)
                .help("Number of reads from disks per second."),
            metric("azure_disk_writes_per_second", "per_second")
                .labels(RESOURCE)
                .help("Number of writes to disks per second."),
            metric("azure_disk_written_bytes", "bytes")
                .labels(RESOURCE)
                .help("Number of bytes written to disks in a minute."),
            metric("azure_http_queue", "")
                .labels(RESOURCE)
                .help("Number of queued HTTP requests."),
            metric("azure_memory_available_bytes", "bytes")
                .labels(RESOURCE)
                .help("Available memory, in bytes."),
            metric("azure_network_received_bytes", "bytes")
                .labels(RESOURCE)
                .help("Number of bytes received from the network in a minute."),
            metric("azure_network_sent_bytes", "bytes")
                .labels(RESOURCE)
                .help("Number of bytes sent to the network in a minute."),
            metric("azure_os_disk_queue", "")
                .labels(RESOURCE)
                .help("Number of queued operations of the system's disk."),
            metric("azure_received_bytes", "bytes")
                .labels(RESOURCE)
                .help("Number of bytes received in a minute."),
            metric("azure_sent_bytes", "bytes")
                .labels(RESOURCE)
                .help("Number of bytes sent in a minute."),
            metric("cpu", "percent").labels(RESOURCE),
            metric("memory", "percent").labels(RESOURCE),
        ],
    },
];
