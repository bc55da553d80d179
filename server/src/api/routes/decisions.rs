//! Who was refused what and why, and what the rules found, as it was recorded: for those who look after who may what.

use actix_web::web::{Data, Json, Query};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, OneOfBuilder, RefBuilder};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use watchpost_policies::Action;

use crate::api::error::ApiError;
use crate::api::pagination::PageLimit;
use crate::api::permit::{DecisionsRead, Permit};
use crate::api::query_time::moment;
use crate::clock;
use crate::decisions::{DecisionRow, Decisions, DifferenceRow, JudgementRow};
use crate::store::decisions::{DecisionFilter, Kind, Record, Verdict};

/// Which records to show.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only those with a greater `id`: `next` of the page before.
    #[param(example = 0)]
    after: Option<i64>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1000, default = 100, example = 20)]
    limit: Option<i64>,
    /// Only those of this kind, such as `decision`.
    #[param(inline)]
    kind: Option<Kind>,
    /// Only those about this identity, as the records write it: `CN=ann,OU=reader,O=Example`, or `anonymous`.
    identity: Option<String>,
    /// Only those about this action, such as `rules.write`.
    #[param(inline)]
    action: Option<Action>,
    /// Only those with this outcome, such as `deny`; decisions, if no kind is told.
    #[param(inline)]
    verdict: Option<Verdict>,
    /// Only what this rule said, such as `role`.
    rule: Option<String>,
    /// Not before. RFC 3339, seconds since 1970, or how long ago.
    #[param(example = "-1h")]
    from: Option<String>,
    /// Not after, in the same forms; now, if nothing is told.
    to: Option<String>,
}

/// A page of records.
#[derive(Serialize, ToSchema)]
#[schema(as = DecisionPage)]
pub struct Page {
    /// The records.
    decisions: Vec<RecordShown>,
    /// What `after` has to be for the next page; nothing on the last.
    next: Option<i64>,
}

/// What was decided and found, a page at a time, the oldest first
#[utoipa::path(
    get,
    path = "",
    operation_id = "decisions",
    responses((status = 200, description = "The records that were asked for.", body = Page))
)]
pub async fn list(
    _: Permit<DecisionsRead>,
    decisions: Data<Decisions>,
    asked: Query<ListQuery>,
) -> Result<Json<Page>, ApiError> {
    let limit = PageLimit::parse(asked.limit)?;
    let wanted = DecisionFilter {
        limit: limit.to_read(),
        ..asked.wanted()?
    };
    let mut found = decisions.store().ask(move |store| store.decisions(&wanted)).await?;
    let next = limit.cut(&mut found, |record| record.id);
    let decisions = found.into_iter().map(RecordShown).collect();
    Ok(Json(Page { decisions, next }))
}

/// A record as the database has it. What else is in it depends on its kind, so the schema is put together here.
#[derive(Serialize)]
#[serde(transparent)]
struct RecordShown(Record);

impl PartialSchema for RecordShown {
    fn schema() -> RefOr<Schema> {
        let kinds = ["DecisionRecord", "DifferenceRecord", "JudgementRecord"];
        let one_of = kinds
            .into_iter()
            .fold(OneOfBuilder::new(), |one_of, kind| one_of.item(reference(kind)));
        let about = "What was recorded. The configuration can mask some of it (`decisions.mask`).";
        one_of.description(Some(about)).into()
    }
}

impl ToSchema for RecordShown {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        let mut add = |name: &str, schema| schemas.push((name.to_owned(), schema));
        add(
            "DecisionRecord",
            record::<DecisionRow<'_>>("Somebody wanted something.", "`decision`."),
        );
        let would_have = "A role rule in shadow would have decided otherwise.";
        add(
            "DifferenceRecord",
            record::<DifferenceRow<'_>>(would_have, "`difference`."),
        );
        add(
            "JudgementRecord",
            record::<JudgementRow<'_>>("A rule finds something else than before.", "`judgement`."),
        );
        add(&DecisionRow::name(), DecisionRow::schema());
        add(&DifferenceRow::name(), DifferenceRow::schema());
        add(&JudgementRow::name(), JudgementRow::schema());
        add(&Kind::name(), Kind::schema());
        DecisionRow::schemas(schemas);
        DifferenceRow::schemas(schemas);
        JudgementRow::schemas(schemas);
    }
}

fn reference(name: &str) -> RefBuilder {
    RefBuilder::new().ref_location_from_schema_name(name)
}

/// What is told of one kind, and what all records have.
fn record<T: ToSchema>(about: &str, kind: &str) -> RefOr<Schema> {
    let whole_number = |about: &str| {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .description(Some(about))
    };
    let of_kind = reference(&Kind::name()).description(Some(kind));
    let common = ObjectBuilder::new()
        .property("id", whole_number("By what it is read on."))
        .property("time_ms", whole_number("When, in milliseconds since 1970 (UTC)."))
        .property("kind", of_kind)
        .required("id")
        .required("time_ms")
        .required("kind");
    let all_of = AllOfBuilder::new().item(reference(&T::name())).item(common);
    all_of.description(Some(about)).into()
}

impl ListQuery {
    fn wanted(&self) -> Result<DecisionFilter, ApiError> {
        let now_ms = clock::now_ms();
        let time = |name, text: &Option<String>| -> Result<Option<i64>, ApiError> {
            let time_ms = moment(name, text.as_deref(), now_ms)?;
            Ok(time_ms.map(|time_ms| i64::try_from(time_ms).unwrap_or(i64::MAX)))
        };
        let (from_ms, to_ms) = (time("from", &self.from)?, time("to", &self.to)?);
        if from_ms.zip(to_ms).is_some_and(|(from, to)| from > to) {
            return Err(ApiError::BadRequest("from is after to; exchange them".to_owned()));
        }
        Ok(DecisionFilter {
            after: self.after.unwrap_or(0),
            limit: 0,
            // A difference has a verdict too, but nobody was refused by it.
            kind: self.kind.or(self.verdict.map(|_| Kind::Decision)),
            identity: self.identity.clone(),
            action: self.action.map(Action::as_str),
            verdict: self.verdict,
            rule: self.rule.clone(),
            from_ms,
            to_ms,
        })
    }
}
