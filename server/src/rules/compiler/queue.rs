//! Who is compiled for next: one at a time, in the order in which they came, and not too many waiting. It knows nothing
//! of what is done in a turn.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) struct CompileQueue {
    /// For the one whose turn it is and those who wait.
    places: Arc<Semaphore>,
    one: Arc<Semaphore>,
}

/// The right to compile, until it is dropped.
pub(super) struct QueuePermit {
    _place: OwnedSemaphorePermit,
    _one: OwnedSemaphorePermit,
}

impl CompileQueue {
    pub(super) fn new(waiting: usize) -> Self {
        let places = waiting.saturating_add(1).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            one: Arc::new(Semaphore::new(1)),
        }
    }

    /// Nothing, if as many wait as may.
    pub(super) async fn take(&self) -> Option<QueuePermit> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        let one = self.one.clone().acquire_owned().await;
        Some(QueuePermit {
            _place: place,
            _one: one.expect("nobody closes it"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    fn waits(taking: impl Future<Output = Option<QueuePermit>> + Unpin) -> bool {
        taking.now_or_never().is_none()
    }

    #[test]
    fn one_has_the_turn_as_many_wait_as_may_and_the_next_is_sent_away() {
        actix_web::rt::System::new().block_on(async {
            let turns = CompileQueue::new(2);
            let first = turns.take().await.expect("nobody else is there");
            let (mut second, mut third) = (pin!(turns.take()), pin!(turns.take()));
            assert!(waits(&mut second) && waits(&mut third));
            assert!(turns.take().await.is_none(), "two wait");
            drop(first);
            let second = second.await.expect("it waited");
            assert!(waits(&mut third), "one at a time");
            drop(second);
            assert!(third.await.is_some());
        });
    }

    #[test]
    fn whoever_does_not_wait_any_more_takes_no_place() {
        actix_web::rt::System::new().block_on(async {
            let turns = CompileQueue::new(1);
            let first = turns.take().await;
            {
                let mut second = pin!(turns.take());
                assert!(waits(&mut second));
            }
            let mut third = pin!(turns.take());
            assert!(waits(&mut third), "there is a place again");
            drop(first);
            assert!(third.await.is_some());
        });
    }
}
