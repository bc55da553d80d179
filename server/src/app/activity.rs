//! The activity of an HTTP/1 connection: whether it processes a request, and since when it waits for one. The service
//! that handles requests reports the requests, and the stream reports the received bytes; from both follows the deadline
//! for the head of every request, which the dispatcher of actix-http applies to the first one only.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::{Request, Response};
use actix_service::Service;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::web::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

/// The largest part of a response that is handed to the dispatcher at once. The dispatcher copies each part to its
/// buffer, so this bounds the memory of a response that a client does not read.
const MAX_PART_BYTES: usize = 64 * 1024;

/// What a connection is doing. One value is shared by its stream and its requests.
#[derive(Debug)]
pub(super) struct Activity {
    in_flight: Cell<usize>,
    /// When the connection began to wait for a request.
    idle_since: Cell<Instant>,
    /// When the first byte of the awaited head arrived.
    head_since: Cell<Option<Instant>>,
}

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            in_flight: Cell::new(0),
            idle_since: Cell::new(now),
            head_since: Cell::new(None),
        }
    }

    /// Whether no request is processed.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.get() == 0
    }

    /// Bytes arrived.
    pub(super) fn received(&self, now: Instant) {
        if self.is_idle() && self.head_since.get().is_none() {
            self.head_since.set(Some(now));
        }
    }

    /// A part of a response was sent; its client waits for the rest.
    pub(super) fn sent(&self, now: Instant) {
        self.idle_since.set(now);
    }

    /// When the connection must have sent a complete head; `None` while a request is processed.
    pub(super) fn deadline(&self, head_timeout: Duration, idle_timeout: Duration) -> Option<Instant> {
        if !self.is_idle() {
            return None;
        }
        // The beginning of a head may have arrived while the previous request was processed, so an idle connection has
        // a deadline too.
        let idle_end = self.idle_since.get() + idle_timeout;
        let head_end = self.head_since.get().map(|since| since + head_timeout);
        Some(head_end.map_or(idle_end, |head_end| head_end.min(idle_end)))
    }

    /// Whether a part of a head has arrived.
    pub(super) fn has_partial_head(&self) -> bool {
        self.head_since.get().is_some()
    }
}

/// Counts a request as in flight until its response is complete.
struct InFlight(Rc<Activity>);

impl InFlight {
    fn new(activity: Rc<Activity>) -> Self {
        activity.in_flight.set(activity.in_flight.get() + 1);
        activity.head_since.set(None);
        Self(activity)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let activity = &self.0;
        activity.in_flight.set(activity.in_flight.get() - 1);
        if activity.is_idle() {
            activity.idle_since.set(Instant::now());
        }
    }
}

/// The service of an HTTP/1 connection: it reports its requests to the [`Activity`] of the connection.
pub(super) struct Tracked<S>(pub(super) Rc<S>);

impl<S> Clone for Tracked<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S, B> Service<Request> for Tracked<S>
where
    S: Service<Request, Response = ServiceResponse<B>, Error: 'static, Future: 'static>,
    B: MessageBody + Unpin,
{
    type Response = Response<TrackedBody<B>>;
    type Error = S::Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&self, request: Request) -> Self::Future {
        let in_flight = request.conn_data::<Rc<Activity>>().cloned().map(InFlight::new);
        let response = self.0.call(request);
        Box::pin(async move {
            let response: Response<B> = response.await?.into();
            Ok(response.map_body(|_, body| TrackedBody {
                body,
                rest: Bytes::new(),
                _in_flight: in_flight,
            }))
        })
    }
}

/// A response body in parts of limited size. Its request is in flight until it is dropped.
pub(super) struct TrackedBody<B> {
    body: B,
    rest: Bytes,
    _in_flight: Option<InFlight>,
}

impl<B: MessageBody + Unpin> MessageBody for TrackedBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_next(context) {
                Poll::Ready(Some(Ok(bytes))) => this.rest = bytes,
                other => return other,
            }
        }
        let part = this.rest.split_to(this.rest.len().min(MAX_PART_BYTES));
        Poll::Ready(Some(Ok(part)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(5);
    const IDLE: Duration = Duration::from_secs(75);

    #[test]
    fn the_deadline_of_a_head_begins_with_its_first_byte_and_does_not_move() {
        let begin = Instant::now();
        let activity = Rc::new(Activity::new(begin));
        assert_eq!(activity.deadline(HEAD, IDLE), Some(begin + IDLE));
        let later = begin + Duration::from_secs(10);
        activity.received(later);
        activity.received(later + Duration::from_secs(4));
        assert_eq!(activity.deadline(HEAD, IDLE), Some(later + HEAD));
        assert!(activity.has_partial_head());
    }

    #[test]
    fn a_connection_with_a_request_in_flight_has_no_deadline_and_waits_for_the_next_head_afterwards() {
        let begin = Instant::now();
        let activity = Rc::new(Activity::new(begin));
        activity.received(begin);
        let first = InFlight::new(activity.clone());
        assert_eq!(activity.deadline(HEAD, IDLE), None);
        // A body, or the head of a pipelined request.
        activity.received(begin);
        assert!(!activity.has_partial_head());
        drop(first);
        let idle = activity.deadline(HEAD, IDLE).expect("it is idle");
        assert!(idle >= begin + IDLE && !activity.has_partial_head());
    }

    #[tokio::test]
    async fn a_large_body_is_split_and_complete() {
        let whole = Bytes::from((0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
        let mut body = TrackedBody {
            body: whole.clone(),
            rest: Bytes::new(),
            _in_flight: None,
        };
        assert_eq!(body.size(), BodySize::Sized(whole.len() as u64));
        let mut all = Vec::new();
        while let Some(Ok(part)) = std::future::poll_fn(|context| Pin::new(&mut body).poll_next(context)).await {
            assert!((1..=MAX_PART_BYTES).contains(&part.len()));
            all.extend_from_slice(&part);
        }
        assert!(all == whole);
    }
}
