//! Authorization as a value: a handler that takes a [`Permit`] runs only if the client is allowed the action. The
//! active role rule decides each request, and the decision is recorded where the configuration requests it.

use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Extensions, Payload};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_util::future::{Either, LocalBoxFuture};
use watchpost_policies::{Action, Decision, Identity, IdentityKind, Report, Request, Verdict};

use super::authn::Client;
use super::cross_site;
use super::error::ApiError;
use super::latest::Latest;
use super::request_id::RequestId;
use super::table::RouteAttributes;
use crate::audit::AuditError;
use crate::clock;
use crate::decisions::{DecisionRecord, Decisions, RequestRecord};
use crate::metrics::ServiceMetrics;
use crate::rules::LoadedGeneration;
use crate::rules::quarantine::Quarantine;
use crate::rules::registry::Registry;
use crate::rules::shadow_queue::{ShadowJob, ShadowQueue};
use crate::store::decisions::{self as store, Class};

/// Proof that the client is allowed the action `A` for this request.
pub struct Permit<A>(PhantomData<A>);

/// Ready at once, except for a request that waits until its decision is recorded.
pub type PermitFuture<T> = Either<Ready<Result<T, ApiError>>, LocalBoxFuture<'static, Result<T, ApiError>>>;

/// A decision of the role rule, and its cost.
struct TimedDecision {
    decision: Arc<Decision>,
    /// None if the decision was cached.
    duration: Option<Duration>,
    report: Arc<Report>,
}

/// An action as a type.
pub trait Permission: 'static {
    /// The action.
    const ACTION: Action;
}

macro_rules! permissions {
    ($($name:ident),+ $(,)?) => {
        $(
            #[doc = concat!("[`Action::", stringify!($name), "`].")]
            pub struct $name;
            impl Permission for $name {
                const ACTION: Action = Action::$name;
            }
        )+
    };
}

permissions!(
    ChunksRead,
    ChunksWrite,
    DecisionsRead,
    DocsRead,
    HealthRead,
    HistoryRead,
    MetricsRead,
    RulesRead,
    RulesWrite,
    ServiceRead,
);

impl<A: Permission> FromRequest for Permit<A> {
    type Error = ApiError;
    type Future = PermitFuture<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let client = request.extensions().get::<Client>().cloned();
        let Some(client) = client else {
            return Either::Left(ready(Err(missing("client"))));
        };
        let decided = decide_timed(request, &client.identity, A::ACTION);
        if let Ok(timed) = &decided {
            enqueue_shadow_job(request, &client, A::ACTION, timed);
        }
        let authorized = authorize(request, &client, A::ACTION, &decided);
        let is_allowed = authorized.is_ok();
        // A client learns about its body only if it is allowed to send one.
        let route = request
            .extensions()
            .get::<RouteAttributes>()
            .copied()
            .unwrap_or_default();
        let judged = authorized
            .and_then(|()| cross_site::check_body(request, &client, route.change))
            .map(|()| Self(PhantomData));
        match record(request, client, A::ACTION, decided.ok(), is_allowed) {
            None => Either::Left(ready(judged)),
            Some(recorded) => Either::Right(Box::pin(async move {
                let recorded = recorded.await;
                let permit = judged?;
                recorded.map_err(|error| {
                    log::error!("{error}");
                    ApiError::Unavailable {
                        reason: "the audit file cannot be written, so rules cannot be changed; the log has the reason"
                            .to_owned(),
                        after_seconds: 5,
                    }
                })?;
                Ok(permit)
            })),
        }
    }
}

fn authorize(
    request: &HttpRequest,
    client: &Client,
    action: Action,
    decided: &Result<TimedDecision, ApiError>,
) -> Result<(), ApiError> {
    if !decided.as_ref().is_ok_and(|timed| timed.decision.is_allowed()) && breaks_glass(request, client, action) {
        log::warn!(identity:% = client.identity, action:% = action; "the role rule denies the action, but rules.break_glass allows it");
        return Ok(());
    }
    let decision = &decided.as_ref().map_err(ApiError::clone)?.decision;
    if let Some(service_metrics) = request.app_data::<Data<ServiceMetrics>>() {
        service_metrics.decided(action, &decision.verdict);
    }
    match &decision.verdict {
        Verdict::Allow => Ok(()),
        Verdict::Deny { reason } if *client.identity.kind() == IdentityKind::Anonymous => {
            Err(ApiError::Unauthenticated(reason.clone()))
        }
        Verdict::Deny { reason } => Err(ApiError::Forbidden(reason.clone())),
        Verdict::Fault { fault } => {
            let (rule, call, reason) = (fault.rule.as_str(), &fault.call, &fault.misbehaviour);
            log::error!(action:%, rule, call:%, reason:%; "the role rule failed, so every action is denied");
            Err(ApiError::Forbidden(
                "the role rule failed, so every action is denied; the log has the reason".to_owned(),
            ))
        }
    }
}

