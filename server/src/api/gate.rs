//! The middleware that every request passes: it assigns an id, authenticates the client, applies the limits, compresses
//! the response, and records metrics and logs. It does not know the handlers.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_http::encoding::Encoder;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, ETAG, HeaderName, HeaderValue, LOCATION, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpMessage, HttpResponse};
use arc_swap::ArcSwap;

use super::accept;
use super::access_log::{AccessLog, REPORT_INTERVAL};
use super::authn::{self, Authenticator};
use super::body_limit::LimitedBody;
use super::compress::compress;
use super::cross_site;
use super::error::ApiError;
use super::permit::{AuditResponse, decided_by};
use super::rate::{Rate, RateKey, RateLimit};
use super::request_id::{REQUEST_ID, RequestId, SERVER_REQUEST_ID};
use super::routes::pages;
use super::table::{BodyClass, GateRoutes, RateClass, RouteAttributes, route_class};
use crate::clock;
use crate::decisions::{AuditedResponse, Decisions};
use crate::metrics::service_metrics::GaugeGuard;
use crate::metrics::{FinishedRequest, ServiceMetrics};
use crate::telemetry::LogLimit;

/// The response header with the rules generation that authorized the request.
const GENERATION: HeaderName = HeaderName::from_static("x-watchpost-generation");

/// The limits of a request. They can be replaced at run time.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestLimits {
    /// Maximum size of a body in bytes.
    pub max_body: u64,
    /// Maximum size of a rule upload in bytes, including the other fields of its form.
    pub max_upload: u64,
    /// Maximum size of the headers in bytes.
    pub max_headers: usize,
    /// Maximum time for a body to arrive.
    pub body_timeout: Duration,
    /// The rate limit of each client.
    pub allowed: RateLimit,
    /// Minimum size in bytes of a response that is compressed.
    pub compress_min_size: u64,
    /// Whether each request is logged.
    pub access_log: bool,
    /// The value of `Strict-Transport-Security` on connections with TLS.
    pub hsts: Option<HeaderValue>,
}

impl RequestLimits {
    fn max_body(&self, class: BodyClass) -> u64 {
        match class {
            BodyClass::Json => self.max_body,
            BodyClass::Component => self.max_body.max(self.max_upload),
        }
    }
}

/// The state of the middleware.
pub struct Gate {
    authenticator: Arc<Authenticator>,
    bounds: ArcSwap<RequestLimits>,
    routes: GateRoutes,
    rate: Rate,
    access_log: AccessLog,
    service_metrics: Arc<ServiceMetrics>,
    malformed: LogLimit,
}

impl Gate {
    /// A gate with these limits, for these routes.
    pub fn new(
        authenticator: Arc<Authenticator>,
        bounds: RequestLimits,
        routes: GateRoutes,
        service_metrics: Arc<ServiceMetrics>,
    ) -> Self {
        Self {
            authenticator,
            bounds: ArcSwap::from_pointee(bounds),
            routes,
            rate: Rate::default(),
            access_log: AccessLog::default(),
            service_metrics,
            malformed: LogLimit::default(),
        }
    }

    /// Counts and logs a malformed request.
    pub fn malformed_request(&self, peer: Option<SocketAddr>, problem: &str) {
        self.service_metrics.malformed_request();
        if let Some(suppressed) = self.malformed.admit(Instant::now()) {
            let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
            log::warn!(peer = peer.as_str(), suppressed; "rejected a malformed request: {problem}");
        }
    }

    /// Maximum size in bytes of a JSON body after decompression.
    pub fn max_json_body(&self) -> usize {
        usize::try_from(self.bounds.load().max_body).unwrap_or(usize::MAX)
    }

    /// Maximum size of the headers of an HTTP/2 request before the gate sees it. It is a multiple of the setting, so that
    /// the gate can answer most requests that exceed the setting.
    pub fn max_http2_header_bytes(&self) -> u32 {
        u32::try_from(self.bounds.load().max_headers.saturating_mul(2)).unwrap_or(u32::MAX)
    }

    /// Replaces the limits.
    pub fn replace(&self, bounds: RequestLimits) {
        self.bounds.store(Arc::new(bounds));
    }

    /// Reports rejected requests in an endless loop.
    pub async fn report_rejected(&self) {
        let mut ticks = tokio::time::interval(REPORT_INTERVAL);
        loop {
            ticks.tick().await;
            self.access_log.report_rejected();
        }
    }

    fn admit(
        &self,
        request: &mut ServiceRequest,
        bounds: &RequestLimits,
        route: RouteAttributes,
    ) -> Result<(), ApiError> {
        let too_many = |after_seconds| {
            self.service_metrics.rate_limited();
            ApiError::TooMany { after_seconds }
        };
        // Requests that are refused before their client is known count as failed authentications of their address.
        let failures = RateKey::failed_authentication(self.authenticator.address(request));
        let now = Instant::now();
        let headers = request.headers();
        let bytes: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        if bytes > bounds.max_headers {
            let limit = bounds.max_headers;
            self.rate.take(&failures, bounds.allowed, now).map_err(too_many)?;
            self.malformed_request(request.peer_addr(), "its headers are larger than http.max_headers");
            return Err(ApiError::HeadersTooLarge { bytes, limit });
        }
        let length = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > bounds.max_body(route.body())) {
            self.rate.take(&failures, bounds.allowed, now).map_err(too_many)?;
            return Err(ApiError::BodyTooLarge);
        }
        if route.rate == RateClass::Exempt {
            return Ok(());
        }
        // Only failed authentications count before authentication: a client with valid credentials must not pay for
        // other clients at its address. Verifying a token costs less than counting it; verifying a certificate that a
        // reverse proxy forwards is expensive, so it is limited first.
        if headers.contains_key("client-cert") && !headers.contains_key(AUTHORIZATION) {
            self.rate.has(&failures, bounds.allowed, now).map_err(too_many)?;
        }
        let client = match self.authenticator.client(request, clock::now().as_second()) {
            Ok(client) => client,
            Err(refused) => {
                self.rate.take(&failures, bounds.allowed, now).map_err(too_many)?;
                return Err(refused);
            }
        };
        let key = match route.rate {
            RateClass::Probe => RateKey::probe(client.address),
            RateClass::Normal | RateClass::Exempt => client.caller(),
        };
        let taken = self.rate.take(&key, bounds.allowed, now).map_err(too_many);
        let is_own = cross_site::check_sender(request.request(), &client);
        request.extensions_mut().insert(client);
        taken.and(is_own)
    }
}

