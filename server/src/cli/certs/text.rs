//! What `watchpost certs` prints.

use jiff::Timestamp;
use watchpost_pki::{Authority, Files, Issued};

use crate::cli::shell::quoted;
use crate::cli::table::columns;

pub(super) fn as_json(issued: &[Issued]) -> String {
    let text = serde_json::to_string_pretty(issued).expect("strings and nulls always serialize to JSON");
    text + "\n"
}

pub(super) fn as_table(issued: &[Issued], now: Timestamp) -> String {
    let heading = ["NAME", "ROLE", "SERIAL", "EXPIRES", "STATE"].map(str::to_owned);
    let rows = issued.iter().map(|issued| {
        let role = issued.role.clone().unwrap_or_else(|| "-".to_owned());
        let state = match issued.revoked_at {
            Some(time) => format!("revoked on {}", day(time)),
            None if issued.holds(now) => "valid".to_owned(),
            None => "expired".to_owned(),
        };
        [
            issued.name.clone(),
            role,
            issued.serial.clone(),
            day(issued.not_after),
            state,
        ]
    });
    let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
    columns(&rows)
}

/// A command to copy. The port is the server's default.
pub(super) fn usage(authority: &Authority, files: &Files) -> String {
    format!(
        "\ncurl --cacert {} --cert {} --key {} https://localhost:8443/api/v1/whoami\n",
        quoted(&authority.certificate_path()),
        quoted(&files.certificate),
        quoted(&files.key),
    )
}

pub(super) fn pair(files: &Files) -> String {
    format!("{}  {}", files.certificate.display(), files.key.display())
}

pub(super) fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}
