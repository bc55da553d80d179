//! Compiles here what somebody brought to another Watchpost that shares the database, before anybody puts it in force:
//! so that is a matter of a moment at all of them. What cannot be compiled is told when it shall be in force.

use std::collections::HashSet;
use std::time::Duration;

use watchpost_policies::Digest;

use super::Registry;
use super::advance::now_ms;

/// How often is looked for it, whatever was told or not.
const LOOK: Duration = Duration::from_secs(10);

/// By clocks that differ no more than this, nothing is missed that was brought since this process began.
const SKEW_MS: i64 = 10 * 60 * 1000;

impl Registry {
    /// Compiles what others bring, for ever. There is nobody else where the database is a file, and no use in it where
    /// compiled code is not kept.
    pub async fn compile_ahead(self) {
        if self.0.store.listener().is_none() || !self.0.compiler.keeps() {
            return std::future::pending().await;
        }
        let since = now_ms().saturating_sub(SKEW_MS);
        let mut done = HashSet::new();
        loop {
            // Whether it was told or it is time, there is a look to be had.
            let _ = tokio::time::timeout(LOOK, self.0.brought.notified()).await;
            let brought = self.0.store.ask(move |store| store.rules_brought_since(since)).await;
            // A database that is away is told by those who need it.
            let Ok(brought) = brought else { continue };
            done.retain(|digest| brought.iter().any(|(_, known)| known == digest));
            for (rule, digest) in brought {
                let is_new = !self.0.compiler.is_kept(digest) && !done.contains(&digest);
                if is_new && self.compile_early(&rule, digest).await {
                    done.insert(digest);
                }
            }
        }
    }

    /// Whether there is nothing more to do about it.
    async fn compile_early(&self, rule: &str, digest: Digest) -> bool {
        // What nobody vouches for is not even compiled.
        if !matches!(self.unvouched(rule, Some(digest)).await, Ok(None)) {
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
