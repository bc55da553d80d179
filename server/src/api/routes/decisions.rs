//! Recorded access decisions and rule findings, for those who audit access.

use actix_web::web::{Data, Json};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, OneOfBuilder, RefBuilder};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use watchpost_policies::Action;

use crate::api::error::ApiError;
use crate::api::input::Query;
use crate::api::pagination::PageLimit;
use crate::api::permit::{DecisionsRead, Permit};
use crate::api::query_time::parse_time;
use crate::clock;
use crate::decisions::{DecisionRow, Decisions, DifferenceRow, JudgementRow};
use crate::store::decisions::{DecisionFilter, Kind, Record, Verdict};

/// Filters of the list of records.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only records with a greater `id`: the `next` of the previous page.
    #[param(example = 0)]
    after: Option<i64>,
    /// Maximum number of records in the page.
    #[param(minimum = 1, maximum = 1000, default = 100, example = 20)]
    limit: Option<i64>,
    /// Only records of this kind, such as `decision`.
    #[param(inline)]
    kind: Option<Kind>,
    /// Only records about this identity, in the form of the records: `CN=ann,OU=reader,O=Example`, or `anonymous`.
    identity: Option<String>,
    /// Only records about this action, such as `rules.write`.
    #[param(inline)]
    action: Option<Action>,
    /// Only records with this outcome, such as `deny`; implies the kind `decision` unless `kind` is given.
    #[param(inline)]
    verdict: Option<Verdict>,
    /// Only records of this rule, such as `role`.
    rule: Option<String>,
    /// Start of the time range (inclusive): RFC 3339, seconds since 1970, or an age such as `-1h`.
    #[param(example = "-1h")]
    from: Option<String>,
    /// End of the time range (inclusive), in the same forms; default: now.
    to: Option<String>,
}

/// A page of records.
#[derive(Serialize, ToSchema)]
#[schema(as = DecisionPage)]
pub struct Page {
    /// The oldest first.
    decisions: Vec<DecisionListItem>,
    /// The value of `after` for the next page; null on the last page.
    next: Option<i64>,
}

/// List recorded decisions and findings, the oldest first
#[utoipa::path(
    get,
    path = "",
    operation_id = "decisions",
    responses((status = 200, description = "A page of matching records.", body = Page))
)]
pub async fn list(
    _: Permit<DecisionsRead>,
    decisions: Data<Decisions>,
    query: Query<ListQuery>,
) -> Result<Json<Page>, ApiError> {
    let limit = PageLimit::parse(query.limit)?;
    let filter = DecisionFilter {
        limit: limit.to_read(),
        ..query.filter()?
    };
    let mut found = decisions.store().ask(move |store| store.decisions(&filter)).await?;
    let next = limit.cut(&mut found, |record| record.id);
    let decisions = found.into_iter().map(DecisionListItem).collect();
    Ok(Json(Page { decisions, next }))
}

/// A record as the database stores it. Its fields depend on its kind, so the schema is assembled here.
#[derive(Serialize)]
#[serde(transparent)]
struct DecisionListItem(Record);

impl PartialSchema for DecisionListItem {
    fn schema() -> RefOr<Schema> {
        let kinds = ["DecisionRecord", "DifferenceRecord", "JudgementRecord"];
        let one_of = kinds
            .into_iter()
            .fold(OneOfBuilder::new(), |one_of, kind| one_of.item(reference(kind)));
        let about = "A recorded decision or finding. The setting `decisions.mask` replaces fields by `***`.";
        one_of.description(Some(about)).into()
    }
}

impl ToSchema for DecisionListItem {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        let mut add = |name: &str, schema| schemas.push((name.to_owned(), schema));
        add(
            "DecisionRecord",
            record::<DecisionRow<'_>>("A client requested an action.", "`decision`."),
        );
        let would_have = "A role rule in shadow would have decided otherwise.";
        add(
            "DifferenceRecord",
            record::<DifferenceRow<'_>>(would_have, "`difference`."),
        );
        add(
            "JudgementRecord",
            record::<JudgementRow<'_>>("A finding of a rule changed.", "`judgement`."),
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

/// The schema of one kind of record, including the fields that all records have.
fn record<T: ToSchema>(about: &str, kind: &str) -> RefOr<Schema> {
    let integer = |about: &str| {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .description(Some(about))
    };
    let of_kind = reference(&Kind::name()).description(Some(kind));
    let common = ObjectBuilder::new()
        .property("id", integer("The id of the record; `after` continues from it."))
        .property(
            "time",
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
                .description(Some("Time of the record.")),
        )
        .property("kind", of_kind)
        .required("id")
        .required("time")
        .required("kind");
    let all_of = AllOfBuilder::new().item(reference(&T::name())).item(common);
    all_of.description(Some(about)).into()
}

impl ListQuery {
    fn filter(&self) -> Result<DecisionFilter, ApiError> {
        let now_ms = clock::now_ms();
        let time = |name, text: &Option<String>| -> Result<Option<i64>, ApiError> {
            let time_ms = parse_time(name, text.as_deref(), now_ms)?;
            Ok(time_ms.map(|time_ms| i64::try_from(time_ms).unwrap_or(i64::MAX)))
        };
        let (from_ms, to_ms) = (time("from", &self.from)?, time("to", &self.to)?);
        if from_ms.zip(to_ms).is_some_and(|(from, to)| from > to) {
            return Err(ApiError::BadRequest("`from` must be before `to`".to_owned()));
        }
        Ok(DecisionFilter {
            after: self.after.unwrap_or(0),
            limit: 0,
            // A difference has an outcome too, but no client was denied by it.
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
