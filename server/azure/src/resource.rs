//! Parses Azure resource ids into subscription, type and name. It does not check that the resource exists.

use std::fmt;

/// A resource id: `/subscriptions/…/resourceGroups/…/providers/Microsoft.Compute/virtualMachines/vm-1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceId {
    text: String,
    subscription: String,
    kind: String,
    name: String,
}

impl ResourceId {
    /// Parses a resource id. Ids are case-insensitive.
    pub fn new(text: &str) -> Result<Self, InvalidResourceId> {
        let text = format!("/{}", text.trim().trim_matches('/'));
        let parts: Vec<_> = text.split('/').skip(1).collect();
        let is = |at: usize, word: &str| parts.get(at).is_some_and(|part| part.eq_ignore_ascii_case(word));
        if parts
            .iter()
            .any(|part| part.is_empty() || part.contains(['?', '#']) || part.contains(char::is_control))
        {
            return Err(InvalidResourceId);
        }
        // The provider is followed by pairs of type and name; nested types add more pairs.
        let is_whole = parts.len() >= 8 && parts.len().is_multiple_of(2);
        if !is_whole || !is(0, "subscriptions") || !is(2, "resourceGroups") || !is(4, "providers") {
            return Err(InvalidResourceId);
        }
        let types = parts[6..].iter().step_by(2).copied();
        let kind: Vec<_> = [parts[5]].into_iter().chain(types).collect();
        Ok(Self {
            subscription: parts[1].to_owned(),
            kind: kind.join("/"),
            name: parts[parts.len() - 1].to_owned(),
            text,
        })
    }

    /// The complete id.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn subscription(&self) -> &str {
        &self.subscription
    }

    /// The resource type: `Microsoft.Compute/virtualMachines`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The name: the last segment.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A normalized form, for comparisons.
    pub(crate) fn key(&self) -> String {
        self.text.to_lowercase()
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text is not a resource id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write the full resource id as the portal shows it under \"JSON view\": \
     /subscriptions/ID/resourceGroups/NAME/providers/TYPE/NAME"
)]
pub struct InvalidResourceId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_contains_subscription_type_and_name() {
        let check = |text: &str, subscription: &str, kind: &str, name: &str| {
            let id = ResourceId::new(text).expect(text);
            assert_eq!((id.subscription(), id.kind(), id.name()), (subscription, kind, name));
        };
        let machine = "/subscriptions/s1/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm-1";
        check(machine, "s1", "Microsoft.Compute/virtualMachines", "vm-1");
        check(
            "subscriptions/s1/resourcegroups/g/PROVIDERS/microsoft.web/serverfarms/plan/",
            "s1",
            "microsoft.web/serverfarms",
            "plan",
        );
        check(
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Sql/servers/a/databases/b",
            "s",
            "Microsoft.Sql/servers/databases",
            "b",
        );
    }

    #[test]
    fn invalid_ids_are_rejected() {
        for text in [
            "",
            "vm-1",
            "/subscriptions/s",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines",
            "/subscriptions//resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm",
            "/subscriptions/s/groups/g/providers/Microsoft.Compute/virtualMachines/vm",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm?a=b",
        ] {
            assert_eq!(ResourceId::new(text), Err(InvalidResourceId), "{text}");
        }
    }
}
