//! The registry's work beside the requests, each a task of its own. What each does is told where it does it.

use std::sync::Arc;

use tokio::sync::watch;
use watchpost_policies::Report;

use super::Registry;
use crate::decisions::Decisions;
use crate::tasks::Tasks;

impl Registry {
    /// Sets all of it to work. `judged` is what tells of rules that fail, and `decisions` keeps what a role rule in
    /// shadow mode would have decided.
    pub fn start<J>(&self, tasks: &Tasks, judged: watch::Receiver<Option<Arc<J>>>, decisions: Decisions)
    where
        J: AsRef<Report> + 'static,
    {
        let registry = self.clone();
        tasks.spawn("rule healer", move || registry.clone().heal(judged.clone()));
        let registry = self.clone();
        tasks.spawn("rules", move || registry.clone().follow());
        let registry = self.clone();
        tasks.spawn("rules ahead", move || registry.clone().compile_ahead());
        let registry = self.clone();
        tasks.spawn("role shadow", move || {
            registry.clone().compare_decisions(decisions.clone())
        });
    }
}
