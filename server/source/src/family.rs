//! A family whose name, type and help text come from outside, with the samples themselves. The names, types and help
//! texts of all other families are declared by the server.

/// A family that is exported under the metric's own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredFamily {
    /// The metric.
    pub name: String,
    pub kind: Kind,
    /// Empty if there is none.
    pub help: String,
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// The labels carry the information and the value is always 1. The text format has no such type and uses a gauge.
    Info,
    Unknown,
}
