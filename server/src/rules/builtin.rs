//! The rules that Watchpost brings, as components; they serve until an operator uploads others.

/// Holds metrics against levels.
pub const THRESHOLD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/watchpost-threshold.wasm"));

/// Gives roles to identities, and actions to roles.
pub const ROLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/watchpost-role.wasm"));
