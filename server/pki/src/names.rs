//! Names in certificates. A valid name is safe in a path and in a certificate. This module does not know which names
//! were issued.

use std::fmt;
use std::net::IpAddr;

use super::error::PkiError;

/// The maximum length of a common name or organizational unit (RFC 5280, appendix A).
const MAX_NAME_CHARS: usize = 64;

/// The name or the role of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn parse(name: &str) -> Result<Self, PkiError> {
        Self::validated(name, "name")
    }

    pub(crate) fn parse_role(role: &str) -> Result<Self, PkiError> {
        Self::validated(role, "role")
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A leading dot marks a file that is not complete yet, so names must not start with one.
    fn validated(name: &str, what: &'static str) -> Result<Self, PkiError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if (1..=MAX_NAME_CHARS).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(legal) {
            Ok(Self(name.to_owned()))
        } else {
            Err(PkiError::Name {
                name: name.to_owned(),
                what,
            })
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A DNS name of a server, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DnsName(String);

impl DnsName {
    /// Underscores are not allowed in host names by the standard, but they are common in names of containers.
    pub(crate) fn parse(name: &str) -> Result<Self, PkiError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(legal)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() <= 253 && name.split('.').all(is_label) && name.parse::<IpAddr>().is_err() {
            Ok(Self(name.to_ascii_lowercase()))
        } else {
            Err(PkiError::DnsName { name: name.to_owned() })
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_in_a_path() {
        let longest = "a".repeat(64);
        for good in ["admin", "A-1_b.c", "a", "-", "admin.crt", longest.as_str()] {
            assert_eq!(Name::parse(good).expect("a legal name").as_str(), good);
        }
        let too_long = "a".repeat(65);
        let bad = [
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "../a",
            "a b",
            "a\0",
            "a\n",
            "ä",
            "a,b",
            "a=b",
            "a+b",
            "a*",
            "a:b",
            too_long.as_str(),
        ];
        for bad in bad {
            let error = Name::parse(bad).expect_err("error").to_string();
            assert!(error.contains("1 to 64"), "{bad:?}: {error}");
        }
        let error = Name::parse_role("a,OU=admin").expect_err("error").to_string();
        assert!(error.contains("valid role"), "{error}");
    }

    #[test]
    fn a_dns_name_is_valid_for_a_resolver() {
        for (good, expected) in [
            ("localhost", "localhost"),
            ("Edge-1.Example.ORG", "edge-1.example.org"),
            ("my_container", "my_container"),
        ] {
            assert_eq!(DnsName::parse(good).expect("a legal name").as_str(), expected);
        }
        let too_long = "a.".repeat(127) + "a";
        let long_label = "a".repeat(64);
        for bad in [
            "",
            ".",
            "a.",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a,DNS:b",
            "*",
            "*.a",
            "a.*",
            "127.0.0.1",
            "::1",
            "ä.de",
            too_long.as_str(),
            long_label.as_str(),
        ] {
            assert!(DnsName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
