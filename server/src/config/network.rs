//! IP networks, written `10.0.0.0/8` or as a single address. An IPv4-mapped IPv6 address is treated as its IPv4
//! address, because dual-stack sockets report IPv4 peers that way.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde_json::Value;

use super::errors::ConfigErrors;
use super::origin::SettingLocation;
use super::scalar::refused;
use super::setting::Setting;

/// A range of addresses with a common prefix; a single address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

impl Network {
    /// Whether the network contains the address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// Why a text is not a network, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// Neither an address nor a network.
    #[error("write an address such as 192.0.2.1, or a network such as 10.0.0.0/8 or 2001:db8::/32")]
    Unreadable,
    /// An address within the network is given instead of the network's own.
    #[error("host bits are set; write {0} for the network, or the address alone")]
    HostBits(Network),
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let written = match text.parse() {
            Ok(address) => IpNet::from(IpAddr::to_canonical(&address)),
            Err(_) => canonical(text.parse().map_err(|_| InvalidNetwork::Unreadable)?)?,
        };
        match written.trunc() {
            network if network == written => Ok(Self(network)),
            network => Err(InvalidNetwork::HostBits(Self(network))),
        }
    }
}

/// The prefix length of a mapped network includes the 96 bits of the mapping prefix.
fn canonical(network: IpNet) -> Result<IpNet, InvalidNetwork> {
    match network.addr().to_canonical() {
        IpAddr::V4(address) if matches!(network, IpNet::V6(_)) => {
            let bits = network.prefix_len().checked_sub(96).ok_or(InvalidNetwork::Unreadable)?;
            Ipv4Net::new(address, bits)
                .map(IpNet::V4)
                .map_err(|_| InvalidNetwork::Unreadable)
        }
        _ => Ok(network),
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.prefix_len() == self.0.max_prefix_len() {
            true => self.0.addr().fmt(f),
            false => self.0.fmt(f),
        }
    }
}

impl Setting for Network {
    fn kind() -> String {
        "address or network".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().map_or(Err(InvalidNetwork::Unreadable), str::parse);
        read.map_or_else(
            |error| match error {
                InvalidNetwork::Unreadable => {
                    let expected = "an address such as \"192.0.2.1\", or a network such as \"10.0.0.0/8\"";
                    refused(value, location, errors, expected)
                }
                InvalidNetwork::HostBits(network) => refused(
                    value,
                    location,
                    errors,
                    &format!("\"{network}\" for the network, or the address alone"),
                ),
            },
            Some,
        )
    }

    fn written(&self) -> Value {
        Value::from(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect("a network")
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        let check = |text: &str, inside: &[&str], outside: &[&str]| {
            let parse = |text: &&str| text.parse::<IpAddr>().expect("an address");
            for address in inside.iter().map(parse) {
                assert!(network(text).contains(address), "{address} is in {text}");
            }
            for address in outside.iter().map(parse) {
                assert!(!network(text).contains(address), "{address} is not in {text}");
            }
        };
        check(
            "10.0.0.0/8",
            &["10.1.2.3", "::ffff:10.1.2.3"],
            &["11.0.0.0", "::a01:203", "fe80::1"],
        );
        check(
            "192.0.2.1",
            &["192.0.2.1", "::ffff:192.0.2.1"],
            &["192.0.2.0", "192.0.2.2"],
        );
        check("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::1"]);
        check("::/0", &["::1", "2001:db8::1"], &["10.0.0.1", "::ffff:10.0.0.1"]);
        check("2001:db8::/32", &["2001:db8:1::1"], &["2001:db9::1"]);
        check("::ffff:10.0.0.0/104", &["10.9.9.9"], &["11.0.0.1"]);
        check("172.16.0.0/12", &["172.31.255.255"], &["172.32.0.0", "172.15.255.255"]);
    }

    #[test]
    fn invalid_networks_are_rejected() {
        for text in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "::/129",
            "::ffff:0:0/95",
            "10/8",
            "host",
        ] {
            assert_eq!(text.parse::<Network>(), Err(InvalidNetwork::Unreadable), "{text}");
        }
        assert_eq!(
            "10.1.0.0/8".parse::<Network>(),
            Err(InvalidNetwork::HostBits(network("10.0.0.0/8")))
        );
    }

    #[test]
    fn a_network_is_shown_as_it_is_written() {
        for text in ["10.0.0.0/8", "192.0.2.1", "::/0", "2001:db8::/32"] {
            assert_eq!(network(text).to_string(), text);
        }
    }
}
