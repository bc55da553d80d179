//! Work chunks: workers report and update them, other clients read them. Where the chunks live in another program's
//! database (`chunks.database_url`), they are read-only.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Json, Path};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::schema::{ArrayBuilder, OneOfBuilder};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::api::error::ApiError;
use crate::api::input::{JsonBody, Query, invalid};
use crate::api::pagination::PageLimit;
use crate::api::permit::{ChunksRead, ChunksWrite, Permit};
use crate::store::Store;
use crate::store::chunks::{Change, Chunk, ChunkChange, ChunkFilter, Report, Status, Summary};

/// One request is one transaction, and other writers wait for it.
const MAX_CHUNKS_PER_REQUEST: usize = 1000;

/// The width of the column in the table.
const MAX_TASK_ID_CHARS: usize = 255;

/// Longer messages belong in a log.
const ERROR_BYTES: usize = 10_000;

/// The store of the chunks, and whether this server may write to it. Cheap to clone.
#[derive(Clone)]
pub struct ChunkStore {
    /// The database of the chunks.
    pub store: Store,
    /// Whether another program owns the chunks, so this server only reads them.
    pub read_only: bool,
}

/// One chunk or a list of chunks.
#[derive(Deserialize)]
pub struct Body(pub(in crate::api) Value);

impl PartialSchema for Body {
    fn schema() -> RefOr<Schema> {
        let many = ArrayBuilder::new()
            .items(Ref::from_schema_name(Report::name()))
            .min_items(Some(1))
            .max_items(Some(MAX_CHUNKS_PER_REQUEST));
        OneOfBuilder::new()
            .item(Ref::from_schema_name(Report::name()))
            .item(many)
            .into()
    }
}

impl ToSchema for Body {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ChunkReports")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Report::name().into_owned(), Report::schema()));
        Report::schemas(schemas);
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = ReportedChunk)]
struct Reported {
    /// Whether this request created the chunk.
    created: bool,
    #[serde(flatten)]
    chunk: Chunk,
}

/// The stored chunks, in the form of the request: one chunk or a list.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportedChunks)]
#[serde(untagged)]
enum Answer {
    One(Reported),
    Many { chunks: Vec<Reported> },
}

/// Report one chunk or a list of chunks
///
/// A chunk that exists already stays as it is, so a report may be sent again.
#[utoipa::path(
    post,
    path = "",
    operation_id = "report_chunks",
    responses(
        (
            status = 201,
            description = "At least one chunk is new. A request with a single chunk gets a single chunk back.",
            body = Answer,
            headers(("location" = String, description = "The URL of the chunk, if the request had a single chunk."))
        ),
        (status = 200, description = "All chunks existed already.", body = Answer),
        (status = 409, description = "The chunks are read-only here, because they are in another database (`chunks.database_url`).")
    )
)]
pub async fn report(
    _: Permit<ChunksWrite>,
    chunks: Data<ChunkStore>,
    body: JsonBody<Body>,
) -> Result<HttpResponse, ApiError> {
    let (reports, one) = reports_of(body.into_inner().0)?;
    let kept = chunks
        .writable()?
        .ask(move |store| store.report_chunks(&reports))
        .await?;
    let mut reported: Vec<_> = kept
        .into_iter()
        .map(|(chunk, created)| Reported { created, chunk })
        .collect();
    let mut answer = match reported.iter().any(|reported| reported.created) {
        true => HttpResponse::Created(),
        false => HttpResponse::Ok(),
    };
    match reported.pop_if(|_| one) {
        Some(reported) => Ok(answer
            .insert_header((LOCATION, format!("/api/v1/chunks/{}", reported.chunk.id)))
            .json(Answer::One(reported))),
        None => Ok(answer.json(Answer::Many { chunks: reported })),
    }
}

