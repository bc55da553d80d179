//! Hears of new generations and versions from a PostgreSQL, by a connection of its own that does nothing else. SQLite tells nobody.

use diesel::PgConnection;
use diesel::connection::SimpleConnection;

use super::generations::{CHANNEL, VERSION};
use crate::store::connection::Connection;
use crate::store::database_address::DatabaseAddress;
use crate::store::{Store, StoreError};

/// What was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    /// That there may be a new generation.
    pub generation: bool,
    /// That there may be a new version of a rule.
    pub version: bool,
}

/// Listens for new generations, and for versions that somebody brings.
pub struct Listener {
    place: DatabaseAddress,
    connection: Option<PgConnection>,
}

impl Store {
    /// Somebody who listens, where the database tells.
    pub fn listener(&self) -> Option<Listener> {
        matches!(self.place(), DatabaseAddress::Server { .. }).then(|| Listener {
            place: self.place().clone(),
            connection: None,
        })
    }
}

impl Listener {
    /// What was told since it was asked last. It does not wait, but for a connection where there is none; what was told
    /// while there was none is not heard.
    pub fn heard(&mut self) -> Result<Notifications, StoreError> {
        let heard = self.listen();
        if heard.is_err() {
            self.connection = None;
        }
        heard
    }

    fn listen(&mut self) -> Result<Notifications, StoreError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let Connection::Postgres(mut fresh) = Connection::establish(&self.place)? else {
                    return Ok(Notifications::default());
                };
                fresh.batch_execute(&format!("LISTEN {CHANNEL}"))?;
                self.connection = Some(fresh);
                // Something may have been told before.
                return Ok(Notifications {
                    generation: true,
                    version: true,
                });
            }
        };
        let mut heard = Notifications::default();
        for told in connection.notifications_iter() {
            match told?.payload == VERSION {
                true => heard.version = true,
                false => heard.generation = true,
            }
        }
        Ok(heard)
    }
}
