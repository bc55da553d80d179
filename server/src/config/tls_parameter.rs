//! Cipher suites and groups as settings: the names that OpenSSL uses, each of one suite or group.

use serde_json::Value;

use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::scalar::refused;
use super::setting::Setting;
use crate::tls::{Parameter, is_known_parameter};

macro_rules! parameters {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:literal = $parameter:expr, $expected:literal;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $name(String);

            impl $name {
                /// The name that OpenSSL uses.
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl Setting for $name {
                fn kind() -> String {
                    $kind.to_owned()
                }

                fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
                    let known = value.as_str().filter(|name| is_known_parameter($parameter, name));
                    let read = known.map(|name| Self(name.to_owned()));
                    read.or_else(|| refused(value, location, errors, $expected))
                }

                fn written(&self) -> Value {
                    Value::from(self.as_str())
                }
            }
        )+
    };
}

parameters! {
    /// A cipher suite of TLS 1.2.
    Cipher: "cipher suite" = Parameter::Cipher,
        "the name of one cipher suite of TLS 1.2, as `openssl ciphers -s -tls1_2` prints it";
    /// A cipher suite of TLS 1.3.
    CipherSuite: "cipher suite" = Parameter::CipherSuite,
        "the name of one cipher suite of TLS 1.3, as `openssl ciphers -s -tls1_3` prints it";
    /// A group of the key exchange.
    Group: "group" = Parameter::Group,
        "the name of one group that this server's OpenSSL supports, such as \"X25519\"";
}
