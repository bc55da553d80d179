//! `watchpost certs`: manages the development CA on the command line. It prints the result and how to use it; the CA
//! itself is in `pki`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use super::shell::quoted;
use super::table::columns;
use crate::app::machine_name;
use crate::config::nearest;
use watchpost_pki::{
    self as pki, Authority, DEFAULT_CLIENTS, DEFAULT_DAYS, Encryption, Ensured, Exported, Files, Issued, MAX_DAYS,
    PkiError,
};

/// Issues, lists and revokes development certificates.
#[derive(Clone, Debug, Args)]
pub struct CertsCommand {
    /// The subcommand.
    #[command(subcommand)]
    pub action: CertsAction,
}

/// The subcommands of `certs`.
#[derive(Clone, Debug, Subcommand)]
pub enum CertsAction {
    /// Creates the CA, a certificate for this host, and the clients admin, user, reader and agent.
    ///
    /// Existing files are kept.
    Init,
    /// Issues a certificate to a client.
    Issue {
        /// The client's name; letters, digits, dots, underscores and hyphens.
        name: String,
        /// The client's role: admin, user, reader, agent, or a role that `rules.role` of the configuration defines.
        #[arg(long)]
        role: String,
        /// Issues a certificate for a role that neither the built-in role rule nor the configuration defines, such as
        /// one of an uploaded role rule.
        #[arg(long)]
        allow_unknown_role: bool,
        /// Validity in days.
        #[arg(long, default_value_t = DEFAULT_DAYS, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DAYS)))]
        days: u32,
        /// Keeps a valid certificate, and renews it with the same key in the month before it expires; for scripts.
        #[arg(long, conflicts_with = "days")]
        renew: bool,
        /// Also writes the certificate and its key to a PKCS #12 file, which a browser can import, and prints its
        /// password.
        #[arg(long, value_name = "FILE", conflicts_with = "renew")]
        pkcs12: Option<PathBuf>,
        /// Encrypts the PKCS #12 file with triple DES and SHA-1, for macOS and iOS.
        #[arg(long, requires = "pkcs12")]
        legacy_encryption: bool,
    },
    /// Writes a client's certificate and key to a PKCS #12 file, which a browser can import, and prints its password.
    ///
    /// A revoked or expired certificate is not exported.
    Export {
        /// The client's name.
        name: String,
        /// The file, which must not exist.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Encrypts the file with triple DES and SHA-1, for macOS and iOS.
        #[arg(long)]
        legacy_encryption: bool,
    },
    /// Revokes all certificates of a client, or the one with this serial.
    Revoke {
        /// The client's name, or a serial from the list.
        #[arg(value_name = "NAME|SERIAL")]
        selected: String,
    },
    /// Lists the issued certificates.
    List {
        /// Prints JSON, for programs.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the subcommand and prints the result. The CA is the folder `pki` in the data folder; `roles` are the roles that
/// certificates are issued for.
pub fn run(
    command: CertsCommand,
    data_dir: &Path,
    roles: &BTreeSet<String>,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<(), CertsError> {
    let folder = data_dir.join(pki::FOLDER);
    if let CertsAction::Issue {
        role,
        allow_unknown_role: false,
        ..
    } = &command.action
        && !roles.contains(role)
    {
        return Err(CertsError::UnknownRole {
            remedy: remedy(role, roles),
            role: role.clone(),
        });
    }
    let output = match command.action {
        CertsAction::Init => init(&folder, now)?,
        CertsAction::Issue {
            name,
            role,
            renew: true,
            ..
        } => renew(&open_existing(&folder)?, &name, &role, now)?,
        CertsAction::Issue {
            name,
            role,
            days,
            pkcs12,
            legacy_encryption,
            ..
        } => {
            let authority = open_existing(&folder)?;
            let file = pkcs12.map(|path| Destination::create(&path)).transpose()?;
            let issued = issue(&authority, &name, &role, days, now)?;
            let exported = file.map(|file| file.export(&authority, &name, legacy_encryption, now));
            issued + &exported.transpose()?.unwrap_or_default()
        }
        CertsAction::Export {
            name,
            file,
            legacy_encryption,
        } => {
            let authority = open_existing(&folder)?;
            Destination::create(&file)?.export(&authority, &name, legacy_encryption, now)?
        }
        CertsAction::Revoke { selected } => revoke(&open_existing(&folder)?, &selected, now)?,
        CertsAction::List { json: true } => as_json(&open_existing(&folder)?.list()?),
        CertsAction::List { json: false } => as_table(&open_existing(&folder)?.list()?, now),
    };
    out.write_all(output.as_bytes())
        .and_then(|()| out.flush())
        .map_err(PkiError::Output)?;
    Ok(())
}

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// No rule defines the role, so the certificate would allow nothing.
    #[error("there is no role {role}; {remedy}")]
    UnknownRole {
        /// The role of the command line.
        role: String,
        /// The known roles.
        remedy: String,
    },
    /// The CA.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl CertsError {
    /// Whether the command asks for something impossible, and no file is at fault.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::UnknownRole { .. } => true,
            Self::Pki(error) => matches!(
                error,
                PkiError::Name { .. }
                    | PkiError::DnsName { .. }
                    | PkiError::Days { .. }
                    | PkiError::ServerName { .. }
                    | PkiError::InUse { .. }
                    | PkiError::Unknown { .. }
                    | PkiError::OtherRole { .. }
                    | PkiError::NotRenewed { .. }
                    | PkiError::Revoked { .. }
                    | PkiError::RevokedAlready { .. }
                    | PkiError::Unusable { .. }
            ),
        }
    }
}

