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
