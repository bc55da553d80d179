//! `watchpost openapi`: the document of the API, as a running Watchpost serves it.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::printed;
use crate::api::document::written;
use crate::config::ApiProfile;

/// Which document.
#[derive(Args)]
pub(super) struct OpenApi {
    /// Of listeners with this face.
    #[arg(long, value_enum, default_value_t = Of::All)]
    face: Of,
}

#[derive(Clone, Copy, ValueEnum)]
enum Of {
    /// All of ours.
    All,
    /// What PixCrawler's resource monitor had.
    Resource,
}

impl OpenApi {
    pub(super) fn run(&self) -> ExitCode {
        let face = match self.face {
            Of::All => ApiProfile::All,
            Of::Resource => ApiProfile::Resource,
        };
        printed(written(face).as_bytes())
    }
}
