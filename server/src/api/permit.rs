//! Permission as a value: a handler that takes a [`Permit`] is reached only by those who may. The decision is made
//! for each request, by the rules in force at that moment.

use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use watchpost_policies::{Action, Decision, Identity, IdentityKind, Request, Verdict};

use super::door::Client;
use super::error::ApiError;
use super::latest::Latest;
use crate::metrics::Own;
use crate::rules::Rules;

/// Proof that the client may do `A` now.
pub struct Permit<A>(PhantomData<A>);

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
    HealthRead,
    HistoryRead,
    MetricsRead,
    ServiceRead
);

impl<A: Permission> FromRequest for Permit<A> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(judge(request, A::ACTION).map(|()| Self(PhantomData)))
    }
}

fn judge(request: &HttpRequest, action: Action) -> Result<(), ApiError> {
    let extensions = request.extensions();
    let client = extensions.get::<Client>().ok_or_else(|| missing("client"))?;
    let decision = decide(request, &client.identity, action)?;
    if let Some(own) = request.app_data::<Data<Own>>() {
        own.decided(action, &decision.verdict);
    }
    match &decision.verdict {
        Verdict::Allow => Ok(()),
        Verdict::Deny { reason } if *client.identity.kind() == IdentityKind::Anonymous => {
            Err(ApiError::Unauthenticated(reason.clone()))
        }
        Verdict::Deny { reason } => Err(ApiError::Forbidden(reason.clone())),
        Verdict::Fault { fault } => {
            log::error!(action:% = action; "{fault}");
            Err(ApiError::Forbidden(
                "the role rule failed, so nothing is allowed; the log says how".to_owned(),
            ))
        }
    }
}

/// What the role rule in force says of this identity and action.
pub fn decide(request: &HttpRequest, identity: &Identity, action: Action) -> Result<Arc<Decision>, ApiError> {
    let rules = request.app_data::<Data<Rules>>().ok_or_else(|| missing("rules"))?;
    let latest = request.app_data::<Data<Latest>>().ok_or_else(|| missing("report"))?;
    let decision = rules
        .current()
        .decide(&Request::new(identity, action), &latest.report());
    decision.map_err(|busy| ApiError::Unavailable {
        why: busy.to_string(),
        after_seconds: 1,
    })
}

fn missing(what: &str) -> ApiError {
    ApiError::Internal(format!("the application was built without its {what}"))
}
