//! The settings of what may be asked, by whom, how much and how fast.

use std::time::Duration;

use serde_json::json;

use super::declare::{Checked, section};
use super::network::Network;
use super::raw_settings::Reader;
use super::size::Size;

section! {
    /// Requests.
    pub struct Http {
        /// The proxies that may say for whom they ask: addresses and networks. `tls.client_ca` has to hold the
        /// intermediate authorities of their clients too.
        pub trusted_proxies: Vec<Network> = json!([]),
        /// The largest body that is taken.
        pub max_body: Size where 0 ..= "1GiB" = "1MiB",
        /// The most that all headers of a request may have together.
        pub max_headers: Size where "1KiB" ..= "1MiB" = "16KiB",
        /// How long a client may take to send its headers.
        pub header_timeout: Duration where "10ms" ..= "1h" = "5s",
        /// How long a client may take to send a body.
        pub body_timeout: Duration where "10ms" ..= "1h" = "30s",
        /// How long a connection is kept for the next request. With `0s` none is.
        pub keep_alive: Duration where "0s" ..= "1h" = "75s",
        /// The most connections at once, for each worker.
        pub max_connections: usize where 1 ..= 1_000_000 = 1024,
        /// How many requests a client may make a second, over time. With 0 there is no limit.
        pub requests_per_second: u32 where 0 ..= 1_000_000 = 200,
        /// How many it may make at once. It is at least `requests_per_second`.
        pub burst: u32 where 0 ..= 1_000_000 = 400,
        /// The smallest body that is worth compressing.
        pub compress_min_size: Size = 500,
        /// Whether each request is a line in the log.
        pub access_log: bool = true,
    }
}

impl Checked for Http {
    fn check(&mut self, reader: &mut Reader<'_>) {
        if self.burst < self.requests_per_second {
            let remedy = format!(
                "http.burst is {} and http.requests_per_second is {}; let burst be at least as much",
                self.burst, self.requests_per_second
            );
            reader.mistake(&["burst", "requests_per_second"], remedy);
        }
    }
}
