//! Opens the databases of the configuration: the server's own, and the one with the chunks.

use super::StartError;
use crate::api::routes::chunks::ChunkStore;
use crate::clock;
use crate::config::{Config, DatabaseUrl};
use crate::store::{DatabaseAddress, Inspected, MigrationError, Store};
use watchpost_secret::Secret;

/// Opens and migrates the server's own database.
pub(super) fn open(config: &Config) -> Result<Store, StartError> {
    let place = own(config)?;
    let address = place.to_string();
    Store::open(place, clock::now_ms()).map_err(|source| StartError::Store { place: address, source })
}

/// Opens the server's own database, which exists and has the current schema.
pub(super) fn open_existing(config: &Config) -> Result<Store, StartError> {
    let place = own(config)?;
    let address = place.to_string();
    Store::open_existing(place).map_err(|source| StartError::Store { place: address, source })
}

/// The databases on other machines whose server is not authenticated, by the key of their setting.
pub(super) fn unauthenticated(config: &Config) -> Vec<(&'static str, String)> {
    let urls = [
        ("database.url", config.database.url.as_ref()),
        ("chunks.database_url", config.chunks.database_url.as_ref()),
    ];
    let mut found = Vec::new();
    for (key, url) in urls {
        let address = url.and_then(|url| url.expose().place(true).ok());
        if let Some(host) = address.and_then(|address| address.unauthenticated_host()) {
            let text = format!(
                "the database server {host} is not authenticated, so another machine can pose as it; add sslmode=verify-full and sslrootcert=FILE to the URL"
            );
            found.push((key, text));
        }
    }
    found
}

/// Inspects the server's own database, and changes nothing.
pub(super) fn inspect(config: &Config) -> Result<Inspected, StartError> {
    let place = own(config)?;
    Store::inspect(&place).map_err(|source| StartError::Store {
        place: place.to_string(),
        source,
    })
}

/// The address of the database of another program that has the chunks, if one is configured.
pub(super) fn external_chunks(config: &Config) -> Result<Option<DatabaseAddress>, StartError> {
    if config.chunks.database_url.is_none() {
        return Ok(None);
    }
    database_url(config.chunks.database_url.as_ref(), true, own(config)?).map(Some)
}

fn own(config: &Config) -> Result<DatabaseAddress, StartError> {
    let file = DatabaseAddress::File {
        path: config.server.data_dir.join("watchpost.db"),
        read_only: false,
    };
    database_url(config.database.url.as_ref(), false, file)
}

/// The server's own database, or the read-only one of another program.
pub(super) fn chunks(config: &Config, own_store: &Store) -> Result<ChunkStore, StartError> {
    let place = database_url(config.chunks.database_url.as_ref(), true, own_store.address().clone())?;
    let read_only = config.chunks.database_url.is_some();
    let store = if read_only {
        Store::open_external(place)
    } else {
        own_store.clone()
    };
    Ok(ChunkStore { store, read_only })
}

fn database_url(
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
