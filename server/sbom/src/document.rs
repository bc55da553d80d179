//! The CycloneDX document.

use serde_json::{Map, Value, json};

use crate::{Component, Inventory};

/// Renders the document, in the same order each time.
pub(crate) fn render(root: &str, inventory: &Inventory) -> String {
    let others = inventory.components.iter().filter(|(reference, _)| *reference != root);
    let components: Vec<Value> = others.map(|(_, component)| entry(component, "library")).collect();
    let dependencies: Vec<Value> = (inventory.components.keys())
        .map(|reference| {
            let children: Vec<_> = inventory.dependencies.get(reference).into_iter().flatten().collect();
            json!({ "ref": reference, "dependsOn": children })
        })
        .collect();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "lifecycles": [{ "phase": "build" }],
            "tools": { "components": [{
                "type": "application",
                "name": env!("CARGO_PKG_NAME"),
                "version": env!("CARGO_PKG_VERSION"),
            }] },
            "component": inventory.components.get(root).map(|component| entry(component, "application")),
        },
        "components": components,
        "dependencies": dependencies,
    });
    format!("{document:#}\n")
}

fn entry(component: &Component, kind: &str) -> Value {
    let mut entry = Map::new();
    let mut set = |key: &str, value: Value| entry.insert(key.to_owned(), value);
    set("type", json!(kind));
    set("bom-ref", json!(component.reference()));
    set("name", json!(component.name));
    set("version", json!(component.version));
    if let Some(license) = &component.license {
        set("licenses", json!([{ "expression": license }]));
    }
    if let Some(purl) = &component.purl {
        set("purl", json!(purl));
    }
    if let Some(cpe) = &component.cpe {
        set("cpe", json!(cpe));
    }
    if let Some(sha256) = &component.sha256 {
        set("hashes", sha256_entry(sha256));
    }
    if let Some(repository) = &component.repository {
        set("externalReferences", json!([{ "type": "vcs", "url": repository }]));
    }
    if !component.files.is_empty() {
        let files = component.files.iter();
        let files: Vec<_> = files
            .map(|(name, sha256)| json!({ "type": "file", "name": name, "hashes": sha256_entry(sha256) }))
            .collect();
        set("components", json!(files));
    }
    Value::Object(entry)
}

fn sha256_entry(sha256: &str) -> Value {
    json!([{ "alg": "SHA-256", "content": sha256 }])
}