fn remedy(role: &str, roles: &BTreeSet<String>) -> String {
    let known: Vec<&str> = roles.iter().map(String::as_str).collect();
    let near = nearest(role, known.iter().copied()).map_or_else(String::new, |near| format!("did you mean {near}? "));
    format!(
        "{near}The roles are {}; define another one under rules.role.roles, or add --allow-unknown-role for a role of an \
         uploaded rule",
        known.join(", ")
    )
}

/// Only `init` creates a CA: a mistyped folder must not create a new one.
fn open_existing(folder: &Path) -> Result<Authority, PkiError> {
    Authority::open(folder)?.ok_or_else(|| PkiError::NotMade {
        folder: folder.to_owned(),
    })
}

fn init(folder: &Path, now: Timestamp) -> Result<String, PkiError> {
    let authority = pki::prepare(folder, &machine_name(), now)?;
    let mut output = format!(
        "authority  {}\nserver     {}\n",
        authority.certificate_path().display(),
        pair(&authority.server_files()),
    );
    for name in DEFAULT_CLIENTS {
        let files = authority.client_files(name)?;
        let note = match authority.ensure_client(name, name, now)? {
            Ensured::Revoked => format!("revoked; `watchpost certs issue {name} --role {name}` issues a new one"),
            Ensured::Made | Ensured::Renewed | Ensured::Kept => pair(&files),
        };
        output += &format!("{name:<10} {note}\n");
    }
    output += &format!("revoked    {}\n", authority.crl_path().display());
    output += &usage(&authority, &authority.client_files(DEFAULT_CLIENTS[0])?);
    Ok(output)
}

fn issue(authority: &Authority, name: &str, role: &str, days: u32, now: Timestamp) -> Result<String, PkiError> {
    let issued = authority.issue_client(name, role, days, now)?;
    let files = authority.client_files(name)?;
    Ok(format!(
        "{name} has the role {role} until {}; the serial is {}\ncertificate  {}\nkey          {}\n{}",
        day(issued.not_after),
        issued.serial,
        files.certificate.display(),
        files.key.display(),
        usage(authority, &files),
    ))
}

/// A new file for a private key. It is created first, so that no certificate is issued when it cannot be, and removed
/// again if nothing is written.
struct Destination {
    path: PathBuf,
    file: File,
    is_written: bool,
}

