//! Families of paths, each for the clients that know it.

pub mod chunks;
pub mod health;
pub mod native;
pub mod prometheus;
pub mod status;
pub mod wm;
