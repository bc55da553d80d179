//! Permission as a value: a handler that takes a [`Permit`] is reached only by those who may. The decision is made
//! for each request, by the rules in force at that moment; what is worth it is recorded.

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
use super::error::ApiError;
use super::latest::Latest;
use super::request_id::RequestId;
use crate::clock;
use crate::decisions::{DecisionRecordParts, Decisions, Record, RequestRecord};
use crate::metrics::ServiceMetrics;
use crate::rules::ActiveRule;
use crate::rules::quarantine::Quarantine;
use crate::rules::registry::Registry;
use crate::rules::shadow_queue::{ShadowJob, ShadowQueue};
use crate::store::decisions as store;

/// Proof that the client may do `A` now.
pub struct Permit<A>(PhantomData<A>);

/// What is known at once, but for a request that has to wait until it can be recorded.
pub type AtOnce<T> = Either<Ready<Result<T, ApiError>>, LocalBoxFuture<'static, Result<T, ApiError>>>;

/// A decision, and how it was made.
struct Made {
    decision: Arc<Decision>,
    /// Nothing, if it was remembered.
    took: Option<Duration>,
    report: Arc<Report>,
}

/// An action as a type.
pub trait Permission: 'static {
    /// Which.
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
    type Future = AtOnce<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let client = request.extensions().get::<Client>().cloned();
        let Some(client) = client else {
            return Either::Left(ready(Err(missing("client"))));
        };
        let decided = make(request, &client.identity, A::ACTION);
        if let Ok(made) = &decided {
            compare(request, &client, A::ACTION, made);
        }
        let judged = judge(request, &client, A::ACTION, &decided).map(|()| Self(PhantomData));
        match record(request, client, A::ACTION, decided.ok(), judged.is_ok()) {
            None => Either::Left(ready(judged)),
            Some(room) => Either::Right(Box::pin(async move {
                room.await;
                judged
            })),
        }
    }
}

fn judge(
    request: &HttpRequest,
    client: &Client,
    action: Action,
    decided: &Result<Made, ApiError>,
) -> Result<(), ApiError> {
    if !decided.as_ref().is_ok_and(|made| made.decision.is_allowed()) && breaks_glass(request, client, action) {
        log::warn!(identity:% = client.identity, action:% = action; "the role rule does not allow it, and rules.break_glass does");
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
            log::error!(action:%, rule, call:%, reason:%; "the role rule failed, so nothing is allowed");
            Err(ApiError::Forbidden(
                "the role rule failed, so nothing is allowed; the log says how".to_owned(),
            ))
        }
    }
}

/// Whoever the configuration names may change rules even if a rule that went wrong says no.
fn breaks_glass(request: &HttpRequest, client: &Client, action: Action) -> bool {
    let registry = request.app_data::<Data<Registry>>();
    match client.identity.kind() {
        IdentityKind::Certificate(certificate) => {
            matches!(action, Action::RulesRead | Action::RulesWrite)
                && registry.is_some_and(|registry| registry.breaks_glass(certificate.fingerprint))
        }
        _ => false,
    }
}

/// The generation of rules that decided about a request, if it was decided about.
pub fn decided_by(extensions: &Extensions) -> Option<u64> {
    extensions
        .get::<Arc<ActiveRule>>()
        .map(|active| active.set.generation())
}

/// Records what became of a request, if that is wanted. Returns what the request has to wait for, if it has to.
fn record(
    request: &HttpRequest,
    client: Client,
    action: Action,
    decided: Option<Made>,
    allowed: bool,
) -> Option<impl Future<Output = ()> + use<>> {
    let decisions = request.app_data::<Data<Decisions>>()?;
    let verdict = verdict(decided.as_ref().map(|made| &made.decision.verdict), allowed)?;
    if !decisions.records(verdict) {
        return None;
    }
    let (decision, took) = decided.map(|made| (made.decision, made.took)).unzip();
    decisions.enqueue(Record::Decision(DecisionRecordParts {
        request: described(request, client, action),
        verdict,
        decision,
        took: took.flatten(),
    }))
}

/// What there is to say of a request, whatever becomes of it.
fn described(request: &HttpRequest, client: Client, action: Action) -> RequestRecord {
    RequestRecord {
        time_ms: clock::now_ms(),
        resource: Request::new(&client.identity, action).resource.into(),
        identity: client.identity,
        address: client.address,
        action,
        request_id: request.extensions().get().map_or("", RequestId::as_str).into(),
    }
}

/// Lets the role rule in shadow be asked the same. It changes nothing, not even by being slow.
fn compare(request: &HttpRequest, client: &Client, action: Action, made: &Made) {
    let queue = request.app_data::<Data<ShadowQueue>>();
    if let (Some(queue), Some(registry)) = (queue, request.app_data::<Data<Registry>>()) {
        queue.enqueue(&active(request, registry), |active| ShadowJob {
            active,
            report: made.report.clone(),
            decision: made.decision.clone(),
            request: described(request, client.clone(), action),
        });
    }
}

/// What is recorded of it, if anything is: that all instances were busy says nothing about the request.
fn verdict(said: Option<&Verdict>, allowed: bool) -> Option<store::Verdict> {
    match (said, allowed) {
        (Some(Verdict::Allow), _) => Some(store::Verdict::Allow),
        (_, true) => Some(store::Verdict::BreakGlass),
        (said, false) => said.map(store::Verdict::of),
    }
}

/// What the role rule in force says of this identity and action.
pub fn decide(request: &HttpRequest, identity: &Identity, action: Action) -> Result<Arc<Decision>, ApiError> {
    make(request, identity, action).map(|made| made.decision)
}

fn make(request: &HttpRequest, identity: &Identity, action: Action) -> Result<Made, ApiError> {
    let registry = request.app_data::<Data<Registry>>();
    let registry = registry.ok_or_else(|| missing("registry of rules"))?;
    let quarantine = request.app_data::<Data<Quarantine>>();
    let quarantine = quarantine.ok_or_else(|| missing("quarantine of rules"))?;
    let latest = request.app_data::<Data<Latest>>().ok_or_else(|| missing("report"))?;
    let active = active(request, registry);
    let (asked, report) = (Request::new(identity, action), latest.report());
    let (decision, took) = active
        .set
        .decide_at_cost(&asked, &report)
        .map_err(|busy| ApiError::Unavailable {
            why: busy.to_string(),
            after_seconds: 1,
        })?;
    quarantine.role_answered(&active, &decision.verdict);
    Ok(Made { decision, took, report })
}

/// One request is decided by one generation, however often it is asked and whatever is put in force meanwhile.
fn active(request: &HttpRequest, registry: &Registry) -> Arc<ActiveRule> {
    let known = request.extensions().get::<Arc<ActiveRule>>().cloned();
    known.unwrap_or_else(|| {
        let current = registry.rules().current();
        request.extensions_mut().insert(current.clone());
        current
    })
}

fn missing(what: &str) -> ApiError {
    ApiError::Internal(format!("the application was built without its {what}"))
}
