//! Binds the listeners, and configures the HTTP server and its handlers.

use std::net::TcpListener;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, map_config};
use actix_web::dev::{AppConfig, Server};
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App as Routes, Error};
use socket2::SockRef;

use super::admission::{Admission, ConnectionLimits, LOOPBACK_RESERVE};
use super::connections::{Connections, Listener, Rejections, ShutdownSignal};
use super::stream::Timeouts;
use super::{Parts, StartError};
use crate::api;
use crate::api::gate;
use crate::api::process::Listening;
use crate::api::readiness::Readiness;
use crate::api::routes::history::HistoryReader;
use crate::api::routes::status::{StatusPage, StatusSources};
use crate::api::streaming::StreamPool;
use crate::config::{self, Config};
use crate::tls::ClientAuth;

/// After all requests are answered, idle connections are closed within this time.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections that wait until the server accepts them. The standard library sets 128, which a client with many sockets
/// fills in a moment; the kernel then drops the handshakes of others, who try again after a second. The kernel lowers this
/// to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// The most workers that the server accepts.
const MAX_WORKERS: usize = 512;

/// Binds an address.
pub(super) fn listen(listener: &config::Listener) -> Result<Socket, StartError> {
    let failed = |source| StartError::Listen {
        address: listener.address,
        source,
    };
    let socket = TcpListener::bind(listener.address).map_err(failed)?;
    SockRef::from(&socket).listen(BACKLOG).map_err(failed)?;
    let listening = Listening {
        address: socket.local_addr().map_err(failed)?,
        tls: listener.tls,
        client_auth: listener.client_auth.as_str(),
        api: listener.api,
    };
    Ok((socket, listening, listener.client_auth))
}

/// A bound address with its TLS settings.
pub(super) type Socket = (TcpListener, Listening, ClientAuth);

/// Starts to accept requests on all listeners.
pub(super) fn serve(config: &Config, parts: &Parts, listeners: Vec<Socket>) -> Result<Server, StartError> {
    let refusals = api::refusals();
    let shared = parts.clone();
    let (latest, rules) = (Data::new(parts.latest.clone()), Data::new(parts.rules.clone()));
    let readiness = readiness(config, parts);
    let status = Data::new(status_page(parts, readiness.clone()));
    let readiness = Data::new(readiness);
    let chunks = Data::new(parts.chunks.clone());
    let past = Data::new(history_reader(config, parts));
    let decisions = Data::new(parts.decisions.clone());
    let pages = parts.metrics_pages.clone();
    let renderings = Data::new(parts.pixcrawler_renderings.clone());
    let (service_metrics, service) = (
        Data::from(parts.service_metrics.clone()),
        Data::new(parts.service.clone()),
    );
    let routes = move || {
        Routes::new()
            .configure(refusals.clone())
            .app_data(shared.gate.clone())
            .app_data(shared.access.clone())
            .app_data(latest.clone())
            .app_data(rules.clone())
            .app_data(service_metrics.clone())
            .app_data(service.clone())
            .app_data(status.clone())
            .app_data(readiness.clone())
            .app_data(chunks.clone())
            .app_data(past.clone())
            .app_data(decisions.clone())
            .app_data(pages.clone())
            .app_data(renderings.clone())
            .configure(|handlers| shared.rule_parts.provide(handlers))
            .wrap(from_fn(gate::pass))
            .configure(api::routes)
    };
    let http = &config.http;
    let workers = config.server.workers.unwrap_or_else(default_workers);
    let mut server = Server::build()
        .disable_signals()
        .workers(workers)
        .max_concurrent_connections(http.max_connections + LOOPBACK_RESERVE)
        .shutdown_timeout(CLOSE_TIMEOUT.as_secs());
    let signal = server.graceful_shutdown_signal();
    let shutdown: ShutdownSignal = Arc::new(move || {
        let signal = signal.clone();
        Box::pin(async move { signal.notified().await })
    });
    let rejections = Arc::new(Rejections::new(parts.service_metrics.clone()));
    let admission = Admission::new(ConnectionLimits {
        total: http.max_connections * workers,
        reserve: LOOPBACK_RESERVE * workers,
        per_address: http.max_connections_per_address,
    });
    for (socket, listening, auth) in listeners {
        let address = listening.address;
        let listener = Listener {
            address,
            acceptor: if listening.tls {
                Some(parts.tls.acceptor(auth)?.build())
            } else {
                None
            },
            timeouts: Timeouts {
                head: http.header_timeout,
                // Without keep-alive, an HTTP/2 client still needs time for its first request.
                idle: http.keep_alive.max(http.header_timeout),
                send: http.send_timeout,
            },
            keep_alive: http.keep_alive,
            max_in_flight: http.max_requests_per_connection,
            admission: admission.clone(),
            rejections: rejections.clone(),
            gate: parts.gate.clone(),
            authenticator: parts.authenticator.clone(),
            process: parts.service.clone(),
            service_metrics: parts.service_metrics.clone(),
            shutdown: shutdown.clone(),
        };
        let routes = routes.clone();
        let connections = move || {
            let handlers = routes().into_factory().map_err(|error: Error| error.error_response());
            // The default names another address, but no handler reads it: links are made from the request.
            let app = map_config(handlers, |()| AppConfig::default());
            Connections {
                listener: listener.clone(),
                app,
            }
        };
        server = server
            .listen(address.to_string(), socket, connections)
            .map_err(|source| StartError::Listen { address, source })?;
    }
    Ok(server.run())
}

/// One worker per processor.
fn default_workers() -> usize {
    available_parallelism().map_or(1, NonZero::get).min(MAX_WORKERS)
}

fn readiness(config: &Config, parts: &Parts) -> Readiness {
    Readiness {
        service: parts.service.clone(),
        latest: parts.latest.clone(),
        rules: parts.rules.clone(),
        replication: parts.rule_parts.replication.clone(),
        store: parts.store.clone(),
        unready_after: config.database.unready_after,
    }
}

fn status_page(parts: &Parts, readiness: Readiness) -> StatusPage {
    StatusPage::new(StatusSources {
        service: parts.service.clone(),
        latest: parts.latest.clone(),
        rules: parts.rules.clone(),
        replication: parts.rule_parts.replication.clone(),
        quarantine: parts.rule_parts.quarantine.clone(),
        sandbox: parts.sandbox.clone(),
        readiness,
        tls: parts.tls.clone(),
        tasks: parts.tasks.clone(),
        stores: [parts.store.address().clone(), parts.chunks.store.address().clone()],
    })
}

fn history_reader(config: &Config, parts: &Parts) -> HistoryReader {
    HistoryReader {
        store: parts.store.clone(),
        max_points: config.history.max_points,
        max_series: config.history.max_series,
        streams: StreamPool::new(),
    }
}
