//! Answers that are written while they are sent, each on a thread that may block. How many do so at once is bounded,
//! and how long each waits for its reader; what is in an answer is not known here.

use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::stream::{Stream, poll_fn};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::tasks::{block, spawn_detached};

/// Answers that flow at once. Each has a thread, of which there are some hundreds for everything that blocks, and they
/// share six connections to the database: more of them would not be done sooner.
const MAX_CONCURRENT_STREAMS: usize = 16;

/// A reader that takes nothing for so long is not slow but gone: a piece is passed on in this time at two kilobytes a
/// second.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How long somebody waits for others to end. A page of twenty diagrams asks for all of them at once, and most answers
/// take some milliseconds.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Pieces that wait for a client that reads slowly; then the work waits.
const BUFFERED_CHUNKS: usize = 4;

/// As large as one write to a socket is worth.
const PIECE_BYTES: usize = 64 * 1024;

/// All answers that flow. Cheap to clone.
#[derive(Clone)]
pub struct Flows {
    free: Arc<Semaphore>,
    patience: Duration,
    wait: Duration,
}

/// The right to one of them.
pub struct StreamPermit {
    permit: OwnedSemaphorePermit,
    patience: Duration,
}

/// Where an answer is written to.
pub struct Flow {
    sender: mpsc::Sender<io::Result<Bytes>>,
    waiting: Vec<u8>,
    runtime: Handle,
    patience: Duration,
}

impl Flows {
    /// None flows yet.
    pub fn new() -> Self {
        Self::patient(READ_TIMEOUT, QUEUE_TIMEOUT)
    }

    /// Each waits for its reader that long, and for others to end that long.
    fn patient(patience: Duration, wait: Duration) -> Self {
        Self {
            free: Arc::new(Semaphore::new(MAX_CONCURRENT_STREAMS)),
            patience,
            wait,
        }
    }

    /// Waits a little until another may flow; nothing says that too many do.
    pub async fn turn(&self) -> Option<StreamPermit> {
        let permit = timeout(self.wait, self.free.clone().acquire_owned()).await.ok()?;
        Some(StreamPermit {
            permit: permit.ok()?,
            patience: self.patience,
        })
    }
}

impl Default for Flows {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamPermit {
    /// An answer. Where the work breaks, or the reader stops, so does the answer.
    pub fn flow(
        self,
        work: impl FnOnce(&mut Flow) -> io::Result<()> + Send + 'static,
    ) -> impl Stream<Item = io::Result<Bytes>> {
        let Self { permit, patience } = self;
        let (sender, mut pieces) = mpsc::channel(BUFFERED_CHUNKS);
        // Told beside the pieces: where nobody takes these, there is no room for a last word among them.
        let broken: Arc<Mutex<Option<io::Error>>> = Arc::default();
        let told = broken.clone();
        spawn_detached(async move {
            let held = sender.clone();
            let mut flow = Flow {
                sender,
                waiting: Vec::with_capacity(PIECE_BYTES),
                runtime: Handle::current(),
                patience,
            };
            let done = block(move || {
                let done = work(&mut flow).and_then(|()| flow.pass_on());
                drop(permit);
                done
            });
            if let Err(error) = done.await.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
                *told.lock() = Some(error);
            }
            // The stream ends with this, and only now there is nothing more to be told.
            drop(held);
        });
        poll_fn(move |context| match pieces.poll_recv(context) {
            Poll::Ready(None) => {
                let broken = broken.lock().take();
                Poll::Ready(broken.map(Err))
            }
            other => other,
        })
    }
}

/// Writes more of the answer. An error says that nobody reads any more.
impl io::Write for Flow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PIECE_BYTES {
            self.pass_on()?;
        }
        Ok(bytes.len())
    }

    /// What is not a whole piece yet is passed on at the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Flow {
    fn pass_on(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.waiting);
        let sent = self.sender.send(Ok(piece.into()));
        // The timer is made where the runtime is known, which is inside of it.
        match self.runtime.block_on(async { timeout(self.patience, sent).await }) {
            Ok(sent) => sent.map_err(|_| io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the reader took nothing for too long",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures_util::StreamExt;
    use tokio::sync::oneshot;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    fn run(test: impl Future<Output = ()>) {
        actix_web::rt::System::new().block_on(test);
    }

    fn endless(flow: &mut Flow) -> io::Result<()> {
        let piece = vec![b'x'; PIECE_BYTES];
        loop {
            flow.write_all(&piece)?;
        }
    }

    #[test]
    fn an_answer_comes_whole_and_a_broken_one_says_so_at_its_end() {
        run(async {
            let flows = Flows::patient(LONG, LONG);
            let many = BUFFERED_CHUNKS * 3;
            let whole = flows.turn().await.expect("one is free").flow(move |flow| {
                let piece = vec![b'x'; PIECE_BYTES];
                (0..many).try_for_each(|_| flow.write_all(&piece))?;
                flow.write_all(b"the end")
            });
            let pieces: Vec<_> = whole.collect().await;
            assert!(pieces.iter().all(Result::is_ok), "it is whole");
            assert_eq!(pieces.len(), many + 1);
            let broken = flows.turn().await.expect("one is free").flow(|flow| {
                flow.write_all(b"part")?;
                Err(io::Error::other("no more"))
            });
            let pieces: Vec<_> = broken.collect().await;
            assert!(pieces.last().is_some_and(Result::is_err), "{pieces:?}");
        });
    }

    #[test]
    fn a_reader_that_stops_is_let_go() {
        run(async {
            let flows = Flows::patient(SOON, LONG);
            let (tell, told) = oneshot::channel();
            let unread = flows.turn().await.expect("one is free").flow(|flow| {
                let done = endless(flow);
                let _ = tell.send(done.as_ref().map_err(io::Error::kind).copied());
                done
            });
            assert_eq!(told.await.expect("it ends"), Err(io::ErrorKind::TimedOut));
            let pieces: Vec<_> = unread.collect().await;
            assert_eq!(pieces.len(), BUFFERED_CHUNKS + 1);
            assert!(
                pieces.last().is_some_and(Result::is_err),
                "a part is not taken for the whole"
            );
        });
    }

    #[test]
    fn one_more_than_may_flow_is_refused_until_another_ends() {
        run(async {
            let flows = Flows::patient(LONG, SOON);
            let mut unread = Vec::new();
            for _ in 0..MAX_CONCURRENT_STREAMS {
                unread.push(flows.turn().await.expect("one is free").flow(endless));
            }
            assert!(flows.turn().await.is_none(), "all of them wait for their readers");
            unread.pop();
            let patient = Flows {
                wait: LONG,
                ..flows.clone()
            };
            let next = patient.turn().await.expect("one ended");
            let pieces: Vec<_> = next.flow(|flow| flow.write_all(b"served")).collect().await;
            assert_eq!(pieces[0].as_ref().expect("it is whole"), "served");
        });
    }
}
