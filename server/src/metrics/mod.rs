//! Numbers for Prometheus: what was measured, rendered once a round, and our own, rendered when asked. It serves
//! nothing; whoever does says in which `Format` and `Encoding`, and asks `exposition` for the bytes.

pub mod exposition;
mod format;
pub mod service_metrics;

mod compress;
mod derived;
mod encode;
mod findings;
mod help;
mod measured;
mod naming;
mod page;
mod registry_macro;
mod reserved_names;

pub use exposition::{Rendered, body, render};
pub use format::{Encoding, Format};
pub use service_metrics::{Build, CertificateKind, NotCompared, Outcome, ServiceMetrics, ShadowRound, SourceHealth};
