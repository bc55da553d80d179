//! The SDK for rules of Watchpost in Rust. It has the contract's types, an allocator for instances that live for one
//! call, and a panic hook whose message reaches the host. A rule adds its settings and its judgement.
//!
//! Choose one of the features `threshold` and `role`, implement [`threshold::Rule`] or [`role::Rule`], and
//! hand the type to [`threshold!`] or [`role!`]. `docs/WRITING-RULES.md` has a complete rule.

#[cfg(target_arch = "wasm32")]
mod arena;
mod common;
mod json;
pub mod names;
#[cfg(target_arch = "wasm32")]
pub mod panic_message;
pub mod pattern;
#[cfg(feature = "role")]
pub mod role;
mod settings;
pub mod text;
#[cfg(feature = "threshold")]
pub mod threshold;

pub use settings::{Plan, Problem, pointer};
