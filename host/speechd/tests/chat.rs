//! The model's endpoint, as a client sees it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_speechd::{Script, Server, Settings};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};

const SCRIPT: &str = r#"
answers:
  - { when: book, says: "Of course. For which day?", tokens_per_second: 5000, first_token_ms: 1 }
  - { when: tomorrow, says: "A moment.", calls: [{ name: find_slot, arguments: { day: tomorrow, hour: 10 } }] }
  - { after: find_slot, says: "Ten is free." }
  - { when: busy, fails: { status: 429 } }
  - { when: gone, says: "one two three four", fails: closes }
  - { when: odd, says: "one two three four", fails: rubbish }
  - { when: forever, says: "one", fails: endless }
"#;

async fn server(key: Option<&str>) -> Server {
    let settings =
        Settings { key: key.map(str::to_owned), script: Script::parse(SCRIPT).unwrap(), ..Settings::default() };
    Server::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings).await.unwrap()
}

fn user(text: &str) -> Value {
    json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}])
}

async fn ask(server: &Server, body: Value) -> reqwest::Response {
    let url = server.url("http", "/v1/chat/completions");
    reqwest::Client::new().post(url).json(&body).send().await.unwrap()
}

/// The data of all events.
async fn events(response: reqwest::Response) -> Vec<String> {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
}

#[tokio::test]
async fn words_come_one_by_one() {
    let server = server(None).await;
    let body = json!({"model": "m", "messages": user("I want to book"), "stream": true, "stream_options": {"include_usage": true}});
    let mut data = events(ask(&server, body).await).await;
    assert_eq!(data.pop().unwrap(), "[DONE]");
    let chunks: Vec<Value> = data.iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    let said: Vec<&str> = chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(said, ["", "Of ", "course. ", "For ", "which ", "day?"]);
    let reasons: Vec<&str> = chunks.iter().filter_map(|c| c["choices"][0]["finish_reason"].as_str()).collect();
    assert_eq!(reasons, ["stop"]);
    assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], 5);
}

#[tokio::test]
async fn tools_are_called_and_answered() {
    let server = server(None).await;
    let body = json!({"model": "m", "messages": user("tomorrow, please"), "stream": true, "tools": []});
    let data = events(ask(&server, body).await).await;
    let (mut id, mut name, mut arguments) = (String::new(), String::new(), String::new());
    for data in data.iter().filter(|data| *data != "[DONE]") {
        let chunk: Value = serde_json::from_str(data).unwrap();
        let call = &chunk["choices"][0]["delta"]["tool_calls"][0];
        id.push_str(call["id"].as_str().unwrap_or_default());
        name.push_str(call["function"]["name"].as_str().unwrap_or_default());
        arguments.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
    }
    assert_eq!(name, "find_slot");
    assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), json!({"day": "tomorrow", "hour": 10}));
    let messages = json!([
        {"role": "user", "content": "tomorrow"},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]},
        {"role": "tool", "tool_call_id": id, "content": "10:00"},
    ]);
    let answer: Value = ask(&server, json!({"model": "m", "messages": messages})).await.json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "Ten is free.");
    let requests: Value = reqwest::get(server.url("http", "/requests")).await.unwrap().json().await.unwrap();
    assert_eq!(requests[1]["body"]["messages"][2]["content"], "10:00");
}

#[tokio::test]
async fn fails_as_it_is_told() {
    let server = server(None).await;
    let ask = async |text: &str| ask(&server, json!({"messages": user(text), "stream": true})).await;
    let busy = ask("busy").await;
    assert_eq!(busy.status(), 429);
    assert_eq!(busy.json::<Value>().await.unwrap()["error"]["message"], "as the script has it");
    assert!(ask("gone").await.text().await.is_err());
    let odd = events(ask("odd").await).await;
    assert!(odd.iter().any(|data| data != "[DONE]" && serde_json::from_str::<Value>(data).is_err()));
    let mut forever = ask("forever").await;
    let mut bytes = 0;
    while bytes < 100_000 {
        bytes += forever.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn asks_for_its_key() {
    let server = server(Some("sesame")).await;
    let url = server.url("http", "/v1/chat/completions");
    let body = json!({"messages": user("hello")});
    let post = async |authorization: &str| {
        let request = reqwest::Client::new().post(&url).json(&body);
        request.header("authorization", authorization).send().await.unwrap().status().as_u16()
    };
    assert_eq!(post("Bearer sesame").await, 200);
    assert_eq!(post("Token sesame").await, 200);
    for wrong in ["Bearer other", "Basic sesame", "sesame", ""] {
        assert_eq!(post(wrong).await, 401, "{wrong}");
    }
}

#[tokio::test]
async fn says_what_is_no_conversation() {
    let server = server(None).await;
    for body in [
        json!({"messages": []}),
        json!({"messages": "x"}),
        json!({"messages": [{"role": "tool", "content": "x"}]}),
        json!({"messages": [{"role": "tool", "content": "x", "tool_call_id": "y"}]}),
    ] {
        assert_eq!(ask(&server, body.clone()).await.status(), 400, "{body}");
    }
}
