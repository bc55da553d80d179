//! Which machine the names `disk` and `memory` stand for: the local one or Azure resources.

use crate::string_enum::string_enum;

string_enum! {
    /// The source of `disk` and `memory`.
    pub enum Mode {
        /// The local machine.
        Local = "local",
        /// Azure Monitor's measurements of the configured resources. The usage of the local machine is then
        /// reported under the names of `node_exporter` only, which no rule judges by default.
        Azure = "azure",
    }
}

impl Mode {
    /// Metrics that are not reported for the local machine, because their names are used for Azure resources;
    /// also `inodes`, which belong to the local disks and would be judged next to the resources' `disk`.
    pub fn excluded_metrics(self) -> &'static [&'static str] {
        match self {
            Self::Local => &[],
            Self::Azure => &["disk", "inodes", "memory"],
        }
    }
}
