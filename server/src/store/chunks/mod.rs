//! Work chunks: what workers report, what is stored, and which changes of status are legal, for every caller. The
//! statements are in `queries`.

mod queries;

use diesel::QueryableByName;
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::sql_types::{BigInt, Nullable, Text};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The status of a chunk; the texts are those of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = ChunkStatus)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The chunk is not assigned yet.
    #[default]
    Pending,
    /// A worker processes the chunk.
    Processing,
    /// The chunk is done.
    Completed,
    /// Processing the chunk failed.
    Failed,
}

impl Status {
    /// All statuses.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Processing, Self::Completed, Self::Failed];

    /// The text in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// The legal next statuses. Keeping the current status is always legal, so that a report can be repeated.
    pub const fn next(self) -> &'static [Self] {
        match self {
            Self::Pending => &[Self::Processing, Self::Failed],
            Self::Processing => &[Self::Completed, Self::Failed, Self::Pending],
            Self::Failed => &[Self::Pending, Self::Processing],
            Self::Completed => &[],
        }
    }

    fn is_final(self) -> bool {
        self.next().is_empty()
    }

    /// Whether this change of status is a retry.
    fn tries_again(self, next: Self) -> bool {
        matches!((self, next), (Self::Failed, _) | (Self::Processing, Self::Pending)) && self != next
    }

    fn of_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// The range of images of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageRange {
    /// The first image.
    pub start: i64,
    /// The last image.
    pub end: i64,
}

/// A chunk that a worker reports.
#[derive(Clone, Debug, PartialEq, Deserialize, ToSchema)]
#[schema(as = ChunkReport)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The job's number.
    pub job_id: i32,
    /// The chunk's index within its job.
    pub chunk_index: i32,
    /// The chunk's status; `pending` by default.
    #[serde(default)]
    pub status: Status,
    /// The priority, from 0 to 10; 5 by default.
    #[serde(default = "default_priority")]
    pub priority: i32,
    /// The images of the chunk.
    pub image_range: ImageRange,
    /// The worker's task that processes the chunk.
    #[serde(default)]
    pub task_id: Option<String>,
    /// The reason of a failure.
    #[serde(default)]
    pub error_message: Option<String>,
}

const fn default_priority() -> i32 {
    5
}

/// A change to a chunk. Fields that are not given keep their value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[schema(as = ChunkChange)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The new status.
    pub status: Option<Status>,
    /// The new priority, from 0 to 10.
    pub priority: Option<i32>,
    /// The worker's task that processes the chunk.
    pub task_id: Option<String>,
    /// The reason of a failure.
    pub error_message: Option<String>,
}

/// A stored chunk.
#[derive(Clone, Debug, PartialEq, QueryableByName, Serialize, ToSchema)]
pub struct Chunk {
    /// The id by which the chunk is read and changed.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// The job's number.
    #[diesel(sql_type = BigInt)]
    pub job_id: i64,
    /// The chunk's index within its job.
    #[diesel(sql_type = BigInt)]
    pub chunk_index: i64,
    /// The chunk's status: `pending`, `processing`, `completed` or `failed`.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// The priority, from 0 to 10.
    #[diesel(sql_type = BigInt)]
    pub priority: i64,
    /// The images of the chunk.
    #[diesel(sql_type = Text, deserialize_as = JsonOrText)]
    pub image_range: serde_json::Value,
    /// The reason of the last failure.
    #[diesel(sql_type = Nullable<Text>)]
    pub error_message: Option<String>,
    /// The number of retries.
    #[diesel(sql_type = BigInt)]
    pub retry_count: i64,
    /// The worker's task that processes the chunk.
    #[diesel(sql_type = Nullable<Text>)]
    pub task_id: Option<String>,
    /// When the chunk was first reported.
    #[diesel(sql_type = BigInt)]
    #[serde(rename = "created_at", with = "watchpost_policies::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_ms: i64,
    /// When the chunk last changed.
    #[diesel(sql_type = BigInt)]
    #[serde(rename = "updated_at", with = "watchpost_policies::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_ms: i64,
}

/// JSON of a table that another program may own, where a value may be anything; invalid JSON is read as text.
#[derive(Debug, FromSqlRow)]
struct JsonOrText(serde_json::Value);

/// The result of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum ChunkChange {
    /// The chunk is as requested.
    Done(Chunk),
    /// No chunk has this id.
    Missing,
    /// The requested status is not a legal next status.
    Illegal {
        /// The chunk's status.
        current: String,
    },
    /// The chunk's status is final, so nothing about it can be changed.
    Final {
        /// The chunk's status.
        current: String,
    },
}

/// Selects chunks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChunkFilter {
    /// Only chunks with this status.
    pub status: Option<Status>,
    /// Only chunks of this job.
    pub job: Option<i64>,
    /// Only chunks with a greater id.
    pub after: i64,
    /// The maximum number of chunks.
    pub limit: i64,
}

/// The counts of chunks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = ChunkSummary)]
pub struct Summary {
    /// The time of the count, by the database's clock.
    #[serde(rename = "as_of", with = "watchpost_policies::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub as_of_ms: i64,
    /// The number of chunks in each status, including zeros.
    pub by_status: std::collections::BTreeMap<String, i64>,
    /// The age in seconds of the chunk that has been in status `processing` for the longest time.
    pub oldest_active_seconds: f64,
    /// The total number of retries.
    pub retries: i64,
}

impl<DB: Backend> FromSql<Text, DB> for JsonOrText
where
    String: FromSql<Text, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<Text, DB>>::from_sql(bytes)?;
        Ok(Self(
            serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)),
        ))
    }
}

impl From<JsonOrText> for serde_json::Value {
    fn from(value: JsonOrText) -> Self {
        value.0
    }
}
