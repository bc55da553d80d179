//! Route handlers, one file for each family of paths.

pub mod chunks;
pub mod decisions;
pub mod docs;
pub mod health;
pub mod history;
pub mod native;
pub(super) mod pages;
pub mod pixcrawler;
pub mod prometheus;
pub mod rules;
pub mod status;
pub mod wm;
