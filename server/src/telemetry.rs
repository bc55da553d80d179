//! The log: where it goes, how much of it, how a line looks. It decides nothing about what is logged; that is for
//! those who log.
//!
//! `env_logger` filters and writes, but what it was given once stays for ever. So what is installed is a switch of
//! our own, behind which one logger of `env_logger` takes another's place when an operator wants more to be told.

mod file;
mod filter;
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

use crate::string_enum::string_enum;

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// What is logged: `info`, or `info,watchpost::tls=debug`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
    /// Where it goes; `None` is stderr.
    pub file: Option<PathBuf>,
    /// In bytes; a file that would be larger is put aside. 0 is no limit.
    pub max_size: u64,
    /// How many files that were put aside are kept: `file.1` to this.
    pub max_files: usize,
}

string_enum! {
    /// How a line of the log looks.
    pub enum LogFormat {
        /// For people: time, level, target, message, then `key=value`.
        Text = "text",
        /// For programs: an object a line.
        Json = "json",
    }
}

/// Why there is no log as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter makes no sense.
    #[error(
        "\"{part}\" is no log filter; write a level (off, error, warn, info, debug, trace), or target=level, \
         several with a comma between"
    )]
    Filter {
        /// The part that cannot be read.
        part: String,
    },
    /// The file cannot be written to.
    #[error("the log file {} cannot be opened; make its folder and let Watchpost write there", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else logs already.
    #[error("another logger was installed before; a program can have only one, so start this one first")]
    Occupied,
    /// There is no log yet whose level could be changed.
    #[error("the log was not started yet; start it before its level is changed")]
    NotStarted,
}

/// Starts the log, or puts another one in the place of the one that runs.
pub fn start(options: LogOptions) -> Result<(), LogError> {
    let filter = Filter::parse(&options.level)?;
    let sink = match &options.file {
        None => Sink::Stderr,
        Some(path) => {
            let tell = Box::new(tell);
            let file = RotatingFile::open(path, options.max_size, options.max_files, Instant::now(), tell);
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
    put_in_force(&filter, current.insert(running));
    Ok(())
}

/// Whether this is a filter; and if not, why.
pub fn check_level(filter: &str) -> Result<(), LogError> {
    Filter::parse(filter).map(drop)
}

/// Logs more or less from now on, to the same place and in the same form.
pub fn set_level(filter: &str) -> Result<(), LogError> {
    let filter = Filter::parse(filter)?;
    let current = CURRENT.lock();
    let running = current.as_ref().ok_or(LogError::NotStarted)?;
    put_in_force(&filter, running);
    Ok(())
}

/// Writes a line to stderr as it is, past the log: for programs that read lines of a form that is not ours. It has to
/// end as a line does.
pub fn write_plainly(line: &str) {
    if io::stderr().write_all(line.as_bytes()).is_err() {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many lines could not be written since the program began.
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// What stays when only the level changes.
struct Running {
    format: LogFormat,
    sink: Sink,
}

/// Where lines go. A copy goes to the same place, so that two loggers can share it while one replaces the other.
#[derive(Clone)]
enum Sink {
    Stderr,
    File(Arc<Mutex<RotatingFile>>),
}

static SWITCH: Switch = Switch(ArcSwapOption::const_empty());
static INSTALLED: OnceLock<bool> = OnceLock::new();
static CURRENT: Mutex<Option<Running>> = Mutex::new(None);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The logger that is installed: whichever logger is in force.
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

/// What is wrong with the log itself cannot be told in it.
fn tell(text: &str) {
    // If stderr is closed too, there is nobody left to tell.
    let _ = writeln!(io::stderr(), "watchpost: {text}");
}

fn put_in_force(filter: &Filter, running: &Running) {
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

/// `env_logger` hands over a whole line at once.
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

    /// One test, for there is one log in a program and tests run side by side.
    #[test]
    fn a_log_can_be_started_again_and_told_to_say_more() {
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
        let gone = folder.path().join("no such folder").join("log");
        let refused = start(options(Some(gone), "info", LogFormat::Text)).expect_err("no such folder");
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
    fn a_filter_without_sense_is_refused_with_a_sentence() {
        let refused = start(options(None, "inof", LogFormat::Text)).expect_err("no such level");
        assert!(
            refused.to_string().starts_with("\"inof\" is no log filter; write"),
            "{refused}"
        );
    }
}
