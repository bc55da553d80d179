//! A body on its way in: bounded in length and time for whoever reads it, and let go as its protocol wants when nobody
//! does.

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

/// How long a stream of HTTP/2 is kept open whose body nobody wants.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// How much more of it is read in that time, and let go. It is read, for what lies unread takes the room of all other
/// streams of the connection.
const MAX_LINGER_BYTES: usize = 64 << 20;

/// A body on its way in. Over HTTP/1 whoever answers without having read it leaves it here: the framework reads on what
/// nobody holds any more, however long it is, and closes a connection over what somebody still does.
///
/// Over HTTP/2 a stream is reset when nobody holds its body, and clients of their time (curl 7.88, which Debian 12 has)
/// forget the answer over that. So there it lingers, until they have read the answer and stopped.
pub(super) struct LimitedBody {
    body: Rc<Body>,
    lingers: bool,
}

struct Body {
    payload: RefCell<Payload>,
    ended: Cell<bool>,
}

impl LimitedBody {
    /// Puts a body in the place of this request's that ends with an error which says so, if it is too long or too slow.
    pub(super) fn bound(request: &mut ServiceRequest, limit: u64, longest: Duration) -> Option<Self> {
        if matches!(request.parts_mut().1, Payload::None) {
            return None;
        }
        let body = Rc::new(Body {
            payload: RefCell::new(request.take_payload()),
            ended: Cell::new(false),
        });
        let bounded = bounded(body.clone(), limit, Instant::now() + longest);
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
        // Most requests have no body, which is found out without waiting.
        if !matches!(self.body.next().now_or_never(), Some(None)) {
            tasks::spawn_detached(linger(self.body.clone()));
        }
    }
}

/// Reads on, but not for long.
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
