//! Configuration: declares the settings, merges their layers and reports errors. The subsystems define what a
//! setting does.
//!
//! Reading order: the sections; `declare`, which defines them; `sources`, `file` and `raw_settings`, which merge
//! the layers over the defaults; `pixcrawler_import` and `azure_environment`, which fill unset settings from
//! foreign variables; `show` and `document`, which render settings. `systemd` is separate: it reads the
//! variables that systemd sets for every service.

mod access_warnings;
mod audit;
mod azure;
mod azure_environment;
mod collections;
mod collector;
mod database;
mod decisions;
mod declare;
mod duration;
mod errors;
mod file;
mod fingerprint;
mod front_end;
mod host;
mod http;
mod listeners;
mod log;
mod name;
mod network;
mod origin;
mod pixcrawler;
mod pixcrawler_import;
mod raw_settings;
mod rules;
mod scalar;
mod server;
mod setting;
mod show;
mod size;
mod sources;
mod systemd;
mod tls;
mod tls_parameter;
mod tokens;
mod trusted_keys;

#[cfg(test)]
mod document;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use watchpost_policies::SettingsError;

pub use self::access_warnings::{Warning, access_warnings};
pub use self::audit::Audit;
pub use self::azure::{Azure, AzureCredentials, AzureEndpoints, AzureMetric, AzureResource};
pub use self::collector::{Collector, SourceSettings};
pub use self::database::{Chunks, Database, DatabaseUrl, History};
pub use self::decisions::Decisions;
pub use self::duration::duration_of;
pub use self::errors::{ConfigError, ConfigErrors, nearest};
pub use self::front_end::FrontEndCertificate;
pub use self::host::Host;
pub use self::http::Http;
pub use self::listeners::{ApiProfile, Listener};
pub use self::log::{Log, LogFilter};
pub use self::name::PlainName;
pub use self::network::{InvalidNetwork, Network};
pub use self::origin::Origin;
pub use self::pixcrawler::PixCrawler;
pub use self::rules::{RuleLimits, Rules};
pub use self::server::Server;
pub use self::size::Size;
pub use self::sources::{Environment, Sources};
pub use self::systemd::notify_options;
pub use self::tls::{Tls, TlsVersion};
pub use self::tokens::{RoleName, Token, TokenHash};
pub use self::trusted_keys::{TrustedKey, TrustedKeySetting};

use self::declare::{Checked, section};
use self::origin::SettingLocation;
use self::raw_settings::{RawSettings, Reader};
use self::setting::{Setting, dotted};
use self::show::Comments;
use self::sources::Variable;
use crate::collect::Mode;
use crate::rules::RulesError;
use watchpost_pki as pki;

section! {
    /// All settings.
    pub struct Config {
        /// The source of `disk` and `memory`: the usage of the local machine, or Azure Monitor's measurements of
        /// other machines.
        pub mode: Mode = "local",
        /// The server process.
        pub server: Server,
        /// The listeners. The list is one setting: a later layer replaces it entirely.
        pub listeners: Vec<Listener> = listeners::defaults(),
        /// TLS. Changed files are reloaded automatically.
        pub tls: Tls,
        /// Limits and timeouts of HTTP requests, trusted proxies, compression and the access log.
        pub http: Http,
        /// Bearer tokens for clients without a certificate.
        pub tokens: Vec<Token> = json!([]),
        /// The log.
        pub log: Log,
        /// The database.
        pub database: Database,
        /// The history of measurements and judgements.
        pub history: History,
        /// The records of denied requests and of changed findings.
        pub decisions: Decisions,
        /// The audit file: break-glass access and changes of rules, protected against unnoticed changes.
        pub audit: Audit,
        /// Intervals and timeouts of the measurements.
        pub collector: Collector,
        /// The measurements of the local machine. In the lists, `*` matches any text and `[0-9]` a digit.
        pub host: Host,
        /// The work chunks, which workers report to Watchpost, or which are read from a PixCrawler database.
        pub chunks: Chunks,
        /// Measurements of other machines through Azure Monitor. Without resources, nothing is queried.
        pub azure: Azure,
        /// Compatibility with PixCrawler's resource monitor, in addition to the API profile `pixcrawler` of a
        /// listener.
        pub pixcrawler: PixCrawler,
        /// The rules that judge measurements and authorize requests.
        pub rules: Rules,
        .. origins: BTreeMap<String, Origin>
    }
}

impl Checked for Config {}

