//! What can go wrong with the authority, each as a sentence that says what to do. Nothing is logged here.

use std::io;
use std::path::PathBuf;

use openssl::error::ErrorStack;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file or folder that should be readable.
    #[error("{path} cannot be read; it has to belong to the user who runs this")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or folder that should be writable.
    #[error(
        "{path} cannot be written; the folder around it has to be on a local disk and belong to the user who runs this"
    )]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process is in the folder, and it cannot be waited for.
    #[error("{path} cannot be locked; put it on a local disk, where two processes can keep apart")]
    Lock {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that says something else than it should.
    #[error("{path} holds no {what}; put it back from a copy, or move it away")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why OpenSSL says so, if it was asked.
        #[source]
        source: Option<ErrorStack>,
    },
    /// One of the two files of the authority.
    #[error(
        "{folder} holds {there} but no {missing}; put {missing} back, or move the folder away and a new authority is made"
    )]
    Half {
        /// The folder of the authority.
        folder: PathBuf,
        /// The file that is there.
        there: &'static str,
        /// The file that is not.
        missing: &'static str,
    },
    /// A certificate with somebody else's key.
    #[error("{certificate} and {key} do not belong together; put back the one that was changed, or move both away")]
    Apart {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// A certificate with which nothing can be signed.
    #[error("{path} cannot be used as an authority: {reason}")]
    NoAuthority {
        /// The certificate.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// There is no folder yet, where one is needed.
    #[error("there is no authority in {folder}; `watchpost certs init` makes one")]
    NotMade {
        /// Where it should be.
        folder: PathBuf,
    },
    /// A folder in which something else lives.
    #[error("{folder} holds files but neither ca.crt nor ca.key; name a folder that is empty or does not exist")]
    Occupied {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder that has no name.
    #[error("{folder} cannot be the folder of an authority; name one by its own name, such as data/pki")]
    Unnamed {
        /// What was given.
        folder: PathBuf,
    },
    /// The authority changed on disk under a process that runs.
    #[error("the authority in {folder} is not the one that was opened; start again to use the new one")]
    Replaced {
        /// The folder.
        folder: PathBuf,
    },
    /// A key that others may read.
    #[error("{path} can be read by others; `chmod 600` it, and make a new authority if others were there")]
    Exposed {
        /// The key.
        path: PathBuf,
    },
    /// The authority is too old to sign.
    #[error("the authority in {folder} ended on {not_after}; move the folder away and a new one is made")]
    Ended {
        /// The folder.
        folder: PathBuf,
        /// The day.
        not_after: String,
    },
    /// A name that could be a path, or would not fit into a certificate.
    #[error("{name:?} cannot be a {what}; use 1 to 64 of the letters a-z A-Z 0-9 . _ - and do not begin with a dot")]
    Name {
        /// What was given.
        name: String,
        /// Name or role.
        what: &'static str,
    },
    /// A name under which no server can be reached.
    #[error("{name:?} is no DNS name; write it as in localhost or edge-1.example.org")]
    DnsName {
        /// What was given.
        name: String,
    },
    /// A certificate for no time, or for too long.
    #[error("{days} days is not a lifetime for a certificate; give 1 to {most}")]
    Days {
        /// What was given.
        days: u32,
        /// The most.
        most: u32,
    },
    /// The name was issued and still holds.
    #[error("{name} has a certificate until {not_after}, {path}; use that, or `watchpost certs revoke {name}` first")]
    InUse {
        /// The name.
        name: String,
        /// Until when.
        not_after: String,
        /// Where it was written.
        path: PathBuf,
    },
    /// A certificate under a name of ours that somebody else signed.
    #[error("{path} was not issued by this authority; move it and its key away, or choose another name")]
    Foreign {
        /// The certificate.
        path: PathBuf,
    },
    /// The server's certificate without its key.
    #[error("{certificate} has no key beside it; put {key} back, or move the certificate away and both are made")]
    KeyGone {
        /// The certificate.
        certificate: PathBuf,
        /// Where its key should be.
        key: PathBuf,
    },
    /// Nothing was issued under that name or serial.
    #[error("nothing was issued as {who:?}; `watchpost certs list` shows all names and serials")]
    Unknown {
        /// What was given.
        who: String,
    },
    /// It was issued for something else.
    #[error(
        "the certificate of {who} has the role {has} and is not renewed as {wanted}; issue that under another name"
    )]
    OtherRole {
        /// Whose.
        who: String,
        /// What it is for.
        has: String,
        /// What it was to be for.
        wanted: String,
    },
    /// It was issued for a short time, or elsewhere.
    #[error(
        "the certificate of {who} is not renewed, for it was issued for a short time or by another authority; take its \
         files away, or choose another name"
    )]
    NotRenewed {
        /// Whose.
        who: String,
    },
    /// It was revoked, so nothing renews it.
    #[error("the certificate of {who} was revoked, and is not renewed; `watchpost certs issue` makes a new one")]
    Revoked {
        /// Whose.
        who: String,
    },
    /// It is revoked already.
    #[error("{who} is revoked already; the list of what is revoked says so too")]
    RevokedAlready {
        /// What was given.
        who: String,
    },
    /// OpenSSL could not do what it always can.
    #[error("OpenSSL failed to {what}; the machine may be out of memory or its OpenSSL restricted")]
    OpenSsl {
        /// What it should do.
        what: &'static str,
        /// Why it did not.
        #[source]
        source: ErrorStack,
    },
    /// What was to be said could not be said.
    #[error("the answer cannot be written")]
    Output(#[source] io::Error),
}

impl PkiError {
    pub(super) fn openssl(what: &'static str) -> impl FnOnce(ErrorStack) -> Self {
        move |source| Self::OpenSsl { what, source }
    }
}
