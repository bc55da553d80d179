//! Tests of the configuration as a whole, and their common set-up.

mod azure;
mod layers;
mod pixcrawler;
mod refused;
mod shown;

use tempfile::TempDir;

use super::{Config, Sources};

/// A directory with a configuration file, and the other layers.
struct Case {
    folder: TempDir,
    sources: Sources,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let sources = Sources {
            working_directory: folder.path().to_owned(),
            ..Sources::default()
        };
        Self { folder, sources }
    }

    fn toml(self, text: &str) -> Self {
        self.file("watchpost.toml", text)
    }

    fn file(mut self, name: &str, text: &str) -> Self {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).expect("written");
        self.sources.file = Some(file);
        self
    }

    fn dotenv(self, text: &str) -> Self {
        std::fs::write(self.folder.path().join(".env"), text).expect("written");
        self
    }

    fn environment<const N: usize>(mut self, variables: [(&str, &str); N]) -> Self {
        self.sources.environment = variables.into_iter().collect();
        self
    }

    fn flag(mut self, key: &str, text: &str) -> Self {
        self.sources.flags.push((key.to_owned(), text.to_owned()));
        self
    }

    fn load(&self) -> Config {
        Config::load(&self.sources).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Each error as `origin: key: remedy`, without the path of the directory.
    fn errors(&self) -> Vec<String> {
        let errors = Config::load(&self.sources).expect_err("errors");
        let folder = format!("{}/", self.folder.path().display());
        let lines = errors.to_string().replace(&folder, "");
        assert_eq!(lines.lines().count(), errors.iter().count(), "one line each: {lines}");
        lines.lines().map(str::to_owned).collect()
    }

    /// The error, if there is exactly one.
    fn error(&self) -> String {
        let errors = self.errors();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        errors.into_iter().next().unwrap_or_default()
    }
}
