//! TLS on OpenSSL: the server certificate, the trusted clients, and how both are replaced while connections live.
//! Everything (certificate, key, authorities, revocation lists) is loaded and replaced together, or not at all.

pub mod client;
mod der;
pub mod handshake;
pub mod identity;
mod material;
mod rejection;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{
    AlpnError, ClientHelloResponse, SslAcceptorBuilder, SslContext, SslMethod, SslOptions, SslRef, SslSessionCacheMode,
    SslVerifyMode, SslVersion, select_next_proto,
};
use openssl::stack::Stack;
use openssl::x509::store::X509Store;
use openssl::x509::{X509, X509Ref, X509StoreContext, X509VerifyResult};
use parking_lot::Mutex;

pub use material::{Expiry, Material, TlsError};
pub use openssl::ssl::SslAcceptor;
pub use rejection::RejectReason;

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
}

/// The TLS options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The paths of the files.
    pub files: Files,
    /// Whether TLS 1.2 is refused.
    pub only_1_3: bool,
    /// Whether RFC 3820 proxy certificates are accepted for their owners.
    pub proxy_certificates: bool,
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
    trusted: X509Store,
}

/// The slot in which a context stores its generation. Without a slot, connections are verified once more.
static GENERATION: LazyLock<Option<Index<SslContext, u64>>> = LazyLock::new(|| SslContext::new_ex_index().ok());

/// The generation under which a connection's handshake was made; zero, which no generation has, if it is not known.
pub(crate) fn generation_of(ssl: &SslRef) -> u64 {
    let generation = GENERATION.and_then(|index| ssl.ssl_context().ex_data(index).copied());
    generation.unwrap_or(0)
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
        let loaded = Loaded::new(1, Material::load(&options.files)?, &options)?;
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
        self.current
            .store(Arc::new(Loaded::new(generation, material, &self.options)?));
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

    /// Whether a trusted client authority has this name, in the form of RFC 4514.
    pub fn trusts(&self, name: &str) -> bool {
        let current = self.current.load();
        let mut names = current.material.authorities().filter_map(Result::ok);
        names.any(|known| known.rfc4514() == name)
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

    /// Verifies a client certificate with the current files. `chain` is the rest of the chain that the client sent.
    pub fn check(&self, certificate: &X509Ref, chain: &[X509]) -> Result<(), ClientRefused> {
        let current = self.current.load();
        let mut untrusted = Stack::new()?;
        for link in chain {
            untrusted.push(link.clone())?;
        }
        let mut context = X509StoreContext::new()?;
        let result = context.init(&current.trusted, certificate, &untrusted, |context| {
            context.verify_cert()?;
            Ok(context.error())
        })?;
        if result == X509VerifyResult::OK {
            return Ok(());
        }
        Err(ClientRefused::Verdict(result.error_string()))
    }
}

/// Why a client certificate is refused.
#[derive(Debug, thiserror::Error)]
pub enum ClientRefused {
    /// Verification failed.
    #[error("the certificate is not accepted: {0}")]
    Verdict(&'static str),
    /// OpenSSL failed.
    #[error("the certificate could not be checked")]
    Failed(#[from] ErrorStack),
}

impl Loaded {
    fn new(generation: u64, material: Material, options: &Options) -> Result<Self, TlsError> {
        let context = |auth| -> Result<SslContext, TlsError> {
            let mut builder = builder(&material, auth, options)?;
            // A session that was made under other authorities or revocation lists must not be resumed.
            builder.set_session_id_context(&material.trust()[..16])?;
            if let Some(index) = *GENERATION {
                builder.set_ex_data(index, generation);
            }
            Ok(builder.build().into_context())
        };
        let [required, optional, off] = ClientAuth::ALL;
        Ok(Self {
            contexts: [context(required)?, context(optional)?, context(off)?],
            trusted: material.trusted(options.proxy_certificates)?,
            material,
        })
    }
}

/// Mozilla's intermediate configuration with the server certificate and the client authentication.
fn builder(material: &Material, auth: ClientAuth, options: &Options) -> Result<SslAcceptorBuilder, TlsError> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    let lowest = if options.only_1_3 {
        SslVersion::TLS1_3
    } else {
        SslVersion::TLS1_2
    };
    builder.set_min_proto_version(Some(lowest))?;
    material.present(&mut builder)?;
    let protocols: &[u8] = if options.http2 {
        b"\x02h2\x08http/1.1"
    } else {
        b"\x08http/1.1"
    };
    builder.set_alpn_select_callback(move |_, offered| select_next_proto(protocols, offered).ok_or(AlpnError::NOACK));
    builder.set_verify_callback(auth.verify_mode(), handshake::remember_failed);
    if auth != ClientAuth::Off {
        builder.set_cert_store(material.trusted(options.proxy_certificates)?);
        builder.set_client_ca_list(material.authority_names()?);
    }
    // The owner of a proxy certificate is in the chain, and a resumed session has no chain.
    if options.resumption && !options.proxy_certificates {
        builder.set_session_cache_mode(SslSessionCacheMode::SERVER);
        // For each ticket that it writes, OpenSSL parses the client certificate again, which is a tenth of a handshake;
        // a client that resumes gets a new ticket.
        builder.set_num_tickets(1)?;
    } else {
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        builder.set_options(SslOptions::NO_TICKET);
        builder.set_num_tickets(0)?;
    }
    Ok(builder)
}
