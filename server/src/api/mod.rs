//! What is served: the one list of routes. Each face (a family of paths that some clients know) has a file of its
//! own in `faces`; what all requests pass is in `gate`.

pub mod compress;
pub mod door;
pub mod error;
pub mod faces;
pub mod gate;
pub mod latest;
pub mod links;
pub mod permit;
pub mod rate;
pub mod service;

use actix_web::error::{JsonPayloadError, PathError, PayloadError, QueryPayloadError};
use actix_web::guard;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::web::{self, JsonConfig, PathConfig, PayloadConfig, QueryConfig, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder};

use error::ApiError;
use faces::{health, native, prometheus, status, wm};

/// All routes.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(get("/", native::index))
        .service(get("/api/v1/status", status::status))
        .service(get("/api/v1/snapshot", native::snapshot))
        .service(get("/api/v1/report", native::report))
        .service(get("/api/v1/whoami", native::whoami))
        .service(get("/health", health::health))
        .service(get("/health/live", health::live))
        .service(get("/health/ready", health::ready))
        .service(get("/health/detailed", health::detailed))
        .service(get("/metrics", prometheus::metrics))
        .service(get("/wm_resource_monitor", wm::page))
        .service(get("/wm_resource_monitor/api", wm::index))
        .service(get("/wm_resource_monitor/api/status", wm::status))
        .service(get("/wm_resource_monitor/api/metrics", prometheus::metrics))
        .default_service(web::to(not_found));
}

/// A path that is read: GET and HEAD by the handler, OPTIONS says so, and anything else is told so.
fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    const ALLOWED: &str = "GET, HEAD, OPTIONS";
    let read = guard::Any(guard::Get()).or(guard::Head());
    web::resource(path)
        .route(web::route().guard(read).to(handler))
        .route(web::route().guard(guard::Options()).to(|| async { options(ALLOWED) }))
        .default_service(web::to(|request: HttpRequest| async move {
            refuse_method(&request, ALLOWED)
        }))
}

fn options(allow: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((ALLOW, HeaderValue::from_static(allow)))
        .finish()
}

fn refuse_method(request: &HttpRequest, allow: &'static str) -> Result<HttpResponse, ApiError> {
    let method = request.method().to_string();
    Err(ApiError::Method { method, allow })
}

async fn not_found(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotFound(request.path().to_owned()))
}

/// What the framework refuses is refused in our words. How long a body may be is for the gate.
pub fn refusals() -> impl Fn(&mut ServiceConfig) + Clone {
    |config: &mut ServiceConfig| {
        config
            .app_data(PayloadConfig::new(usize::MAX))
            .app_data(
                JsonConfig::default()
                    .limit(usize::MAX)
                    .error_handler(|error, _| json(error).into()),
            )
            .app_data(QueryConfig::default().error_handler(|error, _| query(&error).into()))
            .app_data(PathConfig::default().error_handler(|error, _| path(&error).into()));
    }
}

fn json(error: JsonPayloadError) -> ApiError {
    match error {
        JsonPayloadError::Payload(PayloadError::Overflow) => ApiError::BodyTooLarge,
        JsonPayloadError::Payload(PayloadError::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
            ApiError::BodyTooSlow
        }
        error => ApiError::BadRequest(format!("the body is not the JSON that is expected here: {error}")),
    }
}

fn query(error: &QueryPayloadError) -> ApiError {
    ApiError::BadRequest(format!("the query is not understood: {error}"))
}

fn path(error: &PathError) -> ApiError {
    ApiError::BadRequest(format!("the path is not understood: {error}"))
}
