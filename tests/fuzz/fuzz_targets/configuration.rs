//! Fuzz target: any text of a configuration file, a variable or a flag gives settings or errors, one line for each, and no
//! error has a secret. The first byte selects the place of a secret; then follows the text.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use watchpost::config::{Config, Sources};

/// Stands in the secret, and nowhere else.
const CANARY: &str = "cAnArY7431";

/// The secrets in TOML and YAML. They come before the text, so that the text cannot make them a part of something else.
const SECRETS: [(&str, &str); 8] = [
    (
        "azure.credentials.client_secret = \"CANARY\"\n",
        "azure: {credentials: {client_secret: \"CANARY\"}}\n",
    ),
    (
        "azure.credentials.identity_header = [\"CANARY\", 7]\n",
        "azure: {credentials: {identity_header: [\"CANARY\", 7]}}\n",
    ),
    (
        "azure.credentials.certificate_password = {a = \"CANARY\"}\n",
        "azure: {credentials: {certificate_password: {a: \"CANARY\"}}}\n",
    ),
    (
        "database.url = \"postgres://user:CANARY@localhost/db\"\n",
        "database: {url: \"postgres://user:CANARY@localhost/db\"}\n",
    ),
    (
        "database.url = \"CANARY://localhost:x/db\"\n",
        "database: {url: \"CANARY://localhost:x/db\"}\n",
    ),
    (
        "chunks.database_url = \"mysql://user:CANARY@localhost/db?a=b\"\n",
        "chunks: {database_url: \"mysql://user:CANARY@localhost/db?a=b\"}\n",
    ),
    (
        "tokens = [{ name = \"a\", sha256 = \"CANARY\" }]\n",
        "tokens: [{name: a, sha256: \"CANARY\"}]\n",
    ),
    (
        "tokens = [{ name = \"a\", sha256 = [\"CANARY\"] }]\n",
        "tokens: [{name: a, sha256: [\"CANARY\"]}]\n",
    ),
];

/// A folder in memory, as the text is written to a file.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    folder.expect("a folder").keep()
});

fuzz_target!(|bytes: &[u8]| {
    let Some((&selector, text)) = bytes.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else { return };
    if text.contains(CANARY) {
        return;
    }
    let place = usize::from(selector) / 4 % SECRETS.len();
    let (toml, yaml) = SECRETS[place];
    let mut sources = Sources {
        working_directory: FOLDER.clone(),
        ..Sources::default()
    };
    let (name, secret) = match selector % 4 {
        0 | 2 => ("watchpost.toml", toml),
        _ => ("watchpost.yaml", yaml),
    };
    let secret = secret.replace("CANARY", CANARY);
    let whole = match selector % 4 {
        // The other layers: the secret is in the file, and each line of the text is a variable or a flag.
        2 => {
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            let pairs: Vec<(String, String)> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let is_flag = |(name, _): &(String, String)| name.contains('.');
            let (flags, variables): (Vec<_>, Vec<_>) = pairs.into_iter().partition(is_flag);
            sources.flags = flags;
            sources.environment = variables.into_iter().collect();
            secret
        }
        _ => secret + text,
    };
    let file = FOLDER.join(name);
    fs::write(&file, whole).expect("written");
    sources.file = Some(file);
    match Config::load(&sources) {
        Ok(config) => {
            let shown = config.show();
            assert!(!shown.contains(CANARY), "{shown}");
            assert!(!format!("{config:?}").contains(CANARY));
        }
        Err(errors) => {
            let text = errors.to_string();
            assert!(!text.contains(CANARY), "{text}");
            assert_eq!(text.lines().count(), errors.iter().count(), "{text}");
            assert!(
                !text.contains(|letter: char| letter.is_control() && letter != '\n'),
                "{text:?}"
            );
        }
    }
});
