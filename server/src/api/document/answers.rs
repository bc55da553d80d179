//! What any answer has in its headers, and what any request may be answered when it does not get what it asked for. What
//! only one endpoint answers is said there, by a status and a sentence.

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

/// What metrics look like in the formats that are not JSON, by how these begin.
const METRICS: [(&str, &str); 2] = [
    ("text/plain; version=", include_str!("metrics.txt")),
    ("application/openmetrics-text", include_str!("metrics.openmetrics.txt")),
];

/// An answer that many endpoints have.
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
        "The path, the query, a header or the body is not understood; `detail` says what to write.",
    ),
    Common::new(
        "401",
        "Unauthenticated",
        "Nobody said who they are and it matters, or what they show is not believed.",
    )
    .with("www-authenticate", "That a bearer token would do."),
    Common::new(
        "403",
        "Forbidden",
        "The role rule in force does not allow it; `detail` says why.",
    ),
    Common::new("404", "Missing", "What the path names is not there."),
    Common::new("408", "TooSlow", "The body did not arrive within `http.body_timeout`."),
    Common::new("413", "BodyTooLarge", "The body is longer than `http.max_body`."),
    Common::new(
        "415",
        "WrongForm",
        "The body is sent as something else; `detail` says as what to send it.",
    ),
    Common::new("429", "TooMany", "More requests than `http.requests_per_second`.")
        .with("retry-after", "When to come again, in seconds."),
    Common::new(
        "431",
        "HeadersTooLarge",
        "The headers are longer than `http.max_headers`.",
    ),
    Common::new(
        "500",
        "Broken",
        "Watchpost is broken; its log has the rest of the story under the request's id.",
    ),
    Common::new(
        "503",
        "Unavailable",
        "Not just now: the database is away, nothing was measured yet, or too much is under way.",
    )
    .with("retry-after", "When to come again, in seconds."),
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

/// Adds them to what operations refer to.
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

/// Gives an operation those that it has not told itself. Whatever is an error is told as a problem.
pub(super) fn complete(operation: &mut Operation, family: &str, in_path: bool, body: BodyClass) {
    let has_body = operation.request_body.is_some();
    let told = &mut operation.responses.responses;
    for (status, about) in of_body(body) {
        let response = ResponseBuilder::new().description(*about).build();
        told.insert((*status).to_owned(), RefOr::T(response));
    }
    for common in ALL.iter().filter(|common| common.holds(in_path, has_body)) {
        told.entry(common.status.to_owned())
            .or_insert_with(|| RefOr::Ref(Ref::from_response_name(common.name)));
    }
    for (status, response) in told {
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

/// The refusals of a body that is not of the usual class.
const fn of_body(body: BodyClass) -> &'static [(&'static str, &'static str)] {
    match body {
        BodyClass::Json => &[],
        BodyClass::Component => &[
            ("413", "It is larger than `rules.limits.component_bytes`."),
            ("415", "It is sent as something else than a component or a form."),
        ],
    }
}

/// What answers have in their headers, by the names of the document.
fn headers() -> [(&'static str, Header); 2] {
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
                "The request, as the log has it; the one that was sent, if there was one.",
            ),
        ),
        (
            "Generation",
            header(
                generation,
                "The generation of rules that decided whether this may be had; not there where none was asked.",
            ),
        ),
    ]
}

fn add_headers(status: &str, response: &mut Response) {
    let named = |name: &str| RefOr::Ref(Ref::new(format!("#/components/headers/{name}")));
    response.headers.insert("x-request-id".to_owned(), named("RequestId"));
    // Who asks too often, or with too much around it, is refused before anything is decided.
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
