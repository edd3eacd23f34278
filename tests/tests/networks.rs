//! Calls over networks as they are: with loss, delay and disorder, through a NAT, over IPv6.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Bad, Business, Host, Net, Options, peer, probe_bindings};
use serde_json::{Value, json};
use std::net::Ipv6Addr;

/// The probe in a mode, with settings of its own.
async fn publish(host: &Host, business: Option<&Business>, settings: Value) -> String {
    let mut bindings = probe_bindings(business);
    bindings["settings"] = settings;
    host.publish("probe", "2000", &bindings, &json!({})).await
}

/// The keys among the events that a script saw: `Event::Digit('1')`.
fn keys(fields: &Value) -> String {
    let events = fields["events"].as_array().unwrap_or_else(|| panic!("{fields}"));
    events.iter().filter_map(|event| event.as_str()?.strip_prefix("Event::Digit('")?.chars().next()).collect()
}

#[tokio::test]
async fn two_hosts_call_each_other_over_a_bad_line() {
    let Some(mut net) = Net::new() else { return };
    // A satellite and a weak cell: up to 90 ms, every packet for itself, and one in twenty is lost.
    let (near, far) = net.bad_line(Bad { delay_ms: 40, jitter_ms: 50, loss: 5 });
    let business = Business::start().await;
    let here = Host::start_with(Options { sip: Some(near), ..Options::default() }).await;
    let mut inside = Options { sip: Some(far), inside: Some((net.name.clone(), net.far)), ..Options::default() };
    inside.env.push(("CALLBOX_OUTBOUND__ALLOWED_HOSTS", format!("[\"{near}\"]")));
    let there = Host::start_with(inside).await;
    publish(&here, Some(&business), json!({ "mode": "events" })).await;
    let webhook = json!({
        "url": business.url("/results"), "secret": business.secret, "event_types": ["call.completed"],
    });
    here.post("/v1/webhooks", &webhook).await;
    let script = publish(&there, None, json!({ "mode": "send-digits", "digits": "1593570#" })).await;

    let to = format!("sip:2000@{}", here.sip);
    there.post("/v1/calls", &json!({ "to": to, "script_id": script })).await;
    let answered = here.finished_call().await["record"].take();
    assert_eq!(keys(&answered["fields"]), "1593570#", "every key once: {answered}");
    let placed = there.finished_call().await["record"].take();
    assert_eq!(placed["outcome"], "answered", "{placed}");
    // And its result is where it belongs.
    let pushed = business.next_at("/results").await;
    assert_eq!(keys(&pushed.body["data"]["fields"]), "1593570#", "{}", pushed.body);
    // The line was as bad as it was to be.
    let lost = |record: &Value| record["media"]["lost"].as_u64().unwrap_or_default();
    assert!(lost(&answered) + lost(&placed) > 0, "{answered} {placed}");
}

#[tokio::test]
async fn a_call_over_ipv6_from_end_to_end() {
    let host = Host::start_with(Options { sip: Some(Ipv6Addr::LOCALHOST.into()), ..Options::default() }).await;
    host.publish_probe(None).await;
    peer::sipp(&host, "ipv6", "2000", 1, &["-i", "[::1]", "-mi", "::1"]).await;
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["end_reason"], "script_returned", "{record}");
    assert!(record["caller"]["uri"].as_str().unwrap().contains("[::1]"), "{record}");
}
