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

/// The same for `node_os_info`, which has twelve labels.
const MAX_RELEASE_BYTES: usize = 70;

/// A label of `node_os_info` and its key in `os-release`.
const OS_LABELS: [(&str, &str); 12] = [
    ("build_id", "BUILD_ID"),
    ("id", "ID"),
    ("id_like", "ID_LIKE"),
    ("image_id", "IMAGE_ID"),
    ("image_version", "IMAGE_VERSION"),
    ("name", "NAME"),
    ("pretty_name", "PRETTY_NAME"),
    ("variant", "VARIANT"),
    ("variant_id", "VARIANT_ID"),
    ("version", "VERSION"),
    ("version_codename", "VERSION_CODENAME"),
    ("version_id", "VERSION_ID"),
];

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
        patterns(&["node_uname_info", "node_os_info", "node_os_version"])
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
            let of = |key: &str| read::cut(release.get(key).map_or("", String::as_str), MAX_RELEASE_BYTES);
            let values = OS_LABELS.map(|(_, key)| of(key));
            let labels: Vec<_> = OS_LABELS
                .iter()
                .zip(&values)
                .map(|((label, _), value)| (*label, value.as_str()))
                .collect();
            reading.add("node_os_info", &labels, 1.0, "", now_ms);
            if let Some(version) = version(&of("VERSION_ID")) {
                let (id, id_like, name) = (of("ID"), of("ID_LIKE"), of("NAME"));
                let labels = [("id", id.as_str()), ("id_like", &id_like), ("name", &name)];
                reading.add("node_os_version", &labels, version, "", now_ms);
            }
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

/// The first two parts of a version: 22.04 of `22.04.3`. A rolling release has none.
fn version(id: &str) -> Option<f64> {
    let is_digit = |letter: char| letter.is_ascii_digit();
    let major = id.split(|letter| !is_digit(letter)).next()?;
    let minor = id[major.len()..].strip_prefix('.').unwrap_or_default();
    let minor = minor.split(|letter| !is_digit(letter)).next()?;
    let version: f64 = format!("{major}.{minor}").parse().ok()?;
    (!major.is_empty() && version > 0.0).then_some(version)
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
        assert_eq!(labels(1).get("version_codename"), Some(""));
        assert_eq!(reading.samples[2].value(), 12.0);
        assert_eq!(labels(2).get("id"), Some("debian"));
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
    fn long_names_still_fit_into_one_series() {
        let long: String = OS_LABELS
            .iter()
            .map(|(_, key)| format!("{key}={}\n", "x".repeat(200)))
            .collect();
        let machine = Machine::new().with("etc/os-release", long);
        let reading = System::new(&machine.options()).measure(1).expect("measured");
        assert_eq!(reading.gaps, []);
        assert_eq!(
            reading.samples[1].labels().get("variant").map(str::len),
            Some(MAX_RELEASE_BYTES)
        );
    }

    #[test]
    fn the_version_is_the_number_at_the_beginning() {
        for (id, expected) in [
            ("12", Some(12.0)),
            ("22.04", Some(22.04)),
            ("22.04.3", Some(22.04)),
            ("3.19_alpha", Some(3.19)),
            ("9.", Some(9.0)),
            ("", None),
            ("rolling", None),
            (".5", None),
            ("0", None),
        ] {
            assert_eq!(version(id), expected, "{id}");
        }
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
