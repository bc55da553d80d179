//! Where the server listens, and what each place wants of its clients.

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
        /// `/health` and `/metrics` as PixCrawler's resource monitor had them, and nothing else.
        PixCrawler = "pixcrawler",
    }
}

impl Serialize for ApiProfile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

section! {
    /// One place to listen at.
    pub struct Listener {
        /// The IP address and the port. Port 0 is any that is free.
        pub address: SocketAddr,
        /// Whether connections are encrypted.
        pub tls: bool = true,
        /// Whether clients show a certificate. Without TLS it is off, and nothing else can be written.
        pub client_auth: ClientAuth = "optional",
        /// Which paths are served there. On a loopback address, the API profile `pixcrawler` answers whoever asks from this
        /// machine; elsewhere the role rule decides.
        pub api: ApiProfile = "full",
    }
}

impl Checked for Listener {
    fn check(&mut self, reader: &mut Reader<'_>) {
        if self.tls {
            return;
        }
        if reader.was_said("client_auth") && self.client_auth != ClientAuth::Off {
            let remedy = "certificates need TLS; leave it out, or set tls = true";
            reader.mistake(&["client_auth"], remedy);
        }
        self.client_auth = ClientAuth::Off;
    }

    fn check_list(all: &[Self], place: &SettingLocation, mistakes: &mut ConfigErrors) {
        if all.is_empty() {
            mistakes.push(place.mistake("nobody could reach the server; name at least one address"));
        }
        for (at, listener) in all.iter().enumerate() {
            let taken = all[..at].iter().any(|earlier| earlier.address == listener.address);
            if taken && listener.address.port() != 0 {
                let remedy = format!("{} is listened at twice; give each its own port", listener.address);
                mistakes.push(place.item(at).field("address").mistake(remedy));
            }
        }
    }
}

/// Only the machine itself reaches them, until an operator says otherwise.
pub(super) fn defaults() -> Value {
    json!([
        { "address": "127.0.0.1:8443", "tls": true, "client_auth": "optional" },
        { "address": "127.0.0.1:8080", "tls": false },
    ])
}
