//! Binds the listeners, and configures the HTTP server and its handlers.

use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App as Routes, HttpServer};

use super::{Parts, StartError};
use crate::api;
use crate::api::gate;
use crate::api::process::Listening;
use crate::api::routes::history::HistoryReader;
use crate::api::routes::status::{StatusPage, StatusSources};
use crate::api::streaming::StreamPool;
use crate::config::{self, Config};
use crate::judge::metrics_page::MetricsPages;
use crate::tls::ClientAuth;

/// After all requests are answered, idle connections are closed within this time.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

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
pub(super) fn serve(
    config: &Config,
    parts: &Parts,
    metrics_pages: MetricsPages,
    listeners: Vec<Socket>,
) -> Result<Server, StartError> {
    let refusals = api::refusals();
    let (shared, connecting) = (parts.clone(), parts.clone());
    let (latest, rules) = (Data::new(parts.latest.clone()), Data::new(parts.rules.clone()));
    let status = Data::new(StatusPage::new(StatusSources {
        service: parts.service.clone(),
        latest: parts.latest.clone(),
        rules: parts.rules.clone(),
        replication: parts.rule_parts.replication.clone(),
        quarantine: parts.rule_parts.quarantine.clone(),
        tls: parts.tls.clone(),
        tasks: parts.tasks.clone(),
        stores: [parts.store.address().clone(), parts.chunks.store.address().clone()],
    }));
    let chunks = Data::new(parts.chunks.clone());
    let past = Data::new(HistoryReader {
        store: parts.store.clone(),
        max_points: config.history.max_points,
        max_series: config.history.max_series,
        streams: StreamPool::new(),
    });
    let decisions = Data::new(parts.decisions.clone());
    let pages = Data::new(metrics_pages);
    let renderings = Data::new(parts.pixcrawler_renderings.clone());
    let (service_metrics, service) = (
        Data::from(parts.service_metrics.clone()),
        Data::new(parts.service.clone()),
    );
    let mut server = HttpServer::new(move || {
        Routes::new()
            .configure(refusals.clone())
            .app_data(shared.gate.clone())
            .app_data(latest.clone())
            .app_data(rules.clone())
            .app_data(service_metrics.clone())
            .app_data(service.clone())
            .app_data(status.clone())
            .app_data(chunks.clone())
            .app_data(past.clone())
            .app_data(decisions.clone())
            .app_data(pages.clone())
            .app_data(renderings.clone())
            .configure(|handlers| shared.rule_parts.provide(handlers))
            .wrap(from_fn(gate::pass))
            .configure(api::routes)
    })
    .disable_signals()
    .on_connect(move |connection, data| {
        let Parts {
            authenticator,
            service,
            service_metrics,
            ..
        } = &connecting;
        authenticator.connected(connection, data, service, service_metrics);
    })
    // Small responses follow TLS tickets and each other; waiting for an acknowledgement costs 40 ms.
    .tcp_nodelay(true)
    .keep_alive(config.http.keep_alive)
    .client_request_timeout(config.http.header_timeout)
    .tls_handshake_timeout(config.http.header_timeout)
    .max_connections(config.http.max_connections)
    .shutdown_timeout(CLOSE_TIMEOUT.as_secs());
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
