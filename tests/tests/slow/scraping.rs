//! Rates of counters in a real Prometheus, which are only as good as the times at which the counters are read.
//! `node_exporter`, scraped in the same way, is the yardstick.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use watchpost_tests::ports;
use watchpost_tests::prometheus::Prometheus;
use watchpost_tests::server::Server;

/// The scrape intervals, in seconds: short, and that of `deploy/prometheus/prometheus.yml`.
const INTERVALS: [u64; 2] = [5, 15];

/// The rates per interval that are compared. All scrapes end with those of the longest.
const RATES: usize = 5;

/// The default of `collector.interval`, in place of the tests' shorter one.
const SETTINGS: &str = "[collector]\ninterval = \"10s\"\n";

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn node_exporter() -> (Killed, u16) {
    let start = |port| {
        Command::new("prometheus-node-exporter")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::null())
            .spawn()
            .expect("node_exporter starts; `make test-all` installs it")
    };
    let listens = |port| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    let (child, port) = ports::started("node_exporter", start, listens);
    (Killed(child), port)
}

/// The processor time per second of the first processor, in all modes together, from each scrape of a job to the next.
/// It is 1 if the counters are read when they are scraped.
fn rates(prometheus: &Prometheus, job: &str) -> Vec<f64> {
    let of_job = format!("{{cpu=\"0\",job=\"{job}\"}}");
    let samples = prometheus
        .query(&format!("node_cpu_seconds_total{of_job}[10m]"))
        .unwrap_or_else(|wrong| panic!("{wrong}"));
    let times = samples.first().and_then(|series| series["values"].as_array().cloned());
    // From the second scrape on, there is a rate at the time of each scrape.
    let times = times.into_iter().flatten().skip(1);
    let rate = |at: serde_json::Value| {
        let expression = format!("sum by (cpu) (irate(node_cpu_seconds_total{of_job}[2m] @ {}))", at[0]);
        let found = prometheus
            .query(&expression)
            .unwrap_or_else(|wrong| panic!("{expression}: {wrong}"));
        let value = found[0]["value"][1].as_str().expect("a number");
        value.parse::<f64>().expect("a number")
    };
    times.map(rate).collect()
}

#[test]
fn irate_of_processor_time_is_one_per_processor_as_with_node_exporter() {
    // A server for each interval: with two scrapers, one is answered with the other's reading if that is recent enough.
    let servers = INTERVALS.map(|seconds| (seconds, Server::with(SETTINGS).ready()));
    let (_exporter, exporter_port) = node_exporter();
    let folder = servers[0].1.folder().join("prometheus");
    fs::create_dir(&folder).expect("made");
    let mut config = "scrape_configs:\n".to_owned();
    for (seconds, server) in &servers {
        let (pki, address) = (server.data().join("pki"), server.secure);
        let pki = pki.display();
        config += &format!(
            "- job_name: watchpost-{seconds}\n  scrape_interval: {seconds}s\n  scrape_timeout: {seconds}s\n  scheme: https\n  tls_config: \
             {{ ca_file: {pki}/ca.crt, cert_file: {pki}/clients/reader.crt, key_file: {pki}/clients/reader.key, server_name: localhost }}\n  \
             static_configs: [{{ targets: ['{address}'] }}]\n\
             - job_name: node-{seconds}\n  scrape_interval: {seconds}s\n  scrape_timeout: {seconds}s\n  \
             static_configs: [{{ targets: ['127.0.0.1:{exporter_port}'] }}]\n"
        );
    }
    fs::write(folder.join("prometheus.yml"), config).expect("written");
    let prometheus = Prometheus::start(&folder.join("prometheus.yml"), &folder);
    let longest = INTERVALS[1];
    let deadline = Instant::now() + Duration::from_secs(longest * (RATES as u64 + 5));
    let complete = || {
        let jobs = [format!("watchpost-{longest}"), format!("node-{longest}")];
        jobs.iter().all(|job| rates(&prometheus, job).len() >= RATES)
    };
    while !complete() {
        assert!(Instant::now() < deadline, "Prometheus does not scrape");
        #[expect(clippy::disallowed_methods, reason = "a condition that is polled with a deadline")]
        std::thread::sleep(Duration::from_secs(1));
    }
    for seconds in INTERVALS {
        let errors = |job: String| {
            let rates = rates(&prometheus, &job);
            println!("{job}: {rates:.4?}");
            let mut errors: Vec<_> = rates.iter().map(|rate| (rate - 1.0).abs()).collect();
            errors.sort_by(f64::total_cmp);
            (errors[errors.len() / 2], errors[errors.len() - 1])
        };
        // A busy or virtual machine loses processor time, which node_exporter shows too. It may also delay single scrapes
        // of either by a few hundredths of the interval.
        let (ours, theirs) = (
            errors(format!("watchpost-{seconds}")),
            errors(format!("node-{seconds}")),
        );
        assert!(
            ours.0 <= theirs.0 + 0.01 && ours.1 <= theirs.1 + 0.1,
            "every {seconds} s, median and worst: {ours:.4?} with Watchpost, {theirs:.4?} with node_exporter"
        );
    }
}
