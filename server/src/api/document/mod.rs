//! The OpenAPI 3.1 document, generated from the table of routes. The table provides paths and methods; the handlers'
//! arguments provide permissions and parameters; their comments and attributes provide descriptions and responses. This
//! module describes no endpoint itself.

mod answers;
mod contents;
mod path;
mod problems;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::info::{Info, InfoBuilder, LicenseBuilder};
use utoipa::openapi::path::{HttpMethod, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, OpenApi, OpenApiBuilder, RefOr, Required, Schema, path as paths};
use watchpost_policies::Action;

pub use contents::{Chapter, Endpoint, contents};

use super::arguments::HandlerSpec;
use super::process::VERSION;
use super::routes::pixcrawler;
use super::table::{Family, Operation, Route};
use crate::config::ApiProfile;

/// The actions that the built-in role rule allows to anonymous clients. A test requests everything without a
/// certificate, and so verifies this list.
const PUBLIC_ACTIONS: [Action; 3] = [Action::HealthRead, Action::ServiceRead, Action::DocsRead];

/// Example requests and responses of an edge machine, shortened, by the names of their schemas.
static EXAMPLES: LazyLock<Map<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("examples.json")).expect("a test verifies that it is valid"));

const DESCRIPTION: &str = include_str!("about.md");
const PIXCRAWLER_DESCRIPTION: &str = include_str!("about_pixcrawler.md");

/// The document of an API profile.
pub fn document(profile: ApiProfile) -> OpenApi {
    let (table, info) = match profile {
        ApiProfile::Full => (super::table(), info("Watchpost", DESCRIPTION)),
        ApiProfile::PixCrawler => (
            pixcrawler::table(),
            info("Watchpost as a resource monitor", PIXCRAWLER_DESCRIPTION),
        ),
    };
    let tags = table.iter().map(|family| {
        TagBuilder::new()
            .name(family.name)
            .description(Some(family.about))
            .build()
    });
    let mut document = OpenApiBuilder::new()
        .info(info)
        .tags(Some(tags))
        .components(Some(components()))
        .build();
    for family in &table {
        for at in &family.routes {
            for operation in &at.operations {
                add(&mut document, family, at, operation);
            }
        }
    }
    document
}

/// The document as it is served, printed and kept in `docs/`: sorted and indented.
pub fn written(profile: ApiProfile) -> &'static str {
    static ALL: LazyLock<String> = LazyLock::new(|| write(&document(ApiProfile::Full)));
    static RESOURCE: LazyLock<String> = LazyLock::new(|| write(&document(ApiProfile::PixCrawler)));
    match profile {
        ApiProfile::Full => &ALL,
        ApiProfile::PixCrawler => &RESOURCE,
    }
}

fn write(document: &OpenApi) -> String {
    // A JSON value sorts its keys.
    let mut value = serde_json::to_value(document).expect("a document has only string keys");
    let schemas = value.pointer_mut("/components/schemas").and_then(Value::as_object_mut);
    for (name, schema) in schemas.into_iter().flatten() {
        if let Some(example) = EXAMPLES.get(name) {
            schema["examples"] = json!([example]);
        }
    }
    format!("{value:#}\n")
}

fn info(title: &str, about: &str) -> Info {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0"));
    InfoBuilder::new()
        .title(title)
        .version(VERSION)
        .description(Some(about))
        .license(Some(license.build()))
        .build()
}

fn components() -> Components {
    let mut components = Components::new();
    let certificate = SecurityScheme::MutualTls {
        description: Some("A client certificate from the authority that tls.client_ca names.".to_owned()),
        deprecated: None,
        extensions: None,
    };
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A bearer token whose hash the setting tokens contains."));
    components.add_security_scheme("certificate", certificate);
    components.add_security_scheme("token", SecurityScheme::Http(token.build()));
    answers::add(&mut components);
    components
}

