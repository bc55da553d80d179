//! The settings for those who had PixCrawler's resource monitor before: what Watchpost reads and writes as that did.
//! Where its paths are served is a matter of the listeners.

use super::declare::{Checked, section};

section! {
    /// What PixCrawler's resource monitor read and wrote, besides the API profile `pixcrawler` of a listener.
    pub struct PixCrawler {
        /// Whether each judgement writes its warnings and alerts to standard error in the monitor's own lines, whatever
        /// the log looks like and wherever it goes.
        pub log_lines: bool = false,
        /// Whether the monitor's variables are read without `PIXCRAWLER_` before them too: `MODE`, `DB_URL` and the like.
        /// Without it, they are where a listener has the API profile `pixcrawler`.
        pub environment: Option<bool>,
    }
}

impl Checked for PixCrawler {}
