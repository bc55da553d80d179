//! Settings of the database, the history and the work chunks.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::declare::{Checked, section};
use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::scalar::refused;
use super::setting::Setting;
use super::size::Size;
use crate::collect::source::Schedule;
use crate::{history, store};
use watchpost_secret::Secret;

section! {
    /// The database.
    pub struct Database {
        /// The database URL: `postgres://USER:PASSWORD@HOST/DATABASE` or `sqlite:PATH`. Without it, the file
        /// `watchpost.db` in the data directory.
        pub url: Option<Secret<DatabaseUrl>>,
        /// How long the database may fail before `/health/ready` reports that the server is not ready; `0s`: it never
        /// does.
        pub unready_after: Duration where "0s" ..= "1d" = "1m",
    }
}

impl Checked for Database {}

section! {
    /// The history of measurements and judgements.
    pub struct History {
        /// Whether history is recorded.
        pub enabled: bool = true,
        /// How long history is kept.
        pub retention: Duration where "1h" ..= "3650d" = "14d",
        /// The maximum size of the history. When it is exceeded, the oldest data is deleted.
        pub max_size: Size where "1MiB" ..= "1024GiB" = "1GiB",
        /// The time span that is compacted into one block. Rounds that are not yet compacted take more space.
        pub window: Duration where "1m" ..= "1d" = "1h",
        /// The maximum number of points in one response.
        pub max_points: usize where 100 ..= 100_000_000 = 2_000_000,
        /// The maximum number of series in one response.
        pub max_series: usize where 1 ..= 100_000 = 1_000,
    }
}

impl Checked for History {}

impl History {
    /// Converts to the options of the history writer.
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
        /// Whether chunks are counted.
        pub enabled: bool = true,
        /// The URL of a PixCrawler database, which is only read. Without it, chunks are kept in Watchpost's own
        /// database, and workers report them through the API.
        pub database_url: Option<Secret<DatabaseUrl>>,
        /// How often the chunks are counted.
        pub interval: Duration where "100ms" ..= "1d" = "10s",
        /// Timeout for a count.
        pub timeout: Duration where "10ms" ..= "1h" = "10s",
    }
}

impl Checked for Chunks {}

impl Chunks {
    /// The schedule of the source.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            interval: self.interval,
            timeout: self.timeout,
        }
    }
}

/// A database URL. A relative path in it is resolved against the directory of the layer that sets it.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    folder: std::path::PathBuf,
}

impl DatabaseUrl {
    /// Resolves the address of the database.
    pub fn place(&self, read_only: bool) -> Result<store::DatabaseAddress, store::InvalidDatabaseAddress> {
        store::DatabaseAddress::parse(&self.text, &self.folder, read_only)
    }
}

impl Setting for DatabaseUrl {
    fn kind() -> String {
        "database URL".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let legal = |text: &&str| store::DatabaseAddress::parse(text, Path::new(""), false).is_ok();
        let read = value.as_str().filter(legal).map(|text| Self {
            text: text.to_owned(),
            folder: location.folder.clone(),
        });
        let expected = "\"postgres://USER:PASSWORD@HOST/DATABASE\" or \"sqlite:PATH\"";
        read.or_else(|| refused(value, location, errors, expected))
    }

    fn written(&self) -> Value {
        Value::from(self.text.as_str())
    }
}
