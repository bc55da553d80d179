//! Collects measurements of the local machine, of Azure resources and of work chunks on a schedule. It does not
//! judge them.

pub mod blocking;
pub mod certificates;
pub mod chunks;
pub mod collector;
pub mod configured;
mod handle;
pub mod host;
mod mode;
pub mod refresh;
pub mod rules;
mod runner;
mod state;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Mutex, watch};

use crate::tasks::Tasks;
pub use handle::{CollectorHandle, Mailbox, SourceError, mailbox};
pub use mode::Mode;
pub use watchpost_source::{probe, source};

use collector::{Collector, Options, Round};
use source::MakeSource;

/// Starts the collector of this mailbox with these sources. Every round is published on `published`.
pub fn start(
    tasks: &Tasks,
    options: Options,
    sources: Vec<MakeSource>,
    mailbox: Mailbox,
    published: watch::Sender<Option<Arc<Round>>>,
) -> Result<(), SourceError> {
    let mut collector = Collector::new(options, mailbox, published);
    sources.into_iter().try_for_each(|make| collector.add_source(make))?;
    // If the collector panics, its sources, their results and the messages in its mailbox are kept.
    let collector = Rc::new(Mutex::new(collector));
    tasks.spawn("collector", move || {
        let collector = collector.clone();
        async move { collector.lock().await.run().await }
    });
    Ok(())
}
