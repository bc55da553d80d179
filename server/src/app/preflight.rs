//! Preflight: opens everything that a start opens, with the same functions, and reports all problems at once. The start
//! runs the part that writes nothing before its first step; `watchpost check` runs all of it, and leaves nothing behind.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::data_dir::{self, RunningServer};
use super::problem::Problem;
use super::serve::{Socket, listen};
use super::{StartError, stores};
use crate::audit::AuditFile;
use crate::config::{Config, access_warnings};
use crate::rules::coverage::nothing_evaluated;
use crate::rules::sandbox::probe::SandboxReport;
use crate::rules::{Rules, RulesError, Settings};
use crate::store::{Inspected, Store};
use crate::tls::{self, Files, Tls, TlsError, ValidityError};
use crate::{clock, telemetry};
use watchpost_azure as azure;
use watchpost_pki::{self as pki, Authority};

/// A certificate that expires sooner is a warning: two weeks are enough to order and install another one.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Everything that a start with this configuration would report.
pub fn check(config: &Config) -> Vec<Problem> {
    let data_dir = &config.server.data_dir;
    let running = data_dir::running_server(data_dir);
    let (_, mut problems) = inspect(config, running);
    if let Err(error) = telemetry::check_file(&config.log.options()) {
        problems.push(Problem::error(config.place_of("log.file"), error.into()));
    }
    let (_trial, prepared) = data_dir::Trial::of(data_dir);
    match prepared {
        Err(error) => {
            // What is in the directory cannot be used for the same reason.
            let inside = data_dir.display().to_string();
            problems.retain(|problem| !problem.place.starts_with(&inside));
            problems.push(Problem::error(config.place_of("server.data_dir"), error));
        }
        Ok(()) => {
            if config.audit.enabled
                && let Err(error) = AuditFile::check(&config.audit.options(data_dir))
            {
                problems.push(Problem::error(config.place_of("audit.file"), error.into()));
            }
            problems.extend(databases(config));
        }
    }
    match Rules::load(config.rules.limits.limits(), &config.rules.settings(), None) {
        Err(error) => problems.extend(rule_problems(config, error)),
        Ok(rules) => problems.extend(rule_warnings(config, &rules)),
    }
    problems.extend(sandbox(config));
    problems
}

/// Inspects what can be inspected without writing, and binds the addresses. `running` is a server that uses the data
/// directory already: its addresses are not free, and that is no problem.
pub(super) fn inspect(config: &Config, running: Option<RunningServer>) -> (Vec<Socket>, Vec<Problem>) {
    let (sockets, mut problems) = listeners(config, running);
    problems.extend(certificates(config));
    problems.extend(rules_folder(config));
    problems.extend(azure_credentials(config));
    (sockets, problems)
}

fn listeners(config: &Config, running: Option<RunningServer>) -> (Vec<Socket>, Vec<Problem>) {
    let (mut sockets, mut problems) = (Vec::new(), Vec::new());
    for (at, listener) in config.listeners.iter().enumerate() {
        let place = config.place_of(&format!("listeners[{at}].address"));
        match (listen(listener), running) {
            (Ok(socket), _) => sockets.push(socket),
            (Err(StartError::Listen { address, source }), Some(running))
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                let pid = running.pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
                let text = format!("{address} is in use; a server with this data directory is running{pid}");
                problems.push(Problem::note(place, &text));
            }
            (Err(error), _) => problems.push(Problem::error(place, error)),
        }
    }
    (sockets, problems)
}

/// The configured certificates, keys, authorities and revocation lists. Those of the development authority are created
/// and renewed by the start, so of these only existing ones are inspected, and not whether they expire.
fn certificates(config: &Config) -> Vec<Problem> {
    let folder = config.server.data_dir.join(pki::FOLDER);
    let options = config.tls.options(&folder);
    let mut problems = Vec::new();
    if config.tls.needs_authority()
        && let Err(error) = Authority::open(&folder)
    {
        problems.push(Problem::error(folder.display().to_string(), error.into()));
    }
    let place = |file: &Path| {
        let tls = &config.tls;
        let keys = [
            ("tls.certificate", &tls.certificate),
            ("tls.key", &tls.key),
            ("tls.client_ca", &tls.client_ca),
            ("tls.crl", &tls.crl),
        ];
        let key = keys.iter().find(|(_, configured)| configured.as_deref() == Some(file));
        key.map_or_else(|| file.display().to_string(), |(key, _)| config.place_of(key))
    };
    let found = tls::inspect(&options.files, clock::now().as_second(), EXPIRES_SOON);
    let found = found.into_iter().filter(|problem| {
        let is_generated = problem.file.starts_with(&folder);
        !is_generated || !start_corrects(&options.files, &problem.file, &problem.error)
    });
    problems.extend(found.map(|problem| {
        let place = place(&problem.file);
        if problem.prevents_start {
            Problem::error(place, problem.error.into())
        } else {
            Problem::warning(place, &problem.error.to_string())
        }
    }));
    let Files {
        certificate,
        key,
        client_ca,
        crl,
        development_ca: _,
    } = &options.files;
    let is_complete = [certificate, key, client_ca]
        .into_iter()
        .chain(crl)
        .all(|file| file.exists());
    if problems.is_empty()
        && is_complete
        && let Err(error) = Tls::load(options.clone())
    {
        problems.push(Problem::error(place(certificate), error.into()));
    }
    problems
}

