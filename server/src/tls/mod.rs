//! TLS on OpenSSL: who we are, whom we trust, and how both are replaced while connections live. Everything that
//! belongs together (certificate, key, authorities, revocations) is loaded and swapped together, or not at all.

pub mod client;
mod der;
pub mod identity;
mod material;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{
    AlpnError, ClientHelloResponse, SslAcceptor, SslAcceptorBuilder, SslContext, SslMethod, SslOptions, SslRef,
    SslSessionCacheMode, SslVerifyMode, SslVersion, select_next_proto,
};
use openssl::stack::Stack;
use openssl::x509::store::X509Store;
use openssl::x509::{X509, X509Ref, X509StoreContext, X509VerifyResult};
use parking_lot::Mutex;

pub use material::{Expiry, Material, TlsError};

use crate::string_enum::string_enum;

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Our certificate, and the chain to its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities of clients.
    pub client_ca: PathBuf,
    /// What they revoked.
    pub crl: Option<PathBuf>,
}

/// How TLS is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the files are.
    pub files: Files,
    /// Whether 1.2 is refused.
    pub only_1_3: bool,
    /// Whether RFC 3820 proxy certificates stand for their owners.
    pub proxy_certificates: bool,
    /// Whether a client may come back without a whole handshake.
    pub resumption: bool,
    /// Whether HTTP/2 is spoken with those who ask for it.
    pub http2: bool,
}

string_enum! {
    /// Whether clients show a certificate.
    pub enum ClientAuth {
        /// Without one there is no connection.
        Required = "required",
        /// One that is shown has to be good; without one, clients say in another way who they are.
        Optional = "optional",
        /// None is asked for.
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

/// What is in force, and how to replace it. One for a process.
pub struct Tls {
    options: Options,
    current: ArcSwap<Loaded>,
    /// Counts whom we trusted, so that a connection can tell whether it was checked under what holds now.
    generation: AtomicU64,
    /// One reload at a time, or two might count to the same number.
    reloading: Mutex<()>,
}

struct Loaded {
    material: Material,
    contexts: [SslContext; ClientAuth::ALL.len()],
    trusted: X509Store,
}

/// Where a context keeps the generation that it belongs to. Without room for it, connections are checked once more.
static GENERATION: LazyLock<Option<Index<SslContext, u64>>> = LazyLock::new(|| SslContext::new_ex_index().ok());

/// The generation under which a connection's handshake was made; zero, which is none, if that is not known.
pub(crate) fn generation_of(ssl: &SslRef) -> u64 {
    let generation = GENERATION.and_then(|index| ssl.ssl_context().ex_data(index).copied());
    generation.unwrap_or(0)
}

/// What came of looking at the files again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// They are what they were.
    Unchanged,
    /// They changed, and new connections get the new ones.
    Replaced,
}

impl Tls {
    /// Loads everything.
    pub fn load(options: Options) -> Result<Arc<Self>, TlsError> {
        let loaded = Loaded::new(1, Material::load(&options.files)?, &options)?;
        Ok(Arc::new(Self {
            options,
            current: ArcSwap::from_pointee(loaded),
            generation: AtomicU64::new(1),
            reloading: Mutex::new(()),
        }))
    }

    /// Loads everything again, and puts it in force if all of it is well.
    pub fn reload(&self) -> Result<Reload, TlsError> {
        let _one = self.reloading.lock();
        let material = Material::load(&self.options.files)?;
        let current = self.current.load();
        if material.digest() == current.material.digest() {
            return Ok(Reload::Unchanged);
        }
        // A certificate of our own says nothing about clients, and nobody has to be checked again for it.
        let other_trust = material.trust() != current.material.trust();
        let generation = self.generation() + u64::from(other_trust);
        self.current
            .store(Arc::new(Loaded::new(generation, material, &self.options)?));
        self.generation.store(generation, Ordering::Release);
        Ok(Reload::Replaced)
    }

    /// Counts up whenever other clients are trusted than before.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The files that are in force.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// When what is in force ends.
    pub fn expiry(&self) -> Expiry {
        self.current.load().material.expiry()
    }

    /// Whether one of the authorities whose clients are let in has this name, as RFC 4514 writes it.
    pub fn trusts(&self, name: &str) -> bool {
        let current = self.current.load();
        let mut names = current.material.authorities().filter_map(Result::ok);
        names.any(|known| known.rfc4514() == name)
    }

    /// What a listener accepts connections with. Each handshake takes what is in force at that moment.
    pub fn acceptor(self: &Arc<Self>, auth: ClientAuth) -> Result<SslAcceptorBuilder, TlsError> {
        let mut builder = builder(&self.current.load().material, auth, &self.options)?;
        let tls = self.clone();
        // Before anything of the session is decided, so that a session of an earlier generation is not resumed.
        builder.set_client_hello_callback(move |ssl, _| {
            let current = tls.current.load();
            ssl.set_ssl_context(&current.contexts[auth as usize])?;
            Ok(ClientHelloResponse::SUCCESS)
        });
        Ok(builder)
    }

    /// Whether what holds now would let this client in. `chain` is what it sent beside its certificate.
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

/// Why a client is not let in.
#[derive(Debug, thiserror::Error)]
pub enum ClientRefused {
    /// OpenSSL's verdict.
    #[error("the certificate is not accepted: {0}")]
    Verdict(&'static str),
    /// OpenSSL could not say.
    #[error("the certificate could not be checked")]
    Failed(#[from] ErrorStack),
}

impl Loaded {
    fn new(generation: u64, material: Material, options: &Options) -> Result<Self, TlsError> {
        let context = |auth| -> Result<SslContext, TlsError> {
            let mut builder = builder(&material, auth, options)?;
            // A session made under other authorities or revocations is worth nothing under these.
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

/// Mozilla's intermediate configuration, our certificate, and what we ask of clients.
fn builder(material: &Material, auth: ClientAuth, options: &Options) -> Result<SslAcceptorBuilder, TlsError> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    let lowest = if options.only_1_3 {
        SslVersion::TLS1_3
    } else {
        SslVersion::TLS1_2
    };
    builder.set_min_proto_version(Some(lowest))?;
    material.present(&mut builder)?;
    let spoken: &[u8] = if options.http2 {
        b"\x02h2\x08http/1.1"
    } else {
        b"\x08http/1.1"
    };
    builder.set_alpn_select_callback(move |_, offered| select_next_proto(spoken, offered).ok_or(AlpnError::NOACK));
    builder.set_verify(auth.verify_mode());
    if auth != ClientAuth::Off {
        builder.set_cert_store(material.trusted(options.proxy_certificates)?);
        builder.set_client_ca_list(material.authority_names()?);
    }
    // The owner of a proxy certificate stands in the chain, and a resumed session has none.
    if options.resumption && !options.proxy_certificates {
        builder.set_session_cache_mode(SslSessionCacheMode::SERVER);
        // OpenSSL reads the client's certificate once more for each ticket that it writes, which is a tenth of a
        // handshake; who resumes gets a fresh one.
        builder.set_num_tickets(1)?;
    } else {
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        builder.set_options(SslOptions::NO_TICKET);
        builder.set_num_tickets(0)?;
    }
    Ok(builder)
}
