//! Precompiles rules that were uploaded to other processes with the same database, so activating them is fast
//! everywhere. A component that cannot be compiled is rejected on activation.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use watchpost_policies::Digest;

use super::Registry;
use crate::clock;
use crate::tasks::Tasks;

/// How often the database is polled for new versions, with or without a notification.
const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// Clock differences up to this do not hide a version uploaded since this process started.
const CLOCK_SKEW_MS: i64 = 10 * 60 * 1000;

impl Registry {
    /// Starts the task that precompiles uploads of other processes; `uploaded_elsewhere` signals a new upload.
    pub fn start_precompiler(&self, tasks: &Tasks, uploaded_elsewhere: Arc<Notify>) {
        let registry = self.clone();
        tasks.spawn("rule precompiler", move || {
            registry.clone().precompile(uploaded_elsewhere.clone())
        });
    }

    /// Precompiles forever. Does nothing with SQLite, which only one process uses, or without a cache of compiled code.
    async fn precompile(self, uploaded_elsewhere: Arc<Notify>) {
        if self.0.store.listener().is_none() || !self.0.compiler.has_cache() {
            return std::future::pending().await;
        }
        let since = clock::now_ms_signed().saturating_sub(CLOCK_SKEW_MS);
        let mut done = HashSet::new();
        loop {
            // A notification or the timeout: both lead to a poll.
            let _ = tokio::time::timeout(POLL_INTERVAL, uploaded_elsewhere.notified()).await;
            let uploaded = self.0.store.ask(move |store| store.rules_uploaded_since(since)).await;
            // Requests that need the database log that it is unreachable.
            let Ok(uploaded) = uploaded else { continue };
            done.retain(|digest| uploaded.iter().any(|(_, known)| known == digest));
            for (rule, digest) in uploaded {
                let is_new = !self.0.compiler.is_cached(digest) && !done.contains(&digest);
                if is_new && self.precompile_version(&rule, digest).await {
                    done.insert(digest);
                }
            }
        }
    }

    /// Whether this version needs no further attempt.
    async fn precompile_version(&self, rule: &str, digest: Digest) -> bool {
        // An untrusted component is not compiled.
        if !matches!(self.untrusted(rule, Some(digest)).await, Ok(None)) {
            return false;
        }
        let compiled = tokio::select! {
            compiled = self.module(rule, digest) => compiled,
            // A compilation that a client waits for takes precedence; dropping this one kills its process.
            () = self.0.compiler.wait_for_other(digest) => return false,
        };
        match compiled {
            Ok(_) => log::info!(rule, digest:% = digest; "precompiled a rule that was uploaded to another process"),
            Err(error) if error.is_transient() => return false,
            Err(error) => log::warn!(
                rule, digest:% = digest, reason:% = error;
                "could not precompile a rule that was uploaded to another process"
            ),
        }
        true
    }
}
