//! The built-in rules as components, active until an operator activates others.

use std::sync::LazyLock;

use watchpost_policies::{Digest, Kind};

/// Compares metrics with levels.
pub const THRESHOLD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/watchpost-threshold.wasm"));

/// Gives roles to identities, and actions to roles.
pub const ROLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/watchpost-role.wasm"));

/// The role of every client under the built-in role rule.
pub const ANONYMOUS: &str = "anonymous";

/// The other roles that the built-in role rule defines, unless its settings replace them.
pub const ROLES: [&str; 4] = ["admin", "user", "reader", "agent"];

/// The digest of the built-in role rule.
pub fn role_digest() -> Digest {
    static DIGEST: LazyLock<Digest> = LazyLock::new(|| Digest::of(ROLE));
    *DIGEST
}

/// The built-in rule of this kind.
pub const fn bytes(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Threshold => THRESHOLD,
        Kind::Role => ROLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_role_rule_defines_exactly_these_roles() {
        let rules = crate::rules::by_default();
        let settings = rules.role().effective_settings().expect("it shows them");
        let mut defined: Vec<&str> = settings["roles"]
            .as_object()
            .expect("a map")
            .keys()
            .map(String::as_str)
            .collect();
        defined.sort_unstable();
        let mut expected = [ROLES.as_slice(), &[ANONYMOUS]].concat();
        expected.sort_unstable();
        assert_eq!(defined, expected);
        assert_eq!(rules.role().module().digest(), role_digest());
    }
}
