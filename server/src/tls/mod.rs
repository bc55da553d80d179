//! TLS on OpenSSL: the server certificate, the trusted clients, and how both are replaced while connections live.
//! Everything (certificate, key, authorities, revocation lists) is loaded and replaced together, or not at all.

pub mod client;
mod der;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod handshake;
pub mod identity;
mod inspect;
mod material;
mod parameters;
mod proxy;
mod rejection;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use openssl::ssl::{
    AlpnError, ClientHelloResponse, SslAcceptorBuilder, SslContext, SslMethod, SslOptions, SslSessionCacheMode,
    SslVerifyMode, SslVersion, select_next_proto,
};
use openssl::x509::{X509, X509Ref};
use parking_lot::Mutex;

pub use inspect::{FileProblem, ValidityError, inspect};
pub use material::{Expiry, Material, TlsError};
pub use openssl::ssl::SslAcceptor;
pub use parameters::{
    DEFAULT_CIPHER_SUITES, DEFAULT_CIPHERS, DEFAULT_GROUPS, Parameter, Parameters, is_known as is_known_parameter,
};
pub use rejection::RejectReason;
pub use verify::{AcceptedProxies, ClientRefused};

use verify::{Period, Verified, Verifier};

use crate::string_enum::string_enum;

/// The paths of the TLS files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The server certificate and its chain.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The trusted client authorities.
    pub client_ca: PathBuf,
    /// Their revocation lists.
    pub crl: Option<PathBuf>,
    /// The certificate of this server's own development authority. The file may be missing.
    pub development_ca: Option<PathBuf>,
}

/// The TLS options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The paths of the files.
    pub files: Files,
    /// Whether TLS 1.2 is refused.
    pub only_1_3: bool,
    /// Which RFC 3820 proxy certificates are accepted for their owners.
    pub proxies: AcceptedProxies,
    /// The cipher suites and groups.
    pub parameters: Parameters,
    /// Whether sessions can be resumed without a full handshake.
    pub resumption: bool,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
}

string_enum! {
    /// Whether clients must present a certificate.
    pub enum ClientAuth {
        /// Connections without a certificate are refused.
        Required = "required",
        /// A presented certificate must be valid; without one, clients authenticate in another way.
        Optional = "optional",
        /// No certificate is requested.
        Off = "off",
    }
}

impl ClientAuth {
    const ALL: [Self; 3] = [Self::Required, Self::Optional, Self::Off];

    fn verify_mode(self) -> SslVerifyMode {
        match self {
            Self::Required => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
            Self::Optional => SslVerifyMode::PEER,
            Self::Off => SslVerifyMode::NONE,
        }
    }
}

/// The TLS state of the process: the current files and how to reload them.
pub struct Tls {
    options: Options,
    current: ArcSwap<Loaded>,
    /// Increases when the trusted clients change, so that a connection can detect that its certificate must be verified
    /// again.
    generation: AtomicU64,
    /// Serializes reloads, so that two of them do not get the same generation.
    reloading: Mutex<()>,
}

struct Loaded {
    material: Material,
    contexts: [SslContext; ClientAuth::ALL.len()],
    verifier: Verifier,
}

/// The result of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The files have not changed.
    Unchanged,
    /// The files changed, and new connections use them.
    Replaced,
}

impl Tls {
    /// Loads all files.
    pub fn load(options: Options) -> Result<Arc<Self>, TlsError> {
        let loaded = Loaded::new(Material::load(&options.files)?, &options)?;
        Ok(Arc::new(Self {
            options,
            current: ArcSwap::from_pointee(loaded),
            generation: AtomicU64::new(1),
            reloading: Mutex::new(()),
        }))
    }

    /// Loads all files again, and uses them if all are valid.
    pub fn reload(&self) -> Result<Reload, TlsError> {
        let _guard = self.reloading.lock();
        let material = Material::load(&self.options.files)?;
        let current = self.current.load();
        if material.digest() == current.material.digest() {
            return Ok(Reload::Unchanged);
        }
        // The server certificate does not affect the trust in clients, so existing connections stay verified.
        let trust_changed = material.trust() != current.material.trust();
        let generation = self.generation() + u64::from(trust_changed);
        self.current.store(Arc::new(Loaded::new(material, &self.options)?));
        self.generation.store(generation, Ordering::Release);
        Ok(Reload::Replaced)
    }

