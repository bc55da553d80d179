//! The settings of the process itself.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::declare::{Checked, section};
use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::setting::Setting;
use crate::host_id::HostId;

section! {
    /// The process itself.
    pub struct Server {
        /// The folder for what has to outlive the process: certificates of its own, compiled rules. It is made
        /// when it is missing.
        pub data_dir: PathBuf = "./watchpost-data",
        /// What measurements call this machine. Without it, they use the machine's own name.
        pub hostname: Option<HostId>,
        /// How many threads answer requests. Without it, one a core.
        pub workers: Option<usize> where 1 ..= 512,
        /// How long requests that have begun may go on when the process is told to stop.
        pub drain_timeout: Duration where "0s" ..= "1h" = "30s",
    }
}

impl Checked for Server {}

impl Setting for HostId {
    fn kind() -> String {
        String::kind()
    }

    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let name = String::read(value, place, mistakes)?;
        let read = Self::new(&name);
        read.map_err(|error| mistakes.push(place.mistake(error.to_string())))
            .ok()
    }

    fn written(&self) -> Value {
        Value::from(self.as_str())
    }
}
