//! The id of a resource, taken apart: whose it is, of which type and how it is called. Whether it exists, Azure knows.

use std::fmt;

/// The id of a resource: `/subscriptions/…/resourceGroups/…/providers/Microsoft.Compute/virtualMachines/vm-1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceId {
    text: String,
    subscription: String,
    kind: String,
    name: String,
}

impl ResourceId {
    /// Takes an id apart. Azure does not care about the case of its letters, and neither do we.
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
        // After the provider come pairs of a type and a name; a type within a type goes on so.
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

    /// The whole.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The subscription that it belongs to.
    pub fn subscription(&self) -> &str {
        &self.subscription
    }

    /// Its type: `Microsoft.Compute/virtualMachines`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its own name, the last word.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is the same for all ways to write it.
    pub(super) fn key(&self) -> String {
        self.text.to_lowercase()
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text that is no id of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write the whole id as the portal shows it under \"JSON view\": \
     /subscriptions/ID/resourceGroups/NAME/providers/TYPE/NAME"
)]
pub struct InvalidResourceId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_subscription_type_and_name() {
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
    fn what_is_no_id_is_refused() {
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
