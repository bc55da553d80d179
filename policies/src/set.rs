//! One generation of rules: judges snapshots and decides requests. It is never changed, only replaced; what it keeps
//! (the decisions it may repeat, and what its role rule is shown of the latest report) changes no answer.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use crate::access::{Decision, Request, Verdict};
use crate::bindings::{RoundLists, lend_request, role};
use crate::decision_cache::DecisionCache;
use crate::digest::Digest;
use crate::engine::{CallCost, Kind};
use crate::fault::{Busy, Call, Fault, Misbehaviour};
use crate::finding::{Cost, Finding, ParsedFinding, Report, standings_digest};
use crate::limits::Limits;
use crate::measure::Snapshot;
use crate::rule::Rule;
use crate::series::MetricPattern;
use crate::text_limits::guest_words;
use crate::validate::{RuleInput, at_most};

/// One immutable generation of rules. Cheap to clone; many threads may use it at once.
#[derive(Clone, Debug)]
pub struct RuleSet(Arc<Parts>);

struct Parts {
    generation: u64,
    thresholds: Vec<Rule>,
    role: Rule,
    remembered: DecisionCache,
    watched: RwLock<Option<WatchedRule>>,
}

/// What the role rule is shown of one report. Reports live for seconds and are asked thousands of times.
#[derive(Clone)]
struct WatchedRule {
    of_report: Digest,
    standings: Arc<[Finding]>,
    digest: Digest,
}

/// Why rules do not make a set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// A rule stands where it cannot.
    #[error("{name} is a {is} rule and cannot serve as a {wanted} rule", is = .is.as_str(), wanted = .wanted.as_str())]
    WrongKind {
        /// The rule.
        name: String,
        /// What it is.
        is: Kind,
        /// What is wanted there.
        wanted: Kind,
    },
    /// Two rules of one name.
    #[error("two threshold rules are named {0}; findings could not be told apart")]
    SameName(String),
    /// Nobody decides, or more than one would.
    #[error("one role rule has to be in force, no more and no less")]
    NotOneRole,
}

impl RuleSet {
    /// The rules judge in the order of their names.
    pub fn new(generation: u64, mut thresholds: Vec<Rule>, role: Rule) -> Result<Self, SetError> {
        let wrong = |rule: &Rule, wanted| SetError::WrongKind {
            name: rule.name().to_owned(),
            is: rule.module().kind(),
            wanted,
        };
        if let Some(rule) = thresholds.iter().find(|rule| rule.module().kind() != Kind::Threshold) {
            return Err(wrong(rule, Kind::Threshold));
        }
        if role.module().kind() != Kind::Role {
            return Err(wrong(&role, Kind::Role));
        }
        thresholds.sort_by(|a, b| a.name().cmp(b.name()));
        if let Some(pair) = thresholds.windows(2).find(|pair| pair[0].name() == pair[1].name()) {
            return Err(SetError::SameName(pair[0].name().to_owned()));
        }
        let limit = role.module().program().limits().decision_cache_entries;
        Ok(Self(Arc::new(Parts {
            generation,
            thresholds,
            role,
            remembered: DecisionCache::new(limit),
            watched: RwLock::new(None),
        })))
    }

    /// Its number.
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// The rules that judge, in the order of their names.
    pub fn thresholds(&self) -> &[Rule] {
        &self.0.thresholds
    }

    /// The rule that decides.
    pub fn role(&self) -> &Rule {
        &self.0.role
    }

    /// The report before the first round: nothing was judged yet, so all that the rules will look at is unknown.
    /// It has the generation 0, which no rules have.
    pub fn before_the_first(&self, host: &str, time_ms: u64) -> Report {
        let not_yet = |rule: &Rule| -> Vec<Finding> {
            let metrics = named_metrics(rule).into_iter();
            let unknown =
                |metric| Finding::unheard(rule.name(), metric, time_ms, format!("{metric} was not judged yet"));
            metrics.map(unknown).collect()
        };
        let unheard = self.0.thresholds.iter().flat_map(not_yet).collect();
        let heard = ParsedFinding {
            unheard,
            ..ParsedFinding::default()
        };
        Report::new(0, host.to_owned(), time_ms, heard)
    }

