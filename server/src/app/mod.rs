//! Composition root: builds the server from a configuration, runs it and shuts it down. It connects all components and
//! has no logic of its own.

mod activity;
mod admission;
mod connections;
mod data_dir;
mod error;
mod http2;
mod preflight;
mod problem;
mod reload;
mod restore_access;
mod rules;
mod serve;
mod settings;
mod sources;
mod stores;
mod stream;
mod systemd_status;
mod warnings;
mod work;

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use serde_json::json;

pub use self::error::StartError;
pub use self::preflight::check;
pub use self::problem::{Problem, ProblemSeverity};
pub use self::reload::Reloader;
pub use self::restore_access::{RestoredAccess, restore_access};
pub use self::warnings::unknown_metrics;

use self::data_dir::DataDirLock;
use self::rules::RuleParts;
use self::serve::{Socket, serve};
use self::settings::{auth_config, bounds};
use crate::api::access::AccessWarnings;
use crate::api::authn::Authenticator;
use crate::api::gate::Gate;
use crate::api::latest::Latest;
use crate::api::process::{COMMIT, Listening, RUSTC, Service, VERSION};
use crate::api::routes::chunks::ChunkStore;
use crate::api::table::GateRoutes;
use crate::audit::{AuditEvent, AuditFile};
use crate::clock_drift::TrustedClock;
use crate::collect::{self, CollectorHandle, Mailbox};
use crate::config::{self, Config};
use crate::decisions::Decisions;
use crate::history::History;
use crate::host_id::HostId;
use crate::judge::Evaluations;
use crate::judge::metrics_page::MetricsPages;
use crate::metrics::{Build, ServiceMetrics};
use crate::pixcrawler::{self, PixCrawlerRenderings};
use crate::rules::Rules;
use crate::rules::registry::AcceptedFile;
use crate::rules::sandbox::probe::SandboxProbe;
use crate::store::Store;
use crate::systemd::{self, Systemd};
use crate::tasks::Tasks;
use crate::tls::Tls;
use crate::{api, clock};
use watchpost_pki as pki;

/// The record of accepted rules in the data directory.
const ACCEPTED_RULES: &str = "accepted-rules.json";

/// Time to write buffered data at the end: a service manager waits ten seconds or more before it kills the process, and
/// draining requests took a part of that.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Time for the shutdown besides draining: closing idle connections, writing buffered data, cancelling the rest.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(10);

/// A server that is bound to its addresses, and does not accept requests yet.
pub struct App {
    config: Rc<Config>,
    parts: Parts,
    mailbox: Mailbox,
    listeners: Vec<Socket>,
    lock: DataDirLock,
}

/// Everything built from the configuration. Handlers and tasks have clones of these.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) tls: Arc<Tls>,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) access: Data<AccessWarnings>,
    pub(crate) gate: Data<Gate>,
    pub(crate) rules: Rules,
    pub(crate) rule_parts: RuleParts,
    pub(crate) service_metrics: Arc<ServiceMetrics>,
    pub(crate) tasks: Tasks,
    pub(crate) service: Service,
    pub(crate) latest: Latest,
    pub(crate) store: Store,
    pub(crate) systemd: Systemd,
    /// Adds and removes sources at run time.
    pub(crate) collector: CollectorHandle,
    decisions: Decisions,
    audit: Option<AuditFile>,
    trusted_clock: TrustedClock,
    chunks: ChunkStore,
    evaluations: Evaluations,
    metrics_pages: Data<MetricsPages>,
    pixcrawler_renderings: PixCrawlerRenderings,
    /// The folder of the development CA, if it is used.
    pub(crate) authority: Option<Arc<pki::Authority>>,
    sandbox: SandboxProbe,
}

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server was stopped, and all requests were answered.
    Drained,
    /// The server was stopped, and some requests were not answered in time.
    CutOff,
}

