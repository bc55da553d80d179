//! The settings of where things are remembered, and for how long.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::declare::{Checked, section};
use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::scalar::refused;
use super::setting::Setting;
use super::size::Size;
use crate::secret::Secret;
use crate::{history, store};

section! {
    /// Where Watchpost remembers.
    pub struct Database {
        /// `postgres://USER:PASSWORD@HOST/DATABASE`, or `sqlite:PATH`. Without it, the file `watchpost.db` in the
        /// data folder.
        pub url: Option<Secret<DatabaseUrl>>,
    }
}

impl Checked for Database {}

section! {
    /// What is kept of measurements and judgements.
    pub struct History {
        /// Whether anything is.
        pub enabled: bool = true,
        /// For how long.
        pub retention: Duration where "1h" ..= "3650d" = "14d",
        /// How large it may become; then the oldest goes first.
        pub max_size: Size where "1MiB" ..= "1024GiB" = "1GiB",
        /// How much is packed together. Until then, rounds are kept as they come, which takes more room.
        pub window: Duration where "1m" ..= "1d" = "1h",
        /// How many points one answer may have.
        pub max_points: usize where 100 ..= 100_000_000 = 2_000_000,
        /// How many series one answer may have.
        pub max_series: usize where 1 ..= 100_000 = 1_000,
    }
}

impl Checked for History {}

impl History {
    /// As the writer takes them.
    pub fn options(&self) -> history::Options {
        history::Options {
            retention: self.retention,
            max_bytes: self.max_size.bytes(),
            window: self.window,
            write_timeout: history::WRITE_TIMEOUT,
        }
    }
}

section! {
    /// The work chunks.
    pub struct Chunks {
        /// Whether they are counted.
        pub enabled: bool = true,
        /// The database of a PixCrawler, which is only read. Without it, they are kept in our own, and workers report
        /// them here.
        pub database_url: Option<Secret<DatabaseUrl>>,
        /// The time from one count to the next.
        pub interval: Duration where "100ms" ..= "1d" = "10s",
        /// How long a count may take.
        pub timeout: Duration where "10ms" ..= "1h" = "10s",
    }
}

impl Checked for Chunks {}

/// The address of a database, paths in it as they stand where they were written.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    folder: std::path::PathBuf,
}

impl DatabaseUrl {
    /// The database that it means.
    pub fn place(&self, read_only: bool) -> Result<store::DatabaseAddress, store::InvalidDatabaseAddress> {
        store::DatabaseAddress::parse(&self.text, &self.folder, read_only)
    }
}

impl Setting for DatabaseUrl {
    fn kind() -> String {
        "database".to_owned()
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let legal = |text: &&str| store::DatabaseAddress::parse(text, Path::new(""), false).is_ok();
        let read = value.as_str().filter(legal).map(|text| Self {
            text: text.to_owned(),
            folder: place.folder.clone(),
        });
        let wanted = "\"postgres://USER:PASSWORD@HOST/DATABASE\" or \"sqlite:PATH\"";
        read.or_else(|| refused(value, place, mistakes, wanted))
    }

    fn written(&self) -> Value {
        Value::from(self.text.as_str())
    }
}