impl Config {
    /// Merges the sources over the defaults and parses the result. All errors are reported at once; a value that
    /// a higher layer overrides is not parsed.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let given = merge_layers(sources, &mut errors);
        match Self::gather(&mut Reader::new(&given, &mut errors)) {
            Some(config) if errors.is_empty() => Ok(Self {
                origins: given.origins(),
                ..config
            }),
            _ => Err(errors),
        }
    }

    /// The layer that sets a setting.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Whether clients with certificates of the development authority are accepted, as far as the settings show without
    /// opening files.
    pub fn accepts_development_ca(&self) -> bool {
        let authority = self.server.data_dir.join(pki::FOLDER).join("ca.crt");
        self.tls
            .client_ca
            .as_ref()
            .is_none_or(|client_ca| *client_ca == authority)
    }

    /// What a built-in rule reports about its settings, as errors with file and key; `None` if the error is another one.
    pub fn rule_settings_errors(&self, error: &RulesError) -> Option<ConfigErrors> {
        let RulesError::Settings {
            rule,
            refusal: SettingsError::Problems { problems },
        } = error
        else {
            return None;
        };
        let section = format!("rules.{rule}");
        let settings = match *rule {
            "threshold" => &self.rules.threshold,
            _ => &self.rules.role,
        };
        let settings = Value::Object(settings.clone());
        let mut errors = ConfigErrors::default();
        errors.extend(problems.iter().map(|problem| ConfigError {
            origin: self.origin(&section),
            key: key_of_pointer(&section, &problem.path, &settings),
            remedy: problem.message.clone(),
        }));
        Some(errors)
    }

    /// The effective settings as TOML, with secrets masked and each setting's origin in a comment.
    pub fn show(&self) -> String {
        let mut text = String::new();
        let comments = Comments::Origins(&self.origins);
        show::toml_text(&Self::fields(), &self.written(), "", &comments, &mut text);
        text
    }

    /// Where a setting is set, for messages: its file, variable or flag, and its key, such as `listeners[0].address`. A
    /// default has only the key.
    pub fn place_of(&self, key: &str) -> String {
        let mut prefix = key;
        let origin = loop {
            match (self.origins.get(prefix), prefix.rfind(['.', '['])) {
                (Some(origin), _) => break origin,
                (None, Some(end)) => prefix = &prefix[..end],
                (None, None) => break &Origin::Default,
            }
        };
        match origin {
            Origin::Default => key.to_owned(),
            origin => format!("{origin}: {key}"),
        }
    }

    /// A configuration file with every setting at its default and its description, as a starting point.
    pub fn example() -> String {
        let fields = Self::fields();
        let mut text = String::new();
        show::toml_text(&fields, &declare::defaults(&fields), "", &Comments::Meanings, &mut text);
        text
    }

    /// The dotted keys whose values differ in `other`, regardless of origin.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut different = Vec::new();
        Setting::differences(self, other, "", &mut different);
        different
    }
}

/// A JSON Pointer into a setting as a dotted key: `rules.role.identities[0].roles[0]`.
fn key_of_pointer(section: &str, path: &str, settings: &Value) -> String {
    let (mut key, mut value) = (section.to_owned(), Some(settings));
    for part in path.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        key = match (value, name.parse::<usize>()) {
            (Some(Value::Array(_)), Ok(at)) => format!("{key}[{at}]"),
            _ => dotted(&key, &name),
        };
        value = value.and_then(|value| match value {
            Value::Array(items) => name.parse::<usize>().ok().and_then(|at| items.get(at)),
            value => value.get(&name),
        });
    }
    key
}

fn merge_layers(sources: &Sources, errors: &mut ConfigErrors) -> RawSettings {
    let here = &sources.working_directory;
    let root = |origin: Origin, folder: &std::path::Path| SettingLocation {
        origin,
        key: String::new(),
        folder: folder.to_owned(),
        secret: false,
    };
    let mut given = RawSettings::defaults(Config::fields(), &root(Origin::Default, here), here);
    if let Some(file) = &sources.file {
        let location = root(Origin::File(file.clone()), sources.folder().unwrap_or(here));
        match file::read(file) {
            Ok(tree) => given.merge_table(tree, &location, errors),
            Err(remedy) => errors.push(location.error(remedy)),
        }
    }
    let variables = sources.variables(errors);
    let (own, others): (Vec<_>, Vec<_>) = variables.into_iter().partition(Variable::has_watchpost_prefix);
    for variable in own {
        given.merge_variable(variable, here, errors);
    }
    for (key, text) in &sources.flags {
        given.merge_flag(key, text, here, errors);
    }
    pixcrawler_import::fill(&mut given, &others, here, errors);
    azure_environment::fill(&mut given, &others, here, errors);
    given
}
