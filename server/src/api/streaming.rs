//! Responses that are written while they are sent, each on a blocking thread. The number of concurrent streams and the
//! time that each waits for its client are limited. This module does not know the content of the responses.

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

/// Maximum number of concurrent streams. Each needs a thread of the blocking pool, which has some hundreds, and they
/// share six database connections: more streams would not finish sooner.
const MAX_CONCURRENT_STREAMS: usize = 16;

/// A client that reads nothing for this long is considered disconnected: a chunk is sent within this time at two
/// kilobytes a second.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a request waits for a free stream. A dashboard with twenty panels requests all of them at once, and most
/// responses take some milliseconds.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Chunks that are buffered for a slow client; then the writer waits.
const BUFFERED_CHUNKS: usize = 4;

/// The size of a chunk: large enough for an efficient socket write.
const CHUNK_BYTES: usize = 64 * 1024;

/// All streams. Cheap to clone.
#[derive(Clone)]
pub struct StreamPool {
    free: Arc<Semaphore>,
    read_timeout: Duration,
    wait: Duration,
}

/// The permit for one stream.
pub struct StreamPermit {
    permit: OwnedSemaphorePermit,
    read_timeout: Duration,
}

/// The writer of a response.
pub struct StreamWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    runtime: Handle,
    read_timeout: Duration,
}

impl StreamPool {
    /// No stream is active.
    pub fn new() -> Self {
        Self::with_timeouts(READ_TIMEOUT, QUEUE_TIMEOUT)
    }

    /// With other timeouts: for a client that does not read, and for a free stream.
    fn with_timeouts(read_timeout: Duration, wait: Duration) -> Self {
        Self {
            free: Arc::new(Semaphore::new(MAX_CONCURRENT_STREAMS)),
            read_timeout,
            wait,
        }
    }

    /// Waits a short time for a free stream; none means that too many are active.
    pub async fn acquire(&self) -> Option<StreamPermit> {
        let permit = timeout(self.wait, self.free.clone().acquire_owned()).await.ok()?;
        Some(StreamPermit {
            permit: permit.ok()?,
            read_timeout: self.read_timeout,
        })
    }
}

impl Default for StreamPool {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamPermit {
    /// Starts the response. It ends with an error if the work fails or the client stops reading.
    pub fn start(
        self,
        work: impl FnOnce(&mut StreamWriter) -> io::Result<()> + Send + 'static,
    ) -> impl Stream<Item = io::Result<Bytes>> {
        let Self { permit, read_timeout } = self;
        let (sender, mut chunks) = mpsc::channel(BUFFERED_CHUNKS);
        // The error has its own channel: if the client stops reading, the chunk channel has no room for it.
        let broken: Arc<Mutex<Option<io::Error>>> = Arc::default();
        let reported = broken.clone();
        spawn_detached("streamed response", async move {
            let held = sender.clone();
            let mut writer = StreamWriter {
                sender,
                buffer: Vec::with_capacity(CHUNK_BYTES),
                runtime: Handle::current(),
                read_timeout,
            };
            let done = block(move || {
                let done = work(&mut writer).and_then(|()| writer.send_chunk());
                drop(permit);
                done
            });
            if let Err(error) = done.await.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
                *reported.lock() = Some(error);
            }
            // This ends the stream; no error can follow.
            drop(held);
        });
        poll_fn(move |context| match chunks.poll_recv(context) {
            Poll::Ready(None) => {
                let broken = broken.lock().take();
                Poll::Ready(broken.map(Err))
            }
            other => other,
        })
    }
}

/// Sends a chunk. An error means that the client no longer reads.
impl io::Write for StreamWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES {
            self.send_chunk()?;
        }
        Ok(bytes.len())
    }

    /// An incomplete chunk is sent by `finish`.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl StreamWriter {
    fn send_chunk(&mut self) -> io::Result<()> {
        let chunk = std::mem::take(&mut self.buffer);
        let sent = self.sender.send(Ok(chunk.into()));
        // The timer is created inside the runtime.
        match self.runtime.block_on(async { timeout(self.read_timeout, sent).await }) {
            Ok(sent) => sent.map_err(|_| io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client read nothing for too long",
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

    fn endless(writer: &mut StreamWriter) -> io::Result<()> {
        let chunk = vec![b'x'; CHUNK_BYTES];
        loop {
            writer.write_all(&chunk)?;
        }
    }

    #[test]
    fn a_response_is_complete_and_a_failed_one_ends_with_an_error() {
        run(async {
            let pool = StreamPool::with_timeouts(LONG, LONG);
            let many = BUFFERED_CHUNKS * 3;
            let whole = pool.acquire().await.expect("one is free").start(move |writer| {
                let chunk = vec![b'x'; CHUNK_BYTES];
                (0..many).try_for_each(|_| writer.write_all(&chunk))?;
                writer.write_all(b"the end")
            });
            let chunks: Vec<_> = whole.collect().await;
            assert!(chunks.iter().all(Result::is_ok), "it is whole");
            assert_eq!(chunks.len(), many + 1);
            let broken = pool.acquire().await.expect("one is free").start(|writer| {
                writer.write_all(b"part")?;
                Err(io::Error::other("no more"))
            });
            let chunks: Vec<_> = broken.collect().await;
            assert!(chunks.last().is_some_and(Result::is_err), "{chunks:?}");
        });
    }

    #[test]
    fn a_client_that_stops_reading_is_disconnected() {
        run(async {
            let pool = StreamPool::with_timeouts(SOON, LONG);
            let (report, reported) = oneshot::channel();
            let unread = pool.acquire().await.expect("one is free").start(|writer| {
                let done = endless(writer);
                let _ = report.send(done.as_ref().map_err(io::Error::kind).copied());
                done
            });
            assert_eq!(reported.await.expect("it ends"), Err(io::ErrorKind::TimedOut));
            let chunks: Vec<_> = unread.collect().await;
            assert_eq!(chunks.len(), BUFFERED_CHUNKS + 1);
            assert!(
                chunks.last().is_some_and(Result::is_err),
                "a part is not taken for the whole"
            );
        });
    }

    #[test]
    fn a_stream_over_the_limit_is_rejected_until_another_ends() {
        run(async {
            let pool = StreamPool::with_timeouts(LONG, SOON);
            let mut unread = Vec::new();
            for _ in 0..MAX_CONCURRENT_STREAMS {
                unread.push(pool.acquire().await.expect("one is free").start(endless));
            }
            assert!(pool.acquire().await.is_none(), "all streams wait for their clients");
            unread.pop();
            let with_timeouts = StreamPool {
                wait: LONG,
                ..pool.clone()
            };
            let next = with_timeouts.acquire().await.expect("one ended");
            let chunks: Vec<_> = next.start(|writer| writer.write_all(b"served")).collect().await;
            assert_eq!(chunks[0].as_ref().expect("it is whole"), "served");
        });
    }
}
