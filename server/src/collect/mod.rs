//! What is measured, and how often. It judges nothing.

pub mod azure;
pub mod chunks;
pub mod collector;
pub mod host;
mod mode;
pub mod probe;
pub mod rules;
pub mod source;
mod state;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::tasks::{self, Tasks};
pub use mode::Mode;

use collector::{Collector, MAILBOX, Options, Round};
use source::Source;

/// Sets the sources and the collector to work. What they find is published again and again.
pub fn start(tasks: &Tasks, mut options: Options, sources: Vec<Source>, published: watch::Sender<Option<Arc<Round>>>) {
    options.sources = sources.iter().map(Source::describe).collect();
    let options = Rc::new(options);
    let sources: Vec<_> = sources.into_iter().map(Rc::new).collect();
    tasks.spawn("collector", move || {
        // The actor and its mailbox live and die together; what it published stays.
        let (asking, rounds) = watch::channel(0);
        let (answers, mailbox) = mpsc::channel(MAILBOX);
        let asked = sources
            .iter()
            .map(|source| source.clone().run(rounds.clone(), answers.clone()));
        let asked: Vec<_> = asked.map(tasks::go_on).collect();
        let mut collector = Collector::new(options.clone(), asking, mailbox, published.clone());
        async move {
            let _asked = asked;
            collector.run().await;
        }
    });
}
