//! Whether the server is ready, and all reasons if it is not. The reasons are constant texts without details, because
//! probes are anonymous; `/api/v1/status` and the log have the details.

use std::time::Duration;

use super::latest::Latest;
use super::process::Service;
use crate::rules::Rules;
use crate::rules::replication::Replication;
use crate::store::Store;

/// The components that decide whether the server is ready. Cheap to clone.
#[derive(Clone)]
pub struct Readiness {
    /// Whether the process is shutting down.
    pub service: Service,
    /// The latest round.
    pub latest: Latest,
    /// The active rules.
    pub rules: Rules,
    /// A generation that is not loaded.
    pub replication: Replication,
    /// The server's own database.
    pub store: Store,
    /// How long the database may fail; zero for any time.
    pub unready_after: Duration,
}

impl Readiness {
    /// Why the server is not ready; empty if it is.
    pub fn reasons(&self) -> Vec<&'static str> {
        let max_failure = Some(self.unready_after).filter(|max| !max.is_zero());
        let database_fails = max_failure
            .zip(self.store.failing_for())
            .is_some_and(|(max, failing)| failing > max);
        let active = self.rules.current();
        [
            self.service.is_draining().then_some("shutting down"),
            measurement(self.latest.judged().map(|judged| judged.age()), self.service.stale_after()),
            active.closure().map(|closure| closure.reason()),
            active
                .role_rule_fails()
                .then_some("the role rule fails for authenticated clients; activate another version or other settings of it"),
            self.replication.is_behind().then_some(
                "the latest generation of rules is not loaded, and an earlier one is active; /api/v1/status has the reason",
            ),
            database_fails.then_some("the database fails; the log has the reason"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The reasons as one text; none if the server is ready.
    pub fn reason(&self) -> Option<String> {
        let reasons = self.reasons();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// What is wrong with the latest measurement, by its age.
fn measurement(age: Option<Duration>, stale_after: Duration) -> Option<&'static str> {
    match age {
        None => Some("nothing has been measured yet"),
        Some(age) if age > stale_after => Some("the last measurement is too old"),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_is_needed_and_expires() {
        let stale_after = Duration::from_secs(8);
        assert_eq!(measurement(None, stale_after), Some("nothing has been measured yet"));
        assert_eq!(measurement(Some(stale_after), stale_after), None);
        let late = stale_after + Duration::from_millis(1);
        assert_eq!(
            measurement(Some(late), stale_after),
            Some("the last measurement is too old")
        );
    }
}
