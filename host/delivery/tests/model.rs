//! Asking a language model, against real listeners.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

use axum::body::Body;
use axum::http::Response;
use callbox_delivery::{Egress, EgressError, EgressPolicy, ModelAnswer, ModelError, ModelRequest, ask_model};
use callbox_dialogue::HostError;
use callbox_dialogue::llm::{Event, Message, Request, Role};
use callbox_store::bindings::Credentials;
use callbox_store::secrets::Secret;
use fixture::{Receiver, hear, local, raw};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// What the stores of these tests lie in: none of them has one.
const IN: fixture::Database = fixture::Database::Sqlite;

const LIMIT: Duration = Duration::from_secs(20);

fn request() -> Request {
    Request {
        model: "assistant".into(),
        messages: vec![Message::new(Role::User, "Hello?")],
        tools: Vec::new(),
        temperature: None,
        max_tokens: 32,
        extra: Vec::new(),
    }
}

async fn ask(egress: &Egress, url: &str, limit: Duration) -> Result<ModelAnswer, ModelError> {
    let key = Secret::new("Bearer s3cr3t".to_owned());
    let credentials = Credentials { signing: Vec::new(), headers: vec![("authorization".to_owned(), key)] };
    let request = request();
    ask_model(egress, ModelRequest { url, model: "tiny", credentials: &credentials, request: &request }, limit).await
}

async fn all(mut answer: ModelAnswer) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = answer.next().await {
        events.push(event);
    }
    assert_eq!(answer.next().await, None, "it stays over");
    events
}

fn said(events: &[Event]) -> String {
    let text = |event: &Event| match event {
        Event::Text { text } => Some(text.clone()),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

fn stream(body: impl Into<Body>) -> Response<Body> {
    Response::builder().header("content-type", "text/event-stream; charset=utf-8").body(body.into()).unwrap()
}

fn piece(text: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"delta": {"content": text}}]}))
}

#[tokio::test]
async fn the_key_goes_along_and_the_text_comes_back() {
    let body = format!(": hello\r\n\r\n{}event: message\n{}data: [DONE]\n\n", piece("Good "), piece("day."));
    let mut server = Receiver::start(move |_| stream(body.clone())).await;
    let events = all(ask(&local(), &server.url(), LIMIT).await.unwrap()).await;
    assert_eq!(said(&events), "Good day.");
    assert_eq!(events.last(), Some(&Event::Done { reason: "stop".into(), usage: None }));
    let got = server.next().await;
    assert_eq!(got.header("authorization"), "Bearer s3cr3t");
    assert!(got.header("accept").contains("text/event-stream"));
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!((&body["model"], &body["stream"], &body["max_tokens"]), (&json!("tiny"), &json!(true), &json!(32)));
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood() {
    let whole = json!({
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Good day."}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3}
    });
    let server = Receiver::start(move |_| Response::new(whole.to_string().into())).await;
    let events = all(ask(&local(), &server.url(), LIMIT).await.unwrap()).await;
    assert_eq!(said(&events), "Good day.");
    assert!(matches!(&events[1], Event::Done { reason, usage: Some(_) } if reason == "length"), "{events:?}");
}

#[tokio::test]
async fn what_goes_wrong_is_typed_and_shows_neither_key_nor_words() {
    let server = Receiver::start(|n| {
        let refused = json!({"error": {"message": "bad key s3cr3t", "type": "invalid_api_key"}}).to_string();
        match n {
            0 => Response::builder().status(401).body(refused.into()).unwrap(),
            1 => Response::builder().status(307).header("location", "http://127.0.0.1/").body(Body::empty()).unwrap(),
            2 => stream(piece("Good ") + "data: {\"error\": {\"message\": \"s3cr3t\", \"code\": \"overloaded\"}}\n\n"),
            3 => stream(piece("Good ") + "data: <html>\n\n"),
            4 => stream(piece("Good ")),
            5 => stream("retry: soon"),
            _ => Response::new("Good day".into()),
        }
    })
    .await;
    let egress = local();
    let status = |status: u16, code: Option<&str>| ModelError::Status { status, code: code.map(str::to_owned) };
    assert_eq!(ask(&egress, &server.url(), LIMIT).await.unwrap_err(), status(401, Some("invalid_api_key")));
    assert_eq!(ask(&egress, &server.url(), LIMIT).await.unwrap_err(), status(307, None));
    for words in ["failed (overloaded)", "not JSON", "broke off", "broke off", "not JSON"] {
        let events = all(ask(&egress, &server.url(), LIMIT).await.unwrap()).await;
        let Some(Event::Failed { error: HostError::Unavailable(why) }) = events.last() else {
            panic!("{words}: {events:?}")
        };
        assert!(why.contains(words) && !why.contains("s3cr3t"), "{why}");
    }
    let closed = Egress::new(EgressPolicy::default()).unwrap();
    let refused = ask(&closed, &server.url(), LIMIT).await.unwrap_err();
    assert!(matches!(refused, ModelError::Egress(EgressError::Refused(_))), "{refused:?}");
    let (nobody, _) = raw("127.0.0.1:0", |_| async {}).await;
    let broken = ask(&egress, &format!("http://{nobody}/"), LIMIT).await.unwrap_err();
    assert!(matches!(HostError::from(broken), HostError::Unavailable(_)));
    let (silent, _) = raw("127.0.0.1:0", |mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let late = ask(&egress, &format!("http://{silent}/"), Duration::from_millis(100)).await.unwrap_err();
    assert_eq!(HostError::from(late), HostError::TimedOut);
}

#[tokio::test]
async fn who_drops_the_answer_hangs_up_on_the_model() {
    let (gone, mut hung_up) = mpsc::channel(1);
    let (address, _) = raw("127.0.0.1:0", move |mut stream| {
        let gone = gone.clone();
        async move {
            hear(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            let _ = stream.write_all((head.to_owned() + &piece("on and on ")).as_bytes()).await;
            // Returns when the other side has closed.
            let _ = stream.read_to_end(&mut Vec::new()).await;
            let _ = gone.send(()).await;
        }
    })
    .await;
    let mut answer = ask(&local(), &format!("http://{address}/"), LIMIT).await.unwrap();
    assert_eq!(answer.next().await, Some(Event::Text { text: "on and on ".into() }));
    drop(answer);
    tokio::time::timeout(Duration::from_secs(90), hung_up.recv()).await.expect("the connection stays open").unwrap();
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 1 << 20]));
    let server = Receiver::start(move |_| stream(Body::from_stream(endless.clone()))).await;
    let events = all(ask(&local(), &server.url(), LIMIT).await.unwrap()).await;
    let Some(Event::Failed { error: HostError::Unavailable(why) }) = events.last() else { panic!("{events:?}") };
    assert!(why.contains("longer than"), "{why}");
}