    /// Judges a snapshot. `last` is the report of the round before, also when other rules made it: that is how
    /// hysteresis and `since` survive a reload.
    pub fn judge(&self, snapshot: &Snapshot, last: Option<&Report>) -> Report {
        let mut heard = ParsedFinding::default();
        for rule in &self.0.thresholds {
            let said = last.map_or(Cow::Borrowed(&[] as &[Finding]), |last| last.heard_from(rule.name()));
            match judge_by(rule, snapshot, &said) {
                Ok((found, cost)) => {
                    heard.findings.extend(found);
                    heard.costs.push(cost);
                }
                Err(misbehaviour) => {
                    let time_ms = snapshot.time_ms();
                    heard.findings.extend(said.iter().map(|finding| finding.carry(time_ms)));
                    heard.unheard.extend(nothing_said(rule, &said, last, time_ms));
                    heard.faults.push(rule.module().fault(Call::Judge, misbehaviour));
                }
            }
        }
        Report::new(self.0.generation, snapshot.host().to_owned(), snapshot.time_ms(), heard)
    }

    /// Decides a request against the latest report. What was decided before, under the same standings, is
    /// remembered; a fault is not, for the next call may fare better.
    pub fn decide(&self, request: &Request<'_>, report: &Report) -> Result<Arc<Decision>, Busy> {
        self.decide_at_cost(request, report).map(|(decision, _)| decision)
    }

    /// The same, and how long it took, waiting for an instance included; nothing, if it was remembered.
    pub fn decide_at_cost(
        &self,
        request: &Request<'_>,
        report: &Report,
    ) -> Result<(Arc<Decision>, Option<Duration>), Busy> {
        let watched = self.watched(report);
        if let Some(decision) = self.0.remembered.find(request, watched.digest) {
            return Ok((decision, None));
        }
        let began = Instant::now();
        let decision = Arc::new(self.decide_under(request, &watched.standings)?);
        let took = began.elapsed();
        if !matches!(decision.verdict, Verdict::Fault { .. }) {
            self.0.remembered.keep(request, watched.digest, &decision);
        }
        Ok((decision, Some(took)))
    }

    /// Decides without remembering.
    pub fn decide_afresh(&self, request: &Request<'_>, report: &Report) -> Result<Decision, Busy> {
        self.decide_under(request, &self.watched(report).standings)
    }

    fn decide_under(&self, request: &Request<'_>, standings: &[Finding]) -> Result<Decision, Busy> {
        let module = self.0.role.module();
        let (verdict, roles) = match decided_by(&self.0.role, request, standings)? {
            Ok(RoleDecision { verdict, roles, .. }) => (verdict, roles),
            Err(misbehaviour) => {
                let fault: Fault = module.fault(Call::Decide, misbehaviour);
                (Verdict::Fault { fault }, Vec::new())
            }
        };
        Ok(Decision {
            verdict,
            roles,
            rule: self.0.role.name().to_owned(),
            digest: module.digest(),
            generation: self.0.generation,
        })
    }

    fn watched(&self, report: &Report) -> WatchedRule {
        let of_report = report.standings_digest();
        {
            let kept = self.0.watched.read();
            if let Some(kept) = kept.as_ref().filter(|kept| kept.of_report == of_report) {
                return kept.clone();
            }
        }
        let standings = report.standings().filter(|finding| is_shown(&self.0.role, finding));
        let standings: Arc<[Finding]> = standings.cloned().collect();
        let watched = WatchedRule {
            of_report,
            digest: standings_digest(standings.iter()),
            standings,
        };
        *self.0.watched.write() = Some(watched.clone());
        watched
    }
}

/// Nobody has so many; a rule that says so is broken, and every log line would carry them.
pub(crate) const MAX_ROLES: usize = 64;

