//! The development authority issues and revokes the certificates of the server and of its clients, for development and
//! for small private installations, and a kill in the middle of anything leaves a folder that is whole. It is one folder
//! on one machine; it serves nothing, has no clock, and the server needs none of it where certificates come from
//! elsewhere.
//!
//! In the folder stand `ca.crt`, `ca.key`, `server.crt`, `server.key`, `clients/NAME.crt`, `clients/NAME.key`,
//! `crl.pem`, and in `issued/` what was issued and revoked. Each `.crt` holds one certificate, without the authority's.

mod authority;
mod certificate;
mod crl;
mod ensure;
mod error;
mod files;
mod issue;
mod names;
mod pair;
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
pub use record::Issued;

/// What the folder is called within the folder of all data.
pub const FOLDER: &str = "pki";

/// The clients that are made for a start, each with the role of its name.
pub const DEFAULT_CLIENTS: [&str; 4] = ["admin", "user", "reader", "agent"];

/// All that a server without any settings needs: the authority, a certificate for this host, one client for each
/// role, and a list of what is revoked. What is there already is used.
///
/// A host may have a name that no certificate can carry; the server is reached as `localhost` then.
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
