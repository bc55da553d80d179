//! Probes of the local machine, one module each. Most metrics have the names of Prometheus' `node_exporter`, so
//! that existing dashboards work; the default rule judges a few with short names.
//!
//! Almost everything is read from files below `procfs` and `sysfs`, because a container that monitors its host
//! sees the host's files there. sysinfo, which reads only its own container's, provides the name of the kernel.

mod arp;
mod cgroup;
mod conntrack;
mod cpu;
mod disks;
mod exclusions;
mod files;
mod filesystems;
mod hwmon;
mod load;
mod memory;
mod mountinfo;
mod net_files;
mod netclass;
mod netstat;
mod network;
mod options;
mod pattern;
mod pressure;
mod processes;
mod read;
mod schedstat;
mod sockstat;
mod softnet;
mod stat;
mod system;
mod temperature;
mod textfile;
mod time;
mod timex;
mod udev;
mod udp_queues;

pub use options::HostOptions;
pub use system::facts;

use crate::collect::probe::Probe;

/// All probes.
pub fn probes(options: &HostOptions) -> Vec<Box<dyn Probe>> {
    let mut all: Vec<Box<dyn Probe>> = vec![
        Box::new(cpu::Cpu::new(options)),
        Box::new(load::Load::new(options)),
        Box::new(memory::Memory::new(options)),
        Box::new(cgroup::Cgroup::new(options)),
        Box::new(filesystems::Filesystems::new(options)),
        Box::new(disks::Disks::new(options)),
        Box::new(network::Network::new(options)),
        Box::new(netstat::Netstat::new(options)),
        Box::new(sockstat::Sockstat::new(options)),
        Box::new(softnet::Softnet::new(options)),
        Box::new(conntrack::Conntrack::new(options)),
        Box::new(processes::Processes::new(options)),
        Box::new(files::Files::new(options)),
        Box::new(pressure::Pressure::new(options)),
        Box::new(temperature::Temperature::new(options)),
        Box::new(system::System::new(options)),
        Box::new(time::Time::new(options)),
    ];
    let measured: Vec<_> = all.iter().flat_map(|probe| probe.metrics()).collect();
    all.push(Box::new(textfile::Textfile::new(options, measured)));
    let without = |probe| exclusions::without(probe, options.excluded_metrics);
    all.into_iter().map(without).collect()
}

/// Probes that scrapes do not measure between rounds. Those that ask every mount, process or sensor take too long, and
/// the names of the system do not change. A text file is replaced as a whole: next to a newer version of it, a page would
/// show the series that it no longer has.
const ROUNDS_ONLY: [&str; 5] = [
    "host.filesystems",
    "host.processes",
    "host.system",
    "host.temperature",
    "host.textfile",
];

/// Whether scrapes measure the probe of this name between rounds.
pub fn is_refreshable(probe: &str) -> bool {
    !ROUNDS_ONLY.contains(&probe)
}

/// The names of all probes.
pub fn probe_names() -> Vec<&'static str> {
    let probes = probes(&HostOptions::default());
    probes.iter().map(|probe| probe.name()).collect()
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
