//! What is written piece by piece, as the wholes that clients read. Nobody makes these; the document is made of them,
//! and the tests hold real answers against it.
#![expect(dead_code, reason = "only their schemas are used")]

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use watchpost_policies::{Labels, Report, Snapshot};

use super::rules::read;
use super::status;
use crate::decisions::{ToldDecision, ToldDifference, ToldJudgement};
use crate::history::downsample::Aggregate;
use crate::judge;
use crate::store::decisions::Kind;

/// How Watchpost is.
#[derive(Serialize, ToSchema)]
pub(super) struct Status<'s> {
    #[serde(flatten)]
    moment: status::Moment,
    #[serde(flatten)]
    lasting: status::Status<'s>,
    /// The last round; nothing before the first.
    #[schema(required)]
    round: Option<judge::Told<'s>>,
}

/// Series of the past.
#[derive(Serialize, ToSchema)]
pub(super) struct History {
    /// From when.
    from: String,
    /// Until when.
    to: String,
    /// How long a step is, in milliseconds; nothing, if the points are as they were measured.
    #[schema(required)]
    step_ms: Option<u64>,
    /// What became of the points of a step.
    #[schema(required)]
    aggregate: Option<Aggregate>,
    /// The series.
    series: Vec<HistorySeries>,
}

/// One series.
#[derive(Serialize, ToSchema)]
pub(super) struct HistorySeries {
    /// The machine.
    host: String,
    /// What was measured.
    metric: String,
    /// What tells it from its like.
    labels: Labels,
    /// What its numbers count.
    unit: String,
    /// Times in milliseconds since 1970 (UTC), each with its number.
    #[schema(schema_with = points)]
    points: Vec<(u64, f64)>,
}

/// Whole snapshots of the past.
#[derive(Serialize, ToSchema)]
pub(super) struct Snapshots {
    /// The oldest first.
    snapshots: Vec<Snapshot>,
}

/// Reports of the past.
#[derive(Serialize, ToSchema)]
pub(super) struct Reports {
    /// The oldest first.
    reports: Vec<Report>,
}

/// The versions of a rule.
#[derive(Serialize, ToSchema)]
pub(super) struct RuleVersions {
    /// The newest first, and what Watchpost brings itself last.
    versions: Vec<read::Known>,
}

/// One version of a rule, with the schema of its settings.
#[derive(Serialize, ToSchema)]
pub(super) struct RuleVersionDetail {
    /// The rule's name.
    name: String,
    #[serde(flatten)]
    known: read::Known,
    /// A JSON Schema.
    settings_schema: Value,
}

/// What was recorded. The configuration can mask some of it (`decisions.mask`).
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum RecordShown<'r> {
    Decision(DecisionRecord<'r>),
    Difference(DifferenceRecord<'r>),
    Judgement(JudgementRecord<'r>),
}

/// Somebody wanted something.
#[derive(Serialize, ToSchema)]
pub(super) struct DecisionRecord<'r> {
    /// By what it is read on.
    id: i64,
    /// When, in milliseconds since 1970 (UTC).
    time_ms: i64,
    /// `decision`.
    kind: Kind,
    #[serde(flatten)]
    told: ToldDecision<'r>,
}

/// A role rule in shadow would have decided otherwise.
#[derive(Serialize, ToSchema)]
pub(super) struct DifferenceRecord<'r> {
    /// By what it is read on.
    id: i64,
    /// When, in milliseconds since 1970 (UTC).
    time_ms: i64,
    /// `difference`.
    kind: Kind,
    #[serde(flatten)]
    told: ToldDifference<'r>,
}

/// A rule finds something else than before.
#[derive(Serialize, ToSchema)]
pub(super) struct JudgementRecord<'r> {
    /// By what it is read on.
    id: i64,
    /// When, in milliseconds since 1970 (UTC).
    time_ms: i64,
    /// `judgement`.
    kind: Kind,
    #[serde(flatten)]
    told: ToldJudgement<'r>,
}

/// WebAssembly.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(super) struct Component(Vec<u8>);

/// Pairs, which clients read as lists of two numbers.
fn points() -> utoipa::openapi::schema::Array {
    use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
    let number = ObjectBuilder::new().schema_type(Type::Number);
    let pair = ArrayBuilder::new().items(number).min_items(Some(2)).max_items(Some(2));
    let description = "Times in milliseconds since 1970 (UTC), each with its number";
    ArrayBuilder::new().items(pair).description(Some(description)).build()
}
