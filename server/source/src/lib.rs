//! The interface between the collector and its sources: what a source and a probe are, and the reading that they
//! return. It measures nothing.

mod family;
pub mod probe;
pub mod source;

pub use family::{DeclaredFamily, Kind};
