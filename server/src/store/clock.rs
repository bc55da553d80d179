//! The clock of a database server, which is compared with the system clock before anything is deleted by age.

use diesel::sql_types::BigInt;
use diesel::{QueryableByName, RunQueryDsl, sql_query};

use super::connection::Connection;
use super::{Store, StoreError};

#[derive(QueryableByName)]
struct Time {
    #[diesel(sql_type = BigInt)]
    ms: i64,
}

impl Store {
    /// The time of the database server, in milliseconds since 1970 (UTC); none for a file, which has no clock.
    pub fn clock_ms(&self) -> Result<Option<u64>, StoreError> {
        self.read(|connection| match connection {
            Connection::Sqlite(_) => Ok(None),
            Connection::Postgres(postgres) => {
                let now = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS ms";
                let time: Time = sql_query(now).get_result(postgres)?;
                Ok(u64::try_from(time.ms).ok())
            }
        })
    }
}
