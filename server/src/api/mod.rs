//! What is served: the one list of routes. Each face (a family of paths that some clients know) has a file of its
//! own in `faces`; what all requests pass is in `gate`.

pub mod body;
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

use std::future::ready;

use actix_web::dev::{AppService, HttpServiceFactory};
use actix_web::error::{JsonPayloadError, PathError, PayloadError, QueryPayloadError};
use actix_web::guard;
use actix_web::http::header::ALLOW;
use actix_web::web::{self, JsonConfig, PathConfig, PayloadConfig, QueryConfig, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder};

use error::ApiError;
use faces::rules::{change, read, trial, upload};
use faces::{chunks, decisions, health, history, native, prometheus, resource, status, wm};

/// All routes. The first holds where a listener has a face of its own.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(resource::scope())
        .service(at("/").get(native::index))
        .service(at("/api/v1/status").get(status::status))
        .service(at("/api/v1/snapshot").get(native::snapshot))
        .service(at("/api/v1/report").get(native::report))
        .service(at("/api/v1/whoami").get(native::whoami))
        .service(at("/api/v1/history").get(history::history))
        .service(at("/api/v1/snapshots").get(history::snapshots))
        .service(at("/api/v1/reports").get(history::reports))
        .service(at("/api/v1/chunks").get(chunks::list).post(chunks::report))
        .service(at("/api/v1/chunks/summary").get(chunks::summary))
        .service(at("/api/v1/chunks/{id}").get(chunks::one).patch(chunks::change))
        .service(at("/api/v1/decisions").get(decisions::list))
        .service(at("/api/v1/rules").get(read::list).post(upload::upload))
        .service(at("/api/v1/rules/{name}/versions/{digest}/trial").post(trial::begin))
        .service(at("/api/v1/trials/{id}").get(trial::outcome).delete(trial::end))
        .service(at("/api/v1/uploads/{id}").get(upload::outcome))
        .service(at("/api/v1/rules/{name}").get(read::one).delete(change::delete))
        .service(at("/api/v1/rules/{name}/versions").get(read::versions))
        .service(at("/api/v1/rules/{name}/versions/{digest:[0-9a-f]{64}}.wasm").get(read::component))
        .service(
            at("/api/v1/rules/{name}/versions/{digest}")
                .get(read::version)
                .delete(change::delete_version),
        )
        .service(
            at("/api/v1/rules/{name}/active")
                .put(change::activate)
                .delete(change::retire),
        )
        .service(at("/api/v1/rules/{name}/shadow").delete(change::end_shadow))
        .service(at("/api/v1/rules/{name}/rollback").post(change::roll_back))
        .service(
            at("/api/v1/rules/{name}/settings")
                .put(change::set_settings)
                .delete(change::unset_settings),
        )
        .service(at("/api/v1/rules/{name}/log").get(read::log))
        .service(at("/health").get(health::health))
        .service(at("/health/live").get(health::live))
        .service(at("/health/ready").get(health::ready))
        .service(at("/health/detailed").get(health::detailed))
        .service(at("/metrics").get(resource::json_or_prometheus))
        .service(at("/wm_resource_monitor").get(wm::page))
        .service(at("/wm_resource_monitor/api").get(wm::index))
        .service(at("/wm_resource_monitor/api/status").get(wm::status))
        .service(at("/wm_resource_monitor/api/metrics").get(prometheus::metrics))
        .default_service(web::to(not_found));
}

/// A path and what may be done there. HEAD goes where GET goes, OPTIONS tells all of it, and whoever tries something
/// else is told too.
struct At {
    resource: Resource,
    allowed: Vec<&'static str>,
}

fn at(path: &str) -> At {
    At {
        resource: web::resource(path),
        allowed: Vec::new(),
    }
}

macro_rules! methods {
    ($($name:ident: $guard:expr => [$($method:literal),+];)+) => {
        impl At {
            $(fn $name<F, Args>(mut self, handler: F) -> Self
            where
                F: Handler<Args>,
                Args: FromRequest + 'static,
                F::Output: Responder + 'static,
            {
                self.allowed.extend([$($method),+]);
                self.resource = self.resource.route(web::route().guard($guard).to(handler));
                self
            })+
        }
    };
}

methods! {
    get: guard::Any(guard::Get()).or(guard::Head()) => ["GET", "HEAD"];
    put: guard::Put() => ["PUT"];
    delete: guard::Delete() => ["DELETE"];
    post: guard::Post() => ["POST"];
    patch: guard::Patch() => ["PATCH"];
}

impl HttpServiceFactory for At {
    fn register(self, config: &mut AppService) {
        let Self { resource, mut allowed } = self;
        allowed.push("OPTIONS");
        let allow = allowed.join(", ");
        let refused = allow.clone();
        resource
            .route(web::route().guard(guard::Options()).to(move || ready(options(&allow))))
            .default_service(web::to(move |request: HttpRequest| {
                ready(refuse_method(&request, &refused))
            }))
            .register(config);
    }
}

fn options(allow: &str) -> HttpResponse {
    HttpResponse::Ok().insert_header((ALLOW, allow)).finish()
}

fn refuse_method(request: &HttpRequest, allow: &str) -> Result<HttpResponse, ApiError> {
    Err(ApiError::Method {
        method: request.method().to_string(),
        allow: allow.to_owned(),
    })
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
