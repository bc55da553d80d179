//! The built-in rules as components, active until an operator activates others.

use watchpost_policies::Kind;

/// Compares metrics with levels.
pub const THRESHOLD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/watchpost-threshold.wasm"));

/// Gives roles to identities, and actions to roles.
pub const ROLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/watchpost-role.wasm"));

/// The built-in rule of this kind.
pub const fn bytes(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Threshold => THRESHOLD,
        Kind::Role => ROLE,
    }
}
