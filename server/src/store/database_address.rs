//! The address of a database, as an operator writes it. Passwords in it are never printed.

use std::fmt;
use std::path::{Path, PathBuf};

use watchpost_secret::Secret;

/// The address of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseAddress {
    /// An SQLite file.
    File {
        /// The path of the file.
        path: PathBuf,
        /// Whether another program owns the database.
        read_only: bool,
    },
    /// A PostgreSQL server.
    Server {
        /// The connection URL, including the timeouts in `TIMEOUTS`.
        url: Secret<String>,
        /// Whether another program owns the database.
        read_only: bool,
    },
}

/// The text is not a valid database address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("write postgres://USER:PASSWORD@HOST/DATABASE, or sqlite:PATH")]
pub struct InvalidDatabaseAddress;

/// Timeouts that detect a server that is unreachable: without them, a connection through a firewall that dropped its
/// state would wait for a quarter of an hour.
const TIMEOUTS: [(&str, &str); 5] = [
    ("connect_timeout", "5"),
    ("keepalives_idle", "5"),
    ("keepalives_interval", "2"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
];

impl DatabaseAddress {
    /// Parses an address. SQLAlchemy's URLs, which name a driver (`postgresql+asyncpg://`), are accepted too.
    pub fn parse(url: &str, folder: &Path, read_only: bool) -> Result<Self, InvalidDatabaseAddress> {
        let (scheme, rest) = url.trim().split_once(':').ok_or(InvalidDatabaseAddress)?;
        let kind = scheme.split('+').next().unwrap_or(scheme);
        match kind {
            "postgres" | "postgresql" if rest.starts_with("//") => {
                let url = Secret::new(with_timeouts(&format!("postgresql:{rest}")));
                Ok(Self::Server { url, read_only })
            }
            "sqlite" => {
                // As in SQLAlchemy, `sqlite:///x` is relative to the folder and `sqlite:////x` is the absolute path
                // `/x`.
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

impl DatabaseAddress {
    /// The host of a server on another machine whose certificate is not verified. Only `sslmode=verify-full` proves that
    /// the server is the named one.
    pub fn unauthenticated_host(&self) -> Option<String> {
        let Self::Server { url, .. } = self else { return None };
        let (address, settings) = url.expose().split_once('?')?;
        let of = |name: &str| {
            let all = settings.split('&').filter_map(|setting| setting.split_once('='));
            // libpq uses the last one.
            all.filter(|(key, _)| *key == name).map(|(_, value)| value).next_back()
        };
        if of("sslmode") == Some("verify-full") {
            return None;
        }
        let (_, rest) = address.split_once("//")?;
        let authority = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
        let hosts = authority.split('/').next().unwrap_or_default();
        // `hostaddr` is where libpq connects to.
        let hosts = of("hostaddr").or(of("host")).unwrap_or(hosts);
        hosts
            .split(',')
            .map(without_port)
            .find(|host| !is_local(host))
            .map(str::to_owned)
    }
}

fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match host.split_once(':') {
        Some((name, port)) if !port.contains(':') => name,
        _ => host,
    }
}

/// A socket in the file system, or a loopback address.
fn is_local(host: &str) -> bool {
    let is_loopback = |address: std::net::IpAddr| address.is_loopback();
    host.is_empty()
        || host.starts_with(['/', '@'])
        || host.to_ascii_lowercase().starts_with("%2f")
        || host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(is_loopback)
}

/// Keeps the operator's settings and adds the missing timeouts. Settings of other drivers are removed, because libpq
/// rejects them.
fn with_timeouts(url: &str) -> String {
    let (address, settings) = url.split_once('?').unwrap_or((url, ""));
    let foreign = |setting: &&str| !setting.starts_with("async_fallback=") && !setting.starts_with("prepared_");
    let ssl = |setting: &str| match setting.strip_prefix("ssl=") {
        Some(mode) => format!("sslmode={mode}"),
        None => setting.to_owned(),
    };
    let given = settings.split('&').filter(|setting| !setting.is_empty());
    let mut all: Vec<String> = given.filter(foreign).map(ssl).collect();
    for (name, value) in TIMEOUTS {
        if !all.iter().any(|setting| setting.starts_with(&format!("{name}="))) {
            all.push(format!("{name}={value}"));
        }
    }
    format!("{address}?{}", all.join("&"))
}

/// Never includes the password.
impl fmt::Display for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "{}", path.display()),
            Self::Server { url, .. } => {
                // A password that contains `?` would come before the first one.
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
    fn addresses_of_sqlalchemy_are_accepted() {
        let address =
            read("postgresql+asyncpg://pix:secret@db:5432/pixcrawler?ssl=require&prepared_statement_cache_size=0");
        let Ok(DatabaseAddress::Server { url, .. }) = address else {
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
    fn a_server_on_another_machine_is_authenticated_with_verify_full_only() {
        let host = |url: &str| read(url).expect("it is a database").unauthenticated_host();
        for local in [
            "sqlite:watchpost.db",
            "postgres://w:s@localhost/x",
            "postgres://w:s@127.0.0.2:5433/x",
            "postgres://w:s@[::1]:5432/x",
            "postgres:///x",
            "postgres://w@%2Fvar%2Frun%2Fpostgresql/x",
            "postgres:///x?host=/var/run/postgresql",
            "postgres://w:s@db.example.org/x?sslmode=verify-full&sslrootcert=/etc/ca.crt",
            "postgres://w:s@db.example.org/x?sslmode=disable&sslmode=verify-full",
        ] {
            assert_eq!(host(local), None, "{local}");
        }
        for (remote, expected) in [
            ("postgres://w:s@db.example.org:5432/x", "db.example.org"),
            ("postgres://w:s@db/x?sslmode=require", "db"),
            ("postgres://w:s@db/x?sslmode=verify-ca", "db"),
            ("postgres://w:s@localhost,10.0.0.1:5432/x", "10.0.0.1"),
            ("postgres://w:s@[2001:db8::1]/x", "2001:db8::1"),
            ("postgres://w:s@localhost/x?hostaddr=10.0.0.1", "10.0.0.1"),
            ("postgres:///x?host=db.example.org", "db.example.org"),
        ] {
            assert_eq!(host(remote).as_deref(), Some(expected), "{remote}");
        }
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
    fn a_password_is_never_printed() {
        let address = read("postgres://pix:se%40cret@db/pixcrawler").expect("a server");
        assert_eq!(address.to_string(), "postgresql://pix@db/pixcrawler");
        assert!(!format!("{address:?}").contains("cret"));
        let address = read("postgres://pix:se?cret@db/pixcrawler").expect("a server, perhaps");
        assert!(!address.to_string().contains("cret"), "{address}");
    }
}
