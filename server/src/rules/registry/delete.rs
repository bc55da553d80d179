//! Deletes versions that take no part.

use watchpost_policies::Digest;

use super::{Actor, ChangeError, Registry};
use crate::clock;
use crate::store::Store;
use crate::store::rules::Deleted;

impl Registry {
    /// Deletes a version that takes no part, or all of a rule's, unless another generation is in force than the one that
    /// is expected.
    pub async fn delete(
        &self,
        rule: &str,
        version: Option<Digest>,
        expected: Option<i64>,
        actor: &Actor,
    ) -> Result<Deleted, ChangeError> {
        let _turn = self.0.changing.lock().await;
        let (rule, by) = (rule.to_owned(), actor.by.clone());
        let delete = move |store: &Store| store.delete_rule(&rule, version, expected, &by, clock::now_ms_signed());
        let deleted = self.0.store.ask(delete).await?;
        // What is gone is not in quarantine any more.
        self.after_change().await;
        Ok(deleted)
    }
}