/// The middleware function.
pub async fn pass<B: MessageBody + 'static>(
    gate: Data<Gate>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<Outgoing>, Error> {
    let started = Instant::now();
    let bounds = gate.bounds.load_full();
    let id = RequestId::of(&request);
    request.extensions_mut().insert(id.clone());
    let in_flight = gate.service_metrics.request_started();
    // The router decodes the path before it matches a route, so the attributes have to be those of the decoded path.
    let route = gate.routes.attributes(request.method(), request.match_info().as_str());
    request.extensions_mut().insert(route);
    let incoming = LimitedBody::bound(&mut request, bounds.max_body(route.body()), bounds.body_timeout);
    let mut response = match gate.admit(&mut request, &bounds, route) {
        Ok(()) => match next.call(request).await {
            Ok(response) => response.map_into_boxed_body(),
            Err(error) => return Err(error),
        },
        Err(error) => request.error_response(error).map_into_boxed_body(),
    };
    audit_response(&response, &id).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        response = to_problem_document(response, &id);
    }
    // A new connection may authenticate successfully, so this one is closed.
    if response.status() == StatusCode::UNAUTHORIZED {
        response
            .response_mut()
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    let decided = decided_by(&response.request().extensions());
    let is_secure = authn::is_secure(response.request());
    let headers = response.headers_mut();
    if let Some(generation) = decided {
        headers.insert(GENERATION, HeaderValue::from(generation));
    }
    headers.insert(REQUEST_ID, id.value());
    headers.insert(SERVER_REQUEST_ID, id.value_of_server());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(hsts) = bounds.hsts.clone().filter(|_| is_secure) {
        headers.insert(STRICT_TRANSPORT_SECURITY, hsts);
    }
    let response = compress(response, bounds.compress_min_size);
    finish(&gate, &bounds, &response, &id, started.elapsed());
    Ok(response.map_body(|_, body| Outgoing {
        body,
        _held: in_flight,
        _incoming: incoming,
    }))
}

/// Adds the response to a change of rules to the audit file, before the client gets it.
async fn audit_response(response: &ServiceResponse<BoxBody>, id: &RequestId) {
    let request = response.request();
    let is_audited = request.extensions().contains::<AuditResponse>();
    if let Some(decisions) = request.app_data::<Data<Decisions>>().filter(|_| is_audited) {
        let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let audited = AuditedResponse {
            method: request.method().as_str(),
            path: request.path(),
            status: response.status().as_u16(),
            generation: header(ETAG),
            location: header(LOCATION),
            request_id: id.as_str(),
            server_request_id: id.of_server(),
        };
        decisions.record_response(audited).await;
    }
}

/// A response body that counts its request as in flight until its last byte is written.
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

/// Turns an error, the framework's included, into a problem document, or into the login page for a browser that must log
/// in. Responses of handlers stay as they are.
fn to_problem_document(response: ServiceResponse<BoxBody>, id: &RequestId) -> ServiceResponse<BoxBody> {
    let Some(error) = response.response().error() else {
        return response;
    };
    let path = response.request().path().to_owned();
    let replacement = match error.as_error::<ApiError>() {
        Some(error) => {
            if let ApiError::Internal(reason) = error {
                log::error!(request_id = id.as_str(), path = path.as_str(), reason = reason.as_str(); "a request failed with an internal error");
            }
            match accept::prefers_html(response.request()) {
                true => pages::denied(error, response.request(), id)
                    .unwrap_or_else(|| error.answer(Some(&path), Some(id.as_str()))),
                false => error.answer(Some(&path), Some(id.as_str())),
            }
        }
        None => {
            let status = error.as_response_error().status_code();
            if status.is_server_error() {
                log::error!(request_id = id.as_str(), path = path.as_str(), reason:? = error; "a request failed in the HTTP server");
                ApiError::Internal(error.to_string()).answer(Some(&path), Some(id.as_str()))
            } else {
                let reason = error.to_string();
                ApiError::Framework { status, reason }.answer(Some(&path), Some(id.as_str()))
            }
        }
    };
    with_body_of(response, replacement)
}

fn with_body_of(response: ServiceResponse<BoxBody>, replacement: HttpResponse) -> ServiceResponse<BoxBody> {
    let (request, _) = response.into_parts();
    ServiceResponse::new(request, replacement)
}

fn finish<B>(gate: &Gate, bounds: &RequestLimits, response: &ServiceResponse<B>, id: &RequestId, duration: Duration) {
    let request = response.request();
    let (method, status) = (request.method().as_str(), response.status().as_u16());
    let pattern = request.match_pattern();
    gate.service_metrics.request_finished(&FinishedRequest {
        route: route_class(request),
        method,
        path: pattern.as_deref().unwrap_or_default(),
        status,
        duration,
    });
    if bounds.access_log {
        gate.access_log.add(response, id, duration);
    }
}
