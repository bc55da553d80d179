//! What is measured, and how often. It judges nothing.

pub mod host;
pub mod probe;
