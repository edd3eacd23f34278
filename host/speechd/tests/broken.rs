//! Servers that behave badly: the client says what was wrong, in time and within bounds.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod with;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use callbox_speech::recogniser::Listening;
use callbox_speech::remote::Patience;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use std::io;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use with::{Line, ear, http, samples, say, until_type, utterance, voice, websocket, within};

const KEY: &str = "sesame";

/// What a voice says about a server; the server's answer is the same whatever is asked.
async fn spoken(kind: &str, address: &str, patience: Option<Patience>) -> String {
    match samples(voice(kind, address, KEY, patience).speak(utterance("Hello"))).await {
        Ok(samples) => format!("{} samples", samples.len()),
        Err(error) => error.to_string(),
    }
}

/// What an ear says about a server.
async fn heard(kind: &str, address: &str, patience: Option<Patience>) -> String {
    let noise = vec![4_000; 1_600];
    match within(ear(kind, address, KEY, patience).start(Listening::default()).whole(&noise, 8_000)).await {
        Ok(heard) => heard.first().map_or_else(|| "nothing".into(), |best| best.text.clone()),
        Err(error) => error.to_string(),
    }
}

/// Waits for an answer for so long only, and for connections patiently.
fn soon() -> Option<Patience> {
    let (patient, short) = (Duration::from_secs(60), Duration::from_millis(200));
    Some(Patience { connect: patient, first: short, stall: short })
}

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &'static [u8]) -> Router {
    let headers: Vec<_> = headers.to_vec();
    Router::new().fallback(move || {
        let headers = headers.clone();
        async move {
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
    })
}

const WAV_AT_11_HZ: &[u8] =
    b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x0b\0\0\0\x16\0\0\0\x02\0\x10\0data\xff\xff\xff\xff\0\0";
const WAV_CUT: &[u8] =
    b"RIFF\x28\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\x10\0\0\0\0\0";

#[tokio::test]
async fn answers_of_http_that_are_no_audio() {
    for (status, headers, body, said) in [
        (401, &[][..], &b"{\"error\":{\"message\":\"no such key\"}}"[..], "refuses the key (status 401): no such key"),
        (429, &[("retry-after", "3")], b"slow down", "(status 429), again in 3 s: slow down"),
        (500, &[], b"", "status 500"),
        (302, &[("location", "http://127.0.0.1:1/")], b"", "status 302"),
        (200, &[("content-type", "application/json")], b"{\"detail\":\"queued\"}", "application/json instead of audio"),
        (200, &[("content-type", "text/html")], b"<html>", "text/html instead of audio: <html>"),
        (200, &[("content-type", "audio/mpeg")], b"ID3", "what can be played is WAV"),
        (200, &[("content-type", "audio/wav")], b"", "no samples"),
        (200, &[("content-type", "audio/wav")], WAV_AT_11_HZ, "11 samples a second"),
        (200, &[("content-type", "audio/wav")], WAV_CUT, "before the length it announced"),
        (200, &[("content-type", "audio/pcm; rate=7")], b"\0\0\0\0\0\0", "7 samples a second"),
        (200, &[("content-type", "text/event-stream")], b"data: {\n\n", "no such JSON"),
        (200, &[("content-type", "text/event-stream")], b"data: {\"type\":\"x\"}\n\n", "before `speech.audio.done`"),
    ] {
        let address = http(answer(status, headers, body)).await;
        for kind in ["openai", "custom-http"] {
            let words = spoken(kind, &address, None).await;
            assert!(words.contains(said) && words.contains(kind) && !words.contains(KEY), "{said}: {words}");
        }
    }
}

#[tokio::test]
async fn answers_of_http_that_are_no_transcript() {
    for (status, kind, body, said) in [
        (401, "application/json", &b"{\"error\":{\"message\":\"no\"}}"[..], "refuses the key (status 401): no"),
        (307, "text/plain", b"", "status 307"),
        (200, "application/json", b"<html>", "no transcript in JSON"),
        (200, "application/json", b"{}", "an answer without `text`"),
        (
            200,
            "text/event-stream",
            b"data: {\"type\":\"transcript.text.delta\",\"delta\":\"ye\"}\n\n",
            "closed the connection",
        ),
        (200, "text/plain", b"plain words", "plain words"),
    ] {
        let address = http(answer(status, &[("content-type", kind)], body)).await;
        let words = heard("openai", &address, None).await;
        assert!(words.contains(said), "{said}: {words}");
    }
}

#[tokio::test]
async fn bodies_that_stall_break_off_or_never_end() {
    async fn body(path: axum::http::Uri) -> Response {
        let piece = || Bytes::from(vec![1; 64 << 10]);
        let first = stream::iter([Ok(piece())]);
        // At our own rate: five minutes are not to be resampled.
        let kind = [("content-type", "audio/pcm; rate=8000")];
        if path.path().contains("stall") {
            return (kind, Body::from_stream(first.chain(stream::pending::<io::Result<Bytes>>()))).into_response();
        }
        if path.path().contains("break") {
            let broken = stream::iter([Err(io::Error::other("broken"))]);
            return (kind, Body::from_stream(first.chain(broken))).into_response();
        }
        if path.path().contains("silent") {
            return std::future::pending().await;
        }
        (kind, Body::from_stream(stream::repeat_with(move || Ok::<_, io::Error>(piece())))).into_response()
    }
    let address = http(Router::new().fallback(body)).await;
    let at = |path: &str| format!("{address}/{path}");
    let words = spoken("openai", &at("stall"), soon()).await;
    assert!(words.contains("the next piece took longer than 200 ms"), "{words}");
    let words = spoken("openai", &at("break"), None).await;
    assert!(words.contains("it closed the connection"), "{words}");
    let words = spoken("openai", &at("endless"), None).await;
    assert!(words.starts_with("too long: audio of an utterance"), "{words}");
    let impatient = Patience { connect: Duration::from_millis(100), ..soon().unwrap() };
    let words = spoken("openai", &at("silent"), Some(impatient)).await;
    assert!(words.contains("the answer took longer than 300 ms"), "{words}");
    let words = heard("openai", &at("silent"), Some(impatient)).await;
    assert!(words.contains("the answer took longer than 300 ms"), "{words}");
}

