//! Authentication: every kind of credentials, and the caching of tokens.

use std::path::Path;

use super::*;

#[test]
fn a_rejected_token_is_fetched_once_more() {
    let azure = azure();
    let mut source = source(settings(&azure, &[VM]));
    run(async {
        source.measure(now_ms()).await.expect("it answers");
        azure.expire_tokens();
        let reading = source.measure(now_ms()).await.expect("it answers");
        assert_eq!(value(&reading, "cpu"), Some(20.0));
        assert_eq!(value(&reading, "azure_network_sent_bytes"), Some(20.0));
    });
    assert_eq!(
        azure.asked_for("/token").len(),
        2,
        "both questions had the old one, and one new one is fetched"
    );
}

#[test]
fn a_token_is_cached_until_shortly_before_it_expires() {
    let azure = azure();
    let mut source = source(settings(&azure, &[VM]));
    let now = now_ms();
    run(async {
        for (seconds, tokens) in [(0, 1), (60, 1), (3290, 1), (3305, 2)] {
            source.measure(now + seconds * 1000).await.expect("it answers");
            assert_eq!(azure.asked_for("/token").len(), tokens, "after {seconds} s");
        }
    });
    // A token with a shorter lifetime is fetched once per round, shared by all requests.
    azure.tokens_live(60);
    azure.expire_tokens();
    azure.forget();
    run(async {
        for _ in 0..2 {
            source.measure(now + 3_400_000).await.expect("it answers");
        }
    });
    assert_eq!(azure.asked_for("/token").len(), 2);
}

#[test]
fn an_application_may_authenticate_by_certificate() {
    let azure = Azure::start();
    azure.place(machine(VM, Vec::new()));
    let key = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
    let certificate = certificate(&key);
    azure.application("t-1", "c-1", Proof::Certificate(certificate.clone()));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("app.pem");
    let pem = |key: &PKey<_>| [certificate.clone(), key.private_key_to_pem_pkcs8().expect("PEM")].concat();
    std::fs::write(&file, pem(&key)).expect("written");
    let of_certificate = || Settings {
        credentials: Credentials {
            certificate: Some(file.clone()),
            ..application()
        },
        ..without_credentials(&azure, &[VM])
    };
    assert_eq!(value(&reading(of_certificate()), "cpu"), Some(20.0));
    let token = &azure.asked_for("/token")[0];
    assert!(token.field("client_secret").is_none() && token.field("client_assertion").is_some());
    // A key of another certificate with the same names.
    let other = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
    let pem = [
        self::certificate(&other),
        other.private_key_to_pem_pkcs8().expect("PEM"),
    ]
    .concat();
    std::fs::write(&file, pem).expect("written");
    let reason = measured(of_certificate()).expect_err("refused");
    assert!(
        reason.contains("AADSTS700027") && reason.contains("register the certificate"),
        "{reason}"
    );
}

fn certificate(key: &PKey<openssl::pkey::Private>) -> Vec<u8> {
    let mut certificate = X509::builder().expect("a certificate");
    certificate.set_pubkey(key).expect("its key");
    certificate
        .set_not_before(&Asn1Time::from_unix(0).expect("a time"))
        .expect("its beginning");
    certificate
        .set_not_after(&Asn1Time::days_from_now(1).expect("a time"))
        .expect("its end");
    certificate.sign(key, MessageDigest::sha256()).expect("signed");
    certificate.build().to_pem().expect("PEM")
}

#[test]
fn the_token_file_of_a_workload_is_read_for_each_request() {
    let azure = Azure::start();
    azure.place(machine(VM, Vec::new()));
    azure.application("t-1", "c-1", Proof::Federated("second".to_owned()));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let mut source = source(Settings {
        credentials: Credentials {
            federated_token_file: Some(file.clone()),
            ..application()
        },
        ..without_credentials(&azure, &[VM])
    });
    run(async {
        let missing = source.measure(now_ms()).await.expect_err("no file");
        assert!(missing.contains("federated_token_file"), "{missing}");
        std::fs::write(&file, "first\n").expect("written");
        let refused = source.measure(now_ms()).await.expect_err("refused");
        assert!(
            refused.contains("no token from workload identity (401 invalid_client"),
            "{refused}"
        );
        std::fs::write(&file, "second\n").expect("written");
        source.measure(now_ms()).await.expect("it answers");
    });
}

#[test]
fn an_app_service_sends_its_header_and_a_machine_sends_metadata() {
    let azure = Azure::start();
    azure.place(machine(VM, Vec::new()));
    azure.app_service_identity("hunter2");
    let app = |header: &str| {
        let mut settings = without_credentials(&azure, &[VM]);
        settings.credentials.identity_endpoint = Some(azure.identity_endpoint());
        settings.credentials.identity_header = Some(Secret::new(header.to_owned()));
        settings
    };
    assert_eq!(value(&reading(app("hunter2")), "cpu"), Some(20.0));
    let reason = measured(app("wrong-header")).expect_err("refused");
    assert!(
        reason.contains("no token from App Service identity (401") && reason.contains("Identity not found"),
        "{reason}"
    );
    azure.machine_identity();
    azure.forget();
    assert_eq!(value(&reading(without_credentials(&azure, &[VM])), "cpu"), Some(20.0));
    let asked = &azure.asked_for("/metadata")[0];
    assert_eq!(asked.header("metadata"), Some("true"));
    assert_eq!(
        asked.query("resource").as_deref(),
        Some("https://management.azure.com/")
    );
}