/// Update a chunk
///
/// Fields that the request leaves out keep their values. The life cycle of a chunk limits the changes of its status.
#[utoipa::path(
    patch,
    path = "",
    operation_id = "change_chunk",
    responses(
        (status = 200, description = "The chunk after the update.", body = Chunk),
        (status = 409, description = "The current status does not allow this change, or the chunks are read-only here.")
    )
)]
pub async fn change(
    _: Permit<ChunksWrite>,
    chunks: Data<ChunkStore>,
    id: Path<i64>,
    body: JsonBody<Change>,
) -> Result<Json<Chunk>, ApiError> {
    let (id, change) = (id.into_inner(), body.into_inner());
    check(
        change.priority,
        change.task_id.as_deref(),
        change.error_message.as_deref(),
    )
    .map_err(ApiError::BadRequest)?;
    if change == Change::default() {
        let reason = "no changes given; set at least one of status, priority, task_id and error_message";
        return Err(ApiError::BadRequest(reason.to_owned()));
    }
    let query = change.status;
    match chunks
        .writable()?
        .ask(move |store| store.change_chunk(id, &change))
        .await?
    {
        ChunkChange::Done(chunk) => Ok(Json(chunk)),
        ChunkChange::Missing => Err(missing(id)),
        ChunkChange::Illegal { current } => Err(ApiError::Conflict(illegal(&current, query))),
        ChunkChange::Final { current } => {
            let reason = format!(
                "the chunk is {current}, which is final; its priority, task_id and error_message cannot be changed"
            );
            Err(ApiError::Conflict(reason))
        }
    }
}

/// Filters of the list of chunks.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only chunks with this status, such as `failed`.
    #[param(inline)]
    status: Option<Status>,
    /// Only chunks of this job, such as `7`.
    job: Option<i64>,
    /// Only chunks with a greater `id`: the `next` of the previous page.
    #[param(example = 0)]
    after: Option<i64>,
    /// Maximum number of chunks in the page.
    #[param(minimum = 1, maximum = 1000, default = 100, example = 20)]
    limit: Option<i64>,
}

/// A page of chunks.
#[derive(Serialize, ToSchema)]
#[schema(as = ChunkPage)]
pub struct Page {
    /// Sorted by `id`.
    chunks: Vec<Chunk>,
    /// The value of `after` for the next page; null on the last page.
    next: Option<i64>,
}

/// List chunks
#[utoipa::path(
    get,
    path = "",
    operation_id = "chunks",
    responses((status = 200, description = "Sorted by `id`.", body = Page))
)]
pub async fn list(
    _: Permit<ChunksRead>,
    chunks: Data<ChunkStore>,
    query: Query<ListQuery>,
) -> Result<Json<Page>, ApiError> {
    let limit = PageLimit::parse(query.limit)?;
    let filter = ChunkFilter {
        status: query.status,
        job: query.job,
        after: query.after.unwrap_or(0),
        limit: limit.to_read(),
    };
    let mut found = chunks.store.ask(move |store| store.chunks(&filter)).await?;
    let next = limit.cut(&mut found, |chunk| chunk.id);
    Ok(Json(Page { chunks: found, next }))
}

/// Get one chunk
#[utoipa::path(
    get,
    path = "",
    operation_id = "chunk",
    responses((status = 200, description = "The chunk.", body = Chunk))
)]
pub async fn one(_: Permit<ChunksRead>, chunks: Data<ChunkStore>, id: Path<i64>) -> Result<Json<Chunk>, ApiError> {
    let id = id.into_inner();
    let filter = ChunkFilter {
        after: id.saturating_sub(1),
        limit: 1,
        ..ChunkFilter::default()
    };
    let found = chunks.store.ask(move |store| store.chunks(&filter)).await?;
    let chunk = found.into_iter().find(|chunk| chunk.id == id);
    chunk.map(Json).ok_or_else(|| missing(id))
}

