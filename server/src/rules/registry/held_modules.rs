//! Modules that were compiled for a change before the change is made. Compiling takes up to minutes, and the lock of the
//! changes is not held meanwhile; the modules are held here until the change is made, because there may be no cache.

use watchpost_policies::{Digest, RuleModule};

use super::{ChangeError, Registry};
use crate::store::rules::Entry;

/// Compiled modules; they are released when this is dropped.
pub(in crate::rules) struct HeldModules<'r> {
    registry: &'r Registry,
    digests: Vec<Digest>,
}

impl Registry {
    /// Holds no modules yet.
    pub(in crate::rules) fn hold_modules(&self) -> HeldModules<'_> {
        HeldModules {
            registry: self,
            digests: Vec::new(),
        }
    }

    /// Whether loading this entry compiles its component.
    pub(super) fn has_to_be_compiled(&self, entry: &Entry) -> bool {
        entry
            .digest
            .is_some_and(|digest| self.loaded_module(digest).is_none() && !self.0.compiler.is_cached(digest))
    }

    /// The module of a loaded generation, or of a change in progress.
    pub(super) fn loaded_module(&self, digest: Digest) -> Option<RuleModule> {
        let loaded = self
            .0
            .rules
            .loaded()
            .find_map(|loaded| loaded.module_of(digest).cloned());
        loaded.or_else(|| {
            let held = self.0.held.lock();
            held.iter().find(|module| module.digest() == digest).cloned()
        })
    }
}

impl HeldModules<'_> {
    /// Compiles the component of an entry and holds it.
    pub(super) async fn compile(&mut self, entry: &Entry) -> Result<(), ChangeError> {
        if let Some(digest) = entry.digest {
            let module = self.registry.module(&entry.rule, digest).await?;
            self.hold(module);
        }
        Ok(())
    }

    /// Holds a module.
    pub(in crate::rules) fn hold(&mut self, module: RuleModule) {
        self.digests.push(module.digest());
        self.registry.0.held.lock().push(module);
    }
}

impl Drop for HeldModules<'_> {
    fn drop(&mut self) {
        let mut held = self.registry.0.held.lock();
        for digest in &self.digests {
            // Another change may hold the same module, so one is removed for each that was added.
            if let Some(at) = held.iter().position(|module| module.digest() == *digest) {
                held.swap_remove(at);
            }
        }
    }
}
