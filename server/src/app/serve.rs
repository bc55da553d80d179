//! Binds the listeners, and configures the HTTP server and its handlers.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_http::HttpService;
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, map_config};
use actix_web::dev::{AppConfig, Server};
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App as Routes, Error};

use super::connections::{Connections, Listener, Rejections, Stream};
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
/// A client gets this time to take the rest of a response when its connection is closed.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Binds an address.
pub(super) fn listen(listener: &config::Listener) -> Result<Socket, StartError> {
    let failed = |source| StartError::Listen {
        address: listener.address,
        source,
    };
    let socket = TcpListener::bind(listener.address).map_err(failed)?;
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
    let (shared, connecting) = (parts.clone(), parts.clone());
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
    let mut server = Server::build()
        .disable_signals()
        .max_concurrent_connections(config.http.max_connections)
        .shutdown_timeout(CLOSE_TIMEOUT.as_secs());
    if let Some(workers) = config.server.workers {
        server = server.workers(workers);
    }
    let shutdown = server.graceful_shutdown_signal();
    let rejections = Arc::new(Rejections::new(parts.service_metrics.clone()));
    let (keep_alive, header_timeout) = (config.http.keep_alive, config.http.header_timeout);
    for (socket, listening, auth) in listeners {
        let address = listening.address;
        let listener = Listener {
            address,
            acceptor: if listening.tls {
                Some(parts.tls.acceptor(auth)?.build())
            } else {
                None
            },
            handshake_timeout: header_timeout,
            rejections: rejections.clone(),
            gate: parts.gate.clone(),
        };
        let (routes, connecting, shutdown) = (routes.clone(), connecting.clone(), shutdown.clone());
        let connections = move || {
            let (connecting, shutdown) = (connecting.clone(), shutdown.clone());
            let handlers = routes().into_factory().map_err(|error: Error| error.error_response());
            // The default names another address, but no handler reads it: links are made from the request.
            let handlers = map_config(handlers, |()| AppConfig::default());
            let http = HttpService::build()
                .graceful_shutdown_signal(move || {
                    let shutdown = shutdown.clone();
                    async move { shutdown.notified().await }
                })
                .keep_alive(keep_alive)
                .client_request_timeout(header_timeout)
                .client_disconnect_timeout(DISCONNECT_TIMEOUT)
                .local_addr(address)
                .on_connect_ext(move |stream: &Stream, data| {
                    let Parts {
                        authenticator,
                        service,
                        service_metrics,
                        ..
                    } = &connecting;
                    authenticator.connected(stream.inner(), data, service, service_metrics);
                })
                .finish(handlers);
            Connections {
                listener: listener.clone(),
                http,
            }
        };
        server = server
            .listen(address.to_string(), socket, connections)
            .map_err(|source| StartError::Listen { address, source })?;
    }
    Ok(server.run())
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
