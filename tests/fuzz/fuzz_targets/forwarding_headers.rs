//! Fuzz target: the forwarding headers of a request are accepted or refused, and never crash the server. The first line of
//! the input is `Client-Cert`, the second `X-Forwarded-For`, and each further one a line of `Client-Cert-Chain`.
#![no_main]

use std::net::IpAddr;
use std::sync::LazyLock;

use actix_web::ResponseError as _;
use actix_web::http::header::HeaderValue;
use libfuzzer_sys::fuzz_target;
use openssl::error::ErrorStack;
use watchpost::api::authn::AuthConfig;
use watchpost::api::fuzzing::{forwarded, forwarded_address};
use watchpost_fuzz::{TLS, now};

static CONFIG: LazyLock<AuthConfig> = LazyLock::new(|| AuthConfig {
    trusted_proxies: ["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"]
        .map(|network| network.parse().expect("a network"))
        .to_vec(),
    ..AuthConfig::default()
});

fuzz_target!(|bytes: &[u8]| {
    // The framework refuses other values.
    let lines: Result<Vec<HeaderValue>, _> = bytes
        .split(|byte| *byte == b'\n')
        .map(HeaderValue::from_bytes)
        .collect();
    let Ok(lines) = lines else { return };
    let [certificate, address, chain @ ..] = &lines[..] else {
        return;
    };
    let peer = IpAddr::from([127, 0, 0, 1]);
    let client = forwarded_address(&CONFIG, &[address], peer);
    let is_named = address.to_str().is_ok_and(|list| list.contains(&client.to_string()));
    assert!(client == peer || is_named || client.is_ipv6(), "{client} is made up");

    let Ok(certificate) = certificate.to_str() else { return };
    let chain: Result<Vec<&str>, _> = chain.iter().map(HeaderValue::to_str).collect();
    let Ok(chain) = chain else { return };
    let client = forwarded(certificate, &chain);
    assert_eq!(ErrorStack::get().errors().len(), 0);
    match client {
        Err(error) => {
            assert!(matches!(error.status_code().as_u16(), 400 | 401), "{error:?}");
            // Nothing of the header is repeated.
            assert!(error.to_string().len() < 300, "{error:?}");
        }
        Ok(peer) => {
            if let Err(reason) = peer.identity(&TLS, now()) {
                assert!(!reason.is_empty());
            }
            assert_eq!(ErrorStack::get().errors().len(), 0);
        }
    }
});
