//! `watchpost openapi`: prints the OpenAPI document that a running server serves.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::printed;
use crate::api::document::written;
use crate::config::ApiProfile;

/// Selects the document.
#[derive(Args)]
pub(super) struct OpenApi {
    /// The API profile to describe.
    #[arg(long, value_enum, default_value_t = ProfileArgument::Full)]
    api: ProfileArgument,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProfileArgument {
    /// The full API.
    Full,
    /// The API of PixCrawler's resource monitor.
    #[value(name = "pixcrawler")]
    PixCrawler,
}

impl OpenApi {
    pub(super) fn run(&self) -> ExitCode {
        let api = match self.api {
            ProfileArgument::Full => ApiProfile::Full,
            ProfileArgument::PixCrawler => ApiProfile::PixCrawler,
        };
        printed(written(api).as_bytes())
    }
}
