//! `watchpost rules bench`: measures the cost of a rule's calls. The results hold for this machine and this build only.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use watchpost_policies::{Action, Cost, Fault, Kind, Request, Rule, Snapshot};

use super::check::written;
use super::inputs::{Inputs, snapshot};
use super::{CheckResult, CommandError, EXIT_FAILED_CHECK, say, say_json};
use crate::cli::UNAVAILABLE;
use crate::cli::progress::Progress;
use crate::config::Sources;
use crate::rules::sample;

/// Limits the memory for the list of durations.
const MAX_CALLS: usize = 10_000_000;

/// Measures the cost of a rule's calls.
#[derive(Args)]
pub(super) struct Bench {
    #[command(flatten)]
    given: Inputs,
    /// The snapshot to evaluate, as returned by `GET /api/v1/snapshot`; `-` reads standard input.
    #[arg(long, value_name = "FILE|-", conflicts_with = "samples")]
    snapshot: Option<PathBuf>,
    /// Number of samples in the generated snapshot, if no file is given; it always has a few.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    samples: u32,
    /// Duration of the measurement in seconds.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Prints JSON, for programs.
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(super) fn run(self, sources: &Sources, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let snapshot = match &self.snapshot {
            Some(file) => snapshot(file)?,
            None => sample::round_of(self.samples as usize),
        };
        let rule = self.given.rule(sources)?;
        let measured = {
            let _progress = Progress::show(&format!("calling {} for {} s", rule.name(), self.seconds));
            measure(&rule, &snapshot, Duration::from_secs(self.seconds))?
        };
        let limits = rule.module().limits();
        let (call, limit_ms, what) = match rule.module().kind() {
            Kind::Threshold => {
                let what = format!("{} samples", snapshot.samples().len());
                ("judge", limits.judge_ms, what)
            }
            Kind::Role => ("decide", limits.decide_ms, "sample requests".to_owned()),
        };
        if self.json {
            let seconds = |time: Duration| time.as_secs_f64();
            let output = json!({
                "rule": rule.name(),
                "call": call,
                "samples": (call == "judge").then(|| snapshot.samples().len()),
                "calls": measured.times.len(),
                "mean_seconds": seconds(measured.mean()),
                "p50_seconds": seconds(measured.quantile(0.5)),
                "p99_seconds": seconds(measured.quantile(0.99)),
                "worst_seconds": seconds(measured.quantile(1.0)),
                "limit_seconds": seconds(Duration::from_millis(limit_ms)),
                "memory_bytes": measured.memory_bytes,
                "limit_memory_bytes": limits.memory_bytes,
            });
            say_json(out, &output)?;
        } else {
            let output = format!(
                "{} calls of {call} with {what}\n\nmean    {:>8}\np50     {:>8}\np99     {:>8}\nworst   {:>8}   of at \
                 most {limit_ms} ms\nmemory  {:>8}   of at most {} KiB\n",
                measured.times.len(),
                written(measured.mean()),
                written(measured.quantile(0.5)),
                written(measured.quantile(0.99)),
                written(measured.quantile(1.0)),
                format!("{} KiB", measured.memory_bytes >> 10),
                limits.memory_bytes >> 10,
            );
            say(out, &output)?;
        }
        Ok(CheckResult::Yes)
    }
}

/// Durations in ascending order; there is at least one.
struct Measured {
    times: Vec<Duration>,
    memory_bytes: u64,
}

impl Measured {
    fn mean(&self) -> Duration {
        let all: Duration = self.times.iter().sum();
        all.div_f64(self.times.len() as f64)
    }

    /// The duration that this fraction of all calls does not exceed.
    fn quantile(&self, part: f64) -> Duration {
        let at = (part * self.times.len() as f64).ceil() as usize;
        self.times[at.clamp(1, self.times.len()) - 1]
    }
}

fn measure(rule: &Rule, snapshot: &Snapshot, time: Duration) -> Result<Measured, CommandError> {
    let identities = sample::identities();
    let standings = sample::standings();
    let requests: Vec<_> = identities
        .iter()
        .flat_map(|identity| Action::ALL.iter().map(move |action| Request::new(identity, *action)))
        .collect();
    let mut cycle = requests.iter().cycle();
    let mut call = || -> Result<Cost, CommandError> {
        let fault = |fault: Box<Fault>| CommandError::new(EXIT_FAILED_CHECK, fault.to_string());
        match rule.module().kind() {
            Kind::Threshold => rule.judge_alone(snapshot, &[]).map(|(_, cost)| cost).map_err(fault),
            Kind::Role => {
                let request = cycle.next().expect("a cycle of at least one request never ends");
                let answer = rule.decide_alone(request, &standings);
                let answer = answer.map_err(|busy| CommandError::new(UNAVAILABLE, busy.to_string()))?;
                answer.map(|(_, cost)| cost).map_err(fault)
            }
        }
    };
    // The first call warms up and is not counted.
    let mut memory_bytes = call()?.memory_bytes;
    let began = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || (began.elapsed() < time && times.len() < MAX_CALLS) {
        let one = Instant::now();
        let cost = call()?;
        times.push(one.elapsed());
        memory_bytes = memory_bytes.max(cost.memory_bytes);
    }
    times.sort_unstable();
    Ok(Measured { times, memory_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_duration_that_so_many_calls_do_not_exceed() {
        let times: Vec<_> = (1..=200).map(Duration::from_micros).collect();
        let measured = Measured { times, memory_bytes: 0 };
        let check = |part: f64, micros: u64| assert_eq!(measured.quantile(part), Duration::from_micros(micros));
        check(0.5, 100);
        check(0.99, 198);
        check(1.0, 200);
        check(0.0, 1);
        assert_eq!(measured.mean(), Duration::from_nanos(100_500));
    }
}
