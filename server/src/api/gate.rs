//! What every request passes: it gets an id, somebody is found to have sent it, it is counted, bounded, answered in
//! the form that the client wants, measured and logged. What it asks for is not looked at here.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_http::encoding::Encoder;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, HeaderName, HeaderValue, USER_AGENT, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpMessage, HttpResponse};
use arc_swap::ArcSwap;

use super::authn::{Authenticator, Client};
use super::body_limit::LimitedBody;
use super::compress::compress;
use super::error::ApiError;
use super::permit::decided_by;
use super::rate::{Allowed, Caller, Rate};
use super::request_id::{REQUEST_ID, RequestId};
use super::table::{BodyClass, BodyClasses};
use crate::clock;
use crate::metrics::ServiceMetrics;
use crate::metrics::service_metrics::GaugeGuard;

/// By which generation of rules was decided that the client may have its answer, or may not.
const GENERATION: HeaderName = HeaderName::from_static("x-watchpost-generation");

/// What a request may cost. It can be replaced while requests are served.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// The longest body.
    pub max_body: u64,
    /// The largest rule that somebody brings, with what is beside it.
    pub max_upload: u64,
    /// The longest headers.
    pub max_headers: usize,
    /// The longest that a body may take to arrive.
    pub body_timeout: Duration,
    /// How often one may ask.
    pub allowed: Allowed,
    /// Bodies from this size on are compressed.
    pub compress_min_size: u64,
    /// Whether each request is a line in the log.
    pub access_log: bool,
}

impl Bounds {
    fn longest_body(&self, class: BodyClass) -> u64 {
        match class {
            BodyClass::Json => self.max_body,
            BodyClass::Component => self.max_body.max(self.max_upload),
        }
    }
}

/// What every request passes.
pub struct Gate {
    door: Arc<Authenticator>,
    bounds: ArcSwap<Bounds>,
    bodies: BodyClasses,
    rate: Rate,
    service_metrics: Arc<ServiceMetrics>,
}

impl Gate {
    /// A gate with these bounds, before routes that take these bodies.
    pub fn new(
        door: Arc<Authenticator>,
        bounds: Bounds,
        bodies: BodyClasses,
        service_metrics: Arc<ServiceMetrics>,
    ) -> Self {
        Self {
            door,
            bounds: ArcSwap::from_pointee(bounds),
            bodies,
            rate: Rate::default(),
            service_metrics,
        }
    }

    /// Other bounds from now on.
    pub fn replace(&self, bounds: Bounds) {
        self.bounds.store(Arc::new(bounds));
    }

    fn admit(&self, request: &mut ServiceRequest, bounds: &Bounds, longest_body: u64) -> Result<(), ApiError> {
        let headers = request.headers();
        let bytes: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        if bytes > bounds.max_headers {
            let limit = bounds.max_headers;
            return Err(ApiError::HeadersTooLarge { bytes, limit });
        }
        let length = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > longest_body) {
            return Err(ApiError::BodyTooLarge);
        }
        let too_many = |after_seconds| {
            self.service_metrics.rate_limited();
            ApiError::TooMany { after_seconds }
        };
        // Whoever is refused pays by address, and looking at certificates and tokens is worth a limit too.
        let somewhere = Caller::at(self.door.address(request));
        let now = Instant::now();
        if headers.contains_key(AUTHORIZATION) || headers.contains_key("client-cert") {
            self.rate.has(&somewhere, bounds.allowed, now).map_err(too_many)?;
        }
        let client = match self.door.client(request, clock::now().as_second()) {
            Ok(client) => client,
            Err(refused) => {
                self.rate.take(&somewhere, bounds.allowed, now).map_err(too_many)?;
                return Err(refused);
            }
        };
        let taken = self.rate.take(&client.caller(), bounds.allowed, now);
        request.extensions_mut().insert(client);
        taken.map_err(too_many)
    }
}

