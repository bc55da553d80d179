//! The handle to the collector: messages to its mailbox, each with a reply.

use tokio::sync::{mpsc, oneshot};

use super::source::MakeSource;

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
pub struct CollectorHandle(mpsc::Sender<Message>);

/// The messages to a collector that is not started yet.
pub struct Mailbox(pub(super) mpsc::Receiver<Message>);

/// A handle to a collector that is started later, with this mailbox. Until then, requests wait; if the mailbox is
/// dropped, they fail.
pub fn mailbox() -> (CollectorHandle, Mailbox) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (CollectorHandle(sender), Mailbox(receiver))
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

    async fn request(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<(), SourceError>>) -> Message,
    ) -> Result<(), SourceError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(message(reply)).await.map_err(|_| SourceError::Unanswered)?;
        answer.await.unwrap_or(Err(SourceError::Unanswered))
    }
}
