//! From the configuration to the databases: our own, and the one that has the chunks.

use super::StartError;
use crate::api::routes::chunks::ChunkStore;
use crate::clock;
use crate::config::{Config, DatabaseUrl};
use crate::secret::Secret;
use crate::store::{DatabaseAddress, MigrationError, Store};

/// Our own database, reached and brought up to date.
pub(super) fn open(config: &Config) -> Result<Store, StartError> {
    let file = DatabaseAddress::File {
        path: config.server.data_dir.join("watchpost.db"),
        read_only: false,
    };
    let place = place_of(config.database.url.as_ref(), false, file.clone())?;
    let told = place.to_string();
    Store::open(place, clock::now_ms()).map_err(|source| StartError::Store { place: told, source })
}

/// Ours, or those that somebody else keeps.
pub(super) fn chunks(config: &Config, ours: &Store) -> Result<ChunkStore, StartError> {
    let place = place_of(config.chunks.database_url.as_ref(), true, ours.address().clone())?;
    let read_only = config.chunks.database_url.is_some();
    let store = if read_only {
        Store::of_others(place)
    } else {
        ours.clone()
    };
    Ok(ChunkStore { store, read_only })
}

fn place_of(
    url: Option<&Secret<DatabaseUrl>>,
    read_only: bool,
    otherwise: DatabaseAddress,
) -> Result<DatabaseAddress, StartError> {
    let Some(url) = url else { return Ok(otherwise) };
    url.expose().place(read_only).map_err(|source| StartError::Store {
        place: "the configuration".to_owned(),
        source: MigrationError::Failed(source.to_string()),
    })
}
