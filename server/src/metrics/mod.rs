//! Metrics for Prometheus: the measurements, rendered once per round and reading, and the service metrics, rendered per
//! request. It serves nothing; a handler chooses a `Format` and an `Encoding` and gets the bytes from `exposition`.

pub mod catalogue;
pub mod exposition;
mod format;
pub mod service_metrics;

mod compress;
mod derived;
mod encode;
mod findings;
mod flask;
mod help;
mod host_metrics;
mod measured;
mod naming;
mod page;
mod registry_macro;
mod reserved_names;
mod route_class;

pub use exposition::{Rendered, body};
pub use format::{Encoding, Format};
pub use host_metrics::{HOST_METRICS, HostMetric};
pub use prometheus::proto::MetricFamily;
pub use route_class::RouteClass;
pub use service_metrics::{
    Build, CertificateKind, FinishedRequest, NotCompared, Outcome, ServiceMetrics, ShadowRound, SourceHealth,
};
pub use watchpost_source::{DeclaredFamily, Kind};
