//! Watchpost, the part that lives: it measures, remembers, serves and warns. What it thinks of what it measured
//! is for the rules, which `watchpost-policies` runs.

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod config;
pub mod decisions;
pub mod history;
pub mod judge;
pub mod metrics;
pub mod pki;
pub mod reload;
pub mod resource;
pub mod rules;
pub mod store;
pub mod systemd;
pub mod tasks;
pub mod telemetry;
pub mod tls;
