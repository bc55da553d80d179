//! The byte stream of a connection, with or without TLS: it observes how the connection ends, and applies the deadlines
//! for the heads of HTTP/1 requests and for clients that do not read.

use std::any::Any;
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::Protocol;
use actix_tls::accept::openssl::TlsStream;
use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Activity;
use crate::metrics::ServiceMetrics;
use crate::metrics::service_metrics::HttpLimit;

/// A client that accepts fewer bytes than this within the timeout makes no progress.
const MIN_PROGRESS_BYTES: usize = 4 * 1024;

/// The response to an incomplete head. The connection ends after it.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// For the TLS handshake, and for the head of each request from its first byte.
    pub(super) head: Duration,
    /// For an idle connection.
    pub(super) idle: Duration,
    /// For a client that accepts no bytes of a response.
    pub(super) send: Duration,
}

/// How far a connection got.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The client closed the connection, or it failed.
    pub(super) peer_closed: Cell<bool>,
    /// The server began to close the connection.
    pub(super) shut_down: Cell<bool>,
}

/// An accepted connection.
pub(super) struct Stream {
    connection: Connection,
    progress: Rc<Progress>,
    /// `None` for HTTP/2, whose driver has its own deadlines for requests.
    activity: Option<Rc<Activity>>,
    timeouts: Timeouts,
    /// Wakes the task at the next deadline, or earlier.
    timer: Pin<Box<Sleep>>,
    /// The client accepts no bytes at the moment.
    stall: Option<Stall>,
    service_metrics: Arc<ServiceMetrics>,
}

/// The time since which a client has accepted few bytes.
struct Stall {
    since: Instant,
    accepted: usize,
}

pub(super) enum Connection {
    Plain(TcpStream),
    Tls(TlsStream<TcpStream>),
}

impl Connection {
    pub(super) fn protocol(&self) -> Protocol {
        match self {
            Self::Tls(stream) if stream.ssl().selected_alpn_protocol() == Some(b"h2") => Protocol::Http2,
            Self::Plain(_) | Self::Tls(_) => Protocol::Http1,
        }
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

impl Stream {
    pub(super) fn new(
        connection: Connection,
        progress: Rc<Progress>,
        activity: Option<Rc<Activity>>,
        timeouts: Timeouts,
        service_metrics: Arc<ServiceMetrics>,
    ) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + timeouts.idle));
        Self {
            connection,
            progress,
            activity,
            timeouts,
            timer,
            stall: None,
            service_metrics,
        }
    }

    /// The activity of an HTTP/1 connection.
    pub(super) fn activity(&self) -> Option<Rc<Activity>> {
        self.activity.clone()
    }

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

    /// Ready if the deadline has passed; otherwise the task is woken then.
    fn poll_deadline(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        // The timer is set for the earliest deadline so far, and moved only when it fires: most deadlines are replaced by
        // later ones before they pass.
        while self.timer.as_mut().poll(context).is_ready() {
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// Ready if the client had to send the head of a request by now.
    fn poll_head_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (head, idle) = (self.timeouts.head, self.timeouts.idle);
        match self
            .activity
            .as_ref()
            .and_then(|activity| activity.deadline(head, idle))
        {
            Some(deadline) => self.poll_deadline(deadline, context),
            None => Poll::Pending,
        }
    }

    /// Ends the connection for the reader, as if the client had closed it. An incomplete head gets a response, unless a
    /// previous one is not sent yet.
    fn time_out(&mut self, context: &mut Context<'_>) {
        let has_partial_head = self
            .activity
            .as_ref()
            .is_some_and(|activity| activity.has_partial_head());
        if has_partial_head {
            self.service_metrics.limit_exceeded(HttpLimit::HeaderTimeout);
            if self.stall.is_none() {
                // A client that does not read does not get it.
                let _ = poll_inner!(self.poll_write(context, REQUEST_TIMEOUT));
            }
        }
        self.progress.peer_closed.set(true);
    }

    /// Observes that the client accepted so many bytes, or none at the moment.
    fn observe_write(&mut self, written: &Poll<io::Result<usize>>, context: &mut Context<'_>) -> io::Result<()> {
        let now = Instant::now();
        match written {
            Poll::Ready(Ok(count)) => {
                if let Some(stall) = &mut self.stall {
                    stall.accepted += count;
                    if stall.accepted >= MIN_PROGRESS_BYTES {
                        self.stall = None;
                    }
                }
                if let Some(activity) = &self.activity {
                    activity.sent(now);
                }
                Ok(())
            }
            Poll::Ready(Err(_)) => Ok(()),
            Poll::Pending => {
                let stall = self.stall.get_or_insert(Stall {
                    since: now,
                    accepted: 0,
                });
                let deadline = stall.since + self.timeouts.send;
                match self.poll_deadline(deadline, context) {
                    Poll::Pending => Ok(()),
                    Poll::Ready(()) => {
                        self.service_metrics.limit_exceeded(HttpLimit::SendTimeout);
                        self.progress.peer_closed.set(true);
                        Err(io::ErrorKind::TimedOut.into())
                    }
                }
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, had_space) = (buffer.filled().len(), buffer.remaining() > 0);
        let result = match poll_inner!(self.poll_read(context, buffer)) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                ready!(self.poll_head_deadline(context));
                self.time_out(context);
                return Poll::Ready(Ok(()));
            }
        };
        if buffer.filled().len() > before {
            if let Some(activity) = &self.activity {
                activity.received(Instant::now());
            }
        } else if had_space {
            self.progress.peer_closed.set(true);
        }
        Poll::Ready(self.note(result))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = poll_inner!(self.poll_write(context, bytes));
        self.observe_write(&written, context)?;
        let result = ready!(written);
        if matches!(result, Ok(0)) {
            self.progress.peer_closed.set(true);
        }
        Poll::Ready(self.note(result))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(poll_inner!(self.poll_flush(context)));
        // Everything is sent.
        self.stall = None;
        // After a response, the next read may be far away, so the deadline of the next head begins to run here. If it has
        // passed already, the next read ends the connection.
        if self.poll_head_deadline(context).is_ready() && !self.progress.peer_closed.get() {
            context.waker().wake_by_ref();
        }
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
        let written = poll_inner!(self.poll_write_vectored(context, slices));
        self.observe_write(&written, context)?;
        let result = ready!(written);
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
