//! Warnings about access that a valid configuration grants to no client: tokens and identities without permission, roles
//! that do not exist, and rules that no client can change. The role rule itself is evaluated, so its settings count
//! wherever they come from. It does not change or reject anything.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use watchpost_policies::{Action, Identity, Request, Rule};

use super::errors::nearest;
use super::{Config, Listener, Token};
use crate::rules::builtin::{self, ANONYMOUS};
use crate::rules::sample;
use crate::tls::ClientAuth;

/// A valid but probably unintended setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ConfigurationWarning)]
pub struct Warning {
    /// The file, variable or flag that sets it: `watchpost.toml`; or that the settings were set through the API.
    pub origin: String,
    /// The dotted key: `tokens[0].roles`.
    pub key: String,
    /// What is probably unintended.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            origin,
            key,
            message,
            remedy,
        } = self;
        write!(f, "{origin}: {key}: {message}; {remedy}")
    }
}

/// The warnings about access under this role rule, the active one or that of the configuration. `development_ca` says
/// whether listeners accept the certificates of the development authority.
pub fn access_warnings(config: &Config, role: &Rule, development_ca: bool, now: Timestamp) -> Vec<Warning> {
    let access = Access {
        config,
        role,
        development_ca,
        now,
        for_anonymous: allowed(role, &Identity::anonymous()),
        built_in: role.module().digest() == builtin::role_digest(),
    };
    let mut warnings = access.of_tokens();
    warnings.extend(access.of_front_ends());
    if access.built_in {
        let entries = entries(role.settings());
        warnings.extend(access.of_entries(&entries));
        warnings.extend(access.of_clauses());
        warnings.extend(access.of_client_ca(&entries));
        warnings.extend(access.of_administration(&entries));
    }
    warnings
}

/// The entries under `identities` in settings that the built-in role rule accepted.
fn entries(settings: &str) -> Vec<Entry> {
    #[derive(serde::Deserialize)]
    struct Settings {
        #[serde(default)]
        identities: Vec<Entry>,
    }
    serde_json::from_str(settings).map_or_else(|_| Vec::new(), |Settings { identities }| identities)
}

#[derive(serde::Deserialize)]
struct Entry {
    #[serde(rename = "match")]
    fields: serde_json::Map<String, Value>,
    roles: Vec<String>,
}

impl Entry {
    fn token(&self) -> Option<&str> {
        self.fields.get("token").and_then(Value::as_str)
    }
}

struct Access<'c> {
    config: &'c Config,
    role: &'c Rule,
    development_ca: bool,
    /// Expired tokens are no clients any more.
    now: Timestamp,
    for_anonymous: Vec<Action>,
    /// Whether the role rule is the built-in one, whose settings have a known meaning.
    built_in: bool,
}

