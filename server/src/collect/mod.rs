//! Collects measurements of the local machine, of Azure resources and of work chunks on a schedule. It does not
//! judge them.

pub mod azure;
pub mod blocking;
pub mod chunks;
pub mod collector;
mod handle;
pub mod host;
mod mode;
pub mod probe;
pub mod refresh;
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

/// Starts the collector with these sources. Every round is published on `published`.
pub fn start(
    tasks: &Tasks,
    options: Options,
    sources: Vec<MakeSource>,
    published: watch::Sender<Option<Arc<Round>>>,
) -> Result<CollectorHandle, SourceError> {
    let (messages, mailbox) = mpsc::channel(handle::CAPACITY);
    let (refreshes, refreshed) = watch::channel(Arc::default());
    let handle = CollectorHandle {
        messages,
        refreshed,
        max_age: Some(options.max_age).filter(|max_age| *max_age < options.interval),
        refresh_timeout: refresh::timeout(options.timeout),
    };
    let mut collector = Collector::new(options, mailbox, published, refreshes);
    sources.into_iter().try_for_each(|make| collector.add_source(make))?;
    // If the collector panics, its sources, their results and the messages in its mailbox are kept.
    let collector = Rc::new(Mutex::new(collector));
    tasks.spawn("collector", move || {
        let collector = collector.clone();
        async move { collector.lock().await.run().await }
    });
    Ok(handle)
}
