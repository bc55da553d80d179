//! Versions that take no part are let go.

use watchpost_policies::Digest;

use super::advance::now_ms;
use super::{Actor, ChangeError, Registry};
use crate::store::rules::Deleted;

impl Registry {
    /// Lets a version go that takes no part, or all of a rule's, unless another generation is in force than the one
    /// that is expected.
    pub async fn let_go(
        &self,
        rule: &str,
        version: Option<Digest>,
        expected: Option<i64>,
        actor: &Actor,
    ) -> Result<Deleted, ChangeError> {
        let _turn = self.0.changing.lock().await;
        let (rule, by) = (rule.to_owned(), actor.by.clone());
        let let_go = move |store: &crate::store::Store| store.let_rule_go(&rule, version, expected, &by, now_ms());
        let deleted = self.0.store.ask(let_go).await?;
        // What is gone is not put aside any more.
        self.look_aside().await;
        Ok(deleted)
    }
}