impl Access<'_> {
    fn has_expired(&self, token: &Token) -> bool {
        token.expires.is_some_and(|end| end <= self.now)
    }

    fn of_tokens(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for (at, token) in self.config.tokens.iter().enumerate() {
            let key = format!("tokens[{at}]");
            if token.sha256.expose().is_placeholder() {
                warnings.push(self.configured(
                    "tokens",
                    format!("{key}.sha256"),
                    format!(
                        "this is the placeholder of the documentation, so no client can use the token {}",
                        token.name
                    ),
                    "write the hash of your token, as `printf %s \"$TOKEN\" | sha256sum` prints it".to_owned(),
                ));
            }
            if let Some(end) = token.expires.filter(|_| self.has_expired(token)) {
                warnings.push(self.configured(
                    "tokens",
                    format!("{key}.expires"),
                    format!("the token {} expired at {end}", token.name),
                    "issue a new token, or remove the entry".to_owned(),
                ));
            }
            let undefined = self.undefined(&token.roles());
            for (role_at, role) in undefined.iter() {
                warnings.push(self.configured(
                    "tokens",
                    format!("{key}.roles[{role_at}]"),
                    format!("there is no role {role}"),
                    self.known_roles_remedy(role),
                ));
            }
            if undefined.is_empty() && !self.grants(&token.identity()) {
                warnings.push(self.configured(
                    "tokens",
                    format!("{key}.roles"),
                    format!("the token {} may do no more than an anonymous client", token.name),
                    "give it a role, such as roles = [\"reader\"]".to_owned(),
                ));
            }
        }
        warnings
    }

    /// Roles that the built-in rule does not define, with their positions.
    fn undefined<'r>(&self, roles: &[&'r str]) -> Vec<(usize, &'r str)> {
        if !self.built_in {
            return Vec::new();
        }
        let known = self.defined_roles();
        let named = roles.iter().copied().enumerate();
        named.filter(|(_, role)| !known.contains(*role)).collect()
    }

    fn of_entries(&self, entries: &[Entry]) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            let key = format!("rules.role.identities[{at}]");
            if !self.grants(&with_roles(&entry.roles)) {
                warnings.push(self.of_settings(
                    format!("{key}.roles"),
                    "these roles allow no more than an anonymous client may do".to_owned(),
                    "name a role that allows actions, such as roles = [\"reader\"]".to_owned(),
                ));
            }
            if let Some(name) = entry.token().filter(|name| !name.contains('*'))
                && !self.config.tokens.iter().any(|token| token.name.as_str() == name)
            {
                let names = self.config.tokens.iter().map(|token| token.name.as_str());
                let remedy = match nearest(name, names) {
                    Some(near) => format!("did you mean {near}?"),
                    None => "add it under tokens, or remove the entry".to_owned(),
                };
                let message = format!("no token is named {name}, so the entry matches no client");
                warnings.push(self.of_settings(format!("{key}.match.token"), message, remedy));
            }
        }
        warnings
    }

    fn of_clauses(&self) -> Vec<Warning> {
        let settings: Value = serde_json::from_str(self.role.settings()).unwrap_or_default();
        let clauses = settings["while"].as_array().map_or(&[][..], Vec::as_slice);
        let mut warnings = Vec::new();
        for (at, clause) in clauses.iter().enumerate() {
            let denied: Vec<&str> = clause["deny"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let mut actions = Action::ALL
                .iter()
                .filter(|action| denied.iter().any(|pattern| is_named_by(action.as_str(), pattern)));
            if actions.all(|action| action.is_reserved()) {
                warnings.push(self.of_settings(
                    format!("rules.role.while[{at}].deny"),
                    "no request needs these actions yet, so the clause denies nothing".to_owned(),
                    "name an action that docs/RULES.md does not mark as reserved".to_owned(),
                ));
            }
        }
        warnings
    }

    fn of_client_ca(&self, entries: &[Entry]) -> Option<Warning> {
        let client_ca = self.config.tls.client_ca.as_ref()?;
        let names_certificates = entries.iter().any(|entry| entry.token().is_none());
        if self.development_ca || names_certificates || !self.accepts_certificates() {
            return None;
        }
        Some(self.configured(
            "tls.client_ca",
            "tls.client_ca".to_owned(),
            format!("no client with a certificate of {} has a role", client_ca.display()),
            "add an entry for them under rules.role.identities".to_owned(),
        ))
    }

    /// Front ends that are trusted by their address alone, which every program at that address shares.
    fn of_front_ends(&self) -> Option<Warning> {
        let http = &self.config.http;
        if http.trusted_proxies.is_empty() || !http.trusted_proxy_certificates.is_empty() {
            return None;
        }
        let addresses: Vec<_> = http.trusted_proxies.iter().map(ToString::to_string).collect();
        Some(self.configured(
            "http.trusted_proxies",
            "http.trusted_proxies".to_owned(),
            format!(
                "any program that connects from {} can claim any client's certificate, because front ends are \
                 identified by their address alone",
                addresses.join(", ")
            ),
            "give the front end a client certificate, and name it under http.trusted_proxy_certificates".to_owned(),
        ))
    }

    /// Whether any client could change rules.
    fn of_administration(&self, entries: &[Entry]) -> Option<Warning> {
        let may = |identity: &Identity| allowed(self.role, identity).contains(&Action::RulesWrite);
        let accepts_certificates = self.accepts_certificates();
        let by_development_ca = || {
            let mut units = self.defined_roles().into_iter();
            self.development_ca && accepts_certificates && units.any(|role| may(&of_unit(&role)))
        };
        let usable = |entry: &&Entry| match entry.token() {
            // The token is evaluated itself.
            Some(_) => false,
            None => accepts_certificates,
        };
        let mut usable_tokens = self
            .config
            .tokens
            .iter()
            .filter(|token| !token.sha256.expose().is_placeholder() && !self.has_expired(token));
        let someone = may(&Identity::anonymous())
            || usable_tokens.any(|token| may(&token.identity()))
            || by_development_ca()
            || entries
                .iter()
                .filter(usable)
                .any(|entry| may(&with_roles(&entry.roles)))
            || (accepts_certificates && !self.config.rules.break_glass.is_empty());
        if someone {
            return None;
        }
        Some(self.of_settings(
            "rules.role".to_owned(),
            "no client can change rules, because no identity has a role with the action rules.write".to_owned(),
            "give a client the role admin under tokens or rules.role.identities, or add a certificate to rules.break_glass"
                .to_owned(),
        ))
    }

    /// Whether clients can present certificates: to a listener, or through a front end.
    fn accepts_certificates(&self) -> bool {
        let asks = |listener: &Listener| listener.tls && listener.client_auth != ClientAuth::Off;
        self.config.listeners.iter().any(asks) || !self.config.http.trusted_proxies.is_empty()
    }

    fn grants(&self, identity: &Identity) -> bool {
        let granted = allowed(self.role, identity);
        granted.iter().any(|action| !self.for_anonymous.contains(action))
    }

    fn defined_roles(&self) -> BTreeSet<String> {
        let effective = self.role.effective_settings();
        let roles = effective.and_then(|settings| settings["roles"].as_object());
        roles.into_iter().flat_map(|roles| roles.keys().cloned()).collect()
    }

    fn known_roles_remedy(&self, role: &str) -> String {
        let mut known = self.defined_roles();
        known.remove(ANONYMOUS);
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        match nearest(role, known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("use one of {}, or define it under rules.role.roles", known.join(", ")),
        }
    }

    fn configured(&self, setting: &str, key: String, message: String, remedy: String) -> Warning {
        Warning {
            origin: self.config.origin(setting).to_string(),
            key,
            message,
            remedy,
        }
    }

    /// A warning about the role rule's settings, which may have been set through the API.
    fn of_settings(&self, key: String, message: String, remedy: String) -> Warning {
        let is_configured = self.role.settings() == self.config.rules.settings().role;
        let origin = match is_configured {
            true => self.config.origin("rules.role").to_string(),
            false => "settings that were set through the API".to_owned(),
        };
        Warning {
            origin,
            key,
            message,
            remedy,
        }
    }
}