impl App {
    /// Loads everything and binds every address, so all startup errors are reported before anything runs.
    pub async fn build(config: Config, systemd: Systemd) -> Result<Self, StartError> {
        let data_dir = &config.server.data_dir;
        let host_name = machine_name();
        let host = config.server.hostname.clone().unwrap_or_else(|| host_id(&host_name));
        data_dir::prepare(data_dir)?;
        let lock = data_dir::lock(data_dir).await?;
        let (listeners, problems) = preflight::inspect(&config, None);
        // The tasks that use the files log warnings about them.
        let errors: Vec<_> = problems.into_iter().filter(|problem| problem.error.is_some()).collect();
        if !errors.is_empty() {
            return Err(StartError::Refused(errors));
        }
        let (authority, tls) = load_tls(&config, &host_name)?;
        let service_metrics = Arc::new(ServiceMetrics::new(&Build {
            version: VERSION,
            commit: COMMIT,
            rustc: RUSTC,
        }));
        systemd.begins("loads the built-in rules", systemd::EXTEND_TIMEOUT);
        let cache = data_dir.join("cache");
        let rules = Rules::load(config.rules.limits.limits(), &config.rules.settings(), Some(&cache))
            .map_err(|error| StartError::Refused(preflight::rule_problems(&config, error)))?;
        if let Some(cache) = rules.cache() {
            cache.limit(config.rules.max_cache_size.bytes());
        }
        systemd.begins("opens the database", systemd::EXTEND_TIMEOUT);
        let store = stores::open(&config)?;
        let chunks = stores::chunks(&config, &store)?;
        let service = Service::new(host, config.collector.interval);
        let evaluations = Evaluations::new();
        let tasks = Tasks::new(service_metrics.clone());
        systemd.begins("activates the rules", systemd::EXTEND_TIMEOUT);
        let rule_parts = RuleParts::begin(
            rules.clone(),
            store.clone(),
            rules.compiler(config.rules.compiler.options()),
            config.rules.options(),
            AcceptedFile(Some(data_dir.join(ACCEPTED_RULES))),
            &tasks,
            &service_metrics,
        )
        .await?;
        let host_name = service.host().as_str();
        let before_the_first = rules.current().set.before_the_first(host_name, clock::now_ms());
        let recorded = config.decisions.options();
        let clock_file = data_dir.join("clock");
        let trusted_clock = TrustedClock::load(Some(clock_file), clock::now_ms(), std::time::Instant::now());
        let audit = open_audit(&config, host_name)?;
        let decisions = Decisions::new(
            store.clone(),
            host_name,
            recorded,
            service_metrics.clone(),
            audit.clone(),
            trusted_clock.clone(),
        );
        let authenticator = Arc::new(Authenticator::new(tls.clone(), auth_config(&config)));
        let access = AccessWarnings::new(config.clone(), rules.clone(), tls.clone());
        let routes = GateRoutes::of(&api::table());
        let gate = Data::new(Gate::new(
            authenticator.clone(),
            bounds(&config),
            routes,
            service_metrics.clone(),
        ));
        let (collector, mailbox) = collect::mailbox(config.collector.refresh_max_age());
        let parts = Parts {
            latest: Latest::new(
                evaluations.clone(),
                service.host().clone(),
                before_the_first,
                service.stale_after(),
            ),
            metrics_pages: Data::new(MetricsPages::new(collector.clone())),
            collector,
            pixcrawler_renderings: pixcrawler::renderings(&evaluations, config.mode),
            tasks,
            store,
            systemd,
            decisions,
            audit,
            trusted_clock,
            chunks,
            authority,
            tls,
            authenticator,
            access: Data::new(access),
            gate,
            rules,
            rule_parts,
            service_metrics,
            service,
            evaluations,
            sandbox: SandboxProbe::default(),
        };
        parts
            .service
            .listens(listeners.iter().map(|(_, listening, _)| listening.clone()).collect());
        Ok(Self {
            config: Rc::new(config),
            parts,
            mailbox,
            listeners,
            lock,
        })
    }

    /// The addresses that the server listens on.
    pub fn listening(&self) -> &[Listening] {
        self.parts.service.listening()
    }

    /// The handle that adds and removes sources while the server runs. Requests wait until [`run_until`](Self::run_until)
    /// starts the collector.
    pub fn collector(&self) -> &CollectorHandle {
        &self.parts.collector
    }

    /// The configuration that the server was built from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The parts that a reload needs.
    pub fn reloader(&self, sources: config::Sources) -> Reloader {
        Reloader::new(self.parts.clone(), sources, self.config.clone())
    }

