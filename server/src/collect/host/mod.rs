//! Probes of the local machine, one module each. Most metrics have the names of Prometheus' `node_exporter`, so
//! that existing dashboards work; the default rule judges a few with short names.
//!
//! Almost everything is read from files below `procfs` and `sysfs`, because a container that monitors its host
//! sees the host's files there. sysinfo, which reads only its own container's, provides the name of the kernel.

mod cgroup;
mod cpu;
mod disks;
mod exclusions;
mod files;
mod filesystems;
mod load;
mod memory;
mod mountinfo;
mod network;
mod options;
mod pattern;
mod pressure;
mod processes;
mod read;
mod stat;
mod system;
mod temperature;

pub use options::HostOptions;
pub use system::facts;

use crate::collect::probe::Probe;

/// All probes.
pub fn probes(options: &HostOptions) -> Vec<Box<dyn Probe>> {
    let all: Vec<Box<dyn Probe>> = vec![
        Box::new(cpu::Cpu::new(options)),
        Box::new(load::Load::new(options)),
        Box::new(memory::Memory::new(options)),
        Box::new(cgroup::Cgroup::new(options)),
        Box::new(filesystems::Filesystems::new(options)),
        Box::new(disks::Disks::new(options)),
        Box::new(network::Network::new(options)),
        Box::new(processes::Processes::new(options)),
        Box::new(files::Files::new(options)),
        Box::new(pressure::Pressure::new(options)),
        Box::new(temperature::Temperature::new(options)),
        Box::new(system::System::new(options)),
    ];
    let without = |probe| exclusions::without(probe, options.excluded_metrics);
    all.into_iter().map(without).collect()
}

/// Probes without counters, whose gauges may be as old as the last round: those that ask every mount, process or sensor
/// take too long for a scrape, and the names of the system do not change.
const ROUNDS_ONLY: [&str; 4] = ["host.filesystems", "host.processes", "host.system", "host.temperature"];

/// Whether scrapes measure the probe of this name between rounds.
pub fn is_refreshable(probe: &str) -> bool {
    !ROUNDS_ONLY.contains(&probe)
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
