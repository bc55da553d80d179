//! Serves the connections of a listener: the TLS handshake, then HTTP. `HttpServer` discards the errors of both; here,
//! each rejected connection and each malformed request is counted and logged with the client's address.

use std::any::Any;
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actix_http::Protocol;
use actix_http::error::{DispatchError, ParseError};
use actix_service::{Service, ServiceFactory};
use actix_tls::accept::openssl::TlsStream;
use actix_web::rt::net::TcpStream;
use actix_web::web::Data;
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::api::gate::Gate;
use crate::metrics::ServiceMetrics;
use crate::telemetry::LogLimit;
use crate::tls::handshake::{self, Rejected};
use crate::tls::{RejectReason, SslAcceptor};

/// What the HTTP service of a connection receives.
pub(super) type Accepted = (Stream, Protocol, Option<SocketAddr>);

/// The properties of a listener that its connections need. Cheap to clone.
#[derive(Clone)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    /// `None` for a listener without TLS.
    pub(super) acceptor: Option<SslAcceptor>,
    /// Timeout for the handshake.
    pub(super) handshake_timeout: Duration,
    pub(super) rejections: Arc<Rejections>,
    pub(super) gate: Data<Gate>,
}

/// Counts and logs rejected connections.
pub(super) struct Rejections {
    service_metrics: Arc<ServiceMetrics>,
    limits: Vec<(RejectReason, LogLimit)>,
}

impl Rejections {
    pub(super) fn new(service_metrics: Arc<ServiceMetrics>) -> Self {
        Self {
            service_metrics,
            limits: RejectReason::all()
                .map(|reason| (reason, LogLimit::default()))
                .collect(),
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

/// Creates the service of each worker: `http` behind the handshake.
pub(super) struct Connections<F> {
    pub(super) listener: Listener,
    pub(super) http: F,
}

impl<F> ServiceFactory<TcpStream> for Connections<F>
where
    F: ServiceFactory<Accepted, Config = (), Response = (), Error = DispatchError, InitError = ()>,
    F::Future: 'static,
    F::Service: 'static,
    <F::Service as Service<Accepted>>::Future: 'static,
{
    type Response = ();
    type Error = ();
    type Config = ();
    type Service = ConnectionService<F::Service>;
    type InitError = ();
    type Future = LocalBoxFuture<'static, Result<Self::Service, ()>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let (listener, http) = (self.listener.clone(), self.http.new_service(()));
        Box::pin(async move {
            let http = Rc::new(http.await?);
            Ok(ConnectionService { listener, http })
        })
    }
}

/// The service of one worker.
pub(super) struct ConnectionService<S> {
    listener: Listener,
    http: Rc<S>,
}

impl<S> Service<TcpStream> for ConnectionService<S>
where
    S: Service<Accepted, Response = (), Error = DispatchError> + 'static,
    S::Future: 'static,
{
    type Response = ();
    type Error = ();
    type Future = LocalBoxFuture<'static, Result<(), ()>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), ()>> {
        self.http.poll_ready(context).map_err(drop)
    }

    fn call(&self, socket: TcpStream) -> Self::Future {
        let (listener, http) = (self.listener.clone(), self.http.clone());
        Box::pin(async move {
            serve(&listener, &*http, socket).await;
            Ok(())
        })
    }
}

async fn serve<S>(listener: &Listener, http: &S, socket: TcpStream)
where
    S: Service<Accepted, Response = (), Error = DispatchError>,
{
    let peer = socket.peer_addr().ok();
    // Small responses follow TLS tickets and each other; waiting for an acknowledgement costs 40 ms. If the option
    // cannot be set, they are only slower.
    let _ = socket.set_nodelay(true);
    let connection = match &listener.acceptor {
        None => Connection::Plain(socket),
        Some(acceptor) => match handshake::accept(acceptor, socket, listener.handshake_timeout).await {
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
    let stream = Stream {
        connection,
        progress: progress.clone(),
    };
    let result = http.call((stream, protocol, peer)).await;
    if let Some(problem) = problem(&result, protocol, &progress) {
        listener.gate.malformed_request(peer, problem);
    } else if let Err(error @ (DispatchError::Body(_) | DispatchError::InternalError)) = result {
        let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
        log::error!(peer = peer.as_str(), reason:% = error; "a response was aborted");
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

/// How far a connection got.
#[derive(Debug, Default)]
struct Progress {
    /// The client closed the connection, or it failed.
    peer_closed: Cell<bool>,
    /// The server began to close the connection.
    shut_down: Cell<bool>,
}

/// An accepted connection.
pub(super) struct Stream {
    connection: Connection,
    progress: Rc<Progress>,
}

enum Connection {
    Plain(TcpStream),
    Tls(TlsStream<TcpStream>),
}

impl Connection {
    fn protocol(&self) -> Protocol {
        match self {
            Self::Tls(stream) if stream.ssl().selected_alpn_protocol() == Some(b"h2") => Protocol::Http2,
            Self::Plain(_) | Self::Tls(_) => Protocol::Http1,
        }
    }
}

impl Stream {
    /// The stream without the record of its progress: a `TcpStream` or a `TlsStream<TcpStream>`.
    pub(super) fn inner(&self) -> &dyn Any {
        match &self.connection {
            Connection::Plain(stream) => stream,
            Connection::Tls(stream) => stream,
        }
    }

    /// Records a failure.
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.progress.peer_closed.set(true);
        }
        result
    }
}

/// Calls the method of either stream.
macro_rules! poll_inner {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match &mut $self.connection {
            Connection::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Connection::Tls(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, had_space) = (buffer.filled().len(), buffer.remaining() > 0);
        let result = ready!(poll_inner!(self.poll_read(context, buffer)));
        if had_space && buffer.filled().len() == before {
            self.progress.peer_closed.set(true);
        }
        Poll::Ready(self.note(result))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = ready!(poll_inner!(self.poll_write(context, bytes)));
        if matches!(result, Ok(0)) {
            self.progress.peer_closed.set(true);
        }
        Poll::Ready(self.note(result))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(poll_inner!(self.poll_flush(context)));
        Poll::Ready(self.note(result))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.progress.shut_down.set(true);
        poll_inner!(self.poll_shutdown(context))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(poll_inner!(self.poll_write_vectored(context, slices)));
        if matches!(result, Ok(0)) {
            self.progress.peer_closed.set(true);
        }
        Poll::Ready(self.note(result))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.connection {
            Connection::Plain(stream) => stream.is_write_vectored(),
            Connection::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
