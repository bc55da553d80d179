//! The settings of the process itself.

use std::path::PathBuf;
use std::time::Duration;

use super::declare::{Checked, section};
use super::given::Reader;

section! {
    /// The process itself.
    pub struct Server {
        /// The folder for what has to outlive the process: certificates of its own, compiled rules. It is made
        /// when it is missing.
        pub data_dir: PathBuf = "./watchpost-data",
        /// What measurements call this machine. Without it, they use the machine's own name.
        pub hostname: Option<String>,
        /// How many threads answer requests. Without it, one a core.
        pub workers: Option<usize> where 1 ..= 512,
        /// How long requests that have begun may go on when the process is told to stop.
        pub drain_timeout: Duration where "0s" ..= "1h" = "30s",
    }
}

impl Checked for Server {
    fn check(&mut self, reader: &mut Reader<'_>) {
        let empty = |name: &String| name.trim().is_empty();
        if self.hostname.as_ref().is_some_and(empty) {
            reader.mistake(
                &["hostname"],
                "it is empty; write a name, or leave it out for the machine's own",
            );
        }
    }
}
