//! What is logged, as an operator writes it. `env_logger` would take what it cannot read for a target and go on;
//! here it is an error.

use env_logger::Builder;
use log::LevelFilter;

use super::LogError;

/// Levels, each for a target or for all.
#[derive(Debug, PartialEq)]
pub(super) struct Filter(Vec<(Option<String>, LevelFilter)>);

impl Filter {
    /// Reads `info` or `warn,watchpost::tls=debug`. Nothing at all is `info`.
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

    /// Where nothing is said for all, other targets are as silent as they are without a filter: they tell errors.
    pub(super) fn apply(&self, builder: &mut Builder) {
        if self.0.iter().all(|(target, _)| target.is_some()) {
            builder.filter_level(LevelFilter::Error);
        }
        // What the framework says of each of its workers is for who asks for it by name.
        let of_all = self
            .0
            .iter()
            .find(|(target, _)| target.is_none())
            .map(|(_, level)| *level);
        if let Some(level) = of_all {
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
            let asks = |(target, level): &(&str, Level)| {
                logger.enabled(&Metadata::builder().target(target).level(*level).build())
            };
            assert!(enabled.iter().all(asks), "{text}");
            assert!(!disabled.iter().any(asks), "{text}");
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
    fn what_cannot_be_read_is_refused_and_named() {
        for (text, part) in [
            ("loud", "loud"),
            ("info,a=loud", "a=loud"),
            ("=info", "=info"),
            ("info/regex", "info/regex"),
            ("a b=info", "a b=info"),
            ("a\nb=info", "a\\nb=info"),
        ] {
            let refused = Filter::parse(text).expect_err("refused").to_string();
            assert!(refused.contains(&format!("\"{part}\"")), "{refused}");
        }
    }
}
