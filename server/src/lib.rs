//! Watchpost, the part that lives: it measures, remembers, serves and warns. What it thinks of what it measured
//! is for the rules, which `watchpost-policies` runs.

pub mod collect;
pub mod config;
pub mod metrics;
pub mod pki;
pub mod rules;
pub mod telemetry;
