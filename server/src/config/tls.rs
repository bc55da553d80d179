//! The settings of encrypted connections: which files, and how they are looked after.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::declare::{Checked, section};
use super::raw_settings::Reader;
use crate::string_enum::string_enum;
use crate::tls::{Files, Options};

string_enum! {
    /// A version of TLS.
    pub enum TlsVersion {
        /// TLS 1.2.
        Tls12 = "1.2",
        /// TLS 1.3.
        Tls13 = "1.3",
    }
}

section! {
    /// Encrypted connections.
    pub struct Tls {
        /// The server's certificate with those that lead to its authority (PEM). Without it, one by the
        /// development authority in the data folder.
        pub certificate: Option<PathBuf>,
        /// The certificate's private key (PEM).
        pub key: Option<PathBuf>,
        /// The authorities whose client certificates are good (PEM). Without it, the development authority.
        pub client_ca: Option<PathBuf>,
        /// The list of client certificates that were revoked (PEM). Without it, none was, but for those of the
        /// development authority.
        pub crl: Option<PathBuf>,
        /// The oldest version that is spoken.
        pub min_version: TlsVersion = "1.2",
        /// Whether clients may show proxy certificates (RFC 3820), which a user signs for a task.
        pub proxy_certificates: bool = false,
        /// Whether clients may resume a session without the full handshake.
        pub resumption: bool = true,
        /// How often the files are looked at for a change.
        pub check_interval: Duration where "10ms" ..= "1h" = "2s",
        /// Whether HTTP/2 is spoken too. It takes headers of up to 16 MB a connection before they can be looked at; leave
        /// it off where strangers can connect.
        pub http2: bool = true,
        /// How long before its end a certificate is warned of; a list of revocations, which is made anew more often, a
        /// tenth of that.
        pub expiry_warning: Duration where "0s" ..= "3650d" = "30d",
    }
}

impl Checked for Tls {
    fn check(&mut self, reader: &mut Reader<'_>) {
        match (&self.certificate, &self.key) {
            (Some(_), None) => reader.mistake(&["certificate"], "a certificate needs its private key; set tls.key too"),
            (None, Some(_)) => reader.mistake(&["key"], "a private key needs its certificate; set tls.certificate too"),
            _ => {}
        }
    }
}

impl Tls {
    /// Whether anything is left for the development authority to provide.
    pub fn needs_authority(&self) -> bool {
        self.certificate.is_none() || self.client_ca.is_none()
    }

    /// As the listeners take them. Where nothing is named, the files serve that the development authority has in its
    /// folder.
    pub fn options(&self, authority: &Path) -> Options {
        let or = |given: &Option<PathBuf>, made: &str| given.clone().unwrap_or_else(|| authority.join(made));
        // Written out or left out, the authority's own clients are those that its own list takes back.
        let own_clients = or(&self.client_ca, "ca.crt") == authority.join("ca.crt");
        Options {
            files: Files {
                certificate: or(&self.certificate, "server.crt"),
                key: or(&self.key, "server.key"),
                client_ca: or(&self.client_ca, "ca.crt"),
                crl: self
                    .crl
                    .clone()
                    .or_else(|| own_clients.then(|| authority.join("crl.pem"))),
            },
            only_1_3: self.min_version == TlsVersion::Tls13,
            proxy_certificates: self.proxy_certificates,
            resumption: self.resumption,
            http2: self.http2,
        }
    }
}
