//! A family whose name, type and help text come from outside, with the samples themselves. All other families have them
//! from `naming` and `help`.

use super::page::Kind;

/// A family that is exported under the metric's own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredFamily {
    /// The metric.
    pub name: String,
    pub kind: Kind,
    /// Empty if there is none.
    pub help: String,
}
