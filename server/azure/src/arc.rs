//! Obtains a token from the Azure Arc agent. The agent names a key file that only authorized users can read, and
//! expects its content in the next request.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::credential_chain::{Failure, Kind, managed_identity_url, refused};
use super::http::{HttpClient, HttpResponse, Request};
use super::settings::{Credentials, Settings};

/// The agent's keys are shorter. Longer files are not sent.
const MAX_KEY_BYTES: u64 = 4096;

/// The API version of the agent.
const VERSION: &str = "2020-06-01";

/// Requests a token and answers the agent's challenge. Also returns the key that was sent, so that it can be
/// masked in error responses.
pub(crate) async fn of_arc(
    audience: &str,
    settings: &Settings,
    http_client: &HttpClient,
) -> Result<(HttpResponse, String), Failure> {
    let endpoint = settings.credentials.arc_endpoint.as_deref().unwrap_or_default();
    // A machine has only one Arc identity, so no client id is sent.
    let url = managed_identity_url(endpoint, VERSION, audience, &Credentials::default());
    let get = || Request::get(&url).with("metadata", "true");
    let challenge = http_client.send(&get()).await?;
    if challenge.status() != 401 {
        return Ok((challenge, String::new()));
    }
    let key = key_file(challenge.challenge.as_deref(), &settings.arc_keys).and_then(|file| key(&file));
    let key = key.map_err(|reason| refused(Kind::Arc, &reason))?;
    let reply = http_client
        .send(&get().with("authorization", &format!("Basic {key}")))
        .await?;
    Ok((reply, key))
}

/// The key file that the agent names. Only files in the agent's own directory are accepted, so that a fake agent
/// cannot read other files.
fn key_file(challenge: Option<&str>, folder: &Path) -> Result<PathBuf, String> {
    let named = challenge.and_then(|challenge| challenge.trim().strip_prefix("Basic realm="));
    let named = named.ok_or("the agent's challenge names no key file; check azure.credentials.arc_endpoint")?;
    let file = PathBuf::from(named.trim().trim_matches('"'));
    let is_key = file.extension().is_some_and(|extension| extension == "key");
    match is_key && file.parent() == Some(folder) {
        true => Ok(file),
        false => Err(format!(
            "the agent requests {}, which is not a key file in {}; check azure.credentials.arc_endpoint",
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
        format!("cannot read {file} ({error}); add Watchpost's user to the group himds")
    })?;
    if length as u64 > MAX_KEY_BYTES {
        return Err(format!(
            "{} has more than {MAX_KEY_BYTES} bytes, so it is not a key of the agent",
            file.display()
        ));
    }
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_in_the_agents_directory_are_sent() {
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
            let reason = check(bad).expect_err(bad);
            assert!(
                reason.contains("is not a key file in /var/opt/azcmagent/tokens"),
                "{reason}"
            );
        }
        for invalid in [
            None,
            Some("Bearer"),
            Some("Digest realm=/var/opt/azcmagent/tokens/a.key"),
        ] {
            let reason = key_file(invalid, folder).expect_err("nothing is named");
            assert!(reason.contains("names no key file"), "{reason}");
        }
    }

    #[test]
    fn a_key_has_a_maximum_size() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.key");
        std::fs::write(&file, "k".repeat(4096)).expect("written");
        assert_eq!(key(&file), Ok("k".repeat(4096)));
        std::fs::write(&file, "k".repeat(4097)).expect("written");
        let reason = key(&file).expect_err("too long");
        assert!(reason.contains("more than 4096 bytes"), "{reason}");
        let reason = key(&folder.path().join("b.key")).expect_err("there is none");
        assert!(reason.contains("himds"), "{reason}");
    }
}
