//! Settings of the HTTP server: proxies, limits, timeouts, compression and the access log.

use std::time::Duration;

use serde_json::json;

use super::declare::{Checked, section};
use super::front_end::FrontEndCertificate;
use super::network::Network;
use super::raw_settings::Reader;
use super::size::Size;

section! {
    /// HTTP.
    pub struct Http {
        /// Reverse proxies whose forwarding headers are trusted: addresses and networks. `tls.client_ca` must
        /// also contain the intermediate authorities of their clients.
        pub trusted_proxies: Vec<Network> = json!([]),
        /// The certificates of these proxies: fingerprints, or DNS names in certificates that `tls.client_ca`
        /// verifies. With them, forwarding headers are trusted only on connections with such a certificate. Without
        /// them, any program at an address of `http.trusted_proxies` can claim any client's identity.
        pub trusted_proxy_certificates: Vec<FrontEndCertificate> = json!([]),
        /// The maximum size of a request body.
        pub max_body: Size where 0 ..= "1GiB" = "1MiB",
        /// The maximum size of all headers of a request together.
        pub max_headers: Size where "1KiB" ..= "1MiB" = "16KiB",
        /// Timeout for the TLS handshake, and for receiving the headers of each request from their first byte.
        pub header_timeout: Duration where "10ms" ..= "1h" = "5s",
        /// Timeout for receiving the body of a request.
        pub body_timeout: Duration where "10ms" ..= "1h" = "30s",
        /// How long a client may read nothing of a response (less than 4 KiB) until the response ends.
        pub send_timeout: Duration where "10ms" ..= "1h" = "30s",
        /// How long an idle connection is kept open for the next request. `0s` disables keep-alive.
        pub keep_alive: Duration where "0s" ..= "1h" = "75s",
        /// The maximum number of concurrent connections per worker. Clients on this machine get 16 more.
        pub max_connections: usize where 1 ..= 1_000_000 = 1024,
        /// The maximum number of concurrent connections of one IPv4 address or IPv6 network of 64 bits. It does not
        /// apply to `trusted_proxies`.
        pub max_connections_per_address: usize where 1 ..= 1_000_000 = 256,
        /// The maximum number of requests of one HTTP/2 connection that are processed at once. Others wait.
        pub max_requests_per_connection: usize where 1 ..= 1000 = 32,
        /// The rate limit per client, in requests per second on average. 0 disables the limit.
        pub requests_per_second: u32 where 0 ..= 1_000_000 = 200,
        /// The maximum number of requests that a client may send at once. At least `requests_per_second`.
        pub burst: u32 where 0 ..= 1_000_000 = 400,
        /// The minimum size of a response body that is compressed.
        pub compress_min_size: Size = 500,
        /// Whether each request is logged.
        pub access_log: bool = true,
    }
}

impl Checked for Http {
    fn check(&mut self, reader: &mut Reader<'_>) {
        if self.burst < self.requests_per_second {
            let remedy = format!(
                "http.burst is {} and http.requests_per_second is {}; set burst to at least requests_per_second",
                self.burst, self.requests_per_second
            );
            reader.error(&["burst", "requests_per_second"], remedy);
        }
        if self.trusted_proxies.is_empty() && !self.trusted_proxy_certificates.is_empty() {
            let remedy = "a front end is trusted by its address and its certificate; set http.trusted_proxies too, to \
                          [\"0.0.0.0/0\", \"::/0\"] for any address";
            reader.error(&["trusted_proxy_certificates"], remedy);
        }
    }
}
