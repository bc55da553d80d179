//! Compatibility settings for operators of PixCrawler's resource monitor. The API profile is a setting of the
//! listeners.

use super::declare::{Checked, section};

section! {
    /// Compatibility with PixCrawler's resource monitor, in addition to the API profile `pixcrawler` of a
    /// listener.
    pub struct PixCrawler {
        /// Whether warnings and alerts are also written to standard error in the monitor's log format,
        /// independent of `log.format` and `log.file`.
        pub log_lines: bool = false,
        /// Whether the monitor's variables are also read without the prefix `PIXCRAWLER_`: `MODE`, `DB_URL` and
        /// so on. By default, they are if a listener has the API profile `pixcrawler`.
        pub environment: Option<bool>,
    }
}

impl Checked for PixCrawler {}
