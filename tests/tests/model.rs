//! A language model on a live call: asked over HTTP, spoken while it writes, stopped by a key, and told what was heard.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_speechd::{Script, Server, Settings};
use callbox_tests::{Host, Phone, eventually};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};

const NUMBER: &str = "2300";
const SCRIPT: &str = r#"
answers:
  - when: story
    says: "Once upon a time there was a king. He had a castle on a hill, and a horse, and a very long story to tell about
      each of them, which he told to everybody who came by, whether they wanted to hear it or not, day after day."
    tokens_per_second: 12
  - { when: go on, calls: [{ name: note, arguments: { text: the king } }] }
  - { after: note, says: "It is noted. Press a key." }
  - { when: away, fails: { status: 503 } }
"#;

async fn model() -> Server {
    let settings =
        Settings { key: Some("s3cr3t".into()), script: Script::parse(SCRIPT).unwrap(), ..Settings::default() };
    Server::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings).await.unwrap()
}

/// What the model was asked, in order: the messages of each request.
async fn asked(server: &Server) -> Vec<Value> {
    let client = reqwest::Client::new().get(server.url("http", "/requests")).bearer_auth("s3cr3t");
    let all: Vec<Value> = client.send().await.unwrap().json().await.unwrap();
    all.into_iter().map(|entry| entry["body"].clone()).collect()
}

/// Waits until the robot of the only running call has begun to say so.
async fn says(host: &Host, words: &str) {
    eventually(words, async || {
        let calls = host.get("/v1/calls?state=active").await;
        let id = calls["data"].get(0)?["id"].as_str()?.to_owned();
        let turns = host.get(&format!("/v1/calls/{id}/transcript")).await;
        let turns = turns["data"].as_array()?.clone();
        turns.iter().any(|turn| turn["text"].as_str().is_some_and(|text| text.contains(words))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_key_stops_the_model_and_it_is_told_what_was_heard() {
    let (host, model) = tokio::join!(Host::start(), model());
    let bindings = json!({
        "models": {"assistant": {
            "url": model.url("http", "/v1/chat/completions"),
            "model": "storyteller",
            "headers": {"authorization": "Bearer ${key}"},
        }},
        "secrets": {"key": "s3cr3t"},
    });
    host.publish("talk", NUMBER, &bindings, &json!({})).await;
    let mut line = Phone::new().await.dial(&host, NUMBER, &[]).await.unwrap();
    says(&host, "Once upon a time").await;
    line.press("5");
    says(&host, "It is noted.").await;
    line.press("7");
    assert!(line.over().await.by_host);

    let record = host.finished_call().await["record"].take();
    assert_eq!(record["end_reason"], "script_returned", "{record}");
    let (first, second) = (&record["fields"]["first"], &record["fields"]["second"]);
    let heard = first["heard"].as_str().unwrap();
    assert_eq!(
        (&first["keys"], &second["keys"], &record["fields"]["note"]),
        (&json!("5"), &json!("7"), &json!("the king"))
    );
    assert!(first["text"].as_str().unwrap().starts_with(heard), "{first}");
    assert!(!heard.contains("day after day"), "the key did not stop it: {heard}");
    let away = record["fields"]["away"].as_str().unwrap();
    assert!(away.contains("status 503") && !away.contains("s3cr3t") && !away.contains("http"), "{away}");

    let requests = asked(&model).await;
    assert_eq!(requests.len(), 4, "{requests:?}");
    assert_eq!((&requests[0]["model"], &requests[0]["stream"]), (&json!("storyteller"), &json!(true)));
    let said: Vec<(&str, &str)> = requests[2]["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| (message["role"].as_str().unwrap(), message["content"].as_str().unwrap_or_default()))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    let mut expected = vec![("system", "Be brief."), ("user", "Tell me a story")];
    expected.extend((!heard.is_empty()).then_some(("assistant", heard)));
    expected.extend([("user", "Go on"), ("tool", "noted the king")]);
    assert_eq!(said, expected, "the conversation holds what was heard, and nothing else");

    let timeline = record["call_id"].as_str().map(|id| format!("/v1/calls/{id}/timeline")).unwrap();
    let timeline = host.get(&timeline).await;
    let details: Vec<&str> = timeline["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["kind"] == "model_replied")
        .map(|entry| entry["detail"].as_str().unwrap())
        .collect();
    assert!(details[0].contains("interrupted; first token after"), "{details:?}");
    assert!(details[1].contains("calls note") && details[3].contains("503"), "{details:?}");
}

#[tokio::test]
async fn a_model_that_is_not_bound_keeps_a_version_from_being_published() {
    let host = Host::start().await;
    let script = host.post("/v1/scripts", &json!({ "name": "talk" })).await;
    let script = script["id"].as_str().unwrap();
    let (status, version) = host.upload(script, callbox_tests::guest("talk")).await;
    assert!(status.is_success(), "{version}");
    let publish = json!({ "version": version["version"] });
    let path = format!("/v1/scripts/{script}/publish");
    let (status, problem) = host.request(reqwest::Method::POST, &path, Some(&publish)).await;
    assert!(status.is_client_error() && problem.to_string().contains("model assistant"), "{status} {problem}");
    let wrong = json!({"models": {"assistant": {"url": "file:///x", "model": "", "max_tokens": 0}}});
    let bindings = format!("/v1/scripts/{script}/bindings");
    let (status, problem) = host.request(reqwest::Method::PUT, &bindings, Some(&wrong)).await;
    let problem = problem.to_string();
    assert!(status.is_client_error(), "{problem}");
    for place in ["models.assistant.url", "models.assistant.model", "models.assistant.max_tokens"] {
        assert!(problem.contains(place), "{problem}");
    }
}

#[tokio::test]
async fn a_model_that_is_away_is_left_alone_and_scripts_are_told_at_once() {
    let host = Host::start().await;
    let bindings =
        json!({ "models": { "assistant": { "url": "http://127.0.0.1:9/v1/chat/completions", "model": "m" } } });
    host.publish("talk", NUMBER, &bindings, &json!({})).await;
    let phone = Phone::new().await;
    let mut told = Vec::new();
    // Three failures in a row; more, where this machine is so slow that it has rested in between.
    for calls in 1..10 {
        phone.dial(&host, NUMBER, &[]).await.unwrap().over().await;
        for call in host.finished_calls(calls).await {
            let call = host.get(&format!("/v1/calls/{}", call["id"].as_str().unwrap())).await;
            told.push(call["record"]["script_error"].as_str().unwrap().to_owned());
        }
        if told.iter().any(|why| why.contains("left alone")) {
            assert!(calls > 3, "{told:?}");
            assert!(told.iter().any(|why| why.contains("unavailable") && !why.contains("left alone")), "{told:?}");
            return;
        }
    }
    panic!("{told:?}");
}