    /// Runs until `stop` completes, then answers the running requests, and ends.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<Ending, StartError> {
        let Self {
            config,
            parts,
            mailbox,
            listeners,
            // Held until everything is written.
            lock: _lock,
        } = self;
        let first_round = config.collector.timeout + systemd::EXTEND_TIMEOUT;
        parts.systemd.begins("measures the first round", first_round);
        let history = work::start(&config, &parts, mailbox)?;
        let server = serve(&config, &parts, listeners)?;
        let handle = server.handle();
        let mut serving = parts.tasks.spawn_once("http server", server);
        let ended = tokio::select! {
            () = stop => None,
            ended = &mut serving => Some(ended),
        };
        if let Some(ended) = ended {
            let reason = ended.unwrap_or_else(|panic| Err(io::Error::other(panic)));
            parts.tasks.stop();
            return Err(StartError::Server(
                reason
                    .err()
                    .unwrap_or_else(|| io::Error::other("the server ended unexpectedly")),
            ));
        }
        Ok(shut_down(&parts, &handle, history, config.server.drain_timeout).await)
    }
}

/// Answers the running requests within `drain_timeout`, stops all tasks, and writes what is buffered.
async fn shut_down(parts: &Parts, handle: &ServerHandle, history: Option<History>, drain_timeout: Duration) -> Ending {
    parts.service.drain();
    parts.systemd.stops(drain_timeout + SHUTDOWN_MARGIN);
    let began = std::time::Instant::now();
    log::info!("stopping; running requests are answered first");
    let ending = if drained(&parts.service_metrics, drain_timeout).await {
        Ending::Drained
    } else {
        Ending::CutOff
    };
    handle.stop(true).await;
    parts.tasks.stop();
    let last = parts.latest.judged();
    let rounds = async {
        if let Some(history) = history {
            history.finish(last.as_deref(), FLUSH_TIMEOUT).await;
        }
    };
    tokio::join!(
        rounds,
        parts.decisions.finish(FLUSH_TIMEOUT),
        parts.tasks.finish_jobs(FLUSH_TIMEOUT)
    );
    if let Some(audit) = &parts.audit
        && let Err(error) = audit.append(&AuditEvent::new("stop", json!({})))
    {
        log::error!("{error}");
    }
    let cut_off = ending == Ending::CutOff;
    log::info!(duration_ms = began.elapsed().as_millis() as u64, cut_off; "stopped");
    ending
}

/// The audit file, if it is enabled, with the start as an event.
fn open_audit(config: &Config, host: &str) -> Result<Option<AuditFile>, StartError> {
    if !config.audit.enabled {
        return Ok(None);
    }
    let audit = AuditFile::open(&config.audit.options(&config.server.data_dir))?;
    let start = json!({ "host": host, "version": VERSION, "commit": COMMIT });
    audit.append(&AuditEvent::new("start", start))?;
    Ok(Some(audit))
}

/// The TLS material, and the development authority if certificates of it are used.
fn load_tls(config: &Config, host_name: &str) -> Result<(Option<Arc<pki::Authority>>, Arc<Tls>), StartError> {
    let folder = config.server.data_dir.join("pki");
    let authority = if config.tls.needs_authority() {
        Some(Arc::new(pki::prepare(&folder, host_name, clock::now())?))
    } else {
        None
    };
    Ok((authority, Tls::load(config.tls.options(&folder))?))
}

/// The machine's host name.
pub(crate) fn machine_name() -> String {
    sysinfo::System::host_name().unwrap_or_else(|_| "localhost".to_owned())
}

/// The machine's host name as a host id; `localhost` if it is not a valid one.
fn host_id(host_name: &str) -> HostId {
    let named = HostId::new(host_name).or_else(|_| HostId::new("localhost"));
    named.expect("localhost is a legal name")
}

/// Whether all requests were answered in time.
async fn drained(service_metrics: &ServiceMetrics, timeout: Duration) -> bool {
    const POLL_INTERVAL: Duration = Duration::from_millis(20);
    let empty = async {
        while service_metrics.requests_in_flight() > 0 {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(timeout, empty).await.is_ok()
}
