//! The names of the operating system, the kernel and the machine.

use std::collections::HashMap;
use std::thread;

use sysinfo::System as Sysinfo;
use watchpost_policies::{Labels, MetricPattern};

use super::stat::Stat;
use super::{HostOptions, read};
use crate::collect::probe::{Probe, Reading, patterns};

/// All labels of a series share one kilobyte, and real names are shorter.
const MAX_NAME_BYTES: usize = 150;

/// Facts that are constant while the machine runs: operating system, kernel, processor architecture and number
/// of processors.
pub fn facts(options: &HostOptions) -> Labels {
    let release = os_release(options);
    let os = release.get("PRETTY_NAME").or_else(|| release.get("NAME"));
    let cores = read::text(&options.procfs.join("stat")).map_or(0, |text| Stat::parse(&text).cores.len());
    let cores = match cores {
        0 => thread::available_parallelism().map_or(1, usize::from),
        cores => cores,
    };
    let facts = [
        ("os", os.cloned().unwrap_or_else(|| "Linux".to_owned())),
        ("kernel", Uname::read(options).release),
        ("machine", Sysinfo::cpu_arch()),
        ("cores", cores.to_string()),
    ];
    Labels::new(facts.map(|(name, value)| (name, cut(value)))).expect("the names are legal and the values truncated")
}

/// The names as metrics.
pub(super) struct System {
    options: HostOptions,
}

impl System {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self {
            options: options.clone(),
        }
    }
}

impl Probe for System {
    fn name(&self) -> &'static str {
        "host.system"
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        patterns(&["node_uname_info", "node_os_info"])
    }

    fn measure(&mut self, now_ms: u64) -> Result<Reading, String> {
        let mut reading = Reading::default();
        let uname = Uname::read(&self.options);
        let labels = [
            ("domainname", uname.domainname.as_str()),
            ("machine", &uname.machine),
            ("nodename", &uname.nodename),
            ("release", &uname.release),
            ("sysname", "Linux"),
            ("version", &uname.version),
        ];
        reading.add("node_uname_info", &labels, 1.0, "", now_ms);
        let release = os_release(&self.options);
        if !release.is_empty() {
            let of = |key: &str| release.get(key).cloned().unwrap_or_default();
            let (id, name, version_id, pretty) = (of("ID"), of("NAME"), of("VERSION_ID"), of("PRETTY_NAME"));
            let labels = [
                ("id", id.as_str()),
                ("name", &name),
                ("pretty_name", &pretty),
                ("version_id", &version_id),
            ];
            reading.add("node_os_info", &labels, 1.0, "", now_ms);
        }
        Ok(reading)
    }
}

struct Uname {
    release: String,
    version: String,
    machine: String,
    nodename: String,
    domainname: String,
}

impl Uname {
    /// sysinfo reports the names of this process's own view; for a host seen through mounts, its files take
    /// precedence.
    fn read(options: &HostOptions) -> Self {
        let kernel = options.procfs.join("sys/kernel");
        let file = |name: &str| read::trimmed(&kernel.join(name));
        let name = |own: Option<String>, name: &str| {
            let host = || file(name);
            let found = if options.is_own_view() {
                own.or_else(host)
            } else {
                host().or(own)
            };
            cut(found.unwrap_or_default())
        };
        Self {
            release: name(Sysinfo::kernel_version().ok(), "osrelease"),
            version: cut(file("version").unwrap_or_default()),
            machine: cut(Sysinfo::cpu_arch()),
            nodename: name(Sysinfo::host_name().ok(), "hostname"),
            domainname: cut(file("domainname").unwrap_or_default()),
        }
    }
}

fn os_release(options: &HostOptions) -> HashMap<String, String> {
    let places = ["etc/os-release", "usr/lib/os-release"];
    let text = places
        .iter()
        .find_map(|place| read::trimmed(&options.rootfs.join(place)));
    parse(&text.unwrap_or_default())
}

/// Parses lines such as `NAME="Debian GNU/Linux"`, with shell quoting.
fn parse(text: &str) -> HashMap<String, String> {
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.trim().split_once('=')?;
            let is_key = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            is_key.then(|| (key.to_owned(), cut(unquote(value))))
        })
        .collect()
}

fn unquote(value: &str) -> String {
    let within = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(plain) = within('\'') {
        return plain.to_owned();
    }
    let mut plain = String::new();
    let mut letters = within('"').unwrap_or(value).chars();
    while let Some(letter) = letters.next() {
        plain.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    plain
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_NAME_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Machine;
    use super::*;

    #[test]
    fn names_are_read_from_files() {
        let machine = Machine::new()
            .with(
                "etc/os-release",
                "# a comment\nID=debian\nNAME=\"Debian \\\"GNU\\\"/Linux\"\nVERSION_ID='12'\n\
                 PRETTY_NAME=\"Debian 12\"\nBAD KEY=1\n",
            )
            .with("proc/sys/kernel/osrelease", "6.1.0-edge\n")
            .with("proc/sys/kernel/hostname", "edge-1\n")
            .with("proc/stat", "cpu0 1 1 1 1\ncpu1 1 1 1 1\ncpu2 1 1 1 1\n");
        let facts = facts(&machine.options());
        assert_eq!(facts.get("os"), Some("Debian 12"));
        assert_eq!(facts.get("kernel"), Some("6.1.0-edge"));
        assert_eq!(facts.get("machine"), Some(Sysinfo::cpu_arch().as_str()));
        assert_eq!(facts.get("cores"), Some("3"));
        let reading = System::new(&machine.options()).measure(1).expect("measured");
        let labels = |at: usize| reading.samples[at].labels();
        assert_eq!(labels(0).get("nodename"), Some("edge-1"));
        assert_eq!(labels(0).get("release"), Some("6.1.0-edge"));
        assert_eq!(labels(1).get("name"), Some("Debian \"GNU\"/Linux"));
        assert_eq!(labels(1).get("version_id"), Some("12"));
        assert_eq!(reading.gaps, []);
    }

    #[test]
    fn a_system_without_files_still_has_facts() {
        let machine = Machine::new().with("etc/os-release", format!("ID={}", "ü".repeat(9000)));
        let facts = facts(&machine.options());
        assert_eq!(facts.get("os"), Some("Linux"));
        assert_eq!(facts.get("kernel"), Sysinfo::kernel_version().ok().as_deref());
        let reading = System::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(
            (reading.samples.len(), reading.gaps.len()),
            (2, 0),
            "{:?}",
            reading.gaps
        );
    }

    #[test]
    fn quotes_are_parsed_as_by_a_shell() {
        for (written, meant) in [
            ("a", "a"),
            ("\"a\"", "a"),
            ("'a\\b'", "a\\b"),
            ("\"", "\""),
            ("", ""),
            ("a\\", "a"),
        ] {
            assert_eq!(unquote(written), meant, "{written}");
        }
    }
}