#[tokio::test]
async fn nobody_there() {
    for (kind, address) in [("openai", "127.0.0.1:1"), ("deepgram", "127.0.0.1:1"), ("custom-ws", "127.0.0.1:1")] {
        let words = spoken(kind, address, None).await;
        assert!(words.contains("no connection"), "{kind}: {words}");
    }
    for kind in ["openai", "deepgram", "custom"] {
        let words = heard(kind, "127.0.0.1:1", None).await;
        assert!(words.contains("no connection"), "{kind}: {words}");
    }
    // HTTP where a WebSocket should be.
    let address = http(answer(403, &[], b"{\"err_msg\":\"not for you\"}")).await;
    for words in [spoken("deepgram", &address, None).await, heard("custom", &address, None).await] {
        assert!(words.contains("status 403"), "{words}");
    }
}

async fn closes(mut line: Line) {
    until_type(&mut line, "Flush").await;
    let _ = line.send(Message::binary(vec![1; 100])).await;
    let frame = CloseFrame { code: 1_008.into(), reason: "DATA-0000".into() };
    let _ = line.close(Some(frame)).await;
    while let Some(Ok(_)) = line.next().await {}
}

async fn vanishes(mut line: Line) {
    until_type(&mut line, "Flush").await;
}

async fn talks_nonsense(mut line: Line) {
    say(&mut line, "nonsense").await;
    while let Some(Ok(_)) = line.next().await {}
}

async fn says_too_much_at_once(mut line: Line) {
    let _ = line.send(Message::binary(vec![0; 3 << 20])).await;
    while let Some(Ok(_)) = line.next().await {}
}

async fn says_nothing(mut line: Line) {
    while let Some(Ok(_)) = line.next().await {}
}

async fn never_stops(mut line: Line) {
    say(&mut line, r#"{"type":"connect","data":{"sample_rate":8000}}"#).await;
    while line.send(Message::binary(vec![1; 64 << 10])).await.is_ok() {}
}

async fn never_stops_guessing(mut line: Line) {
    let guess =
        format!("{{\"type\":\"transcription\",\"alternatives\":[{{\"transcript\":\"{}\"}}]}}", "x ".repeat(2_000));
    let results = format!(
        "{{\"type\":\"Results\",\"channel\":{{\"alternatives\":[{{\"transcript\":\"{}\"}}]}}}}",
        "x ".repeat(2_000)
    );
    while line.send(Message::text(guess.as_str())).await.is_ok()
        && line.send(Message::text(results.as_str())).await.is_ok()
    {}
}

async fn reports(mut line: Line) {
    say(&mut line, r#"{"type":"error","error":"no credits","description":"no credits"}"#).await;
    say(&mut line, r#"{"type":"Error","description":"no credits"}"#).await;
    while let Some(Ok(_)) = line.next().await {}
}

#[tokio::test]
async fn voices_of_websockets_that_behave_badly() {
    let words = spoken("deepgram", &websocket(closes).await, None).await;
    assert!(words.contains("it closed the connection: DATA-0000"), "{words}");
    let words = spoken("deepgram", &websocket(vanishes).await, None).await;
    assert!(words.contains("it closed the connection") || words.contains("Connection reset"), "{words}");
    for (treated, said) in [
        (websocket(talks_nonsense).await, "no such JSON"),
        (websocket(says_too_much_at_once).await, "what its protocol does not have"),
    ] {
        for kind in ["deepgram", "custom-ws"] {
            let words = spoken(kind, &treated, None).await;
            assert!(words.contains(said), "{kind}: {words}");
        }
    }
    let silent = websocket(says_nothing).await;
    for (kind, said) in
        [("deepgram", "the first piece took longer than 200 ms"), ("custom-ws", "its `connect` took longer")]
    {
        let words = spoken(kind, &silent, soon()).await;
        assert!(words.contains(said), "{kind}: {words}");
    }
    let endless = websocket(never_stops).await;
    for kind in ["deepgram", "custom-ws"] {
        let words = spoken(kind, &endless, None).await;
        assert!(words.starts_with("too long: audio of an utterance"), "{kind}: {words}");
    }
    let words = spoken("custom-ws", &websocket(reports).await, None).await;
    assert!(words.contains("reports an error: no credits") || words.contains("its `connect`"), "{words}");
}

#[tokio::test]
async fn ears_of_websockets_that_behave_badly() {
    for (treated, said) in [
        (websocket(talks_nonsense).await, "no such JSON"),
        (websocket(says_too_much_at_once).await, "what its protocol does not have"),
        (websocket(never_stops_guessing).await, "more than 8388608 bytes of messages"),
        (websocket(reports).await, "reports an error: no credits"),
    ] {
        for kind in ["deepgram", "custom"] {
            let words = heard(kind, &treated, None).await;
            assert!(words.contains(said), "{kind}: {words}");
        }
    }
    let silent = websocket(says_nothing).await;
    for kind in ["deepgram", "custom"] {
        let words = heard(kind, &silent, soon()).await;
        assert!(words.contains("its result took longer than 200 ms"), "{kind}: {words}");
    }
}
