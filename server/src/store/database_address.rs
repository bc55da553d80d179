//! Where a database is, as an operator writes it. Passwords in it never print.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::secret::Secret;

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseAddress {
    /// A file, read and written by SQLite.
    File {
        /// Which.
        path: PathBuf,
        /// Whether it is somebody else's.
        read_only: bool,
    },
    /// A PostgreSQL server.
    Server {
        /// How it is reached, with our bounds on how long that may take.
        url: Secret<String>,
        /// Whether it is somebody else's.
        read_only: bool,
    },
}

/// An address that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("write postgres://USER:PASSWORD@HOST/DATABASE, or sqlite:PATH")]
pub struct InvalidDatabaseAddress;

/// A server that is gone must be noticed: without these, a connection through a firewall that forgot it waits for a
/// quarter of an hour.
const BOUNDS: [(&str, &str); 5] = [
    ("connect_timeout", "5"),
    ("keepalives_idle", "5"),
    ("keepalives_interval", "2"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
];

impl DatabaseAddress {
    /// Reads an address. Those of SQLAlchemy, which name a driver (`postgresql+asyncpg://`), are understood too.
    pub fn parse(url: &str, folder: &Path, read_only: bool) -> Result<Self, InvalidDatabaseAddress> {
        let (scheme, rest) = url.trim().split_once(':').ok_or(InvalidDatabaseAddress)?;
        let kind = scheme.split('+').next().unwrap_or(scheme);
        match kind {
            "postgres" | "postgresql" if rest.starts_with("//") => {
                let url = Secret::new(bounded(&format!("postgresql:{rest}")));
                Ok(Self::Server { url, read_only })
            }
            "sqlite" => {
                // `sqlite:///x` is `x` beside us and `sqlite:////x` is `/x`, as SQLAlchemy has it.
                let path = rest.strip_prefix("///").unwrap_or(rest);
                let path = path.split('?').next().unwrap_or(path);
                if path.is_empty() || path == ":memory:" || path.starts_with("//") {
                    return Err(InvalidDatabaseAddress);
                }
                let path = folder.join(path);
                Ok(Self::File { path, read_only })
            }
            _ => Err(InvalidDatabaseAddress),
        }
    }
}

/// What the operator wrote stays; what is missing is added. Settings of other drivers would be refused.
fn bounded(url: &str) -> String {
    let (address, settings) = url.split_once('?').unwrap_or((url, ""));
    let foreign = |setting: &&str| !setting.starts_with("async_fallback=") && !setting.starts_with("prepared_");
    let ssl = |setting: &str| match setting.strip_prefix("ssl=") {
        Some(mode) => format!("sslmode={mode}"),
        None => setting.to_owned(),
    };
    let given = settings.split('&').filter(|setting| !setting.is_empty());
    let mut all: Vec<String> = given.filter(foreign).map(ssl).collect();
    for (name, value) in BOUNDS {
        if !all.iter().any(|setting| setting.starts_with(&format!("{name}="))) {
            all.push(format!("{name}={value}"));
        }
    }
    format!("{address}?{}", all.join("&"))
}

/// Without the password.
impl fmt::Display for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "{}", path.display()),
            Self::Server { url, .. } => {
                // A password with a `?` in it would stand before the first one.
                if url.expose().split('?').skip(1).any(|rest| rest.contains('@')) {
                    return f.write_str("postgresql://");
                }
                let address = url.expose().split('?').next().unwrap_or_default();
                match address.split_once("//").map(|(_, rest)| rest.rsplit_once('@')) {
                    Some(Some((user, rest))) => {
                        let user = user.split(':').next().unwrap_or_default();
                        write!(f, "postgresql://{user}@{rest}")
                    }
                    _ => f.write_str(address),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<DatabaseAddress, InvalidDatabaseAddress> {
        DatabaseAddress::parse(url, Path::new("/etc/watchpost"), false)
    }

    #[test]
    fn addresses_of_sqlalchemy_are_understood() {
        let place =
            read("postgresql+asyncpg://pix:secret@db:5432/pixcrawler?ssl=require&prepared_statement_cache_size=0");
        let Ok(DatabaseAddress::Server { url, .. }) = place else {
            panic!("it is a server");
        };
        assert!(
            url.expose()
                .starts_with("postgresql://pix:secret@db:5432/pixcrawler?sslmode=require&connect_timeout=5")
        );
        assert!(!url.expose().contains("prepared"), "another driver's setting");
        let file = |url: &str| match read(url) {
            Ok(DatabaseAddress::File { path, .. }) => path.display().to_string(),
            other => panic!("{url} is a file, not {other:?}"),
        };
        assert_eq!(file("sqlite:///pix.db"), "/etc/watchpost/pix.db");
        assert_eq!(file("sqlite+aiosqlite:////var/lib/pix.db"), "/var/lib/pix.db");
        assert_eq!(file("sqlite:chunks.db"), "/etc/watchpost/chunks.db");
    }

    #[test]
    fn what_is_no_database_is_refused() {
        for url in [
            "",
            "mysql://db/x",
            "postgres",
            "/var/lib/x.db",
            "sqlite:",
            "sqlite://:memory:",
            "sqlite:///:memory:",
        ] {
            assert_eq!(read(url), Err(InvalidDatabaseAddress), "{url}");
        }
    }

    #[test]
    fn a_password_is_never_told() {
        let place = read("postgres://pix:se%40cret@db/pixcrawler").expect("a server");
        assert_eq!(place.to_string(), "postgresql://pix@db/pixcrawler");
        assert!(!format!("{place:?}").contains("cret"));
        let place = read("postgres://pix:se?cret@db/pixcrawler").expect("a server, perhaps");
        assert!(!place.to_string().contains("cret"), "{place}");
    }
}
