//! Compiles rules that were uploaded to another Watchpost with the same database, before they are activated, so that
//! activating them is quick at all of them. What cannot be compiled is refused when it is activated.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use watchpost_policies::Digest;

use super::Registry;
use crate::clock;

/// How often the database is asked for new versions, with or without a notification.
const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// By clocks that differ no more than this, nothing is missed that was brought since this process began.
const CLOCK_SKEW_MS: i64 = 10 * 60 * 1000;

impl Registry {
    /// Compiles what is uploaded elsewhere, for ever; `uploaded_elsewhere` says that there is something new. Nobody else
    /// uploads where the database is a file, and there is no use in it where compiled code is not kept.
    pub async fn precompile(self, uploaded_elsewhere: Arc<Notify>) {
        if self.0.store.listener().is_none() || !self.0.compiler.keeps() {
            return std::future::pending().await;
        }
        let since = clock::now_ms_signed().saturating_sub(CLOCK_SKEW_MS);
        let mut done = HashSet::new();
        loop {
            // Whether it was told or it is time, there is a look to be had.
            let _ = tokio::time::timeout(POLL_INTERVAL, uploaded_elsewhere.notified()).await;
            let brought = self.0.store.ask(move |store| store.rules_uploaded_since(since)).await;
            // A database that is away is told by those who need it.
            let Ok(brought) = brought else { continue };
            done.retain(|digest| brought.iter().any(|(_, known)| known == digest));
            for (rule, digest) in brought {
                let is_new = !self.0.compiler.is_kept(digest) && !done.contains(&digest);
                if is_new && self.precompile_version(&rule, digest).await {
                    done.insert(digest);
                }
            }
        }
    }

    /// Whether there is nothing more to do about it.
    async fn precompile_version(&self, rule: &str, digest: Digest) -> bool {
        // What is not trusted is not even compiled.
        if !matches!(self.untrusted(rule, Some(digest)).await, Ok(None)) {
            return false;
        }
        let compiled = tokio::select! {
            compiled = self.module(rule, digest) => compiled,
            // Whoever is waited for comes first. This ends the process that compiles.
            () = self.0.compiler.another_is_wanted(digest) => return false,
        };
        match compiled {
            Ok(_) => log::info!(rule, digest:% = digest; "a rule that was brought elsewhere is compiled here too"),
            Err(error) if error.passes() => return false,
            Err(error) => log::warn!(
                rule, digest:% = digest, reason:% = error;
                "a rule that was brought elsewhere cannot be compiled here"
            ),
        }
        true
    }
}
