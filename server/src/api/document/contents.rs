//! What the index pages show: the document in a few words.

use std::sync::LazyLock;

use utoipa::openapi::PathItem;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::SecurityRequirement;

use super::document;
use crate::config::ApiProfile;

/// A family of endpoints, as the table has it.
pub struct Chapter {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub about: String,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// Something that may be done somewhere.
pub struct Endpoint {
    /// How.
    pub method: &'static str,
    /// Where.
    pub path: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub summary: String,
    /// Whether it is there for everyone, by default.
    pub open: bool,
}

impl Endpoint {
    /// Whether one can simply look at it.
    pub fn is_page(&self) -> bool {
        self.method == "GET" && !self.path.contains('{')
    }
}

/// All endpoints that are not of a face of their own.
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
        open: requirements.contains(&SecurityRequirement::default()),
    }
}
