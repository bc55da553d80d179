//! Signatures over generations. They are not verified here.

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, QueryResult, RunQueryDsl, delete, insert_into};

use super::Signed;
use super::generations;
use super::log::{self, AuditEntry};
use crate::store::connection::{Connection, on};
use crate::store::schema::rule_generation_signatures as columns;
use crate::store::{Store, StoreError};

/// A stored signature over a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationSignature {
    /// The name of the key.
    pub signer: String,
    pub signature: Vec<u8>,
}

impl Store {
    /// The signature over a generation, if it has one.
    pub fn generation_signature(&self, number: i64) -> Result<Option<GenerationSignature>, StoreError> {
        self.read(|connection| {
            let row: Option<(String, Vec<u8>)> = on!(connection, connection => columns::table
                .find(number)
                .select((columns::signer, columns::signature))
                .first(connection)
                .optional())?;
            Ok(row.map(|(signer, signature)| GenerationSignature { signer, signature }))
        })
    }

    /// Stores a signature over the latest generation, in place of an earlier one, and writes the audit entry. Returns
    /// whether this generation is the latest; if not, nothing is stored.
    pub fn sign_generation(&self, number: i64, signed: Signed<'_>, audit: &AuditEntry) -> Result<bool, StoreError> {
        self.write(|connection| {
            generations::lock(connection)?;
            if generations::last(connection)?.is_none_or(|latest| latest.number != number) {
                return Ok(false);
            }
            replace(connection, number, signed)?;
            log::write(connection, audit)?;
            generations::notify(connection, &number.to_string())?;
            Ok(true)
        })
    }
}

fn replace(connection: &mut Connection, number: i64, signed: Signed<'_>) -> QueryResult<()> {
    on!(connection, connection => {
        delete(columns::table.find(number)).execute(connection)?;
        insert_into(columns::table)
            .values((
                columns::generation.eq(number),
                columns::signer.eq(signed.signer),
                columns::signature.eq(signed.signature),
            ))
            .execute(connection)
    })
    .map(drop)
}