/// The middleware.
pub async fn pass<B: MessageBody + 'static>(
    gate: Data<Gate>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<Outgoing>, Error> {
    let began = Instant::now();
    let bounds = gate.bounds.load_full();
    let id = RequestId::of(&request);
    request.extensions_mut().insert(id.clone());
    let in_flight = gate.service_metrics.request_started();
    let longest = bounds.longest_body(gate.bodies.class(request.method(), request.path()));
    let incoming = LimitedBody::bound(&mut request, longest, bounds.body_timeout);
    let mut response = match gate.admit(&mut request, &bounds, longest) {
        Ok(()) => match next.call(request).await {
            Ok(response) => response.map_into_boxed_body(),
            Err(error) => return Err(error),
        },
        Err(error) => request.error_response(error).map_into_boxed_body(),
    };
    if response.status().is_client_error() || response.status().is_server_error() {
        response = tell_problem(response, &id);
    }
    // Who is not believed may be believed on a connection that begins anew.
    if response.status() == StatusCode::UNAUTHORIZED {
        response
            .response_mut()
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    let decided = decided_by(&response.request().extensions());
    let headers = response.headers_mut();
    if let Some(generation) = decided {
        headers.insert(GENERATION, HeaderValue::from(generation));
    }
    headers.insert(REQUEST_ID, id.value());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let response = compress(response, bounds.compress_min_size);
    finish(&gate, &bounds, &response, &id, began.elapsed());
    Ok(response.map_body(|_, body| Outgoing {
        body,
        _held: in_flight,
        _incoming: incoming,
    }))
}

/// A body on its way out: its request is in flight until the last of it is written.
pub struct Outgoing {
    body: Encoder<BoxBody>,
    _held: GaugeGuard,
    _incoming: Option<LimitedBody>,
}

impl MessageBody for Outgoing {
    type Error = <Encoder<BoxBody> as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

/// Says in a problem document what an error says, the framework's errors too. What a handler answered itself stays.
fn tell_problem(response: ServiceResponse<BoxBody>, id: &RequestId) -> ServiceResponse<BoxBody> {
    let Some(error) = response.response().error() else {
        return response;
    };
    let path = response.request().path().to_owned();
    let told = match error.as_error::<ApiError>() {
        Some(error) => {
            if let ApiError::Internal(story) = error {
                log::error!(request_id = id.as_str(), path = path.as_str(); "{story}");
            }
            error.answer(Some(&path), Some(id.as_str()))
        }
        None => {
            let status = error.as_response_error().status_code();
            if status.is_server_error() {
                log::error!(request_id = id.as_str(), path = path.as_str(); "{error:?}");
                ApiError::Internal(error.to_string()).answer(Some(&path), Some(id.as_str()))
            } else {
                let reason = error.to_string();
                ApiError::Framework { status, reason }.answer(Some(&path), Some(id.as_str()))
            }
        }
    };
    with_body_of(response, told)
}

fn with_body_of(response: ServiceResponse<BoxBody>, told: HttpResponse) -> ServiceResponse<BoxBody> {
    let (request, _) = response.into_parts();
    ServiceResponse::new(request, told)
}

fn finish<B>(gate: &Gate, bounds: &Bounds, response: &ServiceResponse<B>, id: &RequestId, took: Duration) {
    let request = response.request();
    let (method, status) = (request.method().as_str(), response.status().as_u16());
    let pattern = request.match_pattern();
    // A path that nobody made a route for is not worth a series of its own.
    let pattern = pattern.as_deref().unwrap_or("unmatched");
    gate.service_metrics.request_finished(method, pattern, status, took);
    if !bounds.access_log {
        return;
    }
    let extensions = request.extensions();
    let client = extensions.get::<Client>();
    let who = client.map(|client| client.identity.to_string()).unwrap_or_default();
    let address = client
        .map(|client| client.address.to_string())
        .or_else(|| request.peer_addr().map(|peer| peer.ip().to_string()));
    let agent = request
        .headers()
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default();
    log::info!(
        target: "watchpost::access",
        request_id = id.as_str(), method, path = request.path(), status,
        duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        identity = who.as_str(), address = address.as_deref().unwrap_or_default(), agent;
        "request"
    );
}
