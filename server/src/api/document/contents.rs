//! The contents of the index pages, derived from the OpenAPI document.

use std::sync::LazyLock;

use utoipa::openapi::PathItem;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::SecurityRequirement;

use super::document;
use crate::config::ApiProfile;

/// A family of endpoints, as in the table of routes.
pub struct Chapter {
    /// The name of the family.
    pub name: String,
    /// A message about the family.
    pub about: String,
    /// The endpoints of the family.
    pub endpoints: Vec<Endpoint>,
}

/// A method of a path.
pub struct Endpoint {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: String,
    /// The operation id.
    pub name: String,
    /// The summary.
    pub summary: String,
    /// Whether the default role rule allows it to anonymous clients.
    pub open: bool,
}

impl Endpoint {
    /// Whether a browser can open it: GET without parameters.
    pub fn is_page(&self) -> bool {
        self.method == "GET" && !self.path.contains('{')
    }
}

/// All endpoints except those of a separate API profile.
pub fn contents() -> &'static [Chapter] {
    static ALL: LazyLock<Vec<Chapter>> = LazyLock::new(make);
    &ALL
}

fn make() -> Vec<Chapter> {
    let document = document(ApiProfile::Full);
    let tags = document.tags.unwrap_or_default();
    let mut chapters: Vec<_> = tags
        .into_iter()
        .map(|tag| Chapter {
            name: tag.name,
            about: tag.description.unwrap_or_default(),
            endpoints: Vec::new(),
        })
        .collect();
    for (path, item) in document.paths.paths {
        for (method, operation) in operations(item) {
            let of = |chapter: &&mut Chapter| operation.tags.iter().flatten().any(|tag| *tag == chapter.name);
            if let Some(chapter) = chapters.iter_mut().find(of) {
                chapter.endpoints.push(endpoint(method, &path, operation));
            }
        }
    }
    chapters
}

fn operations(item: PathItem) -> impl Iterator<Item = (&'static str, Operation)> {
    let all = [
        ("GET", item.get),
        ("POST", item.post),
        ("PUT", item.put),
        ("PATCH", item.patch),
        ("DELETE", item.delete),
    ];
    all.into_iter()
        .filter_map(|(method, operation)| Some((method, operation?)))
}

fn endpoint(method: &'static str, path: &str, operation: Operation) -> Endpoint {
    let requirements = operation.security.unwrap_or_default();
    Endpoint {
        method,
        path: path.to_owned(),
        name: operation.operation_id.unwrap_or_default(),
        summary: operation.summary.unwrap_or_default(),
        open: requirements.is_empty() || requirements.contains(&SecurityRequirement::default()),
    }
}
