//! The queue of compilations: running runs at a time, in order of arrival, and the number of waiting ones is limited.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) struct CompileQueue {
    /// Permits for the running and the waiting compilations.
    slots: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

/// The right to compile, until it is dropped.
pub(super) struct QueuePermit {
    _slot: OwnedSemaphorePermit,
    _running: OwnedSemaphorePermit,
}

impl CompileQueue {
    pub(super) fn new(waiting: usize) -> Self {
        let slots = waiting.saturating_add(1).min(Semaphore::MAX_PERMITS);
        Self {
            slots: Arc::new(Semaphore::new(slots)),
            running: Arc::new(Semaphore::new(1)),
        }
    }

    /// `None` if the queue is full.
    pub(super) async fn acquire(&self) -> Option<QueuePermit> {
        let slot = self.slots.clone().try_acquire_owned().ok()?;
        let running = self.running.clone().acquire_owned().await;
        Some(QueuePermit {
            _slot: slot,
            _running: running.expect("the semaphore is never closed"),
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
    fn one_runs_up_to_the_limit_wait_and_the_next_is_rejected() {
        actix_web::rt::System::new().block_on(async {
            let queue = CompileQueue::new(2);
            let first = queue.acquire().await.expect("the queue is empty");
            let (mut second, mut third) = (pin!(queue.acquire()), pin!(queue.acquire()));
            assert!(waits(&mut second) && waits(&mut third));
            assert!(queue.acquire().await.is_none(), "two wait");
            drop(first);
            let second = second.await.expect("it waited");
            assert!(waits(&mut third), "one at a time");
            drop(second);
            assert!(third.await.is_some());
        });
    }

    #[test]
    fn a_dropped_waiter_frees_its_slot() {
        actix_web::rt::System::new().block_on(async {
            let queue = CompileQueue::new(1);
            let first = queue.acquire().await;
            {
                let mut second = pin!(queue.acquire());
                assert!(waits(&mut second));
            }
            let mut third = pin!(queue.acquire());
            assert!(waits(&mut third), "there is a free slot again");
            drop(first);
            assert!(third.await.is_some());
        });
    }
}
