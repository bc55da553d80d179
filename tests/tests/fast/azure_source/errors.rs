//! Errors of Azure and of the connection, and their messages.

use super::*;

#[test]
fn each_error_is_a_gap_with_a_remedy() {
    let check = |fault: Fault, words: &[&str]| {
        let azure = azure();
        azure.fail(AVERAGES, 9, fault.clone());
        let mut settings = settings(&azure, &[VM]);
        settings.request_timeout = Duration::from_millis(300);
        let reading = reading(settings);
        says(&reading, "cpu", words);
        assert_eq!(
            value(&reading, "azure_network_sent_bytes"),
            Some(20.0),
            "{fault:?}: the others are measured"
        );
        assert_eq!(
            azure.asked_for(AVERAGES).len(),
            1 + usize::from(fault == Fault::Expired),
            "{fault:?}"
        );
    };
    let long = Duration::from_secs(60);
    check(
        Fault::ProbeError,
        &["server error of Azure", "500 InternalServerError: Something went wrong"],
    );
    check(
        Fault::Unavailable(None),
        &["503 ServiceUnavailable", "next attempt after"],
    );
    check(Fault::Overloaded(None), &["529 TooManyRequests", "next attempt after"]);
    check(
        Fault::Flat("The timespan is bad.".to_owned()),
        &["400 BadRequest: The timespan is bad", "azure.metrics"],
    );
    check(
        Fault::Expired,
        &["rejects the token", "401 ExpiredAuthenticationToken", "tenant"],
    );
    check(
        Fault::Late(long),
        &["did not answer within 300ms", "azure.request_timeout"],
    );
    check(Fault::Slow(long), &["did not answer within 300ms"]);
    check(Fault::Truncated, &["truncated after"]);
    check(Fault::Cut, &["truncated after"]);
    check(Fault::Reset, &["closed the connection"]);
    check(Fault::Page, &["cannot parse the response", "Sign in to the network"]);
    check(Fault::Padded(5 << 20), &["more than 4 MiB"]);
    check(Fault::Status(302, String::new()), &["redirect", "azure.endpoints"]);
    check(Fault::Status(200, String::new()), &["empty response"]);
    check(
        Fault::Status(502, "<html>Bad\nGateway</html>".to_owned()),
        &["502: <html>Bad Gateway"],
    );
}

#[test]
fn a_missing_role_is_named_with_its_scope_and_principal() {
    let azure = azure();
    azure.place(Place::new(PLAN).denied());
    let reading = reading(settings(&azure, &[PLAN, VM]));
    let principal = "22222222-2222-2222-2222-222222222222";
    says(
        &reading,
        "azure_http_queue",
        &["plan-1: ", "Monitoring Reader", &format!("on {PLAN} ("), principal],
    );
    assert_eq!(value(&reading, "cpu"), Some(20.0), "the other resource is measured");
}

#[test]
fn a_deleted_resource_is_a_gap() {
    let azure = azure();
    azure.remove(VM);
    says(
        &reading(settings(&azure, &[VM])),
        "cpu",
        &["does not find", VM, "ResourceNotFound"],
    );
}

#[test]
fn a_dropped_request_leaves_the_source_usable() {
    let azure = azure();
    let mut source = source(settings(&azure, &[VM]));
    let short = Duration::from_millis(50);
    run(async {
        for text in ["/token", "/metrics"] {
            azure.fail(text, 1, Fault::Late(Duration::from_secs(60)));
            let dropped = actix_web::rt::time::timeout(short, source.measure(now_ms())).await;
            assert!(dropped.is_err(), "{text}");
            azure.clear_faults();
            let reading = source.measure(now_ms()).await.expect("it answers");
            assert_eq!(value(&reading, "cpu"), Some(20.0), "{text}");
        }
    });
}

#[test]
fn a_refused_connection_is_reported() {
    let azure = azure();
    let mut settings = settings(&azure, &[VM]);
    settings.endpoints.arm = "http://127.0.0.1:1".to_owned();
    says(
        &reading(settings),
        "cpu",
        &["cannot connect to http://127.0.0.1:1", "azure.endpoints"],
    );
    let mut settings = self::settings(&azure, &[VM]);
    settings.endpoints.arm = "nonsense".to_owned();
    says(&reading(settings), "cpu", &["is not a valid URL", "azure.endpoints"]);
}

#[test]
fn a_timeout_of_one_request_does_not_affect_the_others() {
    let azure = azure();
    azure.fail(AVERAGES, 1, Fault::Late(Duration::from_secs(60)));
    let mut settings = settings(&azure, &[VM]);
    settings.request_timeout = Duration::from_secs(60);
    settings.round_timeout = Duration::from_secs(1);
    let reading = reading(settings);
    says(
        &reading,
        "cpu",
        &["did not answer all queries within 1s", "azure.timeout"],
    );
    assert_eq!(value(&reading, "azure_network_sent_bytes"), Some(20.0));
}

#[test]
fn without_a_resource_the_source_cannot_measure() {
    let azure = azure();
    let reason = measured(settings(&azure, &[])).expect_err("nothing to ask");
    assert!(reason.contains("azure.resources"), "{reason}");
}
