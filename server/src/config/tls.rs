//! Settings of TLS: certificates, versions and the reload of files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::declare::{Checked, section};
use super::raw_settings::Reader;
use super::tls_parameter::{Cipher, CipherSuite, Group};
use crate::string_enum::string_enum;
use crate::tls::{AcceptedProxies, DEFAULT_CIPHER_SUITES, DEFAULT_CIPHERS, DEFAULT_GROUPS, Files, Options, Parameters};

/// Two years, as Mozilla's guidelines recommend.
const HSTS_MAX_AGE: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);

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
        /// The cipher suites of TLS 1.2, by OpenSSL's names and in the order of preference.
        pub ciphers: Vec<Cipher> = json!(DEFAULT_CIPHERS),
        /// The cipher suites of TLS 1.3.
        pub cipher_suites: Vec<CipherSuite> = json!(DEFAULT_CIPHER_SUITES),
        /// The groups of the key exchange, by OpenSSL's names and in the order of preference.
        pub groups: Vec<Group> = json!(DEFAULT_GROUPS),
        /// How long browsers use only HTTPS for this host (`Strict-Transport-Security`), on all its ports. `0s`
        /// sends no such header. Without it, two years if `tls.certificate` is set, and none otherwise: the
        /// development certificate's name is `localhost`, which other programs serve without TLS.
        pub hsts_max_age: Option<Duration> where "0s" ..= "3650d",
        /// Whether clients may present proxy certificates (RFC 3820), which a user signs for a task. They must
        /// delegate all rights (`id-ppl-inheritAll`).
        pub proxy_certificates: bool = false,
        /// Whether limited proxy certificates of the Globus Toolkit are accepted too. Rules see them as the fact
        /// `proxy` with the value `limited`; the built-in role rule gives them no role.
        pub limited_proxies: bool = false,
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
        if self.limited_proxies && !self.proxy_certificates {
            let remedy = "limited proxies are proxy certificates; set tls.proxy_certificates = true too";
            reader.error(&["limited_proxies"], remedy);
        }
        let empty = [
            ("ciphers", self.ciphers.is_empty()),
            ("cipher_suites", self.cipher_suites.is_empty()),
            ("groups", self.groups.is_empty()),
        ];
        for (key, _) in empty.into_iter().filter(|(_, is_empty)| *is_empty) {
            reader.error(&[key], "the list is empty; name at least one, or remove the key");
        }
    }
}

impl Tls {
    /// Whether the development authority has to provide a certificate or the client authority.
    pub fn needs_authority(&self) -> bool {
        self.certificate.is_none() || self.client_ca.is_none()
    }

    /// How long browsers use only HTTPS for this host; `None` if they may use HTTP too.
    pub fn hsts_max_age(&self) -> Option<Duration> {
        let default = self.certificate.as_ref().map(|_| HSTS_MAX_AGE);
        self.hsts_max_age.or(default).filter(|age| !age.is_zero())
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
                development_ca: Some(authority.join("ca.crt")),
            },
            only_1_3: self.min_version == TlsVersion::Tls13,
            proxies: AcceptedProxies {
                full: self.proxy_certificates,
                limited: self.limited_proxies,
            },
            parameters: Parameters {
                ciphers: self.ciphers.iter().map(|name| name.as_str().to_owned()).collect(),
                cipher_suites: self.cipher_suites.iter().map(|name| name.as_str().to_owned()).collect(),
                groups: self.groups.iter().map(|name| name.as_str().to_owned()).collect(),
            },
            resumption: self.resumption,
            http2: self.http2,
        }
    }
}
