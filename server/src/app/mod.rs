//! Composition root: builds the server from a configuration, runs it and shuts it down. It connects all components and
//! has no logic of its own.

mod error;
mod reload;
mod rules;
mod serve;
mod settings;
mod sources;
mod stores;
mod systemd_status;
mod warnings;
mod work;

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;

pub use self::error::StartError;
pub use self::reload::Reloader;

use self::rules::RuleParts;
use self::serve::{Socket, listen, serve};
use self::settings::{auth_config, bounds};
use crate::api::authn::Authenticator;
use crate::api::gate::Gate;
use crate::api::latest::Latest;
use crate::api::process::{COMMIT, Listening, RUSTC, Service, VERSION};
use crate::api::routes::chunks::ChunkStore;
use crate::api::table::BodyClasses;
use crate::collect::host;
use crate::config::{self, Config};
use crate::decisions::Decisions;
use crate::host_id::HostId;
use crate::judge::Evaluations;
use crate::judge::metrics_page::MetricsPages;
use crate::metrics::{Build, ServiceMetrics};
use crate::pixcrawler::{self, PixCrawlerRenderings};
use crate::rules::Rules;
use crate::store::Store;
use crate::systemd::{self, Systemd};
use crate::tasks::{self, Tasks};
use crate::tls::Tls;
use crate::{api, clock, pki};

/// Time to write buffered data at the end: a service manager waits ten seconds or more before it kills the process, and
/// draining requests took a part of that.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Time for the shutdown besides draining: closing idle connections, writing buffered data, cancelling the rest.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(10);

/// A server that is bound to its addresses, and does not accept requests yet.
pub struct App {
    config: Rc<Config>,
    parts: Parts,
    listeners: Vec<Socket>,
}

/// Everything built from the configuration. Handlers and tasks have clones of these.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) tls: Arc<Tls>,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) gate: Data<Gate>,
    pub(crate) rules: Rules,
    pub(crate) rule_parts: RuleParts,
    pub(crate) service_metrics: Arc<ServiceMetrics>,
    pub(crate) tasks: Tasks,
    pub(crate) service: Service,
    pub(crate) latest: Latest,
    pub(crate) store: Store,
    pub(crate) systemd: Systemd,
    decisions: Decisions,
    chunks: ChunkStore,
    evaluations: Evaluations,
    pixcrawler_renderings: PixCrawlerRenderings,
    /// The folder of the development CA, if it is used.
    pub(crate) authority: Option<Arc<pki::Authority>>,
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
        make_data_dir(data_dir).map_err(|source| StartError::DataDir {
            path: data_dir.clone(),
            source,
        })?;
        let names: Vec<_> = host::probes(&config.host.options(config.mode))
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
        let authority_dir = data_dir.join("pki");
        let authority = if config.tls.needs_authority() {
            Some(Arc::new(pki::prepare(&authority_dir, &host_name, clock::now())?))
        } else {
            None
        };
        let tls = Tls::load(config.tls.options(&authority_dir))?;
        let service_metrics = Arc::new(ServiceMetrics::new(&Build {
            version: VERSION,
            commit: COMMIT,
            rustc: RUSTC,
        }));
        let settings = config.rules.settings();
        systemd.begins("loads the built-in rules", systemd::EXTEND_TIMEOUT);
        let rules = Rules::load(config.rules.limits.limits(), &settings, Some(&data_dir.join("cache")))?;
        systemd.begins("opens the database", systemd::EXTEND_TIMEOUT);
        let store = stores::open(&config)?;
        let chunks = stores::chunks(&config, &store)?;
        let service = Service::new(host, config.collector.interval);
        let evaluations = Evaluations::new();
        let compiler = rules.compiler(config.rules.compiler.options());
        let options = config.rules.options();
        let tasks = Tasks::new(service_metrics.clone());
        systemd.begins("activates the rules", systemd::EXTEND_TIMEOUT);
        let rule_parts = RuleParts::begin(
            rules.clone(),
            store.clone(),
            compiler,
            options,
            &tasks,
            &service_metrics,
        )
        .await?;
        let before_the_first = rules
            .current()
            .set
            .before_the_first(service.host().as_str(), clock::now_ms());
        let recorded = config.decisions.options();
        let decisions = Decisions::new(
            store.clone(),
            service.host().as_str(),
            recorded,
            service_metrics.clone(),
        );
        let authenticator = Arc::new(Authenticator::new(tls.clone(), auth_config(&config)));
        let bodies = BodyClasses::of(&api::table());
        let gate = Data::new(Gate::new(
            authenticator.clone(),
            bounds(&config),
            bodies,
            service_metrics.clone(),
        ));
        let parts = Parts {
            latest: Latest::new(evaluations.clone(), service.host().clone(), before_the_first),
            pixcrawler_renderings: pixcrawler::renderings(&evaluations, config.mode),
            tasks,
            store,
            systemd,
            decisions,
            chunks,
            authority,
            tls,
            authenticator,
            gate,
            rules,
            rule_parts,
            service_metrics,
            service,
            evaluations,
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

    /// The addresses that the server listens on.
    pub fn listening(&self) -> &[Listening] {
        self.parts.service.listening()
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
            listeners,
        } = self;
        let first_round = config.collector.timeout + systemd::EXTEND_TIMEOUT;
        parts.systemd.begins("measures the first round", first_round);
        let work::Started { collector, history } = work::start(&config, &parts)?;
        let server = serve(&config, &parts, MetricsPages::new(collector), listeners)?;
        let handle = server.handle();
        let mut serving = tasks::spawn_detached(server);
        let ended = tokio::select! {
            () = stop => None,
            ended = &mut serving => Some(ended),
        };
        if let Some(ended) = ended {
            let reason = ended.unwrap_or_else(|broken| Err(io::Error::other(broken)));
            parts.tasks.stop();
            return Err(StartError::Server(
                reason
                    .err()
                    .unwrap_or_else(|| io::Error::other("the server ended unexpectedly")),
            ));
        }
        parts.service.drain();
        parts.systemd.stops(config.server.drain_timeout + SHUTDOWN_MARGIN);
        let began = std::time::Instant::now();
        log::info!("stopping; running requests are answered first");
        let ending = match drained(&parts.service_metrics, config.server.drain_timeout).await {
            true => Ending::Drained,
            false => Ending::CutOff,
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
        let cut_off = ending == Ending::CutOff;
        log::info!(duration_ms = began.elapsed().as_millis() as u64, cut_off; "stopped");
        Ok(ending)
    }
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

fn make_data_dir(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
