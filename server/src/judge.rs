//! Lets the rules judge each round, tells the log and the records what changed, and publishes the report with everything that can
//! be rendered of it beforehand. It decides nothing by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;
use watchpost_policies::{Finding, Report, Severity};

use crate::collect::Mode;
use crate::collect::collector::{Round, SourceState};
use crate::decisions::Decisions;
use crate::metrics::{Own, Rendered, render};
use crate::resource::Resources;
use crate::rules::Rules;
use crate::rules::shadow::{Beside, Compared, compare};
use crate::{clock, tasks, telemetry};

/// A round and what the rules say of it.
#[derive(Clone)]
pub struct Judged {
    /// What was measured.
    pub round: Arc<Round>,
    /// What the rules say.
    pub report: Arc<Report>,
    /// Both as Prometheus reads them.
    pub rendered: Arc<Rendered>,
    /// What `/api/v1/status` says of the round, as JSON; it is asked for more often than it changes.
    pub told: Arc<str>,
    /// What rules beside those in force say of it.
    pub shadow: Option<Arc<Compared>>,
    /// What PixCrawler's resource monitor would say of it, as JSON.
    pub resources: Arc<str>,
}

impl AsRef<Report> for Judged {
    fn as_ref(&self) -> &Report {
        &self.report
    }
}

/// How a round is told to those who know another monitor.
#[derive(Clone, Copy, Debug)]
pub struct Telling {
    /// What `disk` and `memory` are.
    pub mode: Mode,
    /// Whether its lines are written.
    pub log_lines: bool,
}

/// Judges round after round.
pub async fn run(
    mut rounds: watch::Receiver<Option<Arc<Round>>>,
    rules: Rules,
    own: Arc<Own>,
    decisions: Decisions,
    telling: Telling,
    published: watch::Sender<Option<Arc<Judged>>>,
) {
    while rounds.changed().await.is_ok() {
        let Some(round) = rounds.borrow_and_update().clone() else {
            continue;
        };
        count(&own, &round);
        let last = published.borrow().clone();
        let (in_force, decisions) = (rules.current(), decisions.clone());
        let judge = move || {
            let began = Instant::now();
            let last_report = last.as_ref().map(|last| &*last.report);
            let report = Arc::new(in_force.set.judge(&round.snapshot, last_report));
            let took_seconds = began.elapsed().as_secs_f64();
            tell_changes(last_report, &report);
            decisions.judged(&in_force.set, last_report, &report);
            let rendered = Arc::new(render(&round.snapshot, &report));
            let last_shadow = last.as_ref().and_then(|last| last.shadow.as_deref());
            let shadow = compare(&in_force, &round.snapshot, &report, last_shadow).map(Arc::new);
            let told = tell(&round, took_seconds, shadow.as_deref()).into();
            let here = clock::here(clock::now());
            let resources = Resources::new(&round.snapshot, report.findings(), telling.mode, here);
            if telling.log_lines {
                resources.lines().iter().for_each(|line| telemetry::write_plainly(line));
            }
            Judged {
                round,
                report,
                rendered,
                told,
                shadow,
                resources: resources.body().into(),
            }
        };
        match tasks::block(judge).await {
            Ok(judged) => {
                own.set_shadow_rounds(judged.shadow.iter().flat_map(|shadow| &shadow.rules).map(Beside::round));
                published.send_replace(Some(Arc::new(judged)));
            }
            Err(panic) => log::error!(reason = panic.as_str(); "a round could not be judged"),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Round)]
pub(crate) struct Told<'r> {
    /// Counted since the start.
    number: u64,
    /// When it began.
    began: String,
    /// How long it took to measure.
    duration_seconds: f64,
    /// How long it took to judge.
    judgement_seconds: f64,
    /// How many samples there are.
    samples: usize,
    /// How many sources could not answer.
    gaps: usize,
    /// How each source does, by name.
    #[schema(value_type = BTreeMap<String, SourceState>)]
    sources: &'r BTreeMap<&'static str, SourceState>,
    /// What rules in shadow say otherwise.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    shadow: &'r [Beside],
}

fn tell(round: &Round, judgement_seconds: f64, shadow: Option<&Compared>) -> String {
    let told = Told {
        number: round.number,
        began: clock::written(round.began_ms),
        duration_seconds: round.took.as_secs_f64(),
        judgement_seconds,
        samples: round.snapshot.samples().len(),
        gaps: round.snapshot.gaps().len(),
        sources: &round.sources,
        shadow: shadow.map_or(&[], |shadow| &shadow.rules),
    };
    serde_json::to_string(&told).unwrap_or_else(|_| "null".to_owned())
}

fn count(own: &Own, round: &Round) {
    for (name, source) in &round.sources {
        own.set_source_health(name, &source.health());
    }
}

/// One line for each subject whose severity is another than before; not one for each round that it stays.
fn tell_changes(last: Option<&Report>, report: &Report) {
    let subject = |finding: &Finding| (finding.rule.clone(), finding.subject.to_string());
    let before: BTreeMap<_, _> = last
        .into_iter()
        .flat_map(Report::standings)
        .map(|f| (subject(f), f.severity))
        .collect();
    let mut now = BTreeMap::new();
    for finding in report.standings() {
        let (rule, about) = subject(finding);
        if before.get(&(rule.clone(), about.clone())) != Some(&finding.severity) {
            let level = match finding.severity {
                Severity::Alert => log::Level::Error,
                Severity::Warning => log::Level::Warn,
                _ => log::Level::Info,
            };
            log::log!(level, rule = rule.as_str(), subject = about.as_str(), severity:? = finding.severity; "{}", finding.sentence);
        }
        now.insert((rule, about), finding.severity);
    }
    for (rule, about) in before.keys().filter(|key| !now.contains_key(*key)) {
        log::info!(rule = rule.as_str(), subject = about.as_str(); "{about} is ok again");
    }
    let known: Vec<String> = last
        .into_iter()
        .flat_map(Report::faults)
        .map(ToString::to_string)
        .collect();
    for fault in report
        .faults()
        .iter()
        .filter(|fault| !known.contains(&fault.to_string()))
    {
        let (rule, call, reason) = (fault.rule.as_str(), &fault.call, &fault.misbehaviour);
        log::error!(rule, call:%, reason:%; "a rule failed");
    }
}
