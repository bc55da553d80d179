//! Settings of TLS: certificates, versions and the reload of files.

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
    /// TLS. Changed files are reloaded automatically.
    pub struct Tls {
        /// The server's certificate chain (PEM). Without it, a certificate of the development authority in the
        /// data directory.
        pub certificate: Option<PathBuf>,
        /// The private key of the certificate (PEM).
        pub key: Option<PathBuf>,
        /// The authorities that client certificates are verified against (PEM). Without it, the development
        /// authority.
        pub client_ca: Option<PathBuf>,
        /// The certificate revocation list for client certificates (PEM). Without it, only that of the
        /// development authority is used, if its clients are accepted.
        pub crl: Option<PathBuf>,
        /// The minimum TLS version.
        pub min_version: TlsVersion = "1.2",
        /// Whether clients may present proxy certificates (RFC 3820), which a user signs for a task.
        pub proxy_certificates: bool = false,
        /// Whether clients may resume a session without a full handshake.
        pub resumption: bool = true,
        /// How often the files are checked for changes.
        pub check_interval: Duration where "10ms" ..= "1h" = "2s",
        /// Whether HTTP/2 is enabled.
        pub http2: bool = true,
        /// How long before its expiry a certificate causes a warning. For a revocation list, which is renewed
        /// more often, a tenth of that.
        pub expiry_warning: Duration where "0s" ..= "3650d" = "30d",
    }
}

impl Checked for Tls {
    fn check(&mut self, reader: &mut Reader<'_>) {
        match (&self.certificate, &self.key) {
            (Some(_), None) => reader.error(&["certificate"], "a certificate needs its private key; set tls.key too"),
            (None, Some(_)) => reader.error(&["key"], "a private key needs its certificate; set tls.certificate too"),
            _ => {}
        }
    }
}

impl Tls {
    /// Whether the development authority has to provide a certificate or the client authority.
    pub fn needs_authority(&self) -> bool {
        self.certificate.is_none() || self.client_ca.is_none()
    }

    /// Converts to the options of the listeners. Files that are not configured are those of the development
    /// authority.
    pub fn options(&self, authority: &Path) -> Options {
        let or =
            |configured: &Option<PathBuf>, default: &str| configured.clone().unwrap_or_else(|| authority.join(default));
        // Whether `client_ca` is set or not: the development authority's own revocation list applies to its
        // clients.
        let is_development_authority = or(&self.client_ca, "ca.crt") == authority.join("ca.crt");
        Options {
            files: Files {
                certificate: or(&self.certificate, "server.crt"),
                key: or(&self.key, "server.key"),
                client_ca: or(&self.client_ca, "ca.crt"),
                crl: self
                    .crl
                    .clone()
                    .or_else(|| is_development_authority.then(|| authority.join("crl.pem"))),
            },
            only_1_3: self.min_version == TlsVersion::Tls13,
            proxy_certificates: self.proxy_certificates,
            resumption: self.resumption,
            http2: self.http2,
        }
    }
}
