//! What an operator can set, where it is set, and what is wrong with it. It decides how settings are written
//! and layered; what is done with them is for the parts that they are about.
//!
//! Read in this order: the sections; `declare`, which makes them; `sources`, `file` and `given`, which lay what
//! was said over the defaults; `pixcrawler` and `azure_environment`, which fill gaps from variables that are not ours;
//! `show` and `document`, which tell of it. `systemd` is no part of that: it reads what is asked of any service.

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
mod tokens;
mod trusted_keys;

#[cfg(test)]
mod document;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::json;

pub use self::azure::{Azure, AzureCredentials, AzureEndpoints, AzureMetric, AzureResource};
pub use self::collector::{Collector, SourceSettings};
pub use self::database::{Chunks, Database, DatabaseUrl, History};
pub use self::decisions::Decisions;
pub use self::duration::duration_of;
pub use self::errors::{ConfigError, ConfigErrors};
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
pub use self::tokens::{Token, TokenHash};
pub use self::trusted_keys::{TrustedKey, TrustedKeySetting};

use self::declare::{Checked, section};
use self::origin::SettingLocation;
use self::raw_settings::{RawSettings, Reader};
use self::setting::Setting;
use self::show::Comments;
use self::sources::Variable;
use crate::collect::Mode;

section! {
    /// All settings.
    pub struct Config {
        /// What `disk` and `memory` are: how full this machine is, or what Azure Monitor says of others.
        pub mode: Mode = "local",
        /// The process itself.
        pub server: Server,
        /// Where it listens. The list is one setting: whoever gives it, gives all of it.
        pub listeners: Vec<Listener> = listeners::defaults(),
        /// Encrypted connections. The files are read again when they change.
        pub tls: Tls,
        /// What may be asked, how much and how fast.
        pub http: Http,
        /// The tokens that clients without a certificate may show.
        pub tokens: Vec<Token> = json!([]),
        /// The log.
        pub log: Log,
        /// Where Watchpost remembers.
        pub database: Database,
        /// What is kept of measurements and judgements.
        pub history: History,
        /// What is recorded of who was refused what, and of what the rules found.
        pub decisions: Decisions,
        /// How often the machine is measured.
        pub collector: Collector,
        /// What is measured of the machine itself. In the lists, `*` stands for any text and `[0-9]` for a digit.
        pub host: Host,
        /// The work chunks: what workers report here, or what a PixCrawler has in its database.
        pub chunks: Chunks,
        /// What Azure Monitor measures of other machines. Without resources it is not asked.
        pub azure: Azure,
        /// What PixCrawler's resource monitor read and wrote, besides the API profile `pixcrawler` of a listener.
        pub pixcrawler: PixCrawler,
        /// The rules that judge what was measured and decide who may do what.
        pub rules: Rules,
        .. origins: BTreeMap<String, Origin>
    }
}

impl Checked for Config {}

impl Config {
    /// Lays the sources over the defaults and reads what comes out. All mistakes are found at once; a value that
    /// another lies over is not read.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let mut mistakes = ConfigErrors::default();
        let given = gathered(sources, &mut mistakes);
        match Self::gather(&mut Reader::new(&given, &mut mistakes)) {
            Some(config) if mistakes.is_empty() => Ok(Self {
                origins: given.origins(),
                ..config
            }),
            _ => Err(mistakes),
        }
    }

    /// The settings in force as TOML, secrets masked, each with where it comes from.
    pub fn show(&self) -> String {
        let mut text = String::new();
        let comments = Comments::Origins(&self.origins);
        show::toml_text(&Self::fields(), &self.written(), "", &comments, &mut text);
        text
    }

    /// A file with every setting at its default and what it means, to begin one's own with.
    pub fn example() -> String {
        let fields = Self::fields();
        let mut text = String::new();
        show::toml_text(&fields, &declare::defaults(&fields), "", &Comments::Meanings, &mut text);
        text
    }

    /// The dotted keys whose values are different in `other`, wherever they come from.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut different = Vec::new();
        Setting::differences(self, other, "", &mut different);
        different
    }
}

fn gathered(sources: &Sources, mistakes: &mut ConfigErrors) -> RawSettings {
    let here = &sources.working_directory;
    let everything = |origin: Origin, folder: &std::path::Path| SettingLocation {
        origin,
        key: String::new(),
        folder: folder.to_owned(),
        secret: false,
    };
    let mut given = RawSettings::defaults(Config::fields(), &everything(Origin::Default, here), here);
    if let Some(file) = &sources.file {
        let place = everything(Origin::File(file.clone()), sources.folder().unwrap_or(here));
        match file::read(file) {
            Ok(tree) => given.merge_table(tree, &place, mistakes),
            Err(remedy) => mistakes.push(place.mistake(remedy)),
        }
    }
    let variables = sources.variables(mistakes);
    let (ours, others): (Vec<_>, Vec<_>) = variables.into_iter().partition(Variable::is_ours);
    for variable in ours {
        given.lay_variable(variable, here, mistakes);
    }
    for (key, text) in &sources.flags {
        given.lay_flag(key, text, here, mistakes);
    }
    pixcrawler_import::fill(&mut given, &others, here, mistakes);
    azure_environment::fill(&mut given, &others, here, mistakes);
    given
}
