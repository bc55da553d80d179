//! Why a database did not answer, told apart by what can be done about it.

use diesel::result::{ConnectionError, DatabaseErrorKind, Error};

/// Why a database did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or was lost while it was asked.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// Somebody else has it for longer than we wait.
    #[error("the database is busy; another process may have locked it")]
    Busy,
    /// Nothing can be written any more.
    #[error("the database has no room left; make some on its disk")]
    Full,
    /// The file is not what it was.
    #[error("the database is damaged: {0}; it is kept aside at the next start, and a new one begun")]
    Damaged(String),
    /// A table or column is not there, or may not be read.
    #[error("the database has not what was asked for: {0}")]
    Missing(String),
    /// What was written breaks a rule of the table.
    #[error("the database refuses: {0}")]
    Refused(String),
    /// A row holds what nobody wrote as it is.
    #[error("the database holds a value that cannot be read: {0}")]
    Unreadable(String),
    /// A value has no form in which it can be written.
    #[error("a value cannot be encoded for the database: {0}")]
    Unencodable(String),
    /// Something else; it is ours.
    #[error("the database answered with an error: {0}")]
    Failed(String),
}

impl StoreError {
    /// Whether the connection may be used again.
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
            ConnectionError::BadConnection(why) => Self::of_words(one_line(&why)).unwrap_or_else(Self::Unreachable),
            other => Self::Unreachable(one_line(&other.to_string())),
        }
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let (kind, information) = match &error {
            Error::DatabaseError(kind, information) => (kind, information),
            Error::DeserializationError(why) => return Self::Unreadable(deepest(why.as_ref())),
            Error::SerializationError(why) => return Self::Unencodable(why.to_string()),
            other => return Self::Failed(other.to_string()),
        };
        let why = one_line(information.message());
        match kind {
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation
            | DatabaseErrorKind::RestrictViolation
            | DatabaseErrorKind::ExclusionViolation => Self::Refused(why),
            DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => Self::Unreachable(why),
            // Of two transactions that were in each other's way, this one has to be tried again.
            DatabaseErrorKind::SerializationFailure => Self::Busy,
            // A server that became a standby; a new connection may find the one that took over.
            DatabaseErrorKind::ReadOnlyTransaction => Self::Unreachable(why),
            _ => Self::of_words(why).unwrap_or_else(Self::Failed),
        }
    }
}

impl StoreError {
    /// Diesel maps a dozen codes to kinds and keeps neither the SQLSTATE nor SQLite's extended code of any other error,
    /// and what libpq says of a connection has no code at all. So these are told apart by their words: those of SQLite and
    /// libpq, and those of a PostgreSQL whose `lc_messages` is English. In another language they are [`Self::Failed`].
    fn of_words(why: String) -> Result<Self, String> {
        let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
        if says(&[
            "database is locked",
            "database table is locked",
            "statement timeout",
            "lock timeout",
            "deadlock detected",
        ]) {
            return Ok(Self::Busy);
        }
        if says(&["disk is full", "No space left", "could not extend file"]) {
            return Ok(Self::Full);
        }
        if says(&["malformed", "not a database"]) {
            return Ok(Self::Damaged(why));
        }
        if says(&["no such table", "no such column", "does not exist", "permission denied"]) {
            return Ok(Self::Missing(why));
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
        if says(&lost) {
            Ok(Self::Unreachable(why))
        } else {
            Err(why)
        }
    }
}

/// Diesel says in which field of a row something is wrong; what is below says it of the table.
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.last().map(ToString::to_string).unwrap_or_default()
}

/// libpq writes whole paragraphs.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: DatabaseErrorKind, words: &str) -> StoreError {
        Error::DatabaseError(kind, Box::new(words.to_owned())).into()
    }

    #[test]
    fn what_has_a_kind_is_known_by_it_in_any_language() {
        let words = "in einer Sprache, die niemand kennt";
        for refused in [
            DatabaseErrorKind::UniqueViolation,
            DatabaseErrorKind::CheckViolation,
            DatabaseErrorKind::RestrictViolation,
            DatabaseErrorKind::ExclusionViolation,
        ] {
            assert!(matches!(of(refused, words), StoreError::Refused(_)));
        }
        assert!(matches!(
            of(DatabaseErrorKind::SerializationFailure, words),
            StoreError::Busy
        ));
        for lost in [
            DatabaseErrorKind::ReadOnlyTransaction,
            DatabaseErrorKind::ClosedConnection,
        ] {
            assert!(matches!(of(lost, words), StoreError::Unreachable(_)));
        }
        assert!(matches!(of(DatabaseErrorKind::Unknown, words), StoreError::Failed(_)));
    }

    #[test]
    fn what_has_no_kind_is_known_by_its_words() {
        let unknown = |words| of(DatabaseErrorKind::Unknown, words);
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