    /// The generation of trust, which increases when the trusted clients change.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The TLS options.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The expiry times of the current files.
    pub fn expiry(&self) -> Expiry {
        self.current.load().material.expiry()
    }

    /// Whether clients of the server's own development authority are accepted.
    pub fn trusts_development_ca(&self) -> bool {
        self.current.load().material.trusts_development_ca()
    }

    /// The acceptor of a listener. Each handshake uses the files that are current at that moment.
    pub fn acceptor(self: &Arc<Self>, auth: ClientAuth) -> Result<SslAcceptorBuilder, TlsError> {
        let mut builder = builder(&self.current.load().material, auth, &self.options)?;
        let tls = self.clone();
        // This runs before the session is looked up, so that no session of an earlier generation is resumed.
        builder.set_client_hello_callback(move |ssl, _| {
            let current = tls.current.load();
            ssl.set_ssl_context(&current.contexts[auth as usize])?;
            Ok(ClientHelloResponse::SUCCESS)
        });
        Ok(builder)
    }

    /// Verifies a client certificate with the current files at the current time, and returns the period around `now` in
    /// which the result holds. `chain` is the rest of the chain that the client sent, and `boundaries` are the times at
    /// which the validity of any of these certificates begins or ends.
    fn verify(
        &self,
        certificate: &X509Ref,
        chain: &[X509],
        now: i64,
        boundaries: &[i64],
    ) -> (Result<Verified, ClientRefused>, Period) {
        let current = self.current.load();
        let period = current.verifier.period(now, boundaries);
        (current.verifier.verify(certificate, chain), period)
    }
}

impl Loaded {
    fn new(material: Material, options: &Options) -> Result<Self, TlsError> {
        let context = |auth| -> Result<SslContext, TlsError> {
            let mut builder = builder(&material, auth, options)?;
            // A session that was made under other authorities or revocation lists must not be resumed.
            builder.set_session_id_context(&material.trust()[..16])?;
            Ok(builder.build().into_context())
        };
        let [required, optional, off] = ClientAuth::ALL;
        Ok(Self {
            contexts: [context(required)?, context(optional)?, context(off)?],
            verifier: Verifier::new(&material, options.proxies)?,
            material,
        })
    }
}

/// The number of sessions that a listener remembers for resumption; the oldest are forgotten first. One takes some
/// kilobytes, because it has the client's certificates.
const MAX_SESSIONS: i32 = 4096;

/// The configuration with the server certificate and the client authentication.
fn builder(material: &Material, auth: ClientAuth, options: &Options) -> Result<SslAcceptorBuilder, TlsError> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    let lowest = if options.only_1_3 {
        SslVersion::TLS1_3
    } else {
        SslVersion::TLS1_2
    };
    builder.set_min_proto_version(Some(lowest))?;
    options.parameters.apply(&mut builder)?;
    material.present(&mut builder)?;
    let protocols: &[u8] = if options.http2 {
        b"\x02h2\x08http/1.1"
    } else {
        b"\x08http/1.1"
    };
    builder.set_alpn_select_callback(move |_, offered| select_next_proto(protocols, offered).ok_or(AlpnError::NOACK));
    builder.set_verify_callback(auth.verify_mode(), handshake::remember_failed);
    if auth != ClientAuth::Off {
        builder.set_cert_store(material.trusted(options.proxies.full)?);
        builder.set_client_ca_list(material.authority_names()?);
    }
    // Sessions stay in the server's memory, and the client gets only a random number. So there is no ticket key that
    // would have to be rotated, and whose theft would reveal recorded connections; and the client's chain is still known
    // when the session is resumed. OpenSSL discards a session after two hours.
    builder.set_options(SslOptions::NO_TICKET);
    if options.resumption && !options.proxies.full {
        builder.set_session_cache_mode(SslSessionCacheMode::SERVER);
        builder.set_session_cache_size(MAX_SESSIONS);
        // A client that resumes gets a new number.
        builder.set_num_tickets(1)?;
    } else {
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        builder.set_num_tickets(0)?;
    }
    Ok(builder)
}
