//! The machine that Watchpost runs on, part by part: one file a part, and here the list of them. What the numbers
//! mean is for the rules; most bear the names that Prometheus' `node_exporter` gave them, so that the dashboards
//! which the world shares show them, and a few short ones of our own are what the default rule judges.
//!
//! Nearly everything is read from files below `procfs` and `sysfs`, because a container that watches its host
//! sees the host's there; sysinfo, which reads its own container's only, tells what the kernel is called.

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

/// All parts of the machine.
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

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
