//! Whose machine is judged: this one, or what Azure says of others. How either is measured is not told here.

use crate::string_enum::string_enum;

string_enum! {
    /// What `disk` and `memory` are.
    pub enum Mode {
        /// How full this machine is.
        Local = "local",
        /// What Azure Monitor says of the resources that are named. How full this machine itself is, is then only told
        /// under the names of `node_exporter`, which no rule judges by default.
        Azure = "azure",
    }
}

impl Mode {
    /// What is not told of this machine, for others are meant by these names: what Azure tells of its resources, and
    /// `inodes`, which belong to the disks, for a rule that judges the one shall not judge the other.
    pub fn excluded_metrics(self) -> &'static [&'static str] {
        match self {
            Self::Local => &[],
            Self::Azure => &["disk", "inodes", "memory"],
        }
    }
}
