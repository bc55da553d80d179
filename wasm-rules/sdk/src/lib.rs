//! Write a rule for Watchpost in Rust: its settings, and its judgement. This crate is the rest: the contract's
//! types, an allocator that suits an instance which lives for one call, and a panic that is heard outside.
//!
//! Choose one of the features `threshold` and `role`, implement [`threshold::Rule`] or [`role::Rule`], and
//! hand the type to [`threshold!`] or [`role!`]. `docs/WRITING-RULES.md` has a complete rule.

#[cfg(target_arch = "wasm32")]
mod arena;
mod both;
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
