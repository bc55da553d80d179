//! The harness of the tests: guests, snapshots and identities to judge with. It asserts nothing.

pub mod cases;
pub mod crafted;
pub mod guests;
pub mod http;
pub mod sample;
pub mod server;