impl Destination {
    fn create(path: &Path) -> Result<Self, PkiError> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|source| PkiError::Export {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            is_written: false,
        })
    }

    fn export(mut self, authority: &Authority, name: &str, legacy: bool, now: Timestamp) -> Result<String, PkiError> {
        let encryption = match legacy {
            true => Encryption::Legacy,
            false => Encryption::Aes,
        };
        let Exported { file, password } = authority.export(name, encryption, now)?;
        let written = self.file.write_all(&file).and_then(|()| self.file.sync_all());
        written.map_err(|source| PkiError::Export {
            path: self.path.clone(),
            source,
        })?;
        self.is_written = true;
        Ok(format!(
            "PKCS #12     {}\npassword     {password}\n\nImport the file with this password, which is not shown again, and trust {} for \
             websites.\n",
            self.path.display(),
            authority.certificate_path().display(),
        ))
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if !self.is_written {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn renew(authority: &Authority, name: &str, role: &str, now: Timestamp) -> Result<String, PkiError> {
    let of_name = |issued: &Issued| issued.name == name && issued.revoked_at.is_none();
    let latest = |all: Vec<Issued>| all.into_iter().filter(of_name).max_by_key(|issued| issued.not_after);
    let current_role = latest(authority.list()?).and_then(|known| known.role);
    if let Some(current_role) = current_role.filter(|current_role| current_role != role) {
        return Err(PkiError::OtherRole {
            client: name.to_owned(),
            has: current_role,
            wanted: role.to_owned(),
        });
    }
    let done = match authority.ensure_client(name, role, now)? {
        Ensured::Made => "is issued",
        Ensured::Renewed => "is renewed",
        Ensured::Kept => "is kept",
        Ensured::Revoked => {
            return Err(PkiError::Revoked {
                client: name.to_owned(),
            });
        }
    };
    // A kept certificate with a short validity is never renewed, and a script that relies on renewal must fail.
    let soon = now + SignedDuration::from_hours(24 * 29);
    if latest(authority.list()?).is_none_or(|issued| issued.not_after < soon) {
        return Err(PkiError::NotRenewed {
            client: name.to_owned(),
        });
    }
    let files = authority.client_files(name)?;
    Ok(format!(
        "the certificate of {name} {done}\nfiles        {}\n",
        pair(&files)
    ))
}

fn revoke(authority: &Authority, selected: &str, now: Timestamp) -> Result<String, PkiError> {
    let mut output = String::new();
    for issued in authority.revoke(selected, now)? {
        output += &format!("{} is revoked, serial {}\n", issued.name, issued.serial);
    }
    Ok(output + &format!("list         {}\n", authority.crl_path().display()))
}

fn as_json(issued: &[Issued]) -> String {
    let text = serde_json::to_string_pretty(issued).expect("strings and nulls always serialize to JSON");
    text + "\n"
}

fn as_table(issued: &[Issued], now: Timestamp) -> String {
    let heading = ["NAME", "ROLE", "SERIAL", "EXPIRES", "STATE"].map(str::to_owned);
    let rows = issued.iter().map(|issued| {
        let role = issued.role.clone().unwrap_or_else(|| "-".to_owned());
        let state = match issued.revoked_at {
            Some(time) => format!("revoked on {}", day(time)),
            None if issued.holds(now) => "valid".to_owned(),
            None => "expired".to_owned(),
        };
        [
            issued.name.clone(),
            role,
            issued.serial.clone(),
            day(issued.not_after),
            state,
        ]
    });
    let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
    columns(&rows)
}

/// A command to copy. The port is the server's default.
fn usage(authority: &Authority, files: &Files) -> String {
    format!(
        "\ncurl --cacert {} --cert {} --key {} https://localhost:8443/api/v1/whoami\n",
        quoted(&authority.certificate_path()),
        quoted(&files.certificate),
        quoted(&files.key),
    )
}

fn pair(files: &Files) -> String {
    format!("{}  {}", files.certificate.display(), files.key.display())
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        certs: CertsCommand,
    }

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().expect("a time")
    }

    fn roles() -> BTreeSet<String> {
        ["admin", "agent", "operator", "reader", "user"]
            .map(str::to_owned)
            .into()
    }

    fn try_run(data: &Path, arguments: &[&str]) -> Result<String, CertsError> {
        try_run_at(now(), data, arguments)
    }

    fn try_run_at(now: Timestamp, data: &Path, arguments: &[&str]) -> Result<String, CertsError> {
        let all = ["certs"].iter().chain(arguments);
        let program = Program::try_parse_from(all).expect("legal arguments");
        let mut out = Vec::new();
        run(program.certs, data, &roles(), now, &mut out)?;
        Ok(String::from_utf8(out).expect("text"))
    }

    fn output(data: &Path, arguments: &[&str]) -> String {
        try_run(data, arguments).expect("done")
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Program::command().debug_assert();
        assert!(Program::try_parse_from(["certs", "issue", "a", "--role", "b", "--days", "826"]).is_err());
        assert!(Program::try_parse_from(["certs", "issue", "a", "--role", "b", "--days", "0"]).is_err());
        assert!(Program::try_parse_from(["certs", "issue", "a"]).is_err());
    }

    #[test]
    fn init_creates_all_files_that_it_prints_and_can_be_repeated() {
        let data = tempfile::tempdir().expect("a folder");
        let first = output(data.path(), &["init"]);
        let paths = first
            .split_whitespace()
            .filter(|word| word.starts_with(data.path().to_str().expect("text")));
        assert_eq!(paths.clone().count(), 1 + 2 + 8 + 1 + 3);
        for path in paths {
            assert!(Path::new(path).is_file(), "{path}");
        }
        let key = data.path().join("pki/clients/admin.key");
        let before = fs::read(&key).expect("a key");
        assert_eq!(output(data.path(), &["init"]), first);
        assert_eq!(fs::read(&key).expect("a key"), before);
    }

    #[test]
    fn a_client_is_issued_listed_and_revoked() {
        let data = tempfile::tempdir().expect("a folder");
        output(data.path(), &["init"]);
        let issued = output(data.path(), &["issue", "ada", "--role", "reader", "--days", "10"]);
        assert!(issued.contains("ada has the role reader until 2026-03-11"), "{issued}");
        let certificate = data.path().join("pki/clients/ada.crt");
        assert!(
            issued.contains(&format!("--cert {}", certificate.display())),
            "{issued}"
        );
        assert!(issued.contains("https://localhost:8443/api/v1/whoami"), "{issued}");

        let again = try_run(data.path(), &["issue", "ada", "--role", "reader"]).expect_err("refused");
        assert!(again.to_string().contains("watchpost certs revoke ada"), "{again}");

        let revoked = output(data.path(), &["revoke", "ada"]);
        assert!(revoked.starts_with("ada is revoked, serial "), "{revoked}");
        let table = output(data.path(), &["list"]);
        let row = table.lines().find(|line| line.starts_with("ada ")).expect("a row");
        assert!(row.ends_with("2026-03-11  revoked on 2026-03-01"), "{table}");
        assert_eq!(
            table.lines().filter(|line| line.ends_with("  valid")).count(),
            5,
            "{table}"
        );

        let json: serde_json::Value = serde_json::from_str(&output(data.path(), &["list", "--json"])).expect("JSON");
        let ada = json
            .as_array()
            .expect("a list")
            .iter()
            .find(|entry| entry["name"] == "ada");
        let ada = ada.expect("ada is listed");
        assert_eq!(ada["role"], "reader");
        assert_eq!(ada["not_after"], "2026-03-11T12:00:00Z");
        assert_eq!(ada["revoked_at"], "2026-03-01T12:00:00Z");
    }

    #[test]
    fn a_pkcs12_file_has_the_certificate_the_key_and_the_authority() {
        use std::os::unix::fs::PermissionsExt;

        let data = tempfile::tempdir().expect("a folder");
        output(data.path(), &["init"]);
        let file = data.path().join("ada.p12");
        let path = file.to_str().expect("text");
        for (arguments, cipher) in [
            (
                &["issue", "ada", "--role", "reader", "--pkcs12", path][..],
                "AES-256-CBC",
            ),
            (&["export", "ada", path, "--legacy-encryption"], "3-KeyTripleDES-CBC"),
        ] {
            let issued = output(data.path(), arguments);
            let password = issued.lines().find_map(|line| line.strip_prefix("password     "));
            let password = password.expect("it prints the password");
            assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
            let bytes = fs::read(&file).expect("a file");
            let parsed = openssl::pkcs12::Pkcs12::from_der(&bytes).expect("PKCS #12");
            assert!(parsed.parse2("wrong").is_err(), "another password decrypts it");
            let parsed = parsed.parse2(password).expect("the password decrypts it");
            let (certificate, key) = (parsed.cert.expect("a certificate"), parsed.pkey.expect("a key"));
            assert!(certificate.public_key().expect("a key").public_eq(&key));
            let pem = fs::read(data.path().join("pki/clients/ada.crt")).expect("a certificate");
            assert_eq!(certificate.to_pem().expect("PEM"), pem);
            assert_eq!(parsed.ca.map(|authorities| authorities.len()), Some(1));
            let info = std::process::Command::new("openssl")
                .args([
                    "pkcs12",
                    "-info",
                    "-noout",
                    "-passin",
                    &format!("pass:{password}"),
                    "-in",
                    path,
                ])
                .output()
                .expect("openssl runs");
            let info = String::from_utf8_lossy(&info.stderr).into_owned();
            assert!(info.contains(cipher), "{info}");
            let again = try_run(data.path(), &["export", "ada", path]).expect_err("the file exists");
            assert!(again.to_string().contains("name a file that does not exist"), "{again}");
            assert_eq!(fs::read(&file).expect("a file"), bytes, "it is not overwritten");
            fs::remove_file(&file).expect("removed");
        }
        try_run(data.path(), &["export", "eve", path]).expect_err("there is no such client");
        assert!(!file.exists(), "nothing is left of a failed export");
    }

    #[test]
    fn a_revoked_or_expired_certificate_is_not_exported() {
        let data = tempfile::tempdir().expect("a folder");
        output(data.path(), &["init"]);
        let file = data.path().join("ada.p12");
        let path = file.to_str().expect("text");
        let issue = || output(data.path(), &["issue", "ada", "--role", "reader", "--days", "10"]);
        let refused = |days: i64, reason: &str| {
            let later = now() + SignedDuration::from_hours(24 * days);
            let error = try_run_at(later, data.path(), &["export", "ada", path]).expect_err("refused");
            assert!(error.is_usage(), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
            assert!(!file.exists());
        };
        issue();
        refused(10, "the certificate of ada has expired");
        output(data.path(), &["revoke", "ada"]);
        refused(1, "the certificate of ada was revoked");
        // A new certificate of the same client is not revoked.
        issue();
        let before = now() + SignedDuration::from_hours(24 * 10 - 1);
        try_run_at(before, data.path(), &["export", "ada", path]).expect("it is valid");
        assert!(file.exists());
    }

    #[test]
    fn a_certificate_is_issued_only_for_a_role_that_exists() {
        let data = tempfile::tempdir().expect("a folder");
        output(data.path(), &["init"]);
        let refused = |arguments: &[&str]| {
            let error = try_run(data.path(), arguments).expect_err("refused");
            assert!(error.is_usage(), "{error}");
            error.to_string()
        };
        let unknown = refused(&["issue", "bob", "--role", "raeder"]);
        assert!(
            unknown.starts_with("there is no role raeder; did you mean reader? The roles are admin, "),
            "{unknown}"
        );
        assert!(!refused(&["issue", "bob", "--role", "superhero"]).contains("did you mean"));
        assert!(!data.path().join("pki/clients/bob.crt").exists());
        output(data.path(), &["issue", "olga", "--role", "operator"]);
        output(
            data.path(),
            &["issue", "bob", "--role", "superhero", "--allow-unknown-role"],
        );
    }

    #[test]
    fn a_command_that_asks_for_the_impossible_is_a_usage_error() {
        let data = tempfile::tempdir().expect("a folder");
        let is_usage = |arguments: &[&str]| try_run(data.path(), arguments).expect_err("refused").is_usage();
        assert!(!is_usage(&["list"]), "the folder is missing");
        output(data.path(), &["init"]);
        assert!(is_usage(&["issue", "al ice", "--role", "user"]));
        assert!(is_usage(&["issue", "admin", "--role", "admin"]));
        assert!(is_usage(&["revoke", "unknown"]));
        let server = try_run(data.path(), &["issue", "localhost", "--role", "admin"]).expect_err("refused");
        assert!(
            server.is_usage() && server.to_string().contains("the server's own certificate"),
            "{server}"
        );
        std::fs::write(data.path().join("pki/ca.crt"), "damaged").expect("written");
        assert!(!is_usage(&["list"]));
    }

    #[test]
    fn a_revoked_client_is_not_issued_again_by_init() {
        let data = tempfile::tempdir().expect("a folder");
        output(data.path(), &["init"]);
        output(data.path(), &["revoke", "agent"]);
        let answer = output(data.path(), &["init"]);
        assert!(
            answer.contains("`watchpost certs issue agent --role agent`"),
            "{answer}"
        );
        output(data.path(), &["issue", "agent", "--role", "agent"]);
        assert!(!output(data.path(), &["init"]).contains("revoked; "));
    }

    #[test]
    fn a_short_lived_certificate_or_another_role_is_not_renewed() {
        let data = tempfile::tempdir().expect("a folder");
        output(data.path(), &["init"]);
        output(data.path(), &["issue", "ada", "--role", "reader", "--days", "10"]);
        let renewed = |name: &str, role: &str| try_run(data.path(), &["issue", name, "--role", role, "--renew"]);
        let other = renewed("ada", "admin").expect_err("it has another role").to_string();
        assert!(other.contains("has the role reader"), "{other}");
        let short = renewed("ada", "reader")
            .expect_err("it expires in ten days")
            .to_string();
        assert!(
            short.contains("is not renewed because it was issued for a short time"),
            "{short}"
        );
        assert!(renewed("ben", "reader").expect("it is new").contains("is issued"));
    }

    #[test]
    fn a_certificate_is_renewed_in_the_month_before_it_expires() {
        let data = tempfile::tempdir().expect("a folder");
        output(data.path(), &["init"]);
        let renewed = |later_days: i64| {
            let arguments = ["certs", "issue", "prometheus", "--role", "reader", "--renew"];
            let program = Program::try_parse_from(arguments).expect("legal arguments");
            let now = now() + jiff::SignedDuration::from_hours(24 * later_days);
            let mut out = Vec::new();
            run(program.certs, data.path(), &roles(), now, &mut out).map(|()| String::from_utf8(out).expect("text"))
        };
        let certificate = data.path().join("pki/clients/prometheus.crt");
        let read = || fs::read(&certificate).expect("a certificate");
        assert!(renewed(0).expect("done").contains("is issued\n"));
        let first = read();
        let days = i64::from(DEFAULT_DAYS);
        assert!(renewed(days - 31).expect("done").contains("is kept"));
        assert_eq!(read(), first);
        assert!(renewed(days - 29).expect("done").contains("is renewed"));
        assert_ne!(read(), first);
        output(data.path(), &["revoke", "prometheus"]);
        let refused = renewed(days).expect_err("only a person issues it again");
        assert!(refused.to_string().contains("is not renewed"), "{refused}");
    }

    #[test]
    fn only_init_creates_an_authority() {
        let data = tempfile::tempdir().expect("a folder");
        for arguments in [&["list"][..], &["revoke", "a"], &["issue", "a", "--role", "user"]] {
            let refused = try_run(data.path(), arguments).expect_err("refused");
            assert!(refused.to_string().contains("watchpost certs init"), "{refused}");
        }
        assert!(!data.path().join("pki").exists());
    }

    #[test]
    fn the_columns_of_the_table_are_aligned() {
        let issued = |name: &str, role: Option<&str>| Issued {
            name: name.to_owned(),
            role: role.map(str::to_owned),
            serial: "7F".to_owned(),
            not_after: now(),
            revoked_at: None,
        };
        let table = as_table(&[issued("a-long-name", Some("r")), issued("b", None)], now());
        assert_eq!(
            table,
            "NAME         ROLE  SERIAL  EXPIRES     STATE\n\
             a-long-name  r     7F      2026-03-01  expired\n\
             b            -     7F      2026-03-01  expired\n"
        );
    }
}
