//! Dialogues over a real call: keys, barge-in, secrets, transfers, endings.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Business, Host, Phone, peer, shows};
use serde_json::{Value, json};

async fn probed(mode: &str, flags: &[&str]) -> (peer::Called, Value) {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let called = peer::call_probe(&host, mode, flags).await;
    assert!(called.answered, "{called:?}");
    let call = host.finished_call().await;
    (called, call["record"].clone())
}

#[tokio::test]
async fn keys_by_rfc_4733_are_collected_and_the_terminator_is_not() {
    let (_, record) = probed("echo", &["--header", "X-Probe-Count: 1", "--keys", "1234#"]).await;
    assert_eq!(record["fields"]["digits"], json!(["1234"]));
    assert_eq!(record["transcript"][1]["digits"], "1234");
}

#[tokio::test]
async fn a_key_cuts_a_prompt_that_it_may_cut() {
    let (_, record) = probed("long", &["--keys", "!5"]).await;
    let playout = &record["fields"]["playout"];
    assert_eq!(playout["end"], "cut_by_digits", "{playout}");
    assert_eq!(record["transcript"][0]["interrupted_by"], "digits");
}

#[tokio::test]
async fn a_key_does_not_cut_a_prompt_that_it_may_not_cut_and_counts_afterwards() {
    let (_, record) = probed("uncut", &["--keys", "!7"]).await;
    assert_eq!(record["fields"]["playout"]["end"], "finished", "{record}");
    assert!(record["fields"]["heard"].to_string().contains('7'), "{record}");
}

#[tokio::test]
async fn what_is_secret_is_nowhere() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let called = peer::call_probe(&host, "sensitive", &["--keys", "9375,4"]).await;
    assert!(called.answered);
    let call = host.finished_call().await;
    assert_eq!(call["record"]["fields"]["secret_length"], 4, "{call}");
    let id = call["id"].as_str().unwrap();
    let timeline = host.get(&format!("/v1/calls/{id}/timeline")).await;
    let tape = host.text(&format!("/v1/calls/{id}/tape")).await;
    assert!(tape.contains("masked"), "{tape}");
    for text in [call.to_string(), timeline.to_string(), tape, host.log()] {
        assert!(!shows(&text, "9375"), "{text}");
    }
}

#[tokio::test]
async fn keys_can_be_sent_to_the_far_end() {
    let (called, _) = probed("send-digits", &["--header", "X-Probe-Digits: 12,3"]).await;
    let pressed: String = called
        .events
        .iter()
        .filter(|event| event["event"] == "digit")
        .filter_map(|event| event["digit"].as_str())
        .collect();
    assert_eq!(pressed, "123");
}

#[tokio::test]
async fn a_hang_up_leaves_time_to_write_down_what_was_learnt() {
    let host = Host::start().await;
    let business = Business::start().await;
    host.publish_probe(Some(&business)).await;
    peer::call_probe(&host, "grace", &["--hangup-after", "1500"]).await;
    let push = business.next_at("/sink").await;
    let record = host.finished_call().await["record"].clone();
    assert_eq!(record["disposition"], "written", "{record}");
    assert_eq!(record["end_reason"], "caller_hangup");
    assert_eq!(push.body["call_id"], record["call_id"]);
}

