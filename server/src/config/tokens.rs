//! Settings of the bearer tokens for clients without a certificate. Only hashes are stored.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use watchpost_policies::Identity;

use super::declare::{Checked, section};
use super::errors::ConfigErrors;
use super::name::PlainName;
use super::origin::SettingLocation;
use super::scalar::refused;
use super::setting::Setting;
use watchpost_secret::Secret;

section! {
    /// A token.
    pub struct Token {
        /// The name of the client: letters, digits, `-`, `_` and `.`. Names are unique.
        pub name: PlainName,
        /// The SHA-256 hash of the token, 64 hexadecimal digits, as `printf %s "$TOKEN" | sha256sum` prints it.
        pub sha256: Secret<TokenHash>,
        /// When the token expires: a time such as `2030-01-31T12:00:00Z`, or a day, at the start of which (UTC)
        /// it expires.
        pub expires: Option<Timestamp>,
        /// The roles of the client, in addition to those that `rules.role.identities` gives it: `["reader"]`. Without a
        /// role, it may do no more than an anonymous client.
        pub roles: Vec<RoleName> = json!([]),
    }
}

impl Token {
    /// The identity of a client with this token.
    pub fn identity(&self) -> Identity {
        Identity::of_token(self.name.as_str()).with_assigned_roles(self.roles())
    }

    /// The names of its roles.
    pub fn roles(&self) -> Vec<&str> {
        self.roles.iter().map(RoleName::as_str).collect()
    }
}

/// A decision names the roles of a client, and each log line of a request has them.
const MAX_ROLES: usize = 16;

impl Checked for Token {
    fn check_list(all: &[Self], location: &SettingLocation, errors: &mut ConfigErrors) {
        for (at, token) in all.iter().enumerate() {
            let item = location.item(at);
            let earlier = &all[..at];
            if earlier.iter().any(|earlier| earlier.name == token.name) {
                let remedy = format!(
                    "\"{}\" is already the name of a token; give each token a unique name",
                    token.name
                );
                errors.push(item.field("name").error(remedy));
            }
            if token.roles.len() > MAX_ROLES {
                let remedy = format!("{} roles were given; write at most {MAX_ROLES}", token.roles.len());
                errors.push(item.field("roles").error(remedy));
            }
            let same = |earlier: &&Self| earlier.sha256 == token.sha256 && !token.sha256.expose().is_placeholder();
            if let Some(same) = earlier.iter().find(same) {
                let remedy = format!("same token as \"{}\"; give each client its own token", same.name);
                errors.push(item.field("sha256").error(remedy));
            }
        }
    }
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash. Compare it in constant time.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether this is the placeholder of the documentation, 64 zeros, which no token has.
    pub fn is_placeholder(&self) -> bool {
        self.0 == [0; 32]
    }
}

/// The name of a role, in the form that the built-in role rule accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleName(String);

/// The limit of role names in the contract.
const MAX_ROLE_BYTES: usize = 64;

impl RoleName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for RoleName {
    fn kind() -> String {
        "role".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let legal = |name: &&str| {
            (1..=MAX_ROLE_BYTES).contains(&name.len()) && !name.contains(char::is_control) && !name.trim().is_empty()
        };
        let read = value.as_str().filter(legal).map(|name| Self(name.to_owned()));
        let expected = "the name of a role in quotes, such as \"reader\", of at most 64 bytes";
        read.or_else(|| refused(value, location, errors, expected))
    }

    fn written(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Setting for TokenHash {
    fn kind() -> String {
        "SHA-256 hash".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().and_then(bytes).map(Self);
        let expected = "the SHA-256 hash of the token in quotes, 64 hexadecimal digits; never the token itself";
        read.or_else(|| refused(value, location, errors, expected))
    }

    fn written(&self) -> Value {
        let digits: Vec<_> = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        Value::from(digits.concat())
    }
}

fn bytes(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

impl Setting for Timestamp {
    fn kind() -> String {
        "time or day".to_owned()
    }

    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let read = value.as_str().and_then(instant);
        let expected = "a time with its zone, such as \"2030-01-31T12:00:00Z\", or a day, such as \"2030-01-31\"";
        read.or_else(|| refused(value, location, errors, expected))
    }

    fn written(&self) -> Value {
        Value::from(self.to_string())
    }
}

/// A day means its start: a token expires too early rather than too late.
fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    // `Date` would also parse a time without a zone; only a plain day is accepted.
    let day: Date = text.parse().ok().filter(|_| text.len() == "2030-01-31".len())?;
    day.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_expires_at_a_time_or_at_the_start_of_a_day() {
        let check = |text: &str, shown: Option<&str>| {
            assert_eq!(instant(text).map(|time| time.to_string()).as_deref(), shown, "{text}");
        };
        check("2030-01-31T12:00:00Z", Some("2030-01-31T12:00:00Z"));
        check("2030-01-31T12:00:00+02:00", Some("2030-01-31T10:00:00Z"));
        check("2030-01-31", Some("2030-01-31T00:00:00Z"));
        check("2030-01-31T12:00:00", None);
        check("2030-02-31", None);
        check("tomorrow", None);
    }

    #[test]
    fn a_role_has_a_name_of_at_most_64_bytes() {
        let location = SettingLocation {
            origin: crate::config::Origin::Default,
            key: "tokens[0].roles[0]".to_owned(),
            folder: Default::default(),
            secret: false,
        };
        let is_legal = |name: &str| {
            let mut errors = ConfigErrors::default();
            RoleName::read(&Value::from(name), &location, &mut errors).is_some() && errors.is_empty()
        };
        for (name, expected) in [
            ("reader", true),
            ("night shift", true),
            ("", false),
            (" ", false),
            ("a\nb", false),
        ] {
            assert_eq!(is_legal(name), expected, "{name:?}");
        }
        assert!(is_legal(&"x".repeat(64)) && !is_legal(&"x".repeat(65)));
    }

    #[test]
    fn a_hash_is_64_hex_digits() {
        let hash = bytes(&"0aF1".repeat(16)).expect("a hash");
        assert_eq!(hash[..2], [0x0a, 0xf1]);
        for text in [
            "",
            &"0".repeat(63),
            &"0".repeat(65),
            &"g".repeat(64),
            &"é".repeat(32),
            &"+1".repeat(32),
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
