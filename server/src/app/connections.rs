//! Serves the connections of a listener: the limits of connections, the TLS handshake, then HTTP. `HttpServer` discards
//! the errors; here, each rejected connection and each malformed request is counted and logged with the client's address.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_http::error::{DispatchError, ParseError};
use actix_http::{Extensions, HttpService, Protocol, Request};
use actix_service::boxed::{self, BoxService};
use actix_service::{Service, ServiceFactory, fn_factory};
use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::rt::net::TcpStream;
use actix_web::web::Data;
use futures_util::future::{LocalBoxFuture, ready};

use super::activity::{Activity, Tracked};
use super::admission::{Admission, Admitted, Refused};
use super::http2::{self, Http2Limits, PeerData};
use super::stream::{Connection, Progress, Stream, Timeouts};
use crate::api::authn::Authenticator;
use crate::api::gate::Gate;
use crate::api::process::Service as Process;
use crate::metrics::ServiceMetrics;
use crate::metrics::service_metrics::HttpLimit;
use crate::telemetry::LogLimit;
use crate::tls::handshake::{self, Rejected};
use crate::tls::{RejectReason, SslAcceptor};

/// A client gets this time to take the rest of a response when its connection is closed.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What the HTTP/1 service receives.
type Accepted = (Stream, Protocol, Option<SocketAddr>);

/// The properties of a listener that its connections need. Cheap to clone.
#[derive(Clone)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    /// `None` for a listener without TLS.
    pub(super) acceptor: Option<SslAcceptor>,
    pub(super) timeouts: Timeouts,
    /// How long an idle connection is kept open; zero ends it after each response.
    pub(super) keep_alive: Duration,
    /// Maximum number of requests of one connection that are processed at once.
    pub(super) max_in_flight: usize,
    pub(super) admission: Arc<Admission>,
    pub(super) rejections: Arc<Rejections>,
    pub(super) gate: Data<Gate>,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) process: Process,
    pub(super) service_metrics: Arc<ServiceMetrics>,
    pub(super) shutdown: ShutdownSignal,
}

/// Makes a future that completes when the server begins to stop.
pub(super) type ShutdownSignal = Arc<dyn Fn() -> LocalBoxFuture<'static, ()> + Send + Sync>;

/// Counts and logs rejected connections.
pub(super) struct Rejections {
    service_metrics: Arc<ServiceMetrics>,
    limits: Vec<(RejectReason, LogLimit)>,
    refused: LogLimit,
}

impl Rejections {
    pub(super) fn new(service_metrics: Arc<ServiceMetrics>) -> Self {
        Self {
            service_metrics,
            limits: RejectReason::all()
                .map(|reason| (reason, LogLimit::default()))
                .collect(),
            refused: LogLimit::default(),
        }
    }

    fn report_refused(&self, listener: SocketAddr, peer: SocketAddr, refused: Refused) {
        let (limit, setting) = match refused {
            Refused::Total => (HttpLimit::MaxConnections, "http.max_connections"),
            Refused::PerAddress => (HttpLimit::MaxConnectionsPerAddress, "http.max_connections_per_address"),
        };
        self.service_metrics.limit_exceeded(limit);
        if let Some(suppressed) = self.refused.admit(Instant::now()) {
            log::warn!(peer:%, listener:%, setting, suppressed; "refused a connection: too many are open");
        }
    }

    fn report(&self, listener: SocketAddr, peer: Option<SocketAddr>, rejected: &Rejected) {
        let reason = rejected.failure.reason;
        self.service_metrics.tls_rejected(reason);
        let limit = self.limits.iter().find(|(known, _)| *known == reason);
        let Some(suppressed) = limit.and_then(|(_, limit)| limit.admit(Instant::now())) else {
            return;
        };
        let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
        let (why, reason) = (reason.explanation(), reason.as_str());
        match (&rejected.subject, rejected.failure.alert) {
            (Some(subject), _) => log::warn!(
                peer = peer.as_str(), listener:%, reason, certificate = subject.as_str(), suppressed;
                "rejected a TLS connection: {why}"
            ),
            (None, Some(alert)) => log::warn!(
                peer = peer.as_str(), listener:%, reason, alert, suppressed; "rejected a TLS connection: {why}"
            ),
            (None, None) => log::warn!(
                peer = peer.as_str(), listener:%, reason, suppressed; "rejected a TLS connection: {why}"
            ),
        }
    }
}