/// Count chunks by status
#[utoipa::path(
    get,
    path = "",
    operation_id = "chunks_summary",
    responses((status = 200, description = "The current number of chunks in each status.", body = Summary))
)]
pub async fn summary(_: Permit<ChunksRead>, chunks: Data<ChunkStore>) -> Result<Json<Summary>, ApiError> {
    Ok(Json(chunks.store.ask(Store::chunk_summary).await?))
}

fn missing(id: i64) -> ApiError {
    ApiError::Missing(format!("there is no chunk {id}; GET /api/v1/chunks lists the chunks"))
}

impl ChunkStore {
    fn writable(&self) -> Result<&Store, ApiError> {
        if self.read_only {
            let reason = "the chunks are read from another database here (chunks.database_url); report them there";
            return Err(ApiError::Conflict(reason.to_owned()));
        }
        Ok(&self.store)
    }
}

/// The reports of a body, and whether the body was a single report.
pub(in crate::api) fn reports_of(body: Value) -> Result<(Arc<[Report]>, bool), ApiError> {
    let one = !body.is_array();
    let values = match body {
        Value::Array(values) => values,
        value => vec![value],
    };
    if values.is_empty() || values.len() > MAX_CHUNKS_PER_REQUEST {
        let reason = format!(
            "the list has {} chunks; send 1 to {MAX_CHUNKS_PER_REQUEST}",
            values.len()
        );
        return Err(ApiError::BadRequest(reason));
    }
    let read = |(at, value): (usize, Value)| -> Result<Report, ApiError> {
        let place = if one { String::new() } else { format!("/{at}") };
        let report = Report::deserialize(&value).map_err(|error| invalid::<Report>(&value, &place, &error))?;
        check_report(&report).map_err(|reason| {
            ApiError::BadRequest(match one {
                true => reason,
                false => format!("{place}: {reason}"),
            })
        })?;
        Ok(report)
    };
    let reports = values.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
    Ok((reports, one))
}

fn check_report(report: &Report) -> Result<(), String> {
    if report.job_id < 0 {
        return Err(format!("job_id is {}; a job's number is at least 0", report.job_id));
    }
    if report.chunk_index < 0 {
        return Err(format!("chunk_index is {}; count from 0", report.chunk_index));
    }
    let range = &report.image_range;
    if range.start > range.end {
        return Err(format!(
            "image_range begins at {} and ends at {}",
            range.start, range.end
        ));
    }
    check(
        Some(report.priority),
        report.task_id.as_deref(),
        report.error_message.as_deref(),
    )
}

fn check(priority: Option<i32>, task_id: Option<&str>, error_message: Option<&str>) -> Result<(), String> {
    if let Some(priority) = priority.filter(|priority| !(0..=10).contains(priority)) {
        return Err(format!("priority is {priority}; write one from 0 to 10"));
    }
    if task_id.is_some_and(|id| id.chars().count() > MAX_TASK_ID_CHARS) {
        return Err(format!("task_id has more than {MAX_TASK_ID_CHARS} letters"));
    }
    if error_message.is_some_and(|message| message.len() > ERROR_BYTES) {
        return Err(format!(
            "error_message has more than {ERROR_BYTES} bytes; keep the rest in a log"
        ));
    }
    // PostgreSQL cannot store a text with a zero byte.
    let has_zero = |text: Option<&str>| text.is_some_and(|text| text.contains('\0'));
    if has_zero(task_id) || has_zero(error_message) {
        return Err("a text contains a zero byte; remove it".to_owned());
    }
    Ok(())
}

fn illegal(current: &str, query: Option<Status>) -> String {
    let next = Status::ALL.into_iter().find(|status| status.as_str() == current);
    let next: Vec<_> = next
        .map_or(&[][..], Status::next)
        .iter()
        .map(|status| status.as_str())
        .collect();
    let query = query.map_or("anything else", Status::as_str);
    match next.is_empty() {
        true => format!("the chunk is {current}, which is final; it cannot become {query}"),
        false => format!(
            "the chunk is {current}; it can become {}, not {query}",
            next.join(" or ")
        ),
    }
}
