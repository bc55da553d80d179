//! Errors of a database, classified by what can be done about them.

use diesel::result::{ConnectionError, DatabaseErrorKind, Error};

use crate::one_line::one_line;

/// An error of a database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or the connection was lost during a query.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// Another process holds a lock for longer than the timeout.
    #[error("the database is busy; another process may have locked it")]
    Busy,
    /// There is no disk space left, so nothing can be written.
    #[error("the disk of the database is full; free some space")]
    Full,
    /// The file is damaged.
    #[error(
        "the database is damaged: {0}; the next start renames it, creates a new one and closes access, so restore a copy first"
    )]
    Damaged(String),
    /// A table or column is missing, or the database user has no permission to read it.
    #[error("not found in the database: {0}")]
    Missing(String),
    /// A write violates a constraint of the table.
    #[error("the database rejects the write: {0}")]
    Refused(String),
    /// A row holds a value that Watchpost cannot have written.
    #[error("the database holds a value that cannot be read: {0}")]
    Unreadable(String),
    /// A value cannot be encoded.
    #[error("a value cannot be encoded for the database: {0}")]
    Unencodable(String),
    /// Any other error, which is a defect of Watchpost.
    #[error("the database answered with an error: {0}")]
    Failed(String),
}

impl StoreError {
    /// Whether the connection can be used again.
    pub(super) fn spares_connection(&self) -> bool {
        matches!(
            self,
            Self::Refused(_) | Self::Busy | Self::Missing(_) | Self::Unencodable(_)
        )
    }
}

impl From<ConnectionError> for StoreError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::CouldntSetupConfiguration(error) => error.into(),
            ConnectionError::BadConnection(reason) => {
                Self::from_message(one_line(&reason)).unwrap_or_else(Self::Unreachable)
            }
            other => Self::Unreachable(one_line(&other.to_string())),
        }
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let (kind, information) = match &error {
            Error::DatabaseError(kind, information) => (kind, information),
            Error::DeserializationError(reason) => return Self::Unreadable(deepest(reason.as_ref())),
            Error::SerializationError(reason) => return Self::Unencodable(reason.to_string()),
            other => return Self::Failed(other.to_string()),
        };
        let reason = one_line(information.message());
        match kind {
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation
            | DatabaseErrorKind::RestrictViolation
            | DatabaseErrorKind::ExclusionViolation => Self::Refused(reason),
            DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => Self::Unreachable(reason),
            // This transaction conflicted with another and has to be retried.
            DatabaseErrorKind::SerializationFailure => Self::Busy,
            // The server became a standby; a new connection may reach the new primary.
            DatabaseErrorKind::ReadOnlyTransaction => Self::Unreachable(reason),
            _ => Self::from_message(reason).unwrap_or_else(Self::Failed),
        }
    }
}

impl StoreError {
    /// Diesel maps a dozen codes to kinds and keeps neither the SQLSTATE nor SQLite's extended code of any other error,
    /// and libpq's connection errors have no code at all. So these are classified by their messages: those of SQLite
    /// and libpq, and those of a PostgreSQL whose `lc_messages` is English. In another language they are
    /// [`Self::Failed`].
    fn from_message(reason: String) -> Result<Self, String> {
        let has = |texts: &[&str]| texts.iter().any(|text| reason.contains(text));
        if has(&[
            "database is locked",
            "database table is locked",
            "statement timeout",
            "lock timeout",
            "deadlock detected",
        ]) {
            return Ok(Self::Busy);
        }
        if has(&["disk is full", "No space left", "could not extend file"]) {
            return Ok(Self::Full);
        }
        if has(&["malformed", "not a database"]) {
            return Ok(Self::Damaged(reason));
        }
        if has(&["no such table", "no such column", "does not exist", "permission denied"]) {
            return Ok(Self::Missing(reason));
        }
        let lost = [
            "terminating connection",
            "server closed the connection",
            "connection to server",
            "could not receive data",
            "could not send data",
            "no connection to the server",
            "the database system is",
            "unable to open database file",
            "Unable to open the database file",
            "disk I/O error",
            "timeout expired",
            "SSL connection",
            "SSL SYSCALL",
        ];
        if has(&lost) {
            Ok(Self::Unreachable(reason))
        } else {
            Err(reason)
        }
    }
}

/// The innermost source: Diesel's outer error names the field of the row, and the inner one names the table's column.
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: DatabaseErrorKind, message: &str) -> StoreError {
        Error::DatabaseError(kind, Box::new(message.to_owned())).into()
    }

    #[test]
    fn an_error_with_a_kind_is_classified_by_it_in_any_language() {
        let message = "in einer Sprache, die niemand kennt";
        for refused in [
            DatabaseErrorKind::UniqueViolation,
            DatabaseErrorKind::CheckViolation,
            DatabaseErrorKind::RestrictViolation,
            DatabaseErrorKind::ExclusionViolation,
        ] {
            assert!(matches!(of(refused, message), StoreError::Refused(_)));
        }
        assert!(matches!(
            of(DatabaseErrorKind::SerializationFailure, message),
            StoreError::Busy
        ));
        for lost in [
            DatabaseErrorKind::ReadOnlyTransaction,
            DatabaseErrorKind::ClosedConnection,
        ] {
            assert!(matches!(of(lost, message), StoreError::Unreachable(_)));
        }
        assert!(matches!(of(DatabaseErrorKind::Unknown, message), StoreError::Failed(_)));
    }

    #[test]
    fn an_error_without_a_kind_is_classified_by_its_message() {
        let unknown = |message| of(DatabaseErrorKind::Unknown, message);
        assert!(matches!(unknown("database is locked"), StoreError::Busy));
        assert!(matches!(unknown("database or disk is full"), StoreError::Full));
        assert!(matches!(
            unknown("database disk image is malformed"),
            StoreError::Damaged(_)
        ));
        assert!(matches!(unknown("no such table: decisions"), StoreError::Missing(_)));
        assert!(matches!(
            unknown("FATAL: terminating connection due to administrator command"),
            StoreError::Unreachable(_)
        ));
    }
}
