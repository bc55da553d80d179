//! Puts the parts together: from a configuration to a process that listens, and from there to its end. It knows
//! every part and does nothing itself.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App as Routes, HttpServer};
use tokio::sync::watch;

use crate::api::door::{Door, Known};
use crate::api::faces::chunks::ChunkStore;
use crate::api::faces::history::Past;
use crate::api::faces::status::StatusPage;
use crate::api::gate::{self, Bounds, Gate};
use crate::api::latest::Latest;
use crate::api::rate::Allowed;
use crate::api::service::{COMMIT, Listening, RUSTC, Service, VERSION};
use crate::collect::azure::Azure;
use crate::collect::chunks::Chunks;
use crate::collect::collector::Options;
use crate::collect::source::{Asked, Source};
use crate::collect::{self, host};
use crate::config::{self, Config, DatabaseUrl, Mistakes, Secret};
use crate::history::{self, History};
use crate::metrics::{Build, Own};
use crate::pki::{self, PkiError};
use crate::reload::Reloader;
use crate::rules::{Rules, RulesError, Settings};
use crate::store::{MigrationError, Place, Store};
use crate::tasks::Tasks;
use crate::tls::{self, ClientAuth, Tls, TlsError};
use crate::{api, clock, judge, telemetry};

/// When all requests are answered, connections that nobody uses have this long to be closed.
const CLOSING: Duration = Duration::from_secs(1);

/// Why it does not start. Each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Mistakes in the configuration.
    #[error("{0}")]
    Config(#[from] Mistakes),
    /// Settings of a source that is none.
    #[error("collector.sources: there is no source {name}; there are {known}")]
    NoSuchSource {
        /// Its name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The data folder.
    #[error("the data folder {} cannot be used: {source}; create it, or name another with --data-dir", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The development authority.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Certificates and keys.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// A listener.
    #[error("cannot listen on {address}: {source}; {}", remedy(source))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The database.
    #[error("{place}: {source}")]
    Store {
        /// Which, without its password.
        place: String,
        /// Why.
        source: MigrationError,
    },
    /// The log.
    #[error(transparent)]
    Log(#[from] telemetry::LogError),
    /// The server.
    #[error("the server does not start: {0}")]
    Server(io::Error),
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there, or choose another port under listeners",
        io::ErrorKind::PermissionDenied => "ports below 1024 need the capability CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; choose one it has under listeners",
        _ => "choose another address under listeners",
    }
}

/// A process that listens already, and does not answer yet.
pub struct App {
    config: Rc<Config>,
    parts: Parts,
    listeners: Vec<(TcpListener, Listening, ClientAuth)>,
}

/// What the configuration made. Handlers and tasks have clones of these.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) tls: Arc<Tls>,
    pub(crate) door: Arc<Door>,
    pub(crate) gate: Data<Gate>,
    pub(crate) rules: Rules,
    pub(crate) own: Arc<Own>,
    pub(crate) tasks: Tasks,
    pub(crate) service: Service,
    pub(crate) latest: Latest,
    pub(crate) store: Store,
    chunks: ChunkStore,
    judged: watch::Sender<Option<Arc<judge::Judged>>>,
    /// The folder of the development authority, if that is what we use.
    pub(crate) authority: Option<Arc<pki::Authority>>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was told to stop, and answered everything before.
    Drained,
    /// It was told to stop, and somebody waited too long for an answer.
    CutOff,
}

impl App {
    /// Loads everything and binds every address; so whatever can be wrong is known before anything runs.
    pub fn build(config: Config) -> Result<Self, StartError> {
        let data_dir = &config.server.data_dir;
        let own_name = machine_name();
        let host = config.server.hostname.clone().unwrap_or_else(|| own_name.clone());
        make_data_dir(data_dir).map_err(|source| StartError::DataDir {
            path: data_dir.clone(),
            source,
        })?;
        let names: Vec<_> = host::probes(&host_options(&config))
            .iter()
            .map(|probe| probe.name())
            .collect();
        let is_known = |source: &&config::SourceSettings| names.contains(&source.name.as_str());
        if let Some(unknown) = config.collector.sources.iter().find(|source| !is_known(source)) {
            return Err(StartError::NoSuchSource {
                name: unknown.name.clone(),
                known: names.join(", "),
            });
        }
        let authority = match needs_authority(&config) {
            true => Some(Arc::new(pki::prepare(&data_dir.join("pki"), &own_name, clock::now())?)),
            false => None,
        };
        let tls = Tls::load(tls_options(&config))?;
        let settings = rule_settings(&config);
        let rules = Rules::load(config.rules.limits.limits(), &settings, Some(&data_dir.join("cache")))?;
        let store = open_store(&config)?;
        let chunks = chunk_store(&config, &store)?;
        let own = Arc::new(Own::new(&Build {
            version: VERSION,
            commit: COMMIT,
            rustc: RUSTC,
        }));
        let service = Service::new(host, config.collector.interval);
        let (judged, latest) = watch::channel(None);
        let before_the_first = rules.current().before_the_first(service.host(), clock::now_ms());
        let door = Arc::new(Door::new(tls.clone(), known(&config)));
        let gate = Data::new(Gate::new(door.clone(), bounds(&config), own.clone()));
        let parts = Parts {
            latest: Latest::new(latest, before_the_first),
            tasks: Tasks::new(own.clone()),
            store,
            chunks,
            authority,
            tls,
            door,
            gate,
            rules,
            own,
            service,
            judged,
        };
        let listeners = config.listeners.iter().map(listen).collect::<Result<Vec<_>, _>>()?;
        parts
            .service
            .listens(listeners.iter().map(|(_, listening, _)| listening.clone()).collect());
        Ok(Self {
            config: Rc::new(config),
            parts,
            listeners,
        })
    }

