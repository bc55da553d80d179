//! Selects a version of a rule by a prefix of its digest.

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::Args;
use serde::Deserialize;

use super::super::{CommandError, EXIT_FAILED_CHECK};
use super::{Named, short};
use crate::cli::USAGE;
use crate::cli::client::{ApiClient, ApiRequest};

/// Eight digits are 32 bits: two versions of a rule practically never share them.
const MIN_DIGEST_PREFIX: usize = 8;

const ALL_DIGITS: usize = 64;

/// A rule and one of its versions.
#[derive(Args)]
pub(super) struct SelectedVersion {
    #[command(flatten)]
    pub(super) rule: Named,
    /// The digest of the version, or a unique prefix of it.
    #[arg(value_name = "DIGEST")]
    prefix: DigestPrefix,
}

/// Eight hexadecimal digits or more.
#[derive(Clone, Debug)]
struct DigestPrefix(String);

#[derive(Deserialize)]
struct Versions {
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    digest: String,
    version: String,
}

impl SelectedVersion {
    /// The whole digest. The server is queried only if the argument is a prefix.
    pub(super) async fn digest(&self, client: &ApiClient) -> Result<String, CommandError> {
        let DigestPrefix(prefix) = &self.prefix;
        if prefix.len() == ALL_DIGITS {
            return Ok(prefix.clone());
        }
        let response = client
            .send_checked(ApiRequest::get(self.rule.path("/versions")))
            .await?;
        one_of(response.read::<Versions>()?.versions, prefix, &self.rule.name)
    }
}

impl FromStr for DigestPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
        let is_legal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !is_legal || !(MIN_DIGEST_PREFIX..=ALL_DIGITS).contains(&digits.len()) {
            return Err(format!(
                "write {MIN_DIGEST_PREFIX} to {ALL_DIGITS} hexadecimal digits of the digest; `watchpost rules show NAME` lists the versions"
            ));
        }
        Ok(Self(digits))
    }
}

fn one_of(known: Vec<Version>, prefix: &str, rule: &str) -> Result<String, CommandError> {
    let found = known.into_iter().filter(|known| known.digest.starts_with(prefix));
    // A built-in version may have been uploaded too.
    let mut found: BTreeMap<_, _> = found.map(|known| (known.digest, known.version)).collect();
    if found.len() > 1 {
        let all: Vec<_> = found
            .iter()
            .map(|(digest, version)| format!("\n  {digest} ({version})"))
            .collect();
        let what = format!(
            "{prefix} matches more than one version of {rule}; write more digits:{}",
            all.concat()
        );
        return Err(CommandError::new(USAGE, what));
    }
    let only = found.pop_first().map(|(digest, _)| digest);
    only.ok_or_else(|| {
        let what = format!(
            "{rule} has no version whose digest begins with {}; `watchpost rules show {rule}` lists the versions",
            short(prefix)
        );
        CommandError::new(EXIT_FAILED_CHECK, what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_eight_hexadecimal_digits_or_more() {
        let check = |text: &str, expected: Option<&str>| {
            let read: Option<DigestPrefix> = text.parse().ok();
            assert_eq!(
                read.as_ref().map(|DigestPrefix(digits)| digits.as_str()),
                expected,
                "{text}"
            );
        };
        check("0123abcd", Some("0123abcd"));
        check("sha256:0123ABCD", Some("0123abcd"));
        check("0123abc", None);
        check("0123abcg", None);
        check(&"0".repeat(64), Some(&"0".repeat(64)));
        check(&"0".repeat(65), None);
    }

    #[test]
    fn a_prefix_selects_one_version_or_none() {
        let check = |prefix: &str, expected: Result<&str, u8>| {
            let known = ["0123abcd11", "0123abcd22", "4567abcd11", "4567abcd11"];
            let known = known.map(|digest| Version {
                digest: digest.to_owned(),
                version: "1.0.0".to_owned(),
            });
            let found = one_of(known.into(), prefix, "weekend").map_err(|stopped| stopped.code);
            assert_eq!(found.as_deref(), expected.as_ref().copied(), "{prefix}");
        };
        check("0123abcd1", Ok("0123abcd11"));
        check("4567abcd", Ok("4567abcd11"));
        check("0123abcd", Err(USAGE));
        check("89abcdef", Err(EXIT_FAILED_CHECK));
    }
}