/// An identity in `rules.break_glass` may change rules even if a faulty rule denies it.
fn breaks_glass(request: &HttpRequest, client: &Client, action: Action) -> bool {
    let registry = request.app_data::<Data<Registry>>();
    matches!(action, Action::RulesRead | Action::RulesWrite)
        && registry.is_some_and(|registry| registry.breaks_glass(&client.identity))
}

/// The rules generation that authorized a request, or none if no rule was evaluated.
pub fn decided_by(extensions: &Extensions) -> Option<u64> {
    extensions
        .get::<Arc<LoadedGeneration>>()
        .map(|active| active.set.generation())
}

/// Marks a request whose response belongs into the audit file.
pub struct AuditResponse;

/// Records the decision about a request, if the configuration requests it or it is about a change of rules. Returns the
/// future that the request must await before it continues.
fn record(
    request: &HttpRequest,
    client: Client,
    action: Action,
    decided: Option<TimedDecision>,
    allowed: bool,
) -> Option<impl Future<Output = Result<(), AuditError>> + use<>> {
    let decisions = request.app_data::<Data<Decisions>>()?;
    let verdict = verdict(decided.as_ref().map(|timed| &timed.decision.verdict), allowed)?;
    if !decisions.records(verdict, action) {
        return None;
    }
    let (decision, duration) = decided.map(|timed| (timed.decision, timed.duration)).unzip();
    let record = DecisionRecord {
        request: described(request, client, action),
        verdict,
        decision,
        duration: duration.flatten(),
        requests: 1,
    };
    if record.class() == Class::Privileged && action == Action::RulesWrite {
        request.extensions_mut().insert(AuditResponse);
    }
    decisions.record_decision(record)
}

/// Everything that is recorded about a request, whatever the decision.
fn described(request: &HttpRequest, client: Client, action: Action) -> RequestRecord {
    RequestRecord {
        time_ms: clock::now_ms(),
        resource: Request::new(&client.identity, action).resource.into(),
        identity: client.identity,
        address: client.address,
        action,
        request_id: request.extensions().get().map_or("", RequestId::as_str).into(),
        server_request_id: request.extensions().get().map_or("", RequestId::of_server).into(),
    }
}

/// Queues the request for the role rule in shadow. It does not change or delay the response.
fn enqueue_shadow_job(request: &HttpRequest, client: &Client, action: Action, timed: &TimedDecision) {
    let queue = request.app_data::<Data<ShadowQueue>>();
    if let (Some(queue), Some(registry)) = (queue, request.app_data::<Data<Registry>>()) {
        queue.enqueue(&active(request, registry), |active| ShadowJob {
            active,
            report: timed.report.clone(),
            decision: timed.decision.clone(),
            request: described(request, client.clone(), action),
        });
    }
}

/// The recorded outcome, if any: that all instances were busy says nothing about the request.
fn verdict(verdict_of_rule: Option<&Verdict>, allowed: bool) -> Option<store::Verdict> {
    match (verdict_of_rule, allowed) {
        (Some(Verdict::Allow), _) => Some(store::Verdict::Allow),
        (_, true) => Some(store::Verdict::BreakGlass),
        (verdict_of_rule, false) => verdict_of_rule.map(store::Verdict::of),
    }
}

/// Evaluates the active role rule for this identity and action.
pub fn decide(request: &HttpRequest, identity: &Identity, action: Action) -> Result<Arc<Decision>, ApiError> {
    decide_timed(request, identity, action).map(|timed| timed.decision)
}

fn decide_timed(request: &HttpRequest, identity: &Identity, action: Action) -> Result<TimedDecision, ApiError> {
    let registry = request.app_data::<Data<Registry>>();
    let registry = registry.ok_or_else(|| missing("registry of rules"))?;
    let quarantine = request.app_data::<Data<Quarantine>>();
    let quarantine = quarantine.ok_or_else(|| missing("quarantine of rules"))?;
    let latest = request.app_data::<Data<Latest>>().ok_or_else(|| missing("report"))?;
    let active = active(request, registry);
    let (access_request, report) = (Request::new(identity, action), latest.report());
    let (decision, duration) =
        active
            .set
            .decide_at_cost(&access_request, &report)
            .map_err(|busy| ApiError::Unavailable {
                reason: busy.to_string(),
                after_seconds: 1,
            })?;
    quarantine.on_role_answer(&active, identity, &decision.verdict);
    Ok(TimedDecision {
        decision,
        duration,
        report,
    })
}

/// One request is authorized by one generation, however many permits it needs and whatever is activated meanwhile.
fn active(request: &HttpRequest, registry: &Registry) -> Arc<LoadedGeneration> {
    let pinned = request.extensions().get::<Arc<LoadedGeneration>>().cloned();
    pinned.unwrap_or_else(|| {
        let current = registry.rules().current();
        request.extensions_mut().insert(current.clone());
        current
    })
}

fn missing(what: &str) -> ApiError {
    ApiError::Internal(format!("the application was built without its {what}"))
}
