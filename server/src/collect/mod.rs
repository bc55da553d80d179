//! What is measured, and how often. It judges nothing.

pub mod azure;
pub mod blocking;
pub mod chunks;
pub mod collector;
mod handle;
pub mod host;
mod mode;
pub mod probe;
pub mod rules;
mod runner;
pub mod source;
mod state;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, watch};

use crate::tasks::Tasks;
pub use handle::{CollectorHandle, SourceError};
pub use mode::Mode;

use collector::{Collector, Options, Round};
use source::MakeSource;

/// Sets the collector to work, with these sources from its first round on. What they find is published again and
/// again.
pub fn start(
    tasks: &Tasks,
    options: Options,
    sources: Vec<MakeSource>,
    published: watch::Sender<Option<Arc<Round>>>,
) -> Result<CollectorHandle, SourceError> {
    let (messages, mailbox) = mpsc::channel(handle::CAPACITY);
    let mut collector = Collector::new(options, mailbox, published);
    sources.into_iter().try_for_each(|make| collector.add_source(make))?;
    // When the collector panics, its sources and what they answered stay, and those who wait in its mailbox.
    let collector = Rc::new(Mutex::new(collector));
    tasks.spawn("collector", move || {
        let collector = collector.clone();
        async move { collector.lock().await.run().await }
    });
    Ok(CollectorHandle(messages))
}