/// What carriers say about a call (RFC 8224, 7044, 5806, 7433, 3325, 7989) arrives as it was said: whole, in its order.
#[tokio::test]
async fn what_carriers_say_about_a_call_reaches_the_script_whole() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let phone = Phone::new().await;
    let identity =
        format!("{};info=<https://cert.example/p.cer>;alg=ES256;ppt=shaken", "eyJhbGciOiJFUzI1NiJ9.".repeat(40));
    let said = [
        ("Identity", identity.as_str()),
        ("History-Info", "<sip:+4930100@a.example>;index=1"),
        ("History-Info", "<sip:+4930200@b.example?Reason=SIP%3Bcause%3D302>;index=1.1;rc=1"),
        ("Diversion", "\"Müller, Bo\" <sip:+4930100@a.example>;reason=no-answer;counter=1"),
        ("User-to-User", "56a390f3d2b7310023a;encoding=hex"),
        ("P-Asserted-Identity", "<tel:+441632960001>"),
        ("Privacy", "id"),
        ("Session-ID", "ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000"),
    ];
    let mut headers = vec![("X-Probe-Mode", "info")];
    headers.extend(said);
    phone.dial(&host, "2000", &headers).await.unwrap().over().await;
    let record = host.finished_call().await["record"].take();
    let heard: Vec<(String, String)> = serde_json::from_value(record["fields"]["headers"].clone()).unwrap();
    let heard: Vec<(&str, &str)> = heard.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (name, value) in said {
        let name = name.to_lowercase();
        assert!(heard.contains(&(&name, value)), "{name}: {value} in {heard:?}");
    }
    let indexes =
        heard.iter().filter(|(name, _)| *name == "history-info").map(|(_, value)| value.contains("index=1.1"));
    assert_eq!(indexes.collect::<Vec<_>>(), [false, true], "{heard:?}");
}

#[tokio::test]
async fn the_headers_that_the_manifest_lists_reach_the_script() {
    let (_, record) =
        probed("info", &["--header", "X-Call-Relation-Id: r-1", "--from", "sip:+15551234567@127.0.0.1"]).await;
    assert_eq!(record["relation_id"], "r-1");
    assert_eq!(record["from"], "+15551234567");
    let text = record["fields"].to_string();
    assert!(text.contains("r-1"), "{text}");
}

#[tokio::test]
async fn the_host_calls_by_itself_and_the_call_is_recorded() {
    // One host is the callee of the other.
    let callee = Host::start().await;
    callee.publish_probe(None).await;
    let options = callbox_tests::Options {
        env: vec![("CALLBOX_OUTBOUND__ALLOWED_HOSTS", "[\"127.0.0.1\"]".into())],
        ..callbox_tests::Options::default()
    };
    let host = Host::start_with(options).await;
    let script = host.publish_probe(None).await;
    let to = format!("sip:2000@{}", callee.sip);
    let placed = host.post("/v1/calls", &json!({ "to": to, "script_id": script, "external_id": "x-1" })).await;
    let call = host.finished_call().await;
    assert_eq!(call["id"], placed["id"]);
    assert_eq!(call["record"]["direction"], "outbound");
    assert_eq!(call["record"]["outcome"], "answered");
    assert_eq!(call["record"]["external_id"], "x-1");
    let (status, problem) = host
        .request(reqwest::Method::POST, "/v1/calls", Some(&json!({ "to": "sip:1@10.9.8.7", "script_id": script })))
        .await;
    assert_eq!(status, 403, "{problem}");
}

#[tokio::test]
async fn a_bridged_transfer_joins_both_and_gives_the_caller_back() {
    let target = Host::start().await;
    target.publish_probe(None).await;
    let host = Host::start().await;
    host.publish_probe(None).await;
    let to = format!("X-Probe-Target: sip:2000@{}", target.sip);
    let called =
        peer::call_probe(&host, "transfer", &["--header", &to, "--header", "X-Probe-Transfer-Mode: bridge"]).await;
    assert!(called.answered);
    let record = host.finished_call().await["record"].clone();
    assert_eq!(record["fields"]["transfer"], "Ok(Returned)", "{record}");
    assert_eq!(target.finished_call().await["record"]["outcome"], "answered");
}

#[tokio::test]
async fn a_bridge_to_nobody_gives_the_caller_back_with_the_status() {
    let target = Host::start().await;
    let host = Host::start().await;
    host.publish_probe(None).await;
    let to = format!("X-Probe-Target: sip:nobody@{}", target.sip);
    peer::call_probe(&host, "transfer", &["--header", &to, "--header", "X-Probe-Transfer-Mode: bridge"]).await;
    let record = host.finished_call().await["record"].clone();
    assert!(record["fields"]["transfer"].to_string().contains("404"), "{record}");
}
