//! Settings of the listeners: address, TLS, client authentication and API profile.

use std::net::SocketAddr;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::declare::{Checked, section};
use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::raw_settings::Reader;
use crate::string_enum::string_enum;
use crate::tls::ClientAuth;

string_enum! {
    /// An API profile: the set of paths that a listener serves.
    pub enum ApiProfile {
        /// The whole API.
        Full = "full",
        /// `/health` and `/metrics` in the format of PixCrawler's resource monitor, and no other path.
        PixCrawler = "pixcrawler",
    }
}

impl Serialize for ApiProfile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

section! {
    /// A listener.
    pub struct Listener {
        /// The IP address and the port. With port 0, the system picks a free port.
        pub address: SocketAddr,
        /// Whether the listener uses TLS.
        pub tls: bool = true,
        /// Whether clients present a certificate. Without TLS it must be `off`, which is then the default.
        pub client_auth: ClientAuth = "optional",
        /// The API profile: the paths that the listener serves. On a loopback address, the profile `pixcrawler`
        /// allows unauthenticated reads from the local machine; on other addresses, the role rule decides.
        pub api: ApiProfile = "full",
    }
}

impl Checked for Listener {
    fn check(&mut self, reader: &mut Reader<'_>) {
        if self.tls {
            return;
        }
        if reader.is_set("client_auth") && self.client_auth != ClientAuth::Off {
            let remedy = "client certificates need TLS; remove client_auth, or set tls = true";
            reader.error(&["client_auth"], remedy);
        }
        self.client_auth = ClientAuth::Off;
    }

    fn check_list(all: &[Self], location: &SettingLocation, errors: &mut ConfigErrors) {
        if all.is_empty() {
            errors.push(location.error("no listeners; set at least one address"));
        }
        for (at, listener) in all.iter().enumerate() {
            let taken = all[..at].iter().any(|earlier| earlier.address == listener.address);
            if taken && listener.address.port() != 0 {
                let remedy = format!(
                    "{} is used twice; give each listener its own address and port",
                    listener.address
                );
                errors.push(location.item(at).field("address").error(remedy));
            }
        }
    }
}

/// Loopback only: by default, no other machine can connect.
pub(super) fn defaults() -> Value {
    json!([
        { "address": "127.0.0.1:8443", "tls": true, "client_auth": "optional" },
        { "address": "127.0.0.1:8080", "tls": false },
    ])
}
