//! `watchpost rules restore-access`: the way back in for an operator of the machine, after access was closed. The database
//! is the one of the configuration; the permission is that of the files and of the database's password.

use std::io::Write;

use clap::Args;

use super::{CheckResult, CommandError};
use crate::app::{self, RestoredAccess};
use crate::cli::{CONFIG, IO, say};
use crate::config::{Config, Sources};

/// Activates the built-in role rule with the settings of the configuration, after access was closed.
///
/// Access is closed if the role rule failed and was quarantined, or if the database was damaged or lost its rules. The
/// command needs no running server and no permission from the role rule, because it writes to the database of the configuration.
/// A running server follows within a second. It replaces any other role rule too.
#[derive(Args)]
pub(in crate::cli) struct RestoreAccess {}

impl RestoreAccess {
    pub(super) fn run(self, sources: &Sources, out: &mut dyn Write) -> Result<CheckResult, CommandError> {
        let config = Config::load(sources).map_err(|errors| CommandError::new(CONFIG, errors.to_string()))?;
        let restored = app::restore_access(&config).map_err(|error| CommandError::new(IO, error.to_string()))?;
        let text = match restored {
            RestoredAccess::Unchanged => "the configured role rule is active already\n".to_owned(),
            RestoredAccess::Restored { generation, replaced } => format!(
                "generation  {generation}\nactive      the built-in role rule with the settings of the configuration\nreplaced    {replaced}\n"
            ),
        };
        say(out, &text).map(|()| CheckResult::Yes)
    }
}
