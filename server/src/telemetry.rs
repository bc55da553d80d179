//! The log: its destination, filter and format. Callers decide what is logged.
//!
//! `env_logger` filters and writes, but its configuration is fixed once it is installed. So the installed logger is a
//! switch, behind which one `env_logger` logger replaces another when the log level changes.

mod file;
mod filter;
mod limit;
mod line;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use env_logger::{Logger, Target};
use log::{Log, Metadata, Record};
use parking_lot::Mutex;

use file::RotatingFile;
use filter::Filter;
pub use limit::LogLimit;

use crate::string_enum::string_enum;

/// The operator's options of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The filter: `info`, or `info,watchpost::tls=debug`.
    pub level: String,
    /// The format of a line.
    pub format: LogFormat,
    /// The destination; `None` is stderr.
    pub file: Option<PathBuf>,
    /// Maximum size in bytes; a file that would become larger is rotated. 0 is no limit.
    pub max_size: u64,
    /// The number of rotated files that are kept: `file.1` to this number.
    pub max_files: usize,
}

string_enum! {
    /// The format of a log line.
    pub enum LogFormat {
        /// For people: time, level, target, message, then `key=value`.
        Text = "text",
        /// For programs: one JSON object per line.
        Json = "json",
    }
}

/// Why the log cannot be started as configured.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is invalid.
    #[error(
        "\"{part}\" is not a log filter; write a level (off, error, warn, info, debug, trace), or target=level, \
         and separate several with commas"
    )]
    Filter {
        /// The invalid part.
        part: String,
    },
    /// The log file cannot be opened.
    #[error("cannot open the log file {}; create its folder and give Watchpost permission to write there", .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Another logger is installed.
    #[error("another logger is installed already; a program can have only one, so start this one first")]
    Occupied,
    /// There is no log yet whose level could be changed.
    #[error("the log was not started yet; start it before changing its level")]
    NotStarted,
}

/// Starts the log, or replaces the running one.
pub fn start(options: LogOptions) -> Result<(), LogError> {
    let filter = Filter::parse(&options.level)?;
    let sink = match &options.file {
        None => Sink::Stderr,
        Some(path) => {
            let report = Box::new(write_to_stderr);
            let file = RotatingFile::open(path, options.max_size, options.max_files, Instant::now(), report);
            let file = file.map_err(|source| LogError::File {
                path: path.clone(),
                source,
            })?;
            Sink::File(Arc::new(Mutex::new(file)))
        }
    };
    if !*INSTALLED.get_or_init(|| log::set_logger(&SWITCH).is_ok()) {
        return Err(LogError::Occupied);
    }
    let running = Running {
        format: options.format,
        sink,
    };
    let mut current = CURRENT.lock();
    activate(&filter, current.insert(running));
    Ok(())
}

/// Validates a filter.
pub fn check_level(filter: &str) -> Result<(), LogError> {
    Filter::parse(filter).map(drop)
}

/// Changes the filter; the destination and the format stay.
pub fn set_level(filter: &str) -> Result<(), LogError> {
    let filter = Filter::parse(filter)?;
    let current = CURRENT.lock();
    let running = current.as_ref().ok_or(LogError::NotStarted)?;
    activate(&filter, running);
    Ok(())
}

