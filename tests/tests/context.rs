//! Context and results: what a customer's system gives and receives.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Answer, Business, Host, Phone, peer};
use serde_json::json;
use std::time::Duration;

async fn ask(early: Answer) -> serde_json::Value {
    let host = Host::start().await;
    let business = Business::start().await;
    business.answer("/early", early);
    business.answer("/late", Answer::json(json!({ "from": "late" })));
    host.publish_probe(Some(&business)).await;
    let called = peer::call_probe(&host, "context", &[]).await;
    assert!(called.answered);
    host.finished_call().await["record"]["fields"].clone()
}

#[tokio::test]
async fn context_that_arrives_reaches_the_script() {
    let fields = ask(Answer::json(json!({ "name": "Ada" }))).await;
    assert_eq!(fields["early"]["ok"]["name"], "Ada", "{fields}");
    assert_eq!(fields["late"]["ok"]["from"], "late", "{fields}");
}

#[tokio::test]
async fn context_that_is_late_is_a_typed_error_and_the_call_goes_on() {
    let fields = ask(Answer { after: Duration::from_secs(8), ..Answer::json(json!({})) }).await;
    assert!(fields["early"]["error"].to_string().to_lowercase().contains("timed"), "{fields}");
    assert_eq!(fields["late"]["ok"]["from"], "late", "{fields}");
}

#[tokio::test]
async fn context_that_fails_is_a_typed_error_and_the_call_goes_on() {
    let fields = ask(Answer { status: 500, ..Answer::json(json!({})) }).await;
    assert!(fields["early"]["error"].to_string().contains("unavailable"), "{fields}");
    assert_eq!(fields["late"]["ok"]["from"], "late", "{fields}");
}

#[tokio::test]
async fn context_that_is_not_known_is_another_error_than_a_system_that_fails() {
    let fields = ask(Answer { status: 404, ..Answer::json(json!({})) }).await;
    let error = fields["early"]["error"].to_string();
    assert!(error.contains("not found") || error.contains("not-found"), "{fields}");
    assert!(error.contains("404"), "{fields}");
}

#[tokio::test]
async fn the_context_request_says_who_calls_whom() {
    let host = Host::start().await;
    let business = Business::start().await;
    host.publish_probe(Some(&business)).await;
    peer::call_probe(&host, "hello", &["--from", "sip:+15551234567@127.0.0.1", "--header", "X-Call-Relation-Id: r-7"])
        .await;
    let request = business.next_at("/early").await;
    assert_eq!(request.body["type"], "context.request");
    let call = &request.body["data"]["call"];
    assert_eq!(call["from"], "+15551234567", "{call}");
    assert_eq!(call["relation_id"], "r-7");
    assert_eq!(call["direction"], "inbound");
}

#[tokio::test]
async fn the_result_arrives_signed_once_and_in_order() {
    let host = Host::start().await;
    let business = Business::start().await;
    host.publish_probe(Some(&business)).await;
    let webhook = json!({ "url": business.url("/webhooks"), "secret": business.secret });
    host.post("/v1/webhooks", &webhook).await;
    peer::call_probe(&host, "push", &[]).await;
    let (mut events, mut pushes) = (Vec::new(), Vec::new());
    loop {
        let request = business.next().await;
        match request.path.as_str() {
            "/sink" => pushes.push(request),
            "/webhooks" => events.push(request),
            _ => {}
        }
        assert!(events.iter().all(|event| event.body["type"] != "call.turn"), "nobody asked for turns");
        let completed = events.iter().any(|event| event.body["type"] == "call.completed");
        if completed && pushes.len() >= 3 {
            break;
        }
    }
    let mut numbers: Vec<_> = pushes.iter().map(|push| push.body["data"]["body"]["number"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2]);
    let completed: Vec<_> = events.iter().filter(|event| event.body["type"] == "call.completed").collect();
    assert_eq!(completed.len(), 1);
    let document = &completed[0].body["data"];
    assert_eq!(completed[0].id, completed[0].body["id"]);
    assert_eq!(document["outcome"], "answered");
    assert_eq!(*document, host.finished_call().await["record"]);
}

#[tokio::test]
async fn each_turn_is_told_to_who_asks_for_turns() {
    let host = Host::start().await;
    let business = Business::start().await;
    host.publish_probe(None).await;
    let turns = json!({ "url": business.url("/turns"), "secret": business.secret, "event_types": ["call.turn"] });
    host.post("/v1/webhooks", &turns).await;
    let all = json!({ "url": business.url("/all"), "secret": business.secret });
    host.post("/v1/webhooks", &all).await;
    let mut line = Phone::new().await.dial_probe(&host, "echo", &[("X-Probe-Count", "1")]).await;
    let first = business.next_at("/turns").await;
    // That was told while the call runs on: it waits for keys.
    line.press("42#");
    assert!(line.over().await.by_host);
    let transcript = host.finished_call().await["record"]["transcript"].clone();
    let transcript = transcript.as_array().unwrap();
    let mut told = vec![first];
    while told.len() < transcript.len() {
        told.push(business.next_at("/turns").await);
    }
    told.sort_by_key(|event| event.body["sequence"].as_i64());
    let data: Vec<_> = told.iter().map(|event| event.body["data"].clone()).collect();
    assert_eq!(data, *transcript);
    assert!(told.iter().all(|event| event.body["type"] == "call.turn"), "{told:?}");
}

#[tokio::test]
async fn a_receiver_that_is_down_gets_the_same_bytes_later() {
    let host = Host::start().await;
    let business = Business::start().await;
    host.publish_probe(Some(&business)).await;
    business.answer("/sink", Answer { status: 503, ..Answer::json(json!({})) });
    peer::call_probe(&host, "push", &["--header", "X-Probe-Count: 1"]).await;
    let first = business.next_at("/sink").await;
    business.answer("/sink", Answer::json(json!({})));
    let second = business.next_at("/sink").await;
    assert_eq!((first.id, first.raw), (second.id, second.raw));
}

#[tokio::test]
async fn results_survive_a_restart_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let business = Business::start().await;
    business.answer("/sink", Answer { status: 500, ..Answer::json(json!({})) });
    let mut options = callbox_tests::Options { data: Some(folder.path().into()), ..callbox_tests::Options::default() };
    let host = Host::start_with(options.clone()).await;
    options.key = Some(host.key.clone());
    host.publish_probe(Some(&business)).await;
    peer::call_probe(&host, "push", &["--header", "X-Probe-Count: 1"]).await;
    let first = business.next_at("/sink").await;
    host.finished_call().await;
    assert!(host.stop().await.success());
    business.answer("/sink", Answer::json(json!({})));
    let _host = Host::start_with(options).await;
    let second = business.next_at("/sink").await;
    assert_eq!((first.id, first.raw), (second.id, second.raw));
}
