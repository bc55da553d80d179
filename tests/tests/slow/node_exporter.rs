//! Watchpost next to a real `node_exporter` on the same machine: a real Prometheus scrapes both, and dashboards for
//! `node_exporter` must find as much in Watchpost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use watchpost_tests::http::Client;
use watchpost_tests::ports;
use watchpost_tests::prometheus::Prometheus;
use watchpost_tests::server::{Server, eventually};

const SETTINGS: &str = "[collector]\ninterval = \"1s\"\n";

/// A running `node_exporter` with its defaults.
struct NodeExporter {
    child: Child,
    address: SocketAddr,
}

impl NodeExporter {
    fn start() -> Self {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let start = |port| {
            Command::new("prometheus-node-exporter")
                .arg(format!("--web.listen-address={}", address(port)))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("prometheus-node-exporter starts; `make test-all` installs it")
        };
        let is_ready = |port| {
            let connection = Client::plain(address(port)).connect();
            connection.is_ok_and(|mut connection| connection.ask("GET", "/metrics").is_ok())
        };
        let (child, port) = ports::started("node_exporter", start, is_ready);
        let address = address(port);
        Self { child, address }
    }

    fn page(&self) -> String {
        Client::plain(self.address).get("/metrics").text()
    }
}

impl Drop for NodeExporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The expressions of the dashboard "Node Exporter Full".
fn expressions() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/node-exporter-full.promql");
    let text = fs::read_to_string(file).expect("it is there");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// The configuration of a Prometheus that scrapes both every second.
fn config(server: &Server, node_exporter: &NodeExporter) -> String {
    let pki = server.data().join("pki");
    let pki = pki.display();
    format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: watchpost\n  scheme: https\n  tls_config: \
         {{ ca_file: {pki}/ca.crt, cert_file: {pki}/clients/reader.crt, key_file: {pki}/clients/reader.key, \
         server_name: localhost }}\n  static_configs: [{{ targets: ['{}'] }}]\n- job_name: node_exporter\n  \
         static_configs: [{{ targets: ['{}'] }}]\n",
        server.secure, node_exporter.address
    )
}

#[test]
fn the_dashboard_of_node_exporter_finds_as_much_in_watchpost() {
    let (server, node_exporter) = (Server::with(SETTINGS).ready(), NodeExporter::start());
    let folder = server.folder().join("prometheus");
    fs::create_dir(&folder).expect("made");
    let file = folder.join("prometheus.yml");
    fs::write(&file, config(&server, &node_exporter)).expect("written");
    let prometheus = Prometheus::start(&file, &folder);
    for job in ["watchpost", "node_exporter"] {
        // Rates need several scrapes.
        prometheus.found(&format!("count_over_time(node_load1{{job=\"{job}\"}}[20s]) >= 5"));
    }
    let expressions = expressions();
    let has_data = |expression: &str, job: &str| {
        let query = expression.replace("JOB", job);
        let result = prometheus.query(&query);
        !result.unwrap_or_else(|wrong| panic!("{query}: {wrong}")).is_empty()
    };
    // Some expressions have data only sometimes, such as those that are filtered by a value.
    let mut answered: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    let counts = eventually("as much data from Watchpost as from node_exporter", || {
        for job in ["watchpost", "node_exporter"] {
            let answered = answered.entry(job).or_default();
            for (at, expression) in expressions.iter().enumerate() {
                if !answered.contains(&at) && has_data(expression, job) {
                    answered.insert(at);
                }
            }
        }
        let counts = (answered["watchpost"].len(), answered["node_exporter"].len());
        (counts.0 >= counts.1).then_some(counts)
    });
    let only: Vec<_> = answered["node_exporter"].difference(&answered["watchpost"]).collect();
    #[expect(clippy::print_stdout, reason = "the figures are of interest even if the test passes")]
    {
        println!(
            "of {} expressions, Watchpost answers {}, node_exporter {}",
            expressions.len(),
            counts.0,
            counts.1
        );
        for at in only {
            println!("only node_exporter: {}", expressions[*at]);
        }
    }
    assert!(counts.1 > 200, "node_exporter answers only {}", counts.1);
}

