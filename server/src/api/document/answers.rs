//! Headers and error responses that many endpoints share. A response that only one endpoint has is declared by that
//! endpoint's attribute.

use utoipa::openapi::content::{Content, ContentBuilder};
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Components, Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::problems;
use crate::api::error::Problem;
use crate::api::table::BodyClass;

const PROBLEM: &str = "application/problem+json";

/// Example metrics in the formats that are not JSON, by the beginning of the content type.
const METRICS: [(&str, &str); 2] = [
    ("text/plain; version=", include_str!("metrics.txt")),
    ("application/openmetrics-text", include_str!("metrics.openmetrics.txt")),
];

/// A response that many endpoints share.
struct Common {
    status: &'static str,
    name: &'static str,
    about: &'static str,
    header: Option<(&'static str, &'static str)>,
}

const ALL: [Common; 11] = [
    Common::new(
        "400",
        "NotUnderstood",
        "The path, the query, a header or the body is invalid; `detail` says what to write.",
    ),
    Common::new(
        "401",
        "Unauthenticated",
        "The client must authenticate, or its credentials are invalid.",
    )
    .with("www-authenticate", "Bearer tokens are accepted."),
    Common::new(
        "403",
        "Forbidden",
        "The active role rule denies the action; `detail` says why.",
    ),
    Common::new("404", "Missing", "The resource does not exist."),
    Common::new("408", "TooSlow", "The body did not arrive within `http.body_timeout`."),
    Common::new("413", "BodyTooLarge", "The body is longer than `http.max_body`."),
    Common::new(
        "415",
        "WrongForm",
        "The content type is not accepted; `detail` names the accepted ones.",
    ),
    Common::new("429", "TooMany", "More requests than `http.requests_per_second`.")
        .with("retry-after", "When to retry, in seconds."),
    Common::new(
        "431",
        "HeadersTooLarge",
        "The headers are longer than `http.max_headers`.",
    ),
    Common::new(
        "500",
        "Broken",
        "Internal error; the log has the details under the request's id.",
    ),
    Common::new(
        "503",
        "Unavailable",
        "Temporarily unavailable: the database is unreachable, nothing has been measured yet, or the server is overloaded.",
    )
    .with("retry-after", "When to retry, in seconds."),
];

impl Common {
    const fn new(status: &'static str, name: &'static str, about: &'static str) -> Self {
        Self {
            status,
            name,
            about,
            header: None,
        }
    }

    const fn with(mut self, header: &'static str, about: &'static str) -> Self {
        self.header = Some((header, about));
        self
    }

    fn holds(&self, in_path: bool, has_body: bool) -> bool {
        match self.status {
            "404" => in_path,
            "408" | "415" => has_body,
            _ => true,
        }
    }

    fn response(&self) -> Response {
        let mut response = ResponseBuilder::new()
            .description(self.about)
            .content(PROBLEM, problem(self.status, ""));
        if let Some((name, about)) = self.header {
            let text = ObjectBuilder::new().schema_type(Type::String).build();
            let header = HeaderBuilder::new().schema(Some(text)).description(Some(about));
            response = response.header(name, header.build());
        }
        let mut response = response.build();
        add_headers(self.status, &mut response);
        response
    }
}

/// Adds the shared responses to the components that operations refer to.
pub(super) fn add(components: &mut Components) {
    components
        .schemas
        .insert(Problem::name().into_owned(), Problem::schema());
    for (name, header) in headers() {
        components.headers.insert(name.to_owned(), header.into());
    }
    for common in &ALL {
        components
            .responses
            .insert(common.name.to_owned(), common.response().into());
    }
}

/// Adds the shared responses to an operation that does not declare them itself. Errors are problem documents.
pub(super) fn complete(operation: &mut Operation, family: &str, in_path: bool, body: BodyClass) {
    let has_body = operation.request_body.is_some();
    let responses = &mut operation.responses.responses;
    for (status, about) in of_body(body) {
        let response = ResponseBuilder::new().description(*about).build();
        responses.insert((*status).to_owned(), RefOr::T(response));
    }
    for common in ALL.iter().filter(|common| common.holds(in_path, has_body)) {
        responses
            .entry(common.status.to_owned())
            .or_insert_with(|| RefOr::Ref(Ref::from_response_name(common.name)));
    }
    for (status, response) in responses {
        let RefOr::T(response) = response else {
            continue;
        };
        add_headers(status, response);
        if status.starts_with(['4', '5']) {
            let content = response.content.entry(PROBLEM.to_owned());
            content.or_insert_with(|| RefOr::T(problem(status, family)));
        }
        for (kind, content) in &mut response.content {
            let metrics = METRICS.iter().find(|(begins, _)| kind.starts_with(begins));
            if let (Some((_, text)), RefOr::T(content)) = (metrics, content) {
                content.example = Some((*text).into());
            }
        }
    }
}

/// The error responses of a body with another class than JSON.
const fn of_body(body: BodyClass) -> &'static [(&'static str, &'static str)] {
    match body {
        BodyClass::Json => &[],
        BodyClass::Component => &[
            ("413", "The component is larger than `rules.limits.component_bytes`."),
            ("415", "The content type is neither that of a component nor of a form."),
        ],
    }
}

/// The headers of all responses, by their names in the document.
fn headers() -> [(&'static str, Header); 3] {
    let id = ObjectBuilder::new().schema_type(Type::String);
    let generation = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    let header = |schema: ObjectBuilder, about: &str| {
        HeaderBuilder::new()
            .schema(Some(schema.build()))
            .description(Some(about))
            .build()
    };
    [
        (
            "RequestId",
            header(
                id,
                "The id of the request, which the log has too; the client's own id, if it sent a valid one.",
            ),
        ),
        (
            "ServerRequestId",
            header(
                ObjectBuilder::new().schema_type(Type::String),
                "The server's own id of the request, which no client can choose; the log has it too.",
            ),
        ),
        (
            "Generation",
            header(
                generation,
                "The rules generation that authorized the request; absent if no rule was evaluated.",
            ),
        ),
    ]
}

fn add_headers(status: &str, response: &mut Response) {
    let named = |name: &str| RefOr::Ref(Ref::new(format!("#/components/headers/{name}")));
    response.headers.insert("x-request-id".to_owned(), named("RequestId"));
    response
        .headers
        .insert("x-watchpost-request-id".to_owned(), named("ServerRequestId"));
    // Rate limits and header limits reject a request before it is authorized.
    if !matches!(status, "429" | "431") {
        response
            .headers
            .insert("x-watchpost-generation".to_owned(), named("Generation"));
    }
}

fn problem(status: &str, family: &str) -> Content {
    ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Problem::name())))
        .example(problems::example(status, family))
        .build()
}
