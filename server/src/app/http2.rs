//! Drives an HTTP/2 connection and passes its requests to the HTTP service. The driver of actix-http limits neither the
//! number of streams nor the size of headers, and keeps whole responses that a client does not read, without a deadline.
//! This one is built on the same crate, `h2`, and has these limits:
//!
//! - A connection has a limited number of open streams, and fewer of them are processed at once; the others wait.
//! - A response is produced only as far as the client's flow-control window accepts it.
//! - A client that does not read a response loses the stream after a timeout.
//! - An idle connection ends.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, HttpDate, TRANSFER_ENCODING, UPGRADE,
};
use actix_http::{BoxedPayloadStream, Extensions, HttpMessage as _, Method, Payload, Request, Response, StatusCode};
use actix_service::Service;
use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{FuturesUnordered, Stream};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};

use crate::api::authn;
use crate::clock;
use crate::metrics::ServiceMetrics;
use crate::metrics::service_metrics::HttpLimit;

/// How many streams a client may open at least, whether they are processed at once or wait. RFC 9113 recommends not to
/// announce fewer.
const MIN_STREAMS: u32 = 100;

/// Bytes of request bodies that a client may send before a handler reads them: per stream, and per connection.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Bytes of a response that are buffered for a socket that accepts no more.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// The largest part of a response that is handed over at once: a frame of the default size.
const PART_BYTES: usize = 16 * 1024;

/// A client that accepts fewer bytes than this within the timeout makes no progress.
const MIN_PROGRESS_BYTES: usize = 4 * 1024;

/// How long the server waits in each step of closing a connection without requests.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(1);

/// The limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Http2Limits {
    /// Maximum number of requests that are processed at once.
    pub(super) max_in_flight: usize,
    /// Timeout for the preface of the connection.
    pub(super) header_timeout: Duration,
    /// How long an idle connection is kept open.
    pub(super) idle_timeout: Duration,
    /// How long a response waits for its client.
    pub(super) send_timeout: Duration,
    /// Maximum size of the headers of a request, as `h2` counts them.
    pub(super) max_header_bytes: u32,
}

/// The peer of a connection.
pub(super) struct PeerData {
    pub(super) address: Option<std::net::SocketAddr>,
    /// What the [`authn::Authenticator`] knows about the connection. It lives as long as the connection.
    pub(super) data: Extensions,
}

