//! Deletes versions that are not in use.

use watchpost_policies::Digest;

use super::{Actor, ChangeError, Registry};
use crate::clock;
use crate::store::Store;
use crate::store::rules::Deleted;

impl Registry {
    /// Deletes a version that is not in use, or all versions of a rule. Fails if `expected` is not the active
    /// generation.
    pub async fn delete(
        &self,
        rule: &str,
        version: Option<Digest>,
        expected: Option<i64>,
        actor: &Actor,
    ) -> Result<Deleted, ChangeError> {
        let _lock = self.0.changing.lock().await;
        let (rule, by) = (rule.to_owned(), actor.by.clone());
        let delete = move |store: &Store| store.delete_rule(&rule, version, expected, &by, clock::now_ms_signed());
        let deleted = self.0.store.ask(delete).await?;
        // A deleted rule is no longer quarantined.
        self.after_change().await;
        Ok(deleted)
    }
}
