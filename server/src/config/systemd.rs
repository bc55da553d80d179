//! Reads systemd's notification socket and watchdog interval from the environment. They are not settings:
//! operators do not write them, so no layers apply and no errors are reported.

use std::ffi::OsString;
use std::time::Duration;

use super::Environment;
use crate::systemd::NotifyOptions;

/// The notification options that systemd sets for this process.
pub fn notify_options() -> NotifyOptions {
    read(Environment::variable_of_process, std::process::id())
}

fn read(variable: impl Fn(&str) -> Option<OsString>, process: u32) -> NotifyOptions {
    let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
    // A child of a service inherits its environment, but systemd expects no watchdog messages from it.
    let is_meant = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(process.into());
    let usec = number("WATCHDOG_USEC").filter(|usec| *usec > 0 && is_meant);
    NotifyOptions {
        socket: variable("NOTIFY_SOCKET").filter(|address| !address.is_empty()),
        watchdog: usec.map(Duration::from_micros),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(variables: &[(&str, &str)]) -> NotifyOptions {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        read(|name| find(name).map(|(_, value)| value.into()), 7)
    }

    #[test]
    fn the_watchdog_applies_only_to_the_named_process() {
        let every = |variables: &[_]| options(variables).watchdog.map(|time| time.as_micros());
        assert_eq!(every(&[("WATCHDOG_USEC", "30000000")]), Some(30_000_000));
        assert_eq!(
            every(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "7")]),
            Some(30_000_000)
        );
        for other_process in ["8", "", "seven"] {
            assert_eq!(every(&[("WATCHDOG_USEC", "1"), ("WATCHDOG_PID", other_process)]), None);
        }
        for none in ["0", "", "-1", "often"] {
            assert_eq!(every(&[("WATCHDOG_USEC", none)]), None, "{none}");
        }
    }

    #[test]
    fn without_systemd_nothing_is_options() {
        assert_eq!(options(&[]), NotifyOptions::default());
        assert_eq!(options(&[("NOTIFY_SOCKET", "")]).socket, None);
        assert_eq!(options(&[("NOTIFY_SOCKET", "@here")]).socket, Some("@here".into()));
    }
}
