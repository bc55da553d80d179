//! The authority whose clients the fuzzed server accepts. `make fuzz` writes it together with the certificates of the
//! initial corpus, so that their chains are valid, and mutations of them nearly so.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use watchpost::tls::{AcceptedProxies, Files, Options, Parameters, Tls};

/// The TLS state of a server that accepts all kinds of proxy certificates.
pub static TLS: LazyLock<Arc<Tls>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("authority");
    let files = Files {
        certificate: folder.join("server.crt"),
        key: folder.join("server.key"),
        client_ca: folder.join("ca.crt"),
        crl: None,
        development_ca: Some(folder.join("ca.crt")),
    };
    let options = Options {
        files,
        only_1_3: false,
        proxies: AcceptedProxies {
            full: true,
            limited: true,
        },
        parameters: Parameters::default(),
        resumption: true,
        http2: true,
    };
    Tls::load(options).expect("`make fuzz` has written the authority")
});

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    i64::try_from(since.as_secs()).expect("a time of this age")
}