/// A page of metrics: the type of each family, and the labels and value of each series by name.
#[derive(Default)]
struct Page {
    types: BTreeMap<String, String>,
    series: BTreeMap<(String, BTreeSet<String>), f64>,
}

impl Page {
    fn of(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                page.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                // An empty label is the same as none.
                let labels = labels
                    .trim_end_matches('}')
                    .split("\",")
                    .map(|label| label.trim_end_matches('"'));
                let labels = labels.filter(|label| !label.is_empty() && !label.ends_with("=\""));
                let key = (name.to_owned(), labels.map(str::to_owned).collect());
                page.series.insert(key, value.parse().expect("a number"));
            }
        }
        page
    }
}

/// Families that mean the process, and not the machine.
const OF_THE_PROCESS: [&str; 3] = ["node_scrape_collector_", "node_exporter_build_info", "node_textfile_"];

/// Labels that newer versions of `node_exporter` have too.
const NEWER_LABELS: [&str; 1] = ["adminstate="];

/// Values that do not change within a second, unless the machine is reconfigured.
const CONSTANT: [&str; 12] = [
    "node_arp_entries",
    "node_boot_time_seconds",
    "node_disk_info",
    "node_memory_MemTotal_bytes",
    "node_network_info",
    "node_network_mtu_bytes",
    "node_network_speed_bytes",
    "node_nf_conntrack_entries_limit",
    "node_os_info",
    "node_os_version",
    "node_timex_tick_seconds",
    "node_uname_info",
];

#[test]
fn shared_families_have_the_types_and_labels_of_node_exporter_and_values_that_agree() {
    let (server, node_exporter) = (Server::with(SETTINGS).ready(), NodeExporter::start());
    let before = Page::of(&node_exporter.page());
    let number = |page: &Page| page.series[&("node_time_seconds".to_owned(), BTreeSet::new())];
    // A round that began after the page before, and a page after it.
    let ours = eventually("a newer round", || {
        let page = Page::of(&server.get("/metrics").text());
        (number(&page) > number(&before)).then_some(page)
    });
    let after = Page::of(&node_exporter.page());
    let is_shared =
        |name: &str| name.starts_with("node_") && !OF_THE_PROCESS.iter().any(|beginning| name.starts_with(beginning));
    let theirs: BTreeMap<_, _> = before.types.iter().filter(|(name, _)| is_shared(name)).collect();
    for (name, kind) in &theirs {
        if let Some(ours) = ours.types.get(*name) {
            assert_eq!(&ours, kind, "{name}");
        }
    }
    let without_newer = |labels: &BTreeSet<String>| -> BTreeSet<String> {
        let is_newer = |label: &&String| NEWER_LABELS.iter().any(|newer| label.starts_with(newer));
        labels.iter().filter(|label| !is_newer(label)).cloned().collect()
    };
    let mut compared = 0;
    for ((name, labels), value) in ours.series.iter().filter(|((name, _), _)| is_shared(name)) {
        let key = (name.clone(), without_newer(labels));
        // Exclusions differ by distribution, so a device may be on one page only.
        let (Some(first), Some(last)) = (before.series.get(&key), after.series.get(&key)) else {
            continue;
        };
        compared += 1;
        let kind = ours.types.get(name).map_or("", String::as_str);
        let is_untyped_counter = name.starts_with("node_netstat_") || name.starts_with("node_vmstat_");
        if kind == "counter" || (is_untyped_counter && name != "node_netstat_Tcp_CurrEstab") {
            // Counters of the same file; the kernel may correct idle time and what a CPU counts by a little.
            let margin = 0.05 * last.abs().max(1.0);
            assert!(
                first - margin <= *value && *value <= last + margin,
                "{key:?}: {first} {value} {last}"
            );
        } else if CONSTANT.contains(&name.as_str()) {
            assert_eq!(value, last, "{key:?}");
        }
    }
    assert!(compared > 300, "{compared} series were compared");
    let missing = |name: &&&String| !ours.types.contains_key(**name);
    let missing: Vec<_> = theirs.keys().filter(missing).collect();
    #[expect(clippy::print_stdout, reason = "the figures are of interest even if the test passes")]
    {
        println!("{compared} series agree; families that only node_exporter has: {missing:?}");
    }
    assert!(missing.len() <= 5, "{missing:?}");
}
