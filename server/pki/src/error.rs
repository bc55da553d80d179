//! Errors of the certificate authority, each with a remedy. Nothing is logged here.

use std::io;
use std::path::PathBuf;

use openssl::error::ErrorStack;

/// An error of the certificate authority.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}; it must belong to the user who runs Watchpost")]
    Read {
        /// The file or folder.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {path}; its folder must be on a local disk and belong to the user who runs Watchpost")]
    Write {
        /// The file or folder.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The folder cannot be locked.
    #[error("cannot lock {path}; use a folder on a local disk, where locking works")]
    Lock {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file has other content than expected.
    #[error("{path} does not contain a {what}; restore it from a backup, or move it to another folder")]
    Malformed {
        path: PathBuf,
        /// The expected content.
        what: &'static str,
        /// OpenSSL's error, if it parsed the file.
        #[source]
        source: Option<ErrorStack>,
    },
    /// One of the authority's two files is missing.
    #[error(
        "{folder} contains {present} but not {missing}; restore {missing}, or move the folder and Watchpost creates a new authority"
    )]
    Incomplete {
        /// The folder of the authority.
        folder: PathBuf,
        /// The file that exists.
        present: &'static str,
        /// The file that is missing.
        missing: &'static str,
    },
    /// The key does not match the certificate.
    #[error("{certificate} and {key} do not match; restore the one that was changed, or move both")]
    KeyMismatch { certificate: PathBuf, key: PathBuf },
    /// The certificate cannot sign others.
    #[error("{path} cannot be used as an authority: {reason}")]
    NotAnAuthority { path: PathBuf, reason: &'static str },
    /// There is no authority in the folder.
    #[error("there is no authority in {folder}; create one with `watchpost certs init`")]
    NotMade {
        /// The expected folder.
        folder: PathBuf,
    },
    /// The folder contains other files.
    #[error("{folder} contains files but neither ca.crt nor ca.key; use a folder that is empty or does not exist")]
    Occupied { folder: PathBuf },
    /// The path of the folder does not end in a name.
    #[error("{folder} cannot be the folder of an authority; use a path that ends in a name, such as data/pki")]
    Unnamed { folder: PathBuf },
    /// The authority was replaced on disk while the process runs.
    #[error("the authority in {folder} was replaced; restart Watchpost to use the new one")]
    Replaced { folder: PathBuf },
    /// Other users can read the key.
    #[error(
        "other users can read {path}; run `chmod 600 {path}`, and create a new authority if the key may have been copied"
    )]
    Exposed { path: PathBuf },
    /// The authority has expired.
    #[error("the authority in {folder} expired on {not_after}; move the folder and Watchpost creates a new one")]
    Expired {
        folder: PathBuf,
        /// The date of expiry.
        not_after: String,
    },
    /// The name is unsafe in a path or too long for a certificate.
    #[error(
        "{name:?} is not a valid {what}; use 1 to 64 of the characters a-z A-Z 0-9 . _ - and do not start with a dot"
    )]
    Name {
        /// The given name.
        name: String,
        /// `name` or `role`.
        what: &'static str,
    },
    /// The name is that of the server's own certificate.
    #[error("{name} is the name of the server's own certificate; use another name for a client")]
    ServerName {
        /// The given name.
        name: String,
    },
    /// The name is not a DNS name.
    #[error("{name:?} is not a DNS name; write a name such as localhost or edge-1.example.org")]
    DnsName {
        /// The given name.
        name: String,
    },
    /// The validity is out of range.
    #[error("{days} days is not a valid certificate lifetime; use 1 to {max}")]
    Days {
        /// The given number of days.
        days: u32,
        max: u32,
    },
    /// The name has a valid certificate.
    #[error(
        "{name} has a certificate that is valid until {not_after}, {path}; use it, or run `watchpost certs revoke {name}` first"
    )]
    InUse {
        name: String,
        /// The date of expiry.
        not_after: String,
        /// The certificate's file.
        path: PathBuf,
    },
    /// Another authority issued the certificate with this file name.
    #[error("{path} was not issued by this authority; move it and its key, or choose another name")]
    Foreign { path: PathBuf },
    /// The key of the server's certificate is missing.
    #[error("the key of {certificate} is missing; restore {key}, or move the certificate and Watchpost creates both")]
    KeyMissing {
        certificate: PathBuf,
        /// The expected file of the key.
        key: PathBuf,
    },
    /// No certificate was issued with this name or serial number.
    #[error(
        "no certificate was issued with the name or serial number {client:?}; `watchpost certs list` shows all of them"
    )]
    Unknown {
        /// The given name or serial number.
        client: String,
    },
    /// The client has a certificate with another role.
    #[error(
        "the certificate of {client} has the role {has} and is not renewed as {wanted}; issue a certificate under another name"
    )]
    OtherRole {
        /// The client's name.
        client: String,
        /// The role of the certificate.
        has: String,
        /// The requested role.
        wanted: String,
    },
    /// The certificate has a short validity, or is of another authority.
    #[error(
        "the certificate of {client} is not renewed because it was issued for a short time or by another authority; move its \
         files, or choose another name"
    )]
    NotRenewed {
        /// The client's name.
        client: String,
    },
    /// The certificate was revoked.
    #[error("the certificate of {client} was revoked and is not renewed; issue a new one with `watchpost certs issue`")]
    Revoked {
        /// The client's name.
        client: String,
    },
    /// No server accepts the certificate.
    #[error(
        "the certificate of {client} {reason}, so no server accepts it; issue a new one with `watchpost certs issue {client} --role ROLE`"
    )]
    Unusable {
        /// The client's name.
        client: String,
        /// `was revoked` or `has expired`.
        reason: &'static str,
    },
    /// The certificate is revoked already.
    #[error("{client} is revoked already; the certificate revocation list contains it")]
    RevokedAlready {
        /// The given name or serial number.
        client: String,
    },
    /// An OpenSSL operation failed.
    #[error("OpenSSL failed to {operation}; the machine may be out of memory or its OpenSSL restricted")]
    OpenSsl {
        operation: &'static str,
        /// OpenSSL's error.
        #[source]
        source: ErrorStack,
    },
    /// The file to export to cannot be created.
    #[error("cannot create {path}; name a file that does not exist, in an existing folder that you may write to")]
    Export {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The output cannot be written.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

impl PkiError {
    pub(crate) fn openssl(operation: &'static str) -> impl FnOnce(ErrorStack) -> Self {
        move |source| Self::OpenSsl { operation, source }
    }
}
