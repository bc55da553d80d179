//! The log filter as an operator writes it. `env_logger` would treat an invalid part as a target and continue; here it
//! is an error.

use env_logger::Builder;
use log::LevelFilter;

use super::LogError;

/// Levels, each for one target or for all.
#[derive(Debug, PartialEq)]
pub(super) struct Filter(Vec<(Option<String>, LevelFilter)>);

impl Filter {
    /// Parses `info` or `warn,watchpost::tls=debug`. An empty text is `info`.
    pub(super) fn parse(text: &str) -> Result<Self, LogError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let levels: Vec<_> = parts
            .map(|part| {
                parse_part(part).ok_or_else(|| LogError::Filter {
                    part: part.escape_debug().to_string(),
                })
            })
            .collect::<Result<_, _>>()?;
        if levels.is_empty() {
            return Ok(Self(vec![(None, LevelFilter::Info)]));
        }
        Ok(Self(levels))
    }

    /// Without a level for all targets, other targets log errors only, as without a filter.
    pub(super) fn apply(&self, builder: &mut Builder) {
        if self.0.iter().all(|(target, _)| target.is_some()) {
            builder.filter_level(LevelFilter::Error);
        }
        // The framework logs each failed connection as an error without an address. The server logs them itself.
        builder.filter_module("actix_http::h1::dispatcher", LevelFilter::Off);
        // Worker messages of the web framework are logged only if a filter names its target.
        let default_level = self
            .0
            .iter()
            .find(|(target, _)| target.is_none())
            .map(|(_, level)| *level);
        if let Some(level) = default_level {
            builder.filter_module("actix_server", level.min(LevelFilter::Warn));
        }
        for (target, level) in &self.0 {
            builder.filter(target.as_deref(), *level);
        }
    }
}

fn parse_part(part: &str) -> Option<(Option<String>, LevelFilter)> {
    let Some((target, level)) = part.split_once('=') else {
        return Some((None, part.parse().ok()?));
    };
    let target = target.trim();
    let legal = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | ':' | '-' | '.');
    if target.is_empty() || !target.chars().all(legal) {
        return None;
    }
    Some((Some(target.to_owned()), level.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use log::{Level, Log as _, Metadata};

    use super::*;

    #[test]
    fn a_filter_is_levels_for_targets() {
        let check = |text: &str, enabled: &[(&str, Level)], disabled: &[(&str, Level)]| {
            let mut builder = Builder::new();
            Filter::parse(text).expect("a legal filter").apply(&mut builder);
            let logger = builder.build();
            let is_enabled = |(target, level): &(&str, Level)| {
                logger.enabled(&Metadata::builder().target(target).level(*level).build())
            };
            assert!(enabled.iter().all(is_enabled), "{text}");
            assert!(!disabled.iter().any(is_enabled), "{text}");
        };
        check("", &[("a", Level::Info)], &[("a", Level::Debug)]);
        check("WARN", &[("a", Level::Warn)], &[("a", Level::Info)]);
        check("off", &[], &[("a", Level::Error)]);
        check(
            " warn , watchpost::tls = debug,",
            &[("watchpost::tls", Level::Debug), ("a", Level::Warn)],
            &[("watchpost", Level::Info)],
        );
        check(
            "a=trace",
            &[("a::b", Level::Trace), ("b", Level::Error)],
            &[("b", Level::Warn)],
        );
    }

    #[test]
    fn the_frameworks_errors_about_connections_are_logged_only_on_request() {
        let logs = |text: &str| {
            let mut builder = Builder::new();
            Filter::parse(text).expect("a legal filter").apply(&mut builder);
            let metadata = Metadata::builder()
                .target("actix_http::h1::dispatcher")
                .level(Level::Error)
                .build();
            builder.build().enabled(&metadata)
        };
        assert!(!logs("info") && !logs("trace") && !logs("actix_http=debug"));
        assert!(logs("info,actix_http::h1::dispatcher=error"));
    }

    #[test]
    fn an_invalid_part_is_rejected_and_named() {
        for (text, part) in [
            ("loud", "loud"),
            ("info,a=loud", "a=loud"),
            ("=info", "=info"),
            ("info/regex", "info/regex"),
            ("a b=info", "a b=info"),
            ("a\nb=info", "a\\nb=info"),
        ] {
            let error = Filter::parse(text).expect_err("rejected").to_string();
            assert!(error.contains(&format!("\"{part}\"")), "{error}");
        }
    }
}