/// The actions that the rule allows an identity while everything is ok, without those that nothing needs yet.
fn allowed(role: &Rule, identity: &Identity) -> Vec<Action> {
    let may = |action: &Action| {
        let decided = role.decide_alone(&Request::new(identity, *action), &[]);
        matches!(decided, Ok(Ok((decision, _))) if decision.is_allowed())
    };
    let in_use = Action::ALL.iter().filter(|action| !action.is_reserved());
    in_use.copied().filter(may).collect()
}

/// An identity that has these roles and no others.
fn with_roles(roles: &[String]) -> Identity {
    // No token has an empty name, so no entry matches it but one for all tokens.
    Identity::of_token("").with_assigned_roles(roles.iter().map(String::as_str))
}

/// The owner of a development certificate with this organisational unit.
fn of_unit(unit: &str) -> Identity {
    let subject = [("O", "Watchpost"), ("OU", unit), ("CN", "operator")];
    let identity = sample::of_certificate(&subject, &[("O", "Watchpost"), ("CN", "Watchpost development CA")]);
    identity.with_assigned_roles([unit])
}

/// Whether a pattern of the role rule, in which `*` matches any text, names an action.
fn is_named_by(action: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => action == pattern,
        Some((start, rest)) => {
            let Some(action) = action.strip_prefix(start) else {
                return false;
            };
            rest.is_empty()
                || (0..=action.len()).any(|at| action.is_char_boundary(at) && is_named_by(&action[at..], rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use watchpost_policies::Kind;

    use super::*;
    use crate::config::Sources;
    use crate::judge::test_round::rules;

    /// The warnings about a configuration, without the folder of its file.
    fn warnings(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("watchpost.toml");
        std::fs::write(&file, text).expect("written");
        let sources = Sources {
            file: Some(file),
            ..Sources::default()
        };
        let config = Config::load(&sources).expect("it is valid");
        // Compiling the rule for each configuration would take most of the time.
        let role = rules().builtin(Kind::Role);
        let role = role
            .with_settings(&config.rules.settings().role)
            .expect("valid settings");
        let found = access_warnings(&config, &role, config.tls.client_ca.is_none(), Timestamp::UNIX_EPOCH);
        let prefix = format!("{}/", folder.path().display());
        found
            .iter()
            .map(|warning| warning.to_string().replace(&prefix, ""))
            .collect()
    }

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn token(rest: &str) -> String {
        format!("[[tokens]]\nname = 'ci'\nsha256 = '{HASH}'\n{rest}\n")
    }

    #[test]
    fn a_configuration_that_grants_access_has_no_warning() {
        for good in [
            String::new(),
            token("roles = ['reader']"),
            token("[[rules.role.identities]]\nmatch = { token = 'ci' }\nroles = ['agent']"),
            token("roles = ['night shift']\n[rules.role.roles]\n'night shift' = ['history.read']"),
            "[rules.role.roles]\noperator = ['rules.*']\n[[rules.role.while]]\nmetric = 'disk'\nat_least = 'alert'\n\
             deny = ['chunks.*', 'sessions.run']"
                .to_owned(),
        ] {
            assert_eq!(warnings(&good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn a_token_without_permission_or_with_an_unknown_role_is_named_with_its_remedy() {
        let expected = "watchpost.toml: tokens[0].roles: the token ci may do no more than an anonymous client; give it a \
                        role, such as roles = [\"reader\"]";
        assert_eq!(warnings(&token("")), [expected]);
        assert_eq!(
            warnings(&token("roles = ['agent', 'raeder']")),
            ["watchpost.toml: tokens[0].roles[1]: there is no role raeder; did you mean reader?"]
        );
        assert_eq!(
            warnings(&token("roles = ['superhero']")),
            [
                "watchpost.toml: tokens[0].roles[0]: there is no role superhero; use one of admin, agent, reader, user, or \
              define it under rules.role.roles"
            ]
        );
        let placeholder = token("roles = ['reader']").replace(HASH, &"0".repeat(64));
        let found = warnings(&placeholder);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("watchpost.toml: tokens[0].sha256: this is the placeholder"),
            "{found:?}"
        );
    }

    #[test]
    fn an_entry_without_effect_is_named() {
        let entry =
            |fields: &str, roles: &str| format!("[[rules.role.identities]]\nmatch = {fields}\nroles = {roles}\n");
        let found = warnings(&entry("{ dns = '*.example.org' }", "[]"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("rules.role.identities[0].roles: these roles allow no more"),
            "{found:?}"
        );
        let found = warnings(&(token("roles = ['reader']") + &entry("{ token = 'co' }", "['admin']")));
        assert_eq!(
            found,
            [
                "watchpost.toml: rules.role.identities[0].match.token: no token is named co, so the entry matches no client; \
              did you mean ci?"
            ]
        );
        let clause =
            "[[rules.role.while]]\nmetric = 'disk'\nat_least = 'alert'\ndeny = ['sessions.*', 'alerts.silence']";
        let found = warnings(clause);
        assert!(
            found.len() == 1 && found[0].contains("rules.role.while[0].deny"),
            "{found:?}"
        );
    }

    #[test]
    fn a_configuration_under_which_no_client_can_change_rules_is_named() {
        let warning_text = "no client can change rules";
        let check = |text: &str, expected: bool| {
            let found = warnings(text);
            assert_eq!(
                found.iter().any(|warning| warning.contains(warning_text)),
                expected,
                "{text}: {found:?}"
            );
        };
        check("[rules.role.roles]\nadmin = ['rules.read']", true);
        check(
            "[rules.role.roles]\nadmin = ['rules.read']\noperator = ['rules.*']",
            false,
        );
        let without_certificates = "[[listeners]]\naddress = '127.0.0.1:0'\ntls = false\n";
        check(without_certificates, true);
        check(&format!("{without_certificates}{}", token("roles = ['admin']")), false);
        check(&format!("{without_certificates}{}", token("roles = ['reader']")), true);
        let own = "[tls]\nclient_ca = 'clients.pem'\n";
        check(own, true);
        assert!(
            warnings(own)
                .iter()
                .any(|warning| warning.contains("no client with a certificate of clients.pem"))
        );
        let entry = "[[rules.role.identities]]\nmatch = { issuer = 'CN=Own' }\nroles = ['admin']\n";
        check(&format!("{own}{entry}"), false);
        check(&format!("{own}{}", entry.replace("admin", "reader")), true);
        let break_glass = format!("[rules]\nbreak_glass = ['{HASH}']\n{own}");
        check(&break_glass, false);
    }

    #[test]
    fn a_star_in_the_pattern_of_an_action_matches_any_text() {
        for (pattern, expected) in [
            ("*", true),
            ("rules.*", true),
            ("*.read", true),
            ("r*s.r*d", true),
            ("rules", false),
        ] {
            assert_eq!(is_named_by("rules.read", pattern), expected, "{pattern}");
        }
    }
}