#[test]
fn an_arc_machine_sends_its_agent_only_keys_from_the_agents_folder() {
    let azure = Azure::start();
    azure.place(machine(VM, Vec::new()));
    let folder = tempfile::tempdir().expect("a folder");
    azure.arc_identity(folder.path());
    let arc = |keys: &Path| {
        let mut settings = without_credentials(&azure, &[VM]);
        settings.credentials.arc_endpoint = Some(azure.arc_endpoint());
        // The client id is that of an application, not of an identity of this machine.
        settings.credentials.client_id = Some("c-1".to_owned());
        settings.arc_keys = keys.to_owned();
        settings
    };
    assert_eq!(value(&reading(arc(folder.path())), "cpu"), Some(20.0));
    let shown: Vec<_> = azure
        .asked_for("api-version=2020-06-01")
        .iter()
        .map(|asked| asked.header("authorization").map(str::to_owned))
        .collect();
    assert_eq!(shown, [None, Some("Basic key-1".to_owned())]);
    azure.forget();
    let reason = measured(arc(Path::new("/var/opt/azcmagent/tokens"))).expect_err("it is another folder");
    assert!(
        reason.contains("no token from Azure Arc identity: the agent requests")
            && reason.contains("not a key file in /var/opt/azcmagent/tokens"),
        "{reason}"
    );
    let asked = azure.asked_for("/token");
    assert!(asked.iter().all(|asked| asked.header("authorization").is_none()));
    azure.fail("2020-06-01", 1, Fault::Status(500, "trouble".to_owned()));
    let reason = measured(arc(folder.path())).expect_err("the agent has trouble");
    assert!(reason.contains("no token from Azure Arc identity (500"), "{reason}");
}

#[test]
fn a_metadata_service_that_is_not_ready_is_retried() {
    let azure = Azure::start();
    azure.place(machine(VM, Vec::new()));
    azure.machine_identity();
    azure.fail("/metadata", 1, Fault::Status(410, String::new()));
    azure.fail("/metadata", 1, Fault::ProbeError);
    assert_eq!(value(&reading(without_credentials(&azure, &[VM])), "cpu"), Some(20.0));
    assert_eq!(azure.asked_for("/metadata").len(), 3);
}

#[test]
fn a_host_outside_azure_is_detected_quickly() {
    let azure = Azure::start();
    azure.machine_identity();
    azure.fail("/metadata", 1, Fault::Late(Duration::from_secs(60)));
    let reason = measured(without_credentials(&azure, &[VM])).expect_err("there is no token");
    assert!(
        reason.contains("not an Azure virtual machine") && reason.contains("within 1s"),
        "{reason}"
    );
    assert!(reason.contains("azure.credentials"), "{reason}");
}

#[test]
fn the_first_credential_that_works_is_kept() {
    let azure = azure();
    azure.machine_identity();
    let mut wrong = settings(&azure, &[VM]);
    wrong.credentials.client_secret = Some(Secret::new("wrong-secret".to_owned()));
    let mut source = source(wrong);
    let now = now_ms();
    run(async {
        source.measure(now).await.expect("the machine's identity works");
        assert_eq!(azure.asked_for("/oauth2/v2.0/token").len(), 1);
        source.measure(now + 7_200_000).await.expect("it still does");
        assert_eq!(azure.asked_for("/oauth2/v2.0/token").len(), 1);
        assert_eq!(azure.asked_for("/metadata").len(), 2);
    });
}

#[test]
fn without_a_token_every_metric_is_missing_and_the_secret_is_not_logged() {
    let azure = azure();
    let mut wrong = settings(&azure, &[VM]);
    wrong.credentials.client_secret = Some(Secret::new("wrong-secret".to_owned()));
    let reason = measured(wrong.clone()).expect_err("refused");
    assert!(
        reason.starts_with("no token from client secret (401 invalid_client: AADSTS7000215"),
        "{reason}"
    );
    assert!(reason.contains("secret's value, not its id"), "{reason}");
    assert_eq!(
        azure.asked_for("/oauth2").len(),
        2,
        "the secret and the machine, once for all questions"
    );
    azure.fail("/v2.0/token", 1, Fault::Status(400, "what is wrong-secret?".to_owned()));
    let reason = measured(wrong.clone()).expect_err("refused");
    assert!(
        reason.contains("what is ********?") && !reason.contains("wrong-secret"),
        "{reason}"
    );
    azure.fail(
        "/v2.0/token",
        1,
        Fault::Status(200, "{\"access_token\": \"wrong-secret".to_owned()),
    );
    let reason = measured(wrong).expect_err("refused");
    assert!(
        reason.contains("cannot parse the token response") && !reason.contains("wrong-secret"),
        "{reason}"
    );
}

#[test]
fn a_token_endpoint_may_request_a_wait() {
    let azure = azure();
    azure.fail("/v2.0/token", 1, Fault::Throttled(Some(60)));
    let mut source = source(settings(&azure, &[VM]));
    let now = now_ms();
    run(async {
        let reason = source.measure(now).await.expect_err("it waits");
        assert!(
            reason.contains("429") && reason.contains("next attempt after"),
            "{reason}"
        );
        source.measure(now + 59_000).await.expect_err("it still waits");
        assert_eq!(azure.asked_for("/v2.0/token").len(), 1);
        source.measure(now + 60_000).await.expect("it answers");
    });
}
