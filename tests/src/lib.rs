//! The test harness: guests, snapshots, identities, servers and other programs. It panics where a test uses it wrongly;
//! the assertions about results are in the tests.

pub mod author;
pub mod authority;
pub mod azure;
pub mod cases;
pub mod cli_session;
pub mod clock_shift;
pub mod component_cache;
pub mod crafted;
pub mod document;
pub mod guests;
pub mod http;
pub mod isolated;
pub mod machine;
pub mod nginx;
pub mod notify_socket;
pub mod ports;
pub mod postgres;
pub mod programs;
pub mod prometheus;
pub mod proxy;
pub mod rules;
pub mod sample;
pub mod server;
pub mod slow_rule;
pub mod template;
pub mod walkthrough;