/// Whether the start creates or renews a file of the development authority.
fn start_corrects(files: &Files, file: &Path, error: &TlsError) -> bool {
    match error {
        TlsError::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            // A certificate without its key is not replaced.
            file != files.key || !files.certificate.exists()
        }
        TlsError::Validity(ValidityError::NotYetValid { .. }) => false,
        TlsError::Validity(_) => true,
        _ => false,
    }
}

/// A folder that cannot be read deactivates no rule, so the server starts without it.
fn rules_folder(config: &Config) -> Option<Problem> {
    let folder = config.rules.dir.as_ref()?;
    let error = std::fs::read_dir(folder).err()?;
    let folder = folder.display();
    let text = format!("cannot read the rules folder {folder}: {error}; create it, or remove rules.dir");
    Some(Problem::warning(config.place_of("rules.dir"), &text))
}

/// Without its credentials, Azure's metrics are gaps.
fn azure_credentials(config: &Config) -> Vec<Problem> {
    if config.azure.resources.is_empty() {
        return Vec::new();
    }
    let problems = azure::file_problems(&config.azure.settings().credentials);
    let problem =
        |(name, text): (&str, String)| Problem::warning(config.place_of(&format!("azure.credentials.{name}")), &text);
    problems.into_iter().map(problem).collect()
}

/// Both databases, of which only the server's own is needed for a start.
fn databases(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let place = match config.database.url {
        Some(_) => config.place_of("database.url"),
        None => config.place_of("server.data_dir"),
    };
    match stores::inspect(config) {
        Err(error) => problems.push(Problem::error(place, error)),
        Ok(Inspected::Missing | Inspected::Usable { pending: 0 }) => {}
        Ok(Inspected::Usable { pending }) => {
            let text = format!("the start migrates the database by {pending} steps");
            problems.push(Problem::note(place, &text));
        }
        Ok(Inspected::Damaged { reason }) => {
            let text = format!(
                "the database is damaged: {reason}; the start renames it, creates a new one, and closes access, so restore a copy first"
            );
            problems.push(Problem::warning(place, &text));
        }
    }
    let unauthenticated = stores::unauthenticated(config).into_iter();
    problems.extend(unauthenticated.map(|(key, text)| Problem::warning(config.place_of(key), &text)));
    let chunks = config.place_of("chunks.database_url");
    match stores::external_chunks(config) {
        Err(error) => problems.push(Problem::error(chunks, error)),
        Ok(None) => {}
        Ok(Some(address)) => {
            if let Err(error) = Store::inspect_external(&address) {
                let text = format!("{address}: {error}; until it can be opened, the metrics of chunks are gaps");
                problems.push(Problem::warning(chunks, &text));
            }
        }
    }
    problems
}

/// The start does the same in the background.
fn sandbox(config: &Config) -> Option<Problem> {
    let missing = match SandboxReport::of_this_machine() {
        Ok(report) => report.missing()?,
        Err(reason) => format!("the sandbox that compiles uploaded rules could not be probed: {reason}"),
    };
    Some(Problem::warning(config.place_of("rules"), &missing))
}

/// Settings that the rules accept, and that are probably unintended.
fn rule_warnings(config: &Config, rules: &Rules) -> Vec<Problem> {
    let set = &rules.current().set;
    let access = access_warnings(config, set.role(), config.accepts_development_ca(), clock::now());
    let mut problems: Vec<_> = access.iter().map(Problem::of_access).collect();
    let unknown = super::unknown_metrics(config, rules);
    problems.extend(
        unknown
            .iter()
            .map(|unknown| Problem::warning(config.place_of("rules.threshold"), &unknown.to_string())),
    );
    let nothing = nothing_evaluated(set);
    problems.extend(nothing.map(|text| Problem::warning(config.place_of("rules.threshold"), &text)));
    problems
}

/// The problems of the configured rule settings. A rule reports all problems of its settings, and the error is that of
/// the first rule with any, so each rule is asked again by itself.
pub(super) fn rule_problems(config: &Config, error: RulesError) -> Vec<Problem> {
    if !matches!(error, RulesError::Settings { .. }) {
        return vec![Problem::error(config.place_of("rules"), error.into())];
    }
    let none = || "{}".to_owned();
    let given = config.rules.settings();
    let defaults = Settings {
        threshold: none(),
        role: none(),
    };
    let Ok(rules) = Rules::load(config.rules.limits.limits(), &defaults, None) else {
        return vec![Problem::error(config.place_of("rules"), error.into())];
    };
    let each = [
        Settings {
            threshold: given.threshold,
            role: none(),
        },
        Settings {
            threshold: none(),
            role: given.role,
        },
    ];
    let errors = each.iter().filter_map(|settings| rules.check(settings).err());
    errors.flat_map(|error| problems_of(config, error)).collect()
}

/// One problem for each place in the settings of a rule.
fn problems_of(config: &Config, error: RulesError) -> Vec<Problem> {
    if let Some(errors) = config.rule_settings_errors(&error) {
        let mut problems = Problem::of_settings(&errors);
        for problem in problems.iter_mut().filter(|problem| problem.remedy.is_empty()) {
            problem.remedy = "correct the setting, which docs/RULES.md describes".to_owned();
        }
        return problems;
    }
    let place = match &error {
        RulesError::Settings { rule, .. } => config.place_of(&format!("rules.{rule}")),
        _ => config.place_of("rules"),
    };
    vec![Problem::error(place, error.into())]
}