/// Creates the service of each worker: the HTTP service `app` behind the handshake.
pub(super) struct Connections<F> {
    pub(super) listener: Listener,
    pub(super) app: F,
}

impl<F, B> ServiceFactory<TcpStream> for Connections<F>
where
    F: ServiceFactory<Request, Config = (), Response = ServiceResponse<B>, Error = HttpResponse, InitError = ()>,
    F::Future: 'static,
    F::Service: 'static,
    <F::Service as Service<Request>>::Future: 'static,
    B: MessageBody + Unpin + 'static,
{
    type Response = ();
    type Error = ();
    type Config = ();
    type Service = ConnectionService<F::Service>;
    type InitError = ();
    type Future = LocalBoxFuture<'static, Result<Self::Service, ()>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let (listener, app) = (self.listener.clone(), self.app.new_service(()));
        Box::pin(async move {
            let app = Rc::new(app.await?);
            let http1 = http1(&listener, Tracked(app.clone())).await?;
            Ok(ConnectionService(Rc::new(Worker { listener, app, http1 })))
        })
    }
}

/// The HTTP/1 service.
async fn http1<S, B>(listener: &Listener, app: Tracked<S>) -> Result<BoxService<Accepted, (), DispatchError>, ()>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = HttpResponse> + 'static,
    S::Future: 'static,
    B: MessageBody + Unpin + 'static,
{
    let (connecting, shutdown) = (listener.clone(), listener.shutdown.clone());
    let service = HttpService::build()
        .graceful_shutdown_signal(move || shutdown())
        .keep_alive(listener.keep_alive)
        .client_request_timeout(listener.timeouts.head)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .local_addr(listener.address)
        .on_connect_ext(move |stream: &Stream, data| {
            connecting.connected(stream, data);
            if let Some(activity) = stream.activity() {
                data.insert(activity);
            }
        })
        .finish(fn_factory(move || ready(Ok::<_, ()>(app.clone()))));
    Ok(boxed::service(service.new_service(()).await?))
}

/// The service of one worker.
pub(super) struct ConnectionService<S>(Rc<Worker<S>>);

struct Worker<S> {
    listener: Listener,
    app: Rc<S>,
    http1: BoxService<Accepted, (), DispatchError>,
}

impl<S, B> Service<TcpStream> for ConnectionService<S>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = HttpResponse> + 'static,
    S::Future: 'static,
    B: MessageBody + Unpin + 'static,
{
    type Response = ();
    type Error = ();
    type Future = LocalBoxFuture<'static, Result<(), ()>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), ()>> {
        self.0.http1.poll_ready(context).map_err(drop)
    }

    fn call(&self, socket: TcpStream) -> Self::Future {
        let worker = self.0.clone();
        Box::pin(async move {
            worker.serve(socket).await;
            Ok(())
        })
    }
}

impl Listener {
    /// Counts a new connection, or refuses it.
    fn admit(&self, peer: Option<SocketAddr>) -> Option<Admitted> {
        // A connection without an address is gone already.
        let peer = peer?;
        let is_trusted_proxy = self.authenticator.trusts(peer.ip());
        match self.admission.admit(peer.ip(), is_trusted_proxy) {
            Ok(admitted) => Some(admitted),
            Err(refused) => {
                self.rejections.report_refused(self.address, peer, refused);
                None
            }
        }
    }

    /// Determines the peer of a new connection.
    fn connected(&self, stream: &Stream, data: &mut Extensions) {
        let (process, service_metrics) = (&self.process, &self.service_metrics);
        self.authenticator
            .connected(stream.inner(), data, process, service_metrics);
    }
}

