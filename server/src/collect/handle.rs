//! How others reach the collector: messages to its mailbox, each with an answer.

use tokio::sync::{mpsc, oneshot};

use super::source::MakeSource;

/// So many messages wait; who sends more waits with them.
pub(super) const CAPACITY: usize = 16;

/// What the collector can be told.
pub(super) enum Message {
    /// The source is measured from the next round on.
    AddSource {
        make: MakeSource,
        reply: oneshot::Sender<Result<(), SourceError>>,
    },
    /// The source is in no round that ends after this, whatever it is doing.
    RemoveSource {
        name: String,
        reply: oneshot::Sender<Result<(), SourceError>>,
    },
}

/// Why a source was not added or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Names are unique.
    #[error("there is a source {0} already")]
    Exists(String),
    /// It was never added, or was removed before.
    #[error("there is no source {0}")]
    Unknown(String),
    /// The process ends, or the collector panicked over what it was told.
    #[error("the collector does not answer")]
    Unanswered,
}

/// Reaches the collector from any thread.
#[derive(Clone)]
pub struct CollectorHandle(pub(super) mpsc::Sender<Message>);

impl CollectorHandle {
    /// Adds a source. It is made on the collector's thread, and measured from the next round on.
    pub async fn add_source(&self, make: MakeSource) -> Result<(), SourceError> {
        self.ask(|reply| Message::AddSource { make, reply }).await
    }

    /// Removes a source, even while it is being measured. Its samples are in no round that ends after this, and its
    /// service metrics go with the next round.
    pub async fn remove_source(&self, name: &str) -> Result<(), SourceError> {
        let name = name.to_owned();
        self.ask(|reply| Message::RemoveSource { name, reply }).await
    }

    async fn ask(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<(), SourceError>>) -> Message,
    ) -> Result<(), SourceError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(message(reply)).await.map_err(|_| SourceError::Unanswered)?;
        answer.await.unwrap_or(Err(SourceError::Unanswered))
    }
}