/// A role is a word. Decisions are remembered with their roles, so those are bounded in bytes too.
pub(crate) const ROLE_BYTES: usize = 64;

/// What a rule that failed never spoke of is unknown, and not merely absent: a ban may hang on its being unknown.
fn nothing_said(rule: &Rule, said: &[Finding], last: Option<&Report>, time_ms: u64) -> Vec<Finding> {
    let name = rule.name();
    let metrics = named_metrics(rule).into_iter();
    let spoken: HashSet<&str> = said.iter().map(|finding| finding.subject.metric.as_str()).collect();
    let unspoken = metrics.filter(|metric| !spoken.contains(metric));
    let unknown = |metric| {
        let since_ms = last.and_then(|last| last.unheard_since(name, metric));
        let sentence = format!("the rule {name} failed before it found anything about {metric}");
        Finding::unheard(name, metric, since_ms.unwrap_or(time_ms), sentence)
    };
    unspoken.map(unknown).collect()
}

/// The metrics that a rule asked for by their whole names.
fn named_metrics(rule: &Rule) -> Vec<&str> {
    let patterns = rule.metrics().unwrap_or_default().iter();
    patterns
        .filter(|pattern| !pattern.is_open())
        .map(MetricPattern::text)
        .collect()
}

/// What a role rule answered, held against the contract.
pub(crate) struct RoleDecision {
    pub(crate) verdict: Verdict,
    pub(crate) roles: Vec<String>,
    pub(crate) spent: CallCost,
}

/// Asks a role rule.
pub(crate) fn decided_by(
    role: &Rule,
    request: &Request<'_>,
    standings: &[Finding],
) -> Result<Result<RoleDecision, Misbehaviour>, Busy> {
    let program = role.module().program();
    let answer = lend_request(request, standings, |request, standings| {
        program.decide(request, standings, role.prepared())
    })?;
    Ok(answer.and_then(|(decision, spent)| {
        let (verdict, roles) = checked(decision, program.limits())?;
        Ok(RoleDecision { verdict, roles, spent })
    }))
}

/// A role rule is shown what is not ok about the metrics that it planned for.
pub(crate) fn is_shown(role: &Rule, finding: &Finding) -> bool {
    let metric = &finding.subject.metric;
    let planned = role.metrics();
    planned.is_none_or(|planned| planned.iter().any(|pattern| pattern.covers_text(metric)))
}

fn checked(answer: role::Decision, limits: &Limits) -> Result<(Verdict, Vec<String>), Misbehaviour> {
    let longest = answer.roles.iter().map(String::len).max();
    at_most("bytes in a reason", answer.reason.len(), limits.text_bytes)?;
    at_most("roles", answer.roles.len(), MAX_ROLES)?;
    at_most("bytes in the name of a role", longest.unwrap_or(0), ROLE_BYTES)?;
    let reason = guest_words(&answer.reason, limits.text_bytes);
    let verdict = match (answer.allowed, reason.is_empty()) {
        (true, _) => Verdict::Allow,
        (false, true) => return Err(Misbehaviour::NoReason),
        (false, false) => Verdict::Deny { reason },
    };
    let roles = answer.roles.iter().map(|role| guest_words(role, ROLE_BYTES));
    Ok((verdict, roles.filter(|role| !role.is_empty()).collect()))
}

pub(crate) fn judge_by(
    rule: &Rule,
    snapshot: &Snapshot,
    last: &[Finding],
) -> Result<(Vec<Finding>, Cost), Misbehaviour> {
    let metrics = snapshot.select(rule.metrics());
    let program = rule.module().program();
    let lists = RoundLists::new(snapshot, metrics.clone(), last);
    let (answer, spent) = lists.lend(|round| program.judge(round, rule.prepared()))?;
    let shown = RuleInput {
        rule,
        snapshot,
        metrics: &metrics,
        last,
    };
    let findings = shown.findings(answer, program.limits())?;
    Ok((findings, spent.by(rule.name())))
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuleSet")
            .field("generation", &self.generation)
            .field("thresholds", &self.thresholds)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}
