//! The handle to the collector: messages to its mailbox, each with a reply.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::refresh::{self, Refreshed};
use super::source::MakeSource;

/// How long a scrape waits for the collector, which replies earlier, unless it is not started yet or is restarted after
/// a panic.
const REFRESH_REPLY_TIMEOUT: Duration = refresh::MAX_TIMEOUT.saturating_add(Duration::from_millis(500));

/// The capacity of the mailbox. A sender that finds it full waits.
const CAPACITY: usize = 16;

/// A message to the collector.
pub(super) enum Message {
    /// The source is measured from the next round on.
    AddSource {
        make: MakeSource,
        reply: oneshot::Sender<Result<(), SourceError>>,
    },
    /// The source is in no round that ends after this, even if it is being measured.
    RemoveSource {
        name: String,
        reply: oneshot::Sender<Result<(), SourceError>>,
    },
    /// The fast sources are measured now, unless the last refresh is not older than this.
    Refresh {
        max_age: Duration,
        reply: oneshot::Sender<Arc<Refreshed>>,
    },
}

/// Why a source was not added or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Source names are unique.
    #[error("source {0} already exists")]
    Exists(String),
    /// The source was never added, or is already removed.
    #[error("source {0} does not exist")]
    Unknown(String),
    /// The process is stopping, or the collector panicked while handling the message.
    #[error("the collector does not answer")]
    Unanswered,
}

/// A handle that any thread can use.
#[derive(Clone)]
pub struct CollectorHandle {
    pub(super) messages: mpsc::Sender<Message>,
    refreshed: watch::Receiver<Arc<Refreshed>>,
    max_age: Option<Duration>,
}

/// The messages to a collector that is not started yet.
pub struct Mailbox {
    pub(super) messages: mpsc::Receiver<Message>,
    /// The collector publishes the readings of scrapes here.
    pub(super) refreshes: watch::Sender<Arc<Refreshed>>,
}

/// A handle to a collector that is started later, with this mailbox. Until then, requests wait; if the mailbox is
/// dropped, they fail. A scrape refreshes the readings of the fast sources if the last refresh is older than `max_age`;
/// without it, scrapes measure nothing.
pub fn mailbox(max_age: Option<Duration>) -> (CollectorHandle, Mailbox) {
    let (sender, messages) = mpsc::channel(CAPACITY);
    let (refreshes, refreshed) = watch::channel(Arc::default());
    let handle = CollectorHandle {
        messages: sender,
        refreshed,
        max_age,
    };
    (handle, Mailbox { messages, refreshes })
}

impl CollectorHandle {
    /// Adds a source. It is created on the collector's thread, and measured from the next round on.
    pub async fn add_source(&self, make: MakeSource) -> Result<(), SourceError> {
        self.request(|reply| Message::AddSource { make, reply }).await
    }

    /// Removes a source, even while it is being measured. Its samples are in no round that ends after this, and
    /// its service metrics disappear with the next round.
    pub async fn remove_source(&self, name: &str) -> Result<(), SourceError> {
        let name = name.to_owned();
        self.request(|reply| Message::RemoveSource { name, reply }).await
    }

    /// The readings between rounds, measured again if the last ones are older than `collector.max_age`. If a source does
    /// not answer in time, its last reading is returned.
    pub async fn refreshed(&self) -> Arc<Refreshed> {
        let last = self.refreshed.borrow().clone();
        let Some(max_age) = self.max_age else { return last };
        if last.is_recent(max_age) {
            return last;
        }
        let measured = async {
            let (reply, answer) = oneshot::channel();
            self.messages.send(Message::Refresh { max_age, reply }).await.ok()?;
            answer.await.ok()
        };
        let measured = tokio::time::timeout(REFRESH_REPLY_TIMEOUT, measured).await;
        measured.ok().flatten().unwrap_or(last)
    }

    async fn request(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<(), SourceError>>) -> Message,
    ) -> Result<(), SourceError> {
        let (reply, answer) = oneshot::channel();
        self.messages
            .send(message(reply))
            .await
            .map_err(|_| SourceError::Unanswered)?;
        answer.await.unwrap_or(Err(SourceError::Unanswered))
    }
}
