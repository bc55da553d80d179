//! Health endpoints: `live` reports that the process runs, `ready` that nothing in `readiness` is wrong; `health` and `detailed` have the formats that the predecessors' clients read.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Json};
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_policies::{Sample, Snapshot};

use crate::api::error::ApiError;
use crate::api::latest::Latest;
use crate::api::permit::{HealthRead, MetricsRead, Permit};
use crate::api::process::{Service, VERSION};
use crate::api::readiness::Readiness;
use crate::clock;

/// The response to a probe.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `healthy`, `ready` or `not ready`.
    status: &'static str,
    /// Why the server is not ready: all reasons, separated by `; `.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The server's current time.
    timestamp: String,
    /// The version of the server.
    version: &'static str,
    /// Uptime in seconds.
    uptime: f64,
}

/// The response to a liveness probe. It is constant, because every client may read it.
#[derive(Serialize, ToSchema)]
pub struct Liveness {
    /// `alive`.
    status: &'static str,
}

impl Health {
    fn new(service: &Service, status: &'static str, reason: Option<String>) -> Self {
        Self {
            status,
            reason,
            timestamp: clock::written(clock::now_ms()),
            version: VERSION,
            uptime: service.uptime().as_secs_f64(),
        }
    }
}

/// Report that the server responds
///
/// The status is always `healthy`.
#[utoipa::path(
    get,
    path = "",
    operation_id = "health",
    responses((status = 200, description = "The server responds.", body = Health))
)]
pub async fn health(_: Permit<HealthRead>, service: Data<Service>) -> Json<Health> {
    Json(Health::new(&service, "healthy", None))
}

/// Liveness probe
///
/// For probes that restart the process when it stops responding. Neither the role rule nor a rate limit applies, so that
/// no rule and no flood can restart the process.
#[utoipa::path(
    get,
    path = "",
    operation_id = "liveness",
    responses((status = 200, description = "The process is alive.", body = Liveness))
)]
pub async fn live() -> Json<Liveness> {
    Json(Liveness { status: "alive" })
}

/// Readiness probe
///
/// The server is ready if it accepts requests, has a recent measurement, enforces the latest generation of rules with a
/// role rule that works, and its database works.
#[utoipa::path(
    get,
    path = "",
    operation_id = "readiness",
    responses(
        (status = 200, description = "The server is ready.", body = Health),
        (status = 503, description = "The server is not ready; `reason` says why. Or it is overloaded.", body = Health)
    )
)]
pub async fn ready(_: Permit<HealthRead>, service: Data<Service>, readiness: Data<Readiness>) -> HttpResponse {
    let reason = readiness.reason();
    let (status, word) = match reason {
        None => (StatusCode::OK, "ready"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    HttpResponse::build(status).json(Health::new(&service, word, reason))
}

/// Disk, memory and load of the machine, in the format of the predecessors.
#[derive(Serialize, ToSchema)]
#[schema(as = DetailedHealth)]
pub struct Detailed {
    #[serde(flatten)]
    health: Health,
    system_info: SystemInfo,
    memory_usage: MemoryUsage,
    disk_usage: DiskUsage,
}

#[derive(Serialize, ToSchema)]
struct SystemInfo {
    hostname: String,
    platform: Option<String>,
    release: Option<String>,
    version: Option<String>,
    machine: Option<String>,
    cpu_count: Option<u64>,
    cpu_percent: Option<f64>,
}

#[derive(Serialize, ToSchema)]
struct MemoryUsage {
    total_gb: Option<f64>,
    available_gb: Option<f64>,
    used_gb: Option<f64>,
    percent: Option<f64>,
}

#[derive(Serialize, ToSchema)]
struct DiskUsage {
    total_gb: Option<f64>,
    used_gb: Option<f64>,
    free_gb: Option<f64>,
    percent: Option<f64>,
}

/// Get the state of the machine in a few numbers
///
/// Needs more permission than a probe, because it reveals details of the machine.
#[utoipa::path(
    get,
    path = "",
    operation_id = "detailed_health",
    responses((status = 200, description = "Values that could not be measured are null.", body = Detailed))
)]
pub async fn detailed(
    _: Permit<MetricsRead>,
    service: Data<Service>,
    latest: Data<Latest>,
) -> Result<Json<Detailed>, ApiError> {
    let judged = latest.needed()?;
    let snapshot = &judged.round.snapshot;
    let uname = find(snapshot, "node_uname_info", |_| true);
    let label = |name: &str| uname.and_then(|sample| sample.labels().get(name)).map(str::to_owned);
    let number = |metric: &str| find(snapshot, metric, |_| true).map(Sample::value);
    let of_root = |metric: &str| {
        find(snapshot, metric, |sample| {
            sample.labels().get("mountpoint") == Some("/")
        })
        .map(Sample::value)
    };
    let (total, available) = (
        number("node_memory_MemTotal_bytes"),
        number("node_memory_MemAvailable_bytes"),
    );
    let (size, free) = (
        of_root("node_filesystem_size_bytes"),
        of_root("node_filesystem_free_bytes"),
    );
    let less = |whole: Option<f64>, part: Option<f64>| whole.zip(part).map(|(whole, part)| whole - part);
    Ok(Json(Detailed {
        health: Health::new(&service, "healthy", None),
        system_info: SystemInfo {
            hostname: snapshot.host().to_owned(),
            platform: label("sysname"),
            release: label("release"),
            version: label("version"),
            machine: label("machine"),
            cpu_count: snapshot.facts().get("cores").and_then(|cores| cores.parse().ok()),
            cpu_percent: number("cpu"),
        },
        memory_usage: MemoryUsage {
            total_gb: gigabytes(total),
            available_gb: gigabytes(available),
            used_gb: gigabytes(less(total, available)),
            percent: number("memory"),
        },
        disk_usage: DiskUsage {
            total_gb: gigabytes(size),
            used_gb: gigabytes(less(size, free)),
            free_gb: gigabytes(free),
            percent: of_root("disk"),
        },
    }))
}

fn find<'s>(snapshot: &'s Snapshot, metric: &str, fits: impl Fn(&Sample) -> bool) -> Option<&'s Sample> {
    let samples = snapshot.samples();
    let start = samples.partition_point(|sample| sample.metric().as_str() < metric);
    let of_metric = samples[start..]
        .iter()
        .take_while(|sample| sample.metric().as_str() == metric);
    of_metric.into_iter().find(|sample| fits(sample))
}

/// Gibibytes with two decimals, as the predecessors reported them.
fn gigabytes(bytes: Option<f64>) -> Option<f64> {
    bytes.map(|bytes| (bytes / f64::from(1 << 30) * 100.0).round() / 100.0)
}
