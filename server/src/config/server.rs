//! Settings of the server process.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::declare::{Checked, section};
use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::setting::Setting;
use crate::host_id::HostId;

section! {
    /// The server process.
    pub struct Server {
        /// The directory for persistent data: the database, development certificates and compiled rules. It is
        /// created if it is missing.
        pub data_dir: PathBuf = "./watchpost-data",
        /// The name of this machine in measurements. Without it, the machine's host name.
        pub hostname: Option<HostId>,
        /// The number of threads that answer requests. Without it, one per core.
        pub workers: Option<usize> where 1 ..= 512,
        /// How long requests in progress may take to finish on shutdown.
        pub drain_timeout: Duration where "0s" ..= "1h" = "30s",
    }
}

impl Checked for Server {}

impl Setting for HostId {
    fn kind() -> String {
        String::kind()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let name = String::read(value, location, errors)?;
        let read = Self::new(&name);
        read.map_err(|error| errors.push(location.error(error.to_string())))
            .ok()
    }

    fn written(&self) -> Value {
        Value::from(self.as_str())
    }
}