impl<S, B> Worker<S>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = HttpResponse>,
    B: MessageBody,
{
    async fn serve(&self, socket: TcpStream) {
        let listener = &self.listener;
        let peer = socket.peer_addr().ok();
        let Some(_admitted) = listener.admit(peer) else {
            return;
        };
        // Small responses follow TLS tickets and each other; waiting for an acknowledgement costs 40 ms. If the option
        // cannot be set, they are only slower.
        let _ = socket.set_nodelay(true);
        let connection = match &listener.acceptor {
            None => Connection::Plain(socket),
            Some(acceptor) => match handshake::accept(acceptor, socket, listener.timeouts.head).await {
                Ok(Some(stream)) => Connection::Tls(stream),
                Ok(None) => return,
                Err(rejected) => {
                    listener.rejections.report(listener.address, peer, &rejected);
                    rejected.close().await;
                    return;
                }
            },
        };
        let protocol = connection.protocol();
        let progress = Rc::new(Progress::default());
        let activity = (protocol == Protocol::Http1).then(|| Rc::new(Activity::new(tokio::time::Instant::now())));
        let stream = Stream::new(
            connection,
            progress.clone(),
            activity,
            listener.timeouts,
            listener.service_metrics.clone(),
        );
        let result = match protocol {
            Protocol::Http2 => self.serve_http2(stream, peer).await,
            _ => self.http1.call((stream, protocol, peer)).await,
        };
        if let Err(DispatchError::SlowRequestTimeout) = result {
            listener.service_metrics.limit_exceeded(HttpLimit::HeaderTimeout);
        }
        if let Some(problem) = problem(&result, protocol, &progress) {
            listener.gate.malformed_request(peer, problem);
        } else if let Err(error @ (DispatchError::Body(_) | DispatchError::InternalError)) = result {
            let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
            log::error!(peer = peer.as_str(), reason:% = error; "a response was aborted");
        }
    }

    async fn serve_http2(&self, stream: Stream, address: Option<SocketAddr>) -> Result<(), DispatchError> {
        let listener = &self.listener;
        let mut data = Extensions::new();
        listener.connected(&stream, &mut data);
        let limits = Http2Limits {
            max_in_flight: listener.max_in_flight,
            header_timeout: listener.timeouts.head,
            idle_timeout: listener.timeouts.idle,
            send_timeout: listener.timeouts.send,
            max_header_bytes: listener.gate.max_http2_header_bytes(),
        };
        let peer = PeerData { address, data };
        let shutdown = (listener.shutdown)();
        http2::serve(stream, &*self.app, limits, peer, &listener.service_metrics, shutdown).await
    }
}

/// How a request was malformed, if the connection ended because of that.
fn problem(result: &Result<(), DispatchError>, protocol: Protocol, progress: &Progress) -> Option<&'static str> {
    match result {
        Err(DispatchError::Parse(error)) => match error {
            ParseError::Method => Some("invalid method"),
            ParseError::Uri(_) => Some("invalid request target"),
            ParseError::Version => Some("unsupported HTTP version"),
            ParseError::TooLarge => Some("the request line and the headers are too large"),
            ParseError::Header | ParseError::Utf8(_) | ParseError::Status => {
                Some("invalid request line, header or length of the body")
            }
            ParseError::Incomplete | ParseError::Timeout | ParseError::Io(_) => None,
            // The enum may get more variants.
            _ => Some("invalid request"),
        },
        Err(DispatchError::H2(error)) => error.is_library().then_some("violation of the HTTP/2 protocol"),
        // After an invalid chunk, the dispatcher reports no error: it treats the client as gone, although the client
        // has not closed the connection, and stops without a shutdown.
        Ok(()) if protocol == Protocol::Http1 && !progress.peer_closed.get() && !progress.shut_down.get() => {
            Some("invalid chunked body")
        }
        _ => None,
    }
}