/// Writes a line to stderr as it is, bypassing the log: for programs that parse lines of another format. The line must
/// include its line break.
pub fn write_plainly(line: &str) {
    if io::stderr().write_all(line.as_bytes()).is_err() {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// The number of lines that could not be written since the start of the program.
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// The parts that stay when only the level changes.
struct Running {
    format: LogFormat,
    sink: Sink,
}

/// The destination of lines. Clones share it, so that two loggers can use it while one replaces the other.
#[derive(Clone)]
enum Sink {
    Stderr,
    File(Arc<Mutex<RotatingFile>>),
}

static SWITCH: Switch = Switch(ArcSwapOption::const_empty());
static INSTALLED: OnceLock<bool> = OnceLock::new();
static CURRENT: Mutex<Option<Running>> = Mutex::new(None);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The installed logger, which delegates to the current one.
struct Switch(ArcSwapOption<Logger>);

impl Log for Switch {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.load().as_ref().is_some_and(|logger| logger.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(logger) = self.0.load().as_ref() {
            logger.log(record);
        }
    }

    fn flush(&self) {}
}

/// Problems of the log itself are written to stderr.
fn write_to_stderr(text: &str) {
    // If stderr is closed too, there is nowhere left to report to.
    let _ = writeln!(io::stderr(), "watchpost: {text}");
}

fn activate(filter: &Filter, running: &Running) {
    let format = running.format;
    let mut builder = env_logger::Builder::new();
    filter.apply(&mut builder);
    builder.format(move |line, record| {
        let now = crate::clock::now();
        match format {
            LogFormat::Text => line.write_all(line::text(now, record).as_bytes()),
            LogFormat::Json => line.write_all(line::json(now, record).as_bytes()),
        }
    });
    match &running.sink {
        Sink::Stderr => builder.target(Target::Stderr),
        Sink::File(_) => builder.target(Target::Pipe(Box::new(running.sink.clone()))),
    };
    let logger = builder.build();
    log::set_max_level(logger.filter());
    SWITCH.0.store(Some(Arc::new(logger)));
}

/// `env_logger` passes a whole line in one call.
impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stderr => io::stderr().write_all(line)?,
            Self::File(file) => {
                let mut file = file.lock();
                if !file.write_line(line, Instant::now()) {
                    DROPPED.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn options(file: Option<PathBuf>, level: &str, format: LogFormat) -> LogOptions {
        LogOptions {
            level: level.to_owned(),
            format,
            file,
            max_size: 0,
            max_files: 1,
        }
    }

    /// One test, because there is one log in a program and tests run in parallel.
    #[test]
    fn a_log_can_be_restarted_and_its_level_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (folder.path().join("first.log"), folder.path().join("second.log"));

        start(options(
            Some(first.clone()),
            "off,telemetry::test=info",
            LogFormat::Text,
        ))
        .expect("started");
        log::info!(target: "telemetry::test", count = 3; "first line");
        log::debug!(target: "telemetry::test", "too much");
        set_level("off,telemetry::test=debug").expect("a legal filter");
        log::debug!(target: "telemetry::test", "more");
        let refused = set_level("telemetry::test=loud").expect_err("no such level");
        assert!(refused.to_string().contains("telemetry::test=loud"), "{refused}");
        log::debug!(target: "telemetry::test", "still more");

        start(options(
            Some(second.clone()),
            "off,telemetry::test=info",
            LogFormat::Json,
        ))
        .expect("started again");
        log::info!(target: "telemetry::test", count = 3; "second line");
        let missing = folder.path().join("no such folder").join("log");
        let refused = start(options(Some(missing), "info", LogFormat::Text)).expect_err("no such folder");
        assert!(refused.to_string().contains("no such folder"), "{refused}");
        log::info!(target: "telemetry::test", "after a refusal, the last good stays");

        let lines = fs::read_to_string(first).expect("a log");
        let lines: Vec<_> = lines
            .lines()
            .map(|line| line.split_once(' ').expect("a time").1)
            .collect();
        assert_eq!(
            lines,
            [
                "INFO telemetry::test first line count=3",
                "DEBUG telemetry::test more",
                "DEBUG telemetry::test still more",
            ]
        );
        let lines = fs::read_to_string(second).expect("a log");
        let lines: Vec<serde_json::Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("an object a line"))
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            (&lines[0]["message"], &lines[0]["count"]),
            (&"second line".into(), &3.into())
        );

        start(options(None, "off", LogFormat::Text)).expect("stderr is always there");
        assert_eq!(log::max_level(), log::LevelFilter::Off);
    }

    #[test]
    fn an_invalid_filter_is_rejected_with_a_message() {
        let refused = start(options(None, "inof", LogFormat::Text)).expect_err("no such level");
        assert!(
            refused.to_string().starts_with("\"inof\" is not a log filter; write"),
            "{refused}"
        );
    }
}
