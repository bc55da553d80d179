//! Extractors for JSON bodies and queries. Input is compared with the schema that the OpenAPI document shows, so an error
//! names the parameter or the field, what is expected there, and what was sent. Paths have few parameters; their errors
//! are in `path`.

mod decode;
mod json;
mod path;
mod query;
mod schema;
mod strict;

pub(in crate::api) use self::decode::{DecodedBody, payload_error};
#[cfg(fuzzing)]
pub(in crate::api) use self::json::parse;
pub use self::json::{JsonBody, OptionalJson, invalid};
pub use self::path::path_error;
pub use self::query::Query;
#[cfg(fuzzing)]
pub(in crate::api) use self::strict::parse as parse_strictly;
