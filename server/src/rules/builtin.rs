//! The rules that Watchpost brings, as components; they serve until an operator uploads others.

use watchpost_policies::Kind;

/// Holds metrics against levels.
pub const THRESHOLD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/watchpost-threshold.wasm"));

/// Gives roles to identities, and actions to roles.
pub const ROLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/watchpost-role.wasm"));

/// The one that keeps this contract.
pub const fn bytes(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Threshold => THRESHOLD,
        Kind::Role => ROLE,
    }
}
