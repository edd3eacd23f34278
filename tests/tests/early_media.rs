//! What a script says before it answers, as a caller hears it and the record tells it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Host, Phone, peer, probe_bindings};
use serde_json::{Value, json};

const WORDS: &str = "You hear this before I answer.";

async fn host() -> Host {
    let host = Host::start().await;
    host.publish("probe", "2000", &probe_bindings(None), &json!({ "recording": "on" })).await;
    host
}

fn said(record: &Value) -> Vec<&str> {
    record["transcript"].as_array().unwrap().iter().filter_map(|turn| turn["text"].as_str()).collect()
}

#[tokio::test]
async fn a_prompt_is_heard_before_the_answer_and_recorded_after_it() {
    let host = host().await;
    let phone = Phone::new().await;
    let mut line = phone.dial_early(&host, "early", &[("X-Probe-Delay-Ms", "5000")]).await;
    line.has_heard(440.0).await;
    assert!(!line.is_told_more(), "it is not answered");
    // The key that it waits for before it answers.
    line.press("7");
    line.answered().await;
    let early = line.heard().len() / 8;
    assert!(line.over().await.by_host);
    let heard = line.heard().len() / 8;
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["outcome"], "answered");
    assert_eq!(record["fields"]["early"], json!({ "ok": true }), "{record}");
    assert_eq!(record["fields"]["heard"], "Heard::Digits(\"7\")");
    assert!(said(&record).contains(&WORDS) && said(&record).contains(&"Now I have answered."), "{record}");
    assert!(early > 400, "{early} ms before the answer");
    // The recording has what came after the answer, not the tone before it.
    let recorded = usize::try_from(record["recordings"][0]["duration_ms"].as_u64().unwrap()).unwrap();
    assert!(recorded + 300 < heard, "{recorded} ms recorded of {heard} ms that were heard");
    let times = &record["times"];
    assert!(times["answered"].is_string() && times["answered"].as_str() > times["created"].as_str(), "{times}");
}

#[tokio::test]
async fn an_announcement_is_heard_and_the_call_refused() {
    let host = host().await;
    let phone = Phone::new().await;
    let mut line = phone.dial_early(&host, "early", &[("X-Probe-Count", "486")]).await;
    line.has_heard(440.0).await;
    let over = line.over().await;
    assert_eq!((over.by_host, over.status), (true, Some(486)));
    assert!(line.heard().len() / 8 > 1_000, "the tone and the words");
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["outcome"], "busy");
    assert_eq!(record["end_reason"], "rejected");
    assert_eq!(record["sip"]["status"], 486);
    assert_eq!(record["times"]["answered"], Value::Null);
    assert_eq!(record["recordings"], json!([]), "there was no conversation");
    assert!(said(&record).contains(&WORDS), "{record}");
}

/// Without and with reliable provisional responses, as strangers speak SIP.
#[tokio::test]
async fn others_hear_a_183_with_a_description_and_then_the_200() {
    for scenario in ["early_media", "early_media_prack"] {
        let host = host().await;
        peer::sipp(&host, scenario, "2000", 1, &[]).await;
        let record = host.finished_call().await["record"].take();
        assert_eq!((&record["outcome"], &record["end_reason"]), (&json!("answered"), &json!("script_returned")));
        assert!(said(&record).contains(&WORDS), "{scenario}: {record}");
    }
}