/// Serves the connection to its end. `shutdown` completes when the server begins to stop.
pub(super) async fn serve<T, S, B>(
    stream: T,
    service: &S,
    limits: Http2Limits,
    peer: PeerData,
    service_metrics: &ServiceMetrics,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DispatchError>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request, Response = ServiceResponse<B>, Error = HttpResponse>,
    B: MessageBody,
{
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(MIN_STREAMS.max(u32::try_from(limits.max_in_flight).unwrap_or(u32::MAX)))
        .max_header_list_size(limits.max_header_bytes)
        // A page that is left may reset all of its requests at once.
        .max_pending_accept_reset_streams(MIN_STREAMS as usize)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES);
    let preface = timeout(limits.header_timeout, builder.handshake::<_, Bytes>(stream)).await;
    let mut connection = preface.map_err(|_| DispatchError::SlowRequestTimeout)??;

    let known_peer = peer.data.get::<Rc<authn::Connection>>();
    let mut responses = FuturesUnordered::new();
    let mut shutdown = pin!(shutdown);
    let mut closing = Closing::No;
    let mut idle_since = Instant::now();
    let mut idle_timer = pin!(sleep_until(idle_since + limits.idle_timeout));
    poll_fn(|context| {
        if closing == Closing::No && shutdown.as_mut().poll(context).is_ready() {
            closing = Closing::Announced;
            connection.graceful_shutdown();
            idle_timer.as_mut().reset(Instant::now() + GOAWAY_TIMEOUT);
        }
        loop {
            let mut has_ended = false;
            while let Poll::Ready(Some(wants_close)) = responses.poll_next_unpin(context) {
                has_ended = true;
                if wants_close && closing == Closing::No {
                    closing = Closing::Announced;
                    connection.graceful_shutdown();
                }
            }
            if has_ended && responses.is_empty() {
                idle_since = Instant::now();
                if closing == Closing::Announced {
                    // The end of the last response may not be sent yet.
                    idle_timer.as_mut().reset(idle_since + GOAWAY_TIMEOUT);
                }
            }
            // While the maximum is reached, further requests wait in the connection.
            if responses.len() >= limits.max_in_flight {
                match connection.poll_closed(context) {
                    Poll::Ready(end) => return Poll::Ready(end.map_err(DispatchError::from)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            match connection.poll_accept(context) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let is_head = request.method() == Method::HEAD;
                    let request = converted(request, &peer, known_peer);
                    responses.push(answer(
                        service,
                        request,
                        respond,
                        is_head,
                        limits.send_timeout,
                        service_metrics,
                    ));
                    continue;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => {}
            }
            if !responses.is_empty() {
                return Poll::Pending;
            }
            if idle_timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let (now, idle_end) = (Instant::now(), idle_since + limits.idle_timeout);
            match closing {
                // A request came since the timer was set.
                Closing::No if idle_end > now => {
                    idle_timer.as_mut().reset(idle_end);
                    continue;
                }
                Closing::No => {
                    closing = Closing::Announced;
                    connection.graceful_shutdown();
                }
                Closing::Announced => {
                    closing = Closing::Forced;
                    connection.abrupt_shutdown(Reason::NO_ERROR);
                }
                Closing::Forced => return Poll::Ready(Ok(())),
            }
            idle_timer.as_mut().reset(now + GOAWAY_TIMEOUT);
        }
    })
    .await
}

/// How far the server has closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// The client must open no more streams, and has to confirm that.
    Announced,
    /// The client did not confirm in time.
    Forced,
}

/// The request as the HTTP service expects it.
fn converted(
    request: http::Request<RecvStream>,
    peer: &PeerData,
    known_peer: Option<&Rc<authn::Connection>>,
) -> Request {
    let (parts, body) = request.into_parts();
    let payload = match body.is_end_stream() {
        true => Payload::None,
        false => {
            let payload: BoxedPayloadStream = Box::pin(RequestBody(body));
            Payload::Stream { payload }
        }
    };
    let mut request = Request::with_payload(payload);
    let head = request.head_mut();
    head.uri = parts.uri;
    head.method = parts.method;
    head.version = parts.version;
    head.headers = parts.headers.into();
    head.peer_addr = peer.address;
    if let Some(known_peer) = known_peer {
        request.extensions_mut().insert(known_peer.clone());
    }
    request
}

/// The body of a request. The client may send more when a part was read.
struct RequestBody(RecvStream);

impl Stream for RequestBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_data(context).map(|part| {
            let part = part?;
            Some(part.map_err(PayloadError::from).and_then(|part| {
                self.0.flow_control().release_capacity(part.len())?;
                Ok(part)
            }))
        })
    }
}

/// Processes a request and sends the response; returns whether the connection has to end after it. If the client resets
/// the stream, a request that only reads is not processed further, and one that may change something is.
async fn answer<S, B>(
    service: &S,
    request: Request,
    mut respond: SendResponse<Bytes>,
    is_head: bool,
    send_timeout: Duration,
    service_metrics: &ServiceMetrics,
) -> bool
where
    S: Service<Request, Response = ServiceResponse<B>, Error = HttpResponse>,
    B: MessageBody,
{
    let only_reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let response = {
        let mut handled = pin!(service.call(request));
        poll_fn(|context| {
            if only_reads && respond.poll_reset(context).is_ready() {
                return Poll::Ready(None);
            }
            handled.as_mut().poll(context).map(Some)
        })
        .await
    };
    match response {
        None => false,
        Some(Ok(response)) => {
            let response: Response<B> = response.into();
            // On a new connection the client may authenticate successfully.
            let wants_close = response.status() == StatusCode::UNAUTHORIZED;
            send(response, respond, is_head, send_timeout, service_metrics).await;
            wants_close
        }
        Some(Err(response)) => {
            send(response.into(), respond, is_head, send_timeout, service_metrics).await;
            false
        }
    }
}