/// Adds an operation and the schemas that it refers to.
fn add(document: &mut OpenApi, family: &Family, at: &Route, operation: &Operation) {
    let mut described = (operation.described)();
    let spec = (operation.spec)();
    let path = path::Path::of(at.path);
    let item = described.paths.paths.pop_first().map(|(_, item)| item);
    let entry = item.and_then(|item| of_method(item, &operation.method));
    // A test covers every line of the table.
    let mut entry = entry.expect("a test verifies that attribute and table name the same method");
    entry.tags = Some(vec![family.name.to_owned()]);
    entry.summary = entry.summary.map(|summary| summary.trim_end_matches('.').to_owned());
    entry.description = Some(described_with(entry.description, &spec));
    entry.security = Some(security(&spec));
    let actions: Vec<_> = spec.actions.iter().map(|action| action.as_str()).collect();
    let actions = ExtensionsBuilder::new().add("x-watchpost-actions", json!(actions));
    entry.extensions = Some(actions.build());
    let in_path = path
        .names
        .iter()
        .zip(spec.in_path)
        .map(|(name, schema)| part(name, schema));
    let given = entry.parameters.take().unwrap_or_default();
    let parameters: Vec<_> = in_path.chain(spec.parameters).map(RefOr::T).chain(given).collect();
    entry.parameters = Some(parameters).filter(|parameters| !parameters.is_empty());
    if let Some(body) = spec.body.filter(|_| entry.request_body.is_none()) {
        entry.request_body = Some(RefOr::T(body));
    }
    answers::complete(&mut entry, family.name, !path.names.is_empty(), operation.body);
    let components = document.components.get_or_insert_default();
    components.schemas.extend(spec.schemas);
    components
        .schemas
        .extend(described.components.unwrap_or_default().schemas);
    document
        .paths
        .add_path_operation(path.plain, vec![operation.method.clone()], entry);
}

fn of_method(item: PathItem, method: &HttpMethod) -> Option<paths::Operation> {
    match method {
        HttpMethod::Get => item.get,
        HttpMethod::Put => item.put,
        HttpMethod::Post => item.post,
        HttpMethod::Delete => item.delete,
        HttpMethod::Patch => item.patch,
        HttpMethod::Options => item.options,
        HttpMethod::Head => item.head,
        HttpMethod::Trace => item.trace,
    }
}

/// A path parameter. The example names are those of built-in rules, so trying them out finds something.
fn part(name: &str, schema: RefOr<Schema>) -> Parameter {
    let (about, example) = match name {
        "name" => ("The name of a rule.", json!("threshold")),
        "digest" => (
            "The SHA-256 digest of a version's bytes, as in the list of versions.",
            Value::Null,
        ),
        "file" => ("The name of an asset of the documentation pages.", json!("icon.svg")),
        _ => ("The id, as in the response that created it.", json!(1)),
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(about))
        .schema(Some(schema))
        .example(Some(example).filter(|example| !example.is_null()))
        .build()
}

fn described_with(description: Option<String>, spec: &HandlerSpec) -> String {
    let actions: Vec<_> = spec.actions.iter().map(|action| format!("`{action}`")).collect();
    let needs = match (spec.open_on_loopback, actions.is_empty()) {
        (_, true) => "Needs no permission.".to_owned(),
        (true, false) => format!("Needs {}, except from the machine itself.", actions.join(" and ")),
        (false, false) => format!("Needs {}.", actions.join(" and ")),
    };
    let description = description.unwrap_or_default();
    format!("{}\n\n{needs}", description.trim_end()).trim_start().to_owned()
}

/// What a client must present. Health and documentation never depend on the client; the responses of other public
/// actions do, so authentication is optional there.
fn security(spec: &HandlerSpec) -> Vec<SecurityRequirement> {
    let anonymous = [Action::HealthRead, Action::DocsRead];
    if spec.actions.iter().all(|action| anonymous.contains(action)) {
        return Vec::new();
    }
    let one = |name: &str| SecurityRequirement::new(name, Vec::<String>::new());
    let mut all = vec![one("certificate"), one("token")];
    if spec.open_on_loopback || spec.actions.iter().all(|action| PUBLIC_ACTIONS.contains(action)) {
        all.push(SecurityRequirement::default());
    }
    all
}

#[cfg(test)]
mod tests;
