//! One generation of rules, which evaluates snapshots and decides requests. It is immutable and replaced as a whole;
//! its caches (decisions, standings of the latest report) do not affect results.

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
use crate::finding::Finding;
use crate::limits::Limits;
use crate::measure::Snapshot;
use crate::report::{Cost, Report, RoundFindings, standings_digest};
use crate::rule::Rule;
use crate::series::MetricPattern;
use crate::text_limits::guest_text;
use crate::validate::{RuleInput, at_most};

/// One immutable generation of rules. Cheap to clone and thread safe.
#[derive(Clone, Debug)]
pub struct RuleSet(Arc<Parts>);

struct Parts {
    generation: u64,
    thresholds: Vec<Rule>,
    role: Rule,
    cache: DecisionCache,
    role_standings: RwLock<Option<RoleStandings>>,
}

/// The standings that the role rule receives for one report. A report lives for seconds and is used for thousands of
/// requests.
#[derive(Clone)]
struct RoleStandings {
    of_report: Digest,
    standings: Arc<[Finding]>,
    digest: Digest,
}

/// Why rules do not form a set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// A rule of the wrong kind.
    #[error("{name} is a {is} rule and cannot serve as a {required} rule", is = .is.as_str(), required = .required.as_str())]
    WrongKind {
        /// The name of the rule.
        name: String,
        /// The actual kind.
        is: Kind,
        /// The required kind.
        required: Kind,
    },
    /// Two rules with the same name.
    #[error("two threshold rules are named {0}; rename one of them")]
    SameName(String),
    /// No role rule, or several.
    #[error("exactly one role rule must be active")]
    NotOneRole,
}

impl RuleSet {
    /// Creates a set. Threshold rules are evaluated in the order of their names.
    pub fn new(generation: u64, mut thresholds: Vec<Rule>, role: Rule) -> Result<Self, SetError> {
        let wrong = |rule: &Rule, required| SetError::WrongKind {
            name: rule.name().to_owned(),
            is: rule.module().kind(),
            required,
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
            cache: DecisionCache::new(limit),
            role_standings: RwLock::new(None),
        })))
    }

    /// The number of the generation.
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// The threshold rules, in the order of their names.
    pub fn thresholds(&self) -> &[Rule] {
        &self.0.thresholds
    }

    /// The role rule.
    pub fn role(&self) -> &Rule {
        &self.0.role
    }

    /// The report before the first round: every metric that the rules name is unknown. It has the generation 0, which
    /// no rules have.
    pub fn before_the_first(&self, host: &str, time_ms: u64) -> Report {
        let placeholders_of = |rule: &Rule| -> Vec<Finding> {
            let metrics = named_metrics(rule).into_iter();
            let unknown = |metric| {
                Finding::placeholder(
                    rule.name(),
                    metric,
                    time_ms,
                    format!("{metric} has not been evaluated yet"),
                )
            };
            metrics.map(unknown).collect()
        };
        let placeholders = self.0.thresholds.iter().flat_map(placeholders_of).collect();
        let results = RoundFindings {
            placeholders,
            ..RoundFindings::default()
        };
        Report::new(0, host.to_owned(), time_ms, results)
    }

    /// Evaluates a snapshot. `last` is the previous report, even of another generation: hysteresis and `since` survive
    /// a reload.
    pub fn judge(&self, snapshot: &Snapshot, last: Option<&Report>) -> Report {
        let mut results = RoundFindings::default();
        for rule in &self.0.thresholds {
            let last_findings = last.map_or(Cow::Borrowed(&[] as &[Finding]), |last| last.findings_by(rule.name()));
            match judge_by(rule, snapshot, &last_findings) {
                Ok((found, cost)) => {
                    results.findings.extend(found);
                    results.costs.push(cost);
                }
                Err(misbehaviour) => {
                    let time_ms = snapshot.time_ms();
                    results
                        .findings
                        .extend(last_findings.iter().map(|finding| finding.carry(time_ms)));
                    results
                        .placeholders
                        .extend(placeholders_for(rule, &last_findings, last, time_ms));
                    results.faults.push(rule.module().fault(Call::Judge, misbehaviour));
                }
            }
        }
        Report::new(
            self.0.generation,
            snapshot.host().to_owned(),
            snapshot.time_ms(),
            results,
        )
    }

    /// Decides a request against the latest report. Decisions are cached per standings; faults are not, because the
    /// next call may succeed.
    pub fn decide(&self, request: &Request<'_>, report: &Report) -> Result<Arc<Decision>, Busy> {
        self.decide_at_cost(request, report).map(|(decision, _)| decision)
    }

    /// Like [`Self::decide`], with the duration, including the wait for an instance; `None` for a cached decision.
    pub fn decide_at_cost(
        &self,
        request: &Request<'_>,
        report: &Report,
    ) -> Result<(Arc<Decision>, Option<Duration>), Busy> {
        let role_standings = self.role_standings(report);
        if let Some(decision) = self.0.cache.find(request, role_standings.digest) {
            return Ok((decision, None));
        }
        let began = Instant::now();
        let decision = Arc::new(self.decide_under(request, &role_standings.standings)?);
        let duration = began.elapsed();
        if !matches!(decision.verdict, Verdict::Fault { .. }) {
            self.0.cache.keep(request, role_standings.digest, &decision);
        }
        Ok((decision, Some(duration)))
    }

    /// Decides without the cache.
    pub fn decide_uncached(&self, request: &Request<'_>, report: &Report) -> Result<Decision, Busy> {
        self.decide_under(request, &self.role_standings(report).standings)
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

    fn role_standings(&self, report: &Report) -> RoleStandings {
        let of_report = report.standings_digest();
        {
            let cached = self.0.role_standings.read();
            if let Some(cached) = cached.as_ref().filter(|cached| cached.of_report == of_report) {
                return cached.clone();
            }
        }
        let standings = report.standings().filter(|finding| is_in_plan(&self.0.role, finding));
        let standings: Arc<[Finding]> = standings.cloned().collect();
        let role_standings = RoleStandings {
            of_report,
            digest: standings_digest(standings.iter()),
            standings,
        };
        *self.0.role_standings.write() = Some(role_standings.clone());
        role_standings
    }
}