async fn send<B: MessageBody>(
    response: Response<B>,
    mut respond: SendResponse<Bytes>,
    is_head: bool,
    send_timeout: Duration,
    service_metrics: &ServiceMetrics,
) {
    let size = match response.status() {
        StatusCode::NO_CONTENT => BodySize::None,
        _ => response.body().size(),
    };
    let is_empty = is_head || size.is_eof();
    let head = response_head(response.status(), response.headers(), size);
    // An error means that the client has gone or has reset the stream.
    let Ok(stream) = respond.send_response(head, is_empty) else {
        return;
    };
    if is_empty {
        return;
    }
    let mut sender = BodySender {
        stream,
        timeout: send_timeout,
        remaining: send_timeout,
        progress: 0,
        service_metrics,
    };
    let mut body = pin!(response.into_body());
    let mut sent = 0;
    loop {
        // The body is asked for more only when the client accepts some: until then, nothing is compressed or read.
        if sender.capacity(1).await.is_none() {
            return;
        }
        let part = poll_fn(|context| match sender.stream.poll_reset(context) {
            Poll::Ready(_) => Poll::Ready(Err(())),
            Poll::Pending => body.as_mut().poll_next(context).map(Ok),
        })
        .await;
        let mut bytes = match part {
            Ok(Some(Ok(bytes))) => bytes,
            Ok(Some(Err(error))) => {
                let error: Box<dyn std::error::Error> = error.into();
                log::error!(reason:% = error; "a response was aborted");
                return sender.stream.send_reset(Reason::INTERNAL_ERROR);
            }
            Ok(None) if matches!(size, BodySize::Sized(_)) => {
                log::error!("a response was aborted: its body is shorter than its content-length");
                return sender.stream.send_reset(Reason::INTERNAL_ERROR);
            }
            Ok(None) => {
                // An error means that the client has gone.
                let _ = sender.stream.send_data(Bytes::new(), true);
                return;
            }
            Err(()) => return,
        };
        sent += bytes.len() as u64;
        let is_last = matches!(size, BodySize::Sized(total) if sent >= total);
        while !bytes.is_empty() {
            let Some(capacity) = sender.capacity(bytes.len().min(PART_BYTES)).await else {
                return;
            };
            let part = bytes.split_to(capacity.min(bytes.len()));
            if !sender.send(part, is_last && bytes.is_empty()) {
                return;
            }
        }
        if is_last {
            return;
        }
    }
}

/// Sends the body of a response as the client accepts it.
struct BodySender<'m> {
    stream: SendStream<Bytes>,
    timeout: Duration,
    /// How long the client may still make the response wait until it must have accepted some bytes.
    remaining: Duration,
    /// Bytes that it accepted since `remaining` was the whole timeout.
    progress: usize,
    service_metrics: &'m ServiceMetrics,
}

impl BodySender<'_> {
    /// Waits until the client accepts bytes: at least one, and at most as many as wanted. `None` if the stream has ended,
    /// by the client or because the client makes no progress.
    async fn capacity(&mut self, wanted: usize) -> Option<usize> {
        self.stream.reserve_capacity(wanted);
        loop {
            let capacity = self.stream.capacity();
            if capacity > 0 {
                return Some(capacity);
            }
            let began = Instant::now();
            let change = timeout(self.remaining, poll_fn(|context| self.stream.poll_capacity(context))).await;
            match change {
                Ok(Some(Ok(_))) => self.remaining = self.remaining.saturating_sub(began.elapsed()),
                Ok(_) => return None,
                Err(_) => {
                    self.service_metrics.limit_exceeded(HttpLimit::SendTimeout);
                    self.stream.send_reset(Reason::CANCEL);
                    return None;
                }
            }
        }
    }

    /// Whether the stream is still open.
    fn send(&mut self, part: Bytes, is_last: bool) -> bool {
        self.progress += part.len();
        if self.progress >= MIN_PROGRESS_BYTES {
            (self.progress, self.remaining) = (0, self.timeout);
        }
        self.stream.send_data(part, is_last).is_ok()
    }
}

/// The head of a response, without the headers that HTTP/2 does not allow.
fn response_head(status: StatusCode, headers: &HeaderMap, size: BodySize) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = status;
    *head.version_mut() = http::Version::HTTP_2;
    let sent = head.headers_mut();
    let is_sized = size != BodySize::Stream;
    for (name, value) in headers {
        let is_forbidden = [CONNECTION, TRANSFER_ENCODING, UPGRADE].contains(name)
            || ["keep-alive", "proxy-connection"].contains(&name.as_str())
            // The size of the body counts.
            || (*name == CONTENT_LENGTH && is_sized);
        if !is_forbidden {
            sent.append::<HeaderName>(name.clone(), value.clone());
        }
    }
    if let BodySize::Sized(length) = size {
        sent.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !sent.contains_key(DATE) {
        let date = HttpDate::from(std::time::SystemTime::from(clock::now())).to_string();
        if let Ok(date) = HeaderValue::from_str(&date) {
            sent.insert(DATE, date);
        }
    }
    head
}