    /// Where it listens.
    pub fn listening(&self) -> &[Listening] {
        self.parts.service.listening()
    }

    /// The configuration that it was built from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What a reload needs.
    pub fn reloader(&self, sources: config::Sources) -> Reloader {
        Reloader::new(self.parts.clone(), sources, self.config.clone())
    }

    /// Works until `stop` says so, then answers what was asked before, and ends.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<Ending, StartError> {
        let Self {
            config,
            parts,
            listeners,
        } = self;
        start_tasks(&config, &parts);
        let server = serve(&config, &parts, listeners)?;
        let handle = server.handle();
        let mut serving = actix_web::rt::spawn(server);
        let ended = tokio::select! {
            () = stop => None,
            ended = &mut serving => Some(ended),
        };
        if let Some(ended) = ended {
            let why = ended.unwrap_or_else(|broken| Err(io::Error::other(broken)));
            parts.tasks.stop();
            return Err(StartError::Server(
                why.err().unwrap_or_else(|| io::Error::other("it ended by itself")),
            ));
        }
        parts.service.drain();
        let began = std::time::Instant::now();
        log::info!("told to stop; requests under way are answered first");
        let ending = match drained(&parts.own, config.server.drain_timeout).await {
            true => Ending::Drained,
            false => Ending::CutOff,
        };
        handle.stop(true).await;
        parts.tasks.stop();
        log::info!(took_ms = began.elapsed().as_millis() as u64, ending:? = ending; "stopped");
        Ok(ending)
    }
}

/// Our own database, reached and brought up to date.
fn open_store(config: &Config) -> Result<Store, StartError> {
    let file = Place::File {
        path: config.server.data_dir.join("watchpost.db"),
        read_only: false,
    };
    let place = place_of(config.database.url.as_ref(), false, file.clone())?;
    let told = place.to_string();
    Store::open(place, clock::now_ms()).map_err(|source| StartError::Store { place: told, source })
}

/// Ours, or those that somebody else keeps.
fn chunk_store(config: &Config, ours: &Store) -> Result<ChunkStore, StartError> {
    let place = place_of(config.chunks.database_url.as_ref(), true, ours.place().clone())?;
    let read_only = config.chunks.database_url.is_some();
    let store = if read_only {
        Store::of_others(place)
    } else {
        ours.clone()
    };
    Ok(ChunkStore { store, read_only })
}

fn place_of(url: Option<&Secret<DatabaseUrl>>, read_only: bool, otherwise: Place) -> Result<Place, StartError> {
    let Some(url) = url else { return Ok(otherwise) };
    url.expose().place(read_only).map_err(|source| StartError::Store {
        place: "the configuration".to_owned(),
        source: MigrationError::Failed(source.to_string()),
    })
}

/// What the machine calls itself.
pub(crate) fn machine_name() -> String {
    sysinfo::System::host_name().unwrap_or_else(|_| "localhost".to_owned())
}