/// Maximum number of roles in a decision; every log line has them.
pub(crate) const MAX_ROLES: usize = 64;

/// Maximum length of a role; decisions are cached with their roles, so their size is limited.
pub(crate) const ROLE_BYTES: usize = 64;

/// Placeholders for metrics that a failed rule has no findings about. They are unknown, not absent, because a
/// restriction may depend on that.
fn placeholders_for(rule: &Rule, last_findings: &[Finding], last: Option<&Report>, time_ms: u64) -> Vec<Finding> {
    let name = rule.name();
    let metrics = named_metrics(rule).into_iter();
    let known_metrics: HashSet<&str> = last_findings
        .iter()
        .map(|finding| finding.subject.metric.as_str())
        .collect();
    let other_metrics = metrics.filter(|metric| !known_metrics.contains(metric));
    let unknown = |metric| {
        let since_ms = last.and_then(|last| last.placeholder_since(name, metric));
        let message = format!("the rule {name} failed before its first finding about {metric}");
        Finding::placeholder(name, metric, since_ms.unwrap_or(time_ms), message)
    };
    other_metrics.map(unknown).collect()
}

/// The metrics that a rule names completely in its plan.
fn named_metrics(rule: &Rule) -> Vec<&str> {
    let patterns = rule.metrics().unwrap_or_default().iter();
    patterns
        .filter(|pattern| !pattern.is_open())
        .map(MetricPattern::text)
        .collect()
}

/// The validated decision of a role rule.
pub(crate) struct RoleDecision {
    pub(crate) verdict: Verdict,
    pub(crate) roles: Vec<String>,
    pub(crate) spent: CallCost,
}

/// Calls a role rule.
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

/// Whether a role rule receives a finding: it is about a metric of the rule's plan.
pub(crate) fn is_in_plan(role: &Rule, finding: &Finding) -> bool {
    let metric = &finding.subject.metric;
    let planned = role.metrics();
    planned.is_none_or(|planned| planned.iter().any(|pattern| pattern.covers_text(metric)))
}

fn checked(answer: role::Decision, limits: &Limits) -> Result<(Verdict, Vec<String>), Misbehaviour> {
    let max_length = answer.roles.iter().map(String::len).max();
    at_most("bytes in a reason", answer.reason.len(), limits.text_bytes)?;
    at_most("roles", answer.roles.len(), MAX_ROLES)?;
    at_most("bytes in the name of a role", max_length.unwrap_or(0), ROLE_BYTES)?;
    let reason = guest_text(&answer.reason, limits.text_bytes);
    let verdict = match (answer.allowed, reason.is_empty()) {
        (true, _) => Verdict::Allow,
        (false, true) => return Err(Misbehaviour::NoReason),
        (false, false) => Verdict::Deny { reason },
    };
    let roles = answer.roles.iter().map(|role| guest_text(role, ROLE_BYTES));
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
    let input = RuleInput {
        rule,
        snapshot,
        metrics: &metrics,
        last,
    };
    let findings = input.findings(answer, program.limits())?;
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
