//! What a certificate may say about who holds it. A name that exists is safe in a path and in a certificate; whether
//! it was issued already is not known here.

use std::fmt;
use std::net::IpAddr;

use super::error::PkiError;

/// As much as a common name or a unit of an organisation may hold (RFC 5280, appendix A).
const MAX_NAME_CHARS: usize = 64;

/// The name or the role of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(String);

impl Name {
    pub(super) fn parse(name: &str) -> Result<Self, PkiError> {
        Self::checked(name, "name")
    }

    pub(super) fn parse_role(role: &str) -> Result<Self, PkiError> {
        Self::checked(role, "role")
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// A file that begins with a dot is one that is being written, so no name does.
    fn checked(name: &str, what: &'static str) -> Result<Self, PkiError> {
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

/// A name under which a server is reached, in small letters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DnsName(String);

impl DnsName {
    /// Underscores are no part of a host's name by the book, but in names of containers they are common.
    pub(super) fn parse(name: &str) -> Result<Self, PkiError> {
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

    pub(super) fn as_str(&self) -> &str {
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
            let refused = Name::parse(bad).expect_err("refused").to_string();
            assert!(refused.contains("1 to 64"), "{bad:?}: {refused}");
        }
        let refused = Name::parse_role("a,OU=admin").expect_err("refused").to_string();
        assert!(refused.contains("be a role"), "{refused}");
    }

    #[test]
    fn a_dns_name_is_one_that_a_resolver_would_take() {
        for (good, kept) in [
            ("localhost", "localhost"),
            ("Edge-1.Example.ORG", "edge-1.example.org"),
            ("my_container", "my_container"),
        ] {
            assert_eq!(DnsName::parse(good).expect("a legal name").as_str(), kept);
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