/// Whether all requests were answered in time.
async fn drained(own: &Own, timeout: Duration) -> bool {
    const LOOK_AGAIN: Duration = Duration::from_millis(20);
    let empty = async {
        while own.requests_in_flight() > 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(timeout, empty).await.is_ok()
}

fn make_data_dir(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Where nothing is named, the development authority's files serve.
pub(crate) fn tls_options(config: &Config) -> tls::Options {
    let pki = config.server.data_dir.join("pki");
    let or = |given: &Option<PathBuf>, made: &str| given.clone().unwrap_or_else(|| pki.join(made));
    // Written out or left out, the authority's own clients are those that its own list takes back.
    let own_clients = or(&config.tls.client_ca, "ca.crt") == pki.join("ca.crt");
    tls::Options {
        files: tls::Files {
            certificate: or(&config.tls.certificate, "server.crt"),
            key: or(&config.tls.key, "server.key"),
            client_ca: or(&config.tls.client_ca, "ca.crt"),
            crl: config
                .tls
                .crl
                .clone()
                .or_else(|| own_clients.then(|| pki.join("crl.pem"))),
        },
        only_1_3: config.tls.min_version == config::TlsVersion::Tls13,
        proxy_certificates: config.tls.proxy_certificates,
        resumption: config.tls.resumption,
        http2: config.tls.http2,
    }
}

/// Whether anything is left for the development authority to provide.
pub(crate) fn needs_authority(config: &Config) -> bool {
    config.tls.certificate.is_none() || config.tls.client_ca.is_none()
}

/// The settings of the built-in rules, as those read them.
pub(crate) fn rule_settings(config: &Config) -> Settings {
    let json =
        |table: &serde_json::Map<String, serde_json::Value>| serde_json::Value::Object(table.clone()).to_string();
    Settings {
        threshold: json(&config.rules.threshold),
        role: json(&config.rules.role),
    }
}

pub(crate) fn log_options(config: &Config) -> telemetry::LogOptions {
    let log = &config.log;
    telemetry::LogOptions {
        level: log.level.as_str().to_owned(),
        format: match log.format {
            config::LogFormat::Text => telemetry::LogFormat::Text,
            config::LogFormat::Json => telemetry::LogFormat::Json,
        },
        file: log.file.clone(),
        max_size: log.max_size.bytes(),
        keep: log.keep,
    }
}

pub(crate) fn known(config: &Config) -> Known {
    Known {
        trusted_proxies: config.http.trusted_proxies.clone(),
        tokens: config.tokens.clone(),
    }
}

pub(crate) fn bounds(config: &Config) -> Bounds {
    let http = &config.http;
    Bounds {
        max_body: http.max_body.bytes(),
        max_headers: http.max_headers.as_usize(),
        body_timeout: http.body_timeout,
        allowed: Allowed {
            per_second: f64::from(http.requests_per_second),
            burst: f64::from(http.burst),
        },
        compress_from: http.compress_from.bytes(),
        access_log: http.access_log,
    }
}

fn listen(listener: &config::Listener) -> Result<(TcpListener, Listening, ClientAuth), StartError> {
    let failed = |source| StartError::Listen {
        address: listener.address,
        source,
    };
    let socket = TcpListener::bind(listener.address).map_err(failed)?;
    let auth = match listener.client_auth {
        config::ClientAuth::Required => ClientAuth::Required,
        config::ClientAuth::Optional => ClientAuth::Optional,
        config::ClientAuth::Off => ClientAuth::Off,
    };
    let listening = Listening {
        address: socket.local_addr().map_err(failed)?,
        tls: listener.tls,
        client_auth: listener.client_auth.as_str(),
        face: listener.face,
    };
    Ok((socket, listening, auth))
}

fn host_options(config: &Config) -> host::HostOptions {
    let host = config.host.clone();
    host::HostOptions {
        procfs: host.procfs,
        sysfs: host.sysfs,
        rootfs: host.rootfs,
        mount_timeout: host.mount_timeout,
        exclude_mounts: host.exclude_mounts,
        exclude_types: host.exclude_types,
        exclude_disks: host.exclude_disks,
        exclude_interfaces: host.exclude_interfaces,
        measured_elsewhere: match config.mode {
            config::Mode::Local => &[],
            config::Mode::Azure => &OF_AZURE,
        },
    }
}

/// What Azure tells of its resources under the same names, and `inodes`, which belong to the disks: a rule that judges
/// the one shall not judge the other.
const OF_AZURE: [&str; 3] = ["disk", "inodes", "memory"];

fn start_tasks(config: &Config, parts: &Parts) {
    let (rounds, measured) = watch::channel(None);
    let host_options = host_options(config);
    let mut sources = Vec::new();
    if config.host.enabled {
        for (at, probe) in host::probes(&host_options).iter().enumerate() {
            let options = host_options.clone();
            let make = move || Asked::Probe(host::probes(&options).swap_remove(at));
            let own = config
                .collector
                .sources
                .iter()
                .find(|source| source.name == probe.name());
            let interval = own.and_then(|own| own.interval).unwrap_or(config.collector.interval);
            let timeout = own.and_then(|own| own.timeout).unwrap_or(config.collector.timeout);
            sources.push(Source::new(Box::new(make), interval, timeout));
        }
    }
    if config.chunks.enabled {
        let store = parts.chunks.store.clone();
        let make = move || Asked::Probe(Box::new(Chunks::new(store.clone())));
        sources.push(Source::new(
            Box::new(make),
            config.chunks.interval,
            config.chunks.timeout,
        ));
    }
    if !config.azure.resources.is_empty() {
        let settings = config.azure.settings();
        let make = move || Asked::Azure(Box::new(Azure::new(settings.clone())));
        sources.push(Source::new(Box::new(make), config.azure.interval, config.azure.timeout));
    }
    let options = Options {
        host: parts.service.host().to_owned(),
        facts: host::facts(&host_options),
        interval: config.collector.interval,
        timeout: config.collector.timeout,
        sources: Vec::new(),
    };
    collect::start(&parts.tasks, options, sources, rounds);
    let (rules, own, judged) = (parts.rules.clone(), parts.own.clone(), parts.judged.clone());
    let telling = judge::Telling {
        mode: config.mode,
        log_lines: config.resource.log_lines,
    };
    parts.tasks.spawn("judge", move || {
        judge::run(measured.clone(), rules.clone(), own.clone(), telling, judged.clone())
    });
    crate::reload::start(config, parts);
    if config.history.enabled {
        remember(config, parts);
    }
    let open = |listener: &&config::Listener| !listener.tls && !listener.address.ip().is_loopback();
    if let Some(listener) = config.listeners.iter().find(open).filter(|_| !config.tokens.is_empty()) {
        log::warn!(address:% = listener.address; "tokens are taken on a listener without TLS, where others can read them");
    }
    let shown = |listener: &&config::Listener| open(listener) && listener.face == config::Face::Resource;
    for listener in config.listeners.iter().filter(shown) {
        log::warn!(address:% = listener.address; "the face resource is shown without TLS to other machines; /metrics is answered to those whom the role rule allows metrics.read, and others can read along");
    }
}

fn remember(config: &Config, parts: &Parts) {
    let options = history::Options {
        keep: config.history.keep,
        most_bytes: config.history.max_size.bytes(),
        window: config.history.window,
    };
    let history = History::new(parts.store.clone(), parts.service.host(), options, parts.own.clone());
    let (keeping, judged) = (history.clone(), parts.judged.clone());
    parts
        .tasks
        .spawn("history", move || keeping.clone().keep(judged.subscribe()));
    parts.tasks.spawn("history keeper", move || history.clone().tidy());
}

fn serve(
    config: &Config,
    parts: &Parts,
    listeners: Vec<(TcpListener, Listening, ClientAuth)>,
) -> Result<Server, StartError> {
    let refusals = api::refusals();
    let (shared, connecting) = (parts.clone(), parts.clone());
    let (latest, rules) = (Data::new(parts.latest.clone()), Data::new(parts.rules.clone()));
    let status = Data::new(StatusPage::new(
        parts.service.clone(),
        parts.latest.clone(),
        parts.rules.clone(),
        parts.tls.clone(),
        parts.tasks.clone(),
        [parts.store.place().clone(), parts.chunks.store.place().clone()],
    ));
    let chunks = Data::new(parts.chunks.clone());
    let past = Data::new(Past {
        store: parts.store.clone(),
        max_points: config.history.max_points,
        max_series: config.history.max_series,
    });
    let (own, service) = (Data::from(parts.own.clone()), Data::new(parts.service.clone()));
    let mut server = HttpServer::new(move || {
        Routes::new()
            .configure(refusals.clone())
            .app_data(shared.gate.clone())
            .app_data(latest.clone())
            .app_data(rules.clone())
            .app_data(own.clone())
            .app_data(service.clone())
            .app_data(status.clone())
            .app_data(chunks.clone())
            .app_data(past.clone())
            .wrap(from_fn(gate::pass))
            .configure(api::routes)
    })
    .disable_signals()
    .on_connect(move |connection, data| {
        let Parts { door, service, own, .. } = &connecting;
        door.connected(connection, data, service, own);
    })
    // Small answers follow tickets and each other; waiting for an acknowledgement costs 40 ms.
    .tcp_nodelay(true)
    .keep_alive(config.http.keep_alive)
    .client_request_timeout(config.http.header_timeout)
    .tls_handshake_timeout(config.http.header_timeout)
    .max_connections(config.http.max_connections)
    .shutdown_timeout(CLOSING.as_secs());
    if let Some(workers) = config.server.workers {
        server = server.workers(workers);
    }
    for (socket, listening, auth) in listeners {
        server = match listening.tls {
            true => server.listen_openssl(socket, parts.tls.acceptor(auth)?),
            false => server.listen(socket),
        }
        .map_err(|source| StartError::Listen {
            address: listening.address,
            source,
        })?;
    }
    Ok(server.run())
}
