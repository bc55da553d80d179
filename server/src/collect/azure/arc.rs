//! How a machine of Azure Arc gets a token: its agent answers with the name of a file that only those may read who may
//! have tokens, and wants to see what stands in it. It fetches nothing else and keeps nothing.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::credential_chain::{Failure, Kind, of_identity, said};
use super::http::{HttpResponse, Request, Wire};
use super::settings::{Credentials, Settings};

/// The agent writes no longer ones, and whoever names another file gets nothing of it.
const MAX_KEY_BYTES: u64 = 4096;

/// The version of the agent's interface.
const VERSION: &str = "2020-06-01";

/// Asks the agent, shows it what it wants to see, and tells what it answers then. What was shown is told beside it, for
/// an answer may repeat it.
pub(super) async fn of_arc(
    audience: &str,
    settings: &Settings,
    wire: &Wire,
) -> Result<(HttpResponse, String), Failure> {
    let endpoint = settings.credentials.arc_endpoint.as_deref().unwrap_or_default();
    // A machine of Arc has one identity, which nobody needs to name.
    let url = of_identity(endpoint, VERSION, audience, &Credentials::default());
    let get = || Request::get(&url).with("metadata", "true");
    let challenge = wire.ask(&get()).await?;
    if challenge.status() != 401 {
        return Ok((challenge, String::new()));
    }
    let shown = key_file(challenge.challenge.as_deref(), &settings.arc_keys).and_then(|file| key(&file));
    let shown = shown.map_err(|why| said(Kind::Arc, &why))?;
    let reply = wire
        .ask(&get().with("authorization", &format!("Basic {shown}")))
        .await?;
    Ok((reply, shown))
}

/// The file that the agent names. Whoever poses as the agent shall not get another file of ours.
fn key_file(challenge: Option<&str>, folder: &Path) -> Result<PathBuf, String> {
    let named = challenge.and_then(|challenge| challenge.trim().strip_prefix("Basic realm="));
    let named = named.ok_or("the agent names no file to show it; check azure.credentials.arc_endpoint")?;
    let file = PathBuf::from(named.trim().trim_matches('"'));
    let is_key = file.extension().is_some_and(|extension| extension == "key");
    match is_key && file.parent() == Some(folder) {
        true => Ok(file),
        false => Err(format!(
            "it wants to see {}, which is no key in {}; check azure.credentials.arc_endpoint",
            file.display(),
            folder.display()
        )),
    }
}

fn key(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    let opened = std::fs::File::open(file);
    let read = opened.and_then(|opened| opened.take(MAX_KEY_BYTES + 1).read_to_string(&mut text));
    let length = read.map_err(|error| {
        let file = file.display();
        format!("{file} cannot be read ({error}); let Watchpost's user be in the group himds")
    })?;
    if length as u64 > MAX_KEY_BYTES {
        return Err(format!(
            "{} has more than {MAX_KEY_BYTES} bytes, so it is no key of the agent",
            file.display()
        ));
    }
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_in_the_agent_s_own_folder_are_shown_to_it() {
        let folder = Path::new("/var/opt/azcmagent/tokens");
        let check = |challenge: &str| key_file(Some(challenge), folder);
        let good = folder.join("a.key");
        assert_eq!(check("Basic realm=/var/opt/azcmagent/tokens/a.key"), Ok(good.clone()));
        assert_eq!(check("Basic realm=\"/var/opt/azcmagent/tokens/a.key\""), Ok(good));
        for bad in [
            "Basic realm=/etc/ssl/private/server.key",
            "Basic realm=/var/opt/azcmagent/tokens/../other/a.key",
            "Basic realm=/var/opt/azcmagent/tokens/below/a.key",
            "Basic realm=/var/opt/azcmagent/tokens/a.pem",
            "Basic realm=/var/opt/azcmagent/tokens/..",
            "Basic realm=a.key",
            "Basic realm=",
        ] {
            let why = check(bad).expect_err(bad);
            assert!(why.contains("is no key in /var/opt/azcmagent/tokens"), "{why}");
        }
        for silent in [
            None,
            Some("Bearer"),
            Some("Digest realm=/var/opt/azcmagent/tokens/a.key"),
        ] {
            let why = key_file(silent, folder).expect_err("nothing is named");
            assert!(why.contains("names no file"), "{why}");
        }
    }

    #[test]
    fn a_key_has_at_most_so_many_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.key");
        std::fs::write(&file, "k".repeat(4096)).expect("written");
        assert_eq!(key(&file), Ok("k".repeat(4096)));
        std::fs::write(&file, "k".repeat(4097)).expect("written");
        let why = key(&file).expect_err("too long");
        assert!(why.contains("more than 4096 bytes"), "{why}");
        let why = key(&folder.path().join("b.key")).expect_err("there is none");
        assert!(why.contains("himds"), "{why}");
    }
}
