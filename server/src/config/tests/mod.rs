//! What is promised of the configuration as a whole, and what the tests of it begin with.

mod azure;
mod layers;
mod pixcrawler;
mod refused;
mod shown;

use tempfile::TempDir;

use super::{Config, Sources};

/// A folder with a file in it, and what is said besides.
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
        Config::load(&self.sources).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    /// Each mistake as `place|key|remedy`, the folder left out.
    fn mistakes(&self) -> Vec<String> {
        let mistakes = Config::load(&self.sources).expect_err("mistakes");
        let folder = format!("{}/", self.folder.path().display());
        let lines = mistakes.to_string().replace(&folder, "");
        assert_eq!(lines.lines().count(), mistakes.iter().count(), "one line each: {lines}");
        lines.lines().map(str::to_owned).collect()
    }

    /// The only mistake there is.
    fn mistake(&self) -> String {
        let mistakes = self.mistakes();
        assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
        mistakes.into_iter().next().unwrap_or_default()
    }
}
