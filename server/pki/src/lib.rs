//! The development certificate authority: it issues and revokes the certificates of the server and its clients, for
//! development and small private installations. It is one folder on one machine, and an interruption at any point
//! leaves it consistent. It serves nothing and has no clock, and a server with certificates from elsewhere does not
//! need it.
//!
//! A new authority is filled in a staging folder and then renamed, so that no process ever uses half of one; records of
//! all issued and revoked certificates exist because a certificate can be revoked after its files were deleted.
//!
//! The folder contains `ca.crt`, `ca.key`, `server.crt`, `server.key`, `clients/NAME.crt`, `clients/NAME.key`,
//! `crl.pem`, and the records of issued and revoked certificates in `issued/`. Each `.crt` contains one certificate,
//! without the authority's.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "unit tests spawn and wait as they need to")
)]

mod authority;
mod certificate;
mod crl;
mod ensure;
mod error;
mod files;
mod issue;
mod names;
mod pair;
mod pkcs12;
mod record;
mod staging;
#[cfg(test)]
mod tests;

use std::path::Path;

use jiff::Timestamp;

pub use authority::Authority;
pub use certificate::{AUTHORITY, DEFAULT_DAYS, MAX_DAYS};
pub use ensure::Ensured;
pub use error::PkiError;
pub use pair::Files;
pub use pkcs12::{Encryption, Exported};
pub use record::Issued;

/// The name of the folder within the data folder.
pub const FOLDER: &str = "pki";

/// The clients that are created at startup; the role of each has the same name.
pub const DEFAULT_CLIENTS: [&str; 4] = ["admin", "user", "reader", "agent"];

/// Creates everything that a server without configured certificates needs: the authority, a certificate for this host,
/// one client for each role, and a revocation list. Existing files are used.
///
/// If the host's name is not valid in a certificate, the server can only be reached as `localhost`.
pub fn prepare(folder: &Path, hostname: &str, now: Timestamp) -> Result<Authority, PkiError> {
    let authority = Authority::open_or_create(folder, now)?;
    let hostname = names::DnsName::parse(hostname).is_ok().then(|| hostname.to_owned());
    authority.ensure_server(hostname.as_slice(), now)?;
    for name in DEFAULT_CLIENTS {
        authority.ensure_client(name, name, now)?;
    }
    authority.refresh_crl(now)?;
    Ok(authority)
}
