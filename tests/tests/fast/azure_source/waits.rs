//! Throttling: waits that Azure requests.

use super::*;

#[test]
fn a_throttled_source_sends_no_request_for_the_whole_subscription() {
    let azure = azure();
    let other = VM.replace("vm-1", "vm-2");
    azure.place(machine(&other, Vec::new()));
    azure.fail("vm-1/providers/Microsoft.Insights", 1, Fault::Throttled(Some(90)));
    let mut source = source(settings(&azure, &[VM, &other]));
    let now = now_ms();
    run(async {
        source.measure(now).await.expect("it answers");
        azure.forget();
        let waiting = source.measure(now + 89_000).await.expect("it answers");
        says(
            &waiting,
            "cpu",
            &[
                "vm-1: Azure throttles requests (429",
                "vm-2: Azure throttles requests (429",
            ],
        );
        assert_eq!(azure.asked().len(), 0);
        let reading = source.measure(now + 90_000).await.expect("it answers");
        assert_eq!(reason(&reading, "cpu"), "");
    });
}

#[test]
fn a_wait_lasts_over_rounds_and_ends() {
    let azure = azure();
    let mut source = source(settings(&azure, &[VM]));
    let now = now_ms();
    run(async {
        source.measure(now).await.expect("it answers");
        azure.fail("/metrics", 2, Fault::Throttled(Some(90)));
        says(
            &source.measure(now).await.expect("it answers"),
            "cpu",
            &["429", "next attempt after"],
        );
        azure.clear_faults();
        azure.forget();
        let waiting = source.measure(now + 89_000).await.expect("it answers");
        says(
            &waiting,
            "cpu",
            &["429 SubscriptionRequestsThrottled", "next attempt after"],
        );
        says(&waiting, "azure_network_sent_bytes", &["429", "next attempt after"]);
        assert_eq!(azure.asked().len(), 0, "no request is sent meanwhile");
        assert_eq!(
            value(&source.measure(now + 90_000).await.expect("it answers"), "cpu"),
            Some(20.0)
        );
    });
}

#[test]
fn without_retry_after_the_waits_grow() {
    let azure = azure();
    azure.fail(AVERAGES, 100, Fault::Overloaded(None));
    azure.fail("aggregation=total", 100, Fault::Overloaded(None));
    let mut source = source(settings(&azure, &[VM]));
    let now = now_ms();
    let mut asked_at = Vec::new();
    run(async {
        for second in (0..600).step_by(10) {
            azure.forget();
            source.measure(now + second * 1000).await.expect("it answers");
            if !azure.asked_for("/metrics").is_empty() {
                asked_at.push(second);
            }
        }
    });
    assert_eq!(asked_at, [0, 30, 90, 210, 450]);
}
