//! `watchpost serve`: runs the server, from loading the configuration to the exit code.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::signal::unix::{SignalKind, signal};

use super::ready_file::ReadyFile;
use super::shell::quoted;
use super::{CONFIG, IO, SOFTWARE, TEMPORARY, UNAVAILABLE, fail};
use crate::api::process::Listening;
use crate::app::{App, Ending, Reloader, StartError};
use crate::config::{self, ApiProfile, Config, Sources};
use crate::rules::registry::ChangeError;
use crate::store::MigrationError;
use crate::systemd::Systemd;
use crate::tls::TlsError;
use crate::{tasks, telemetry};

/// Runs the server until a signal stops it.
#[derive(Args, Default)]
pub(super) struct Serve {
    /// A file that the server writes once it listens on all addresses; it has the addresses as JSON, so ports may be 0.
    /// The file is removed on shutdown.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

impl Serve {
    /// Serves until a signal stops it.
    pub(super) fn run(self, sources: Sources) -> ExitCode {
        run(sources, self.ready_file)
    }
}

fn run(sources: Sources, ready_file: Option<PathBuf>) -> ExitCode {
    let config = match Config::load(&sources) {
        Ok(config) => config,
        Err(errors) => return fail(CONFIG, &errors.to_string()),
    };
    if let Err(error) = telemetry::start(config.log.options()) {
        return fail(IO, &StartError::from(error).line());
    }
    // Other processes of this user cannot read the keys in its memory, and no core dump has them.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        log::warn!(error:%; "the memory of the server is readable by other processes of its user");
    }
    let systemd = Systemd::new(&config::notify_options());
    let system = actix_web::rt::System::new();
    let served = system.block_on(serve(config, sources, systemd.clone(), ready_file));
    if tasks::blocking_in_progress() {
        // All work is done; a thread blocked on a dead connection or mount would delay the exit indefinitely.
        std::mem::forget(system);
    }
    match served {
        Ok(Ending::Drained) => ExitCode::SUCCESS,
        Ok(Ending::CutOff) => ExitCode::from(TEMPORARY),
        Err(error) => {
            let reason = error.line();
            systemd.fails(&reason);
            fail(code_of(&error), &reason)
        }
    }
}

async fn serve(
    config: Config,
    sources: Sources,
    systemd: Systemd,
    ready_file: Option<PathBuf>,
) -> Result<Ending, StartError> {
    let not_written = |path: &Path, source| StartError::ReadyFile {
        path: path.to_owned(),
        source,
    };
    if let Some(path) = &ready_file {
        ReadyFile::clear(path).map_err(|source| not_written(path, source))?;
    }
    let app = App::build(config, systemd).await?;
    let signals = |kind| signal(kind).map_err(StartError::Server);
    let (mut terminate, mut interrupt) = (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let mut hang_up = signals(SignalKind::hangup())?;
    greet(&app);
    let ready =
        |path: PathBuf| ReadyFile::write(path.clone(), app.listening()).map_err(|source| not_written(&path, source));
    let ready = ready_file.map(ready).transpose()?;
    let mut reloader: Reloader = app.reloader(sources);
    let stop = async move {
        // The file is removed before the last requests are answered, because the server accepts no new ones.
        let _ready = ready;
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = hang_up.recv() => {}
            }
            // A reload may wait for a database or a compiler; a stop must not wait for it.
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                () = reloader.reload() => {}
            }
        }
    };
    app.run_until(stop).await
}

/// Logs the addresses; with certificates of the development CA, prints a command to try the server.
fn greet(app: &App) {
    for listening in app.listening() {
        let scheme = if listening.tls { "https" } else { "http" };
        log::info!(client_auth = listening.client_auth; "listening on {scheme}://{}", listening.address);
    }
    let tls = &app.config().tls;
    let reachable = |listening: &&Listening| {
        let ip = listening.address.ip();
        let answers = listening.tls && listening.api == ApiProfile::Full && listening.client_auth != "off";
        answers && (ip.is_loopback() || ip.is_unspecified())
    };
    let Some(secure) = app.listening().iter().find(reachable) else {
        return;
    };
    if tls.certificate.is_some() || tls.client_ca.is_some() {
        return;
    }
    let pki = app.config().server.data_dir.join("pki");
    let pki = std::path::absolute(&pki).unwrap_or(pki);
    let client = pki.join("clients/admin");
    let line = format!(
        "curl --cacert {} --cert {} --key {} https://localhost:{}/api/v1/status",
        quoted(&pki.join("ca.crt")),
        quoted(&client.with_extension("crt")),
        quoted(&client.with_extension("key")),
        secure.address.port(),
    );
    let mut out = io::stdout().lock();
    let bold = if out.is_terminal() {
        ("\x1b[1m", "\x1b[0m")
    } else {
        ("", "")
    };
    // A closed stdout is no error.
    let _ = writeln!(out, "\nTry it:\n\n  {}{line}{}\n", bold.0, bold.1).and_then(|()| out.flush());
}

fn code_of(error: &StartError) -> u8 {
    match error {
        StartError::Refused(problems) => {
            let first = problems.iter().find_map(|problem| problem.error.as_ref());
            first.map_or(CONFIG, code_of)
        }
        StartError::DataDirInUse { .. } => TEMPORARY,
        // The files become valid, or are replaced, without a change of the configuration: the start is worth repeating.
        StartError::Tls(TlsError::Validity(_)) => UNAVAILABLE,
        StartError::Config(_) | StartError::Rules(_) | StartError::Tls(_) => CONFIG,
        StartError::DataDir { .. }
        | StartError::ReadyFile { .. }
        | StartError::Pki(_)
        | StartError::Audit(_)
        | StartError::Log(_) => IO,
        StartError::Store {
            source: MigrationError::Newer(_),
            ..
        } => CONFIG,
        StartError::Listen { .. } | StartError::Store { .. } => UNAVAILABLE,
        StartError::Activate(ChangeError::Store(_)) => UNAVAILABLE,
        StartError::Collector(_) | StartError::Server(_) | StartError::Activate(_) => SOFTWARE,
    }
}
