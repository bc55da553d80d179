//! Receives notifications of new generations and versions from PostgreSQL, on a dedicated connection. SQLite has no
//! notifications.

use diesel::PgConnection;
use diesel::connection::SimpleConnection;

use super::generations::{CHANNEL, VERSION};
use crate::store::connection::Connection;
use crate::store::database_address::DatabaseAddress;
use crate::store::{Store, StoreError};

/// The notifications that were received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    /// There may be a new generation.
    pub generation: bool,
    /// There may be a new version of a rule.
    pub version: bool,
}

/// Listens for new generations and for uploaded versions.
pub struct Listener {
    address: DatabaseAddress,
    connection: Option<PgConnection>,
}

impl Store {
    /// A listener, if the database supports notifications.
    pub fn listener(&self) -> Option<Listener> {
        matches!(self.address(), DatabaseAddress::Server { .. }).then(|| Listener {
            address: self.address().clone(),
            connection: None,
        })
    }
}

impl Listener {
    /// The notifications since the last call. It blocks only to connect; after a new connection it reports both kinds,
    /// because earlier notifications are lost.
    pub fn poll(&mut self) -> Result<Notifications, StoreError> {
        let received = self.listen();
        if received.is_err() {
            self.connection = None;
        }
        received
    }

    fn listen(&mut self) -> Result<Notifications, StoreError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let Connection::Postgres(mut fresh) = Connection::establish(&self.address)? else {
                    return Ok(Notifications::default());
                };
                fresh.batch_execute(&format!("LISTEN {CHANNEL}"))?;
                self.connection = Some(fresh);
                // Notifications may have been missed before.
                return Ok(Notifications {
                    generation: true,
                    version: true,
                });
            }
        };
        let mut received = Notifications::default();
        for notification in connection.notifications_iter() {
            match notification?.payload == VERSION {
                true => received.version = true,
                false => received.generation = true,
            }
        }
        Ok(received)
    }
}
