//! `watchpost certs`: manages the development CA on the command line. It prints the result and how to use it; the CA
//! itself is in `pki`.

mod export;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use crate::app::machine_name;
use crate::config::nearest;
use export::Destination;
use text::{as_json, as_table, day, pair, usage};
use watchpost_pki::{self as pki, Authority, DEFAULT_CLIENTS, DEFAULT_DAYS, Ensured, Issued, MAX_DAYS, PkiError};

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
