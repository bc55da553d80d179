//! The Watchpost server: it measures, stores, serves and notifies. Rules, which `watchpost-policies` runs, judge the
//! measurements.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "unit tests spawn and wait as they need to")
)]

pub mod api;
pub mod app;
mod atomic_file;
pub mod audit;
pub mod cli;
pub mod clock;
mod clock_drift;
pub mod collect;
pub mod config;
pub mod decisions;
mod error_chain;
pub mod history;
pub mod host_id;
pub mod jobs;
pub mod judge;
pub mod metrics;
mod one_line;
pub mod pixcrawler;
pub mod rules;
pub mod store;
mod string_enum;
pub mod systemd;
pub mod tasks;
pub mod telemetry;
pub mod tls;
mod toml_json;
mod write_behind;
