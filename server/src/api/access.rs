//! The warnings about access under the active role rule and the current configuration: for the log, and for the list of
//! rules. They change nothing.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::clock;
use crate::config::{Config, Warning, access_warnings};
use crate::rules::Rules;
use crate::tls::Tls;

/// Finds clients without access.
pub struct AccessWarnings {
    config: ArcSwap<Config>,
    rules: Rules,
    tls: Arc<Tls>,
}

impl AccessWarnings {
    pub fn new(config: Config, rules: Rules, tls: Arc<Tls>) -> Self {
        Self {
            config: ArcSwap::from_pointee(config),
            rules,
            tls,
        }
    }

    /// Replaces the configuration after a reload.
    pub fn replace(&self, config: Config) {
        self.config.store(Arc::new(config));
    }

    /// The current warnings.
    pub fn list(&self) -> Vec<Warning> {
        let active = self.rules.current();
        access_warnings(
            &self.config.load(),
            active.set.role(),
            self.tls.trusts_development_ca(),
            clock::now(),
        )
    }
}
