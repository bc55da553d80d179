//! Limits the size and the receive time of a request body, and discards a body that no handler reads in the way that
//! the HTTP version needs.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::http::Version;
use actix_web::web::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{self, Stream};
use tokio::time::Instant;

use crate::tasks;

/// How long an HTTP/2 stream stays open whose body no handler reads.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// How many bytes of it are read and discarded in that time. They are read because unread data takes up the
/// flow-control window of the whole connection.
const MAX_LINGER_BYTES: usize = 64 << 20;

/// A request body with limits. Over HTTP/1, a response without a read body leaves it here: the framework drains a body
/// that has been dropped, however long it is, and closes the connection over one that is still held.
///
/// Over HTTP/2, dropping the body resets the stream, and older clients (curl 7.88, which Debian 12 has) then discard
/// the response. So the body is kept until the client has read the response and stopped sending.
pub(super) struct LimitedBody {
    body: Rc<Body>,
    lingers: bool,
}

struct Body {
    payload: RefCell<Payload>,
    ended: Cell<bool>,
}

impl LimitedBody {
    /// Replaces the request's body by one that ends with an error if it is too long or too slow.
    pub(super) fn bound(request: &mut ServiceRequest, limit: u64, timeout: Duration) -> Option<Self> {
        if matches!(request.parts_mut().1, Payload::None) {
            return None;
        }
        let body = Rc::new(Body {
            payload: RefCell::new(request.take_payload()),
            ended: Cell::new(false),
        });
        let bounded = bounded(body.clone(), limit, Instant::now() + timeout);
        request.set_payload(Payload::Stream {
            payload: Box::pin(bounded),
        });
        let lingers = request.version() == Version::HTTP_2;
        Some(Self { body, lingers })
    }
}

impl Drop for LimitedBody {
    fn drop(&mut self) {
        if !self.lingers || self.body.ended.get() {
            return;
        }
        // Most requests have no body, which the first poll shows.
        if !matches!(self.body.next().now_or_never(), Some(None)) {
            tasks::spawn_detached("unread body", linger(self.body.clone()));
        }
    }
}

/// Discards the rest of the body, up to the limits of time and size.
async fn linger(body: Rc<Body>) {
    let deadline = Instant::now() + LINGER_TIMEOUT;
    let mut read = 0;
    while read < MAX_LINGER_BYTES {
        match tokio::time::timeout_at(deadline, body.next()).await {
            Ok(Some(Ok(bytes))) => read += bytes.len(),
            _ => return,
        }
    }
}

impl Body {
    async fn next(&self) -> Option<Result<Bytes, PayloadError>> {
        let next = poll_fn(|context| Pin::new(&mut *self.payload.borrow_mut()).poll_next(context)).await;
        self.ended.set(next.is_none());
        next
    }
}

fn bounded(body: Rc<Body>, limit: u64, deadline: Instant) -> impl Stream<Item = Result<Bytes, PayloadError>> {
    stream::unfold(Some((body, 0)), move |state| async move {
        let (body, taken) = state?;
        let item = match tokio::time::timeout_at(deadline, body.next()).await {
            Err(_) => Err(PayloadError::Io(std::io::ErrorKind::TimedOut.into())),
            Ok(None) => return None,
            Ok(Some(Err(error))) => Err(error),
            Ok(Some(Ok(bytes))) => {
                let taken = taken + bytes.len() as u64;
                if taken <= limit {
                    return Some((Ok(bytes), Some((body, taken))));
                }
                Err(PayloadError::Overflow)
            }
        };
        Some((item, None))
    })
}
