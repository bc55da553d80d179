//! The settings of how often the machine is measured.

use std::time::Duration;

use super::declare::{Checked, section};

section! {
    /// How often.
    pub struct Collector {
        /// The time from one round of measuring to the next.
        pub interval: Duration where "100ms" ..= "1h" = "10s",
        /// How long a part of the machine may take to answer before it is a gap.
        pub timeout: Duration where "10ms" ..= "1h" = "5s",
    }
}

impl Checked for Collector {}
