//! Hears of new generations from a PostgreSQL, by a connection of its own that does nothing else. SQLite tells nobody.

use diesel::PgConnection;
use diesel::connection::SimpleConnection;

use super::generations::CHANNEL;
use crate::store::connection::Connection;
use crate::store::place::Place;
use crate::store::{Store, StoreError};

/// Listens for new generations.
pub struct Listener {
    place: Place,
    connection: Option<PgConnection>,
}

impl Store {
    /// Somebody who listens, where the database tells.
    pub fn listener(&self) -> Option<Listener> {
        matches!(self.place(), Place::Server { .. }).then(|| Listener {
            place: self.place().clone(),
            connection: None,
        })
    }
}

impl Listener {
    /// Whether anything was told since it was asked last. It does not wait, but for a connection where there is none;
    /// what was told while there was none is not heard.
    pub fn heard(&mut self) -> Result<bool, StoreError> {
        let heard = self.listen();
        if heard.is_err() {
            self.connection = None;
        }
        heard
    }

    fn listen(&mut self) -> Result<bool, StoreError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let Connection::Postgres(mut fresh) = Connection::establish(&self.place)? else {
                    return Ok(false);
                };
                fresh.batch_execute(&format!("LISTEN {CHANNEL}"))?;
                self.connection = Some(fresh);
                // Something may have been told before.
                return Ok(true);
            }
        };
        let mut heard = false;
        for told in connection.notifications_iter() {
            told?;
            heard = true;
        }
        Ok(heard)
    }
}
