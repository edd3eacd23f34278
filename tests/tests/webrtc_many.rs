//! A hundred browsers at once over HTTP, ICE and DTLS, by headless ones of our own.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_load::webrtc::{Browsers, Target};
use callbox_tests::{Host, Options};
use callbox_webrtc::Codec;
use serde_json::json;

/// As long as anything may take on a machine that has much to do.
const PATIENCE: usize = 120_000;

async fn host() -> Host {
    let env = [
        ("CALLBOX_WEBRTC__REQUESTS_PER_SECOND_PER_ADDRESS", "0"),
        ("CALLBOX_WEBRTC__REQUESTS_PER_SECOND_PER_TOKEN", "0"),
    ];
    let env = env.map(|(name, value)| (name, value.to_owned())).to_vec();
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    // It speaks for more than a minute, where it is told so.
    host.publish("bench", "2000", &json!({}), &json!({})).await;
    host
}

/// Calls until all have audio and so many packets of it; then hangs up.
fn call(target: Target, calls: usize) -> Browsers {
    let mut browsers = Browsers::new(target);
    browsers.call(calls, 50.0);
    let mut turns = 0;
    // As many packets as make most of a second of each call.
    while !(browsers.is_settled() && browsers.counted.packets >= (40 * calls) as u64) {
        browsers.turn();
        turns += 1;
        assert!(turns < PATIENCE, "{}", browsers.report());
    }
    browsers
}

async fn at_once(calls: usize, codec: Codec) {
    let host = host().await;
    let body = json!({
        "number": "2000", "uses": calls, "expires_in_s": 3_600, "variables": { "X-Bench-Mode": "talk" },
    });
    let token = host.post("/v1/webrtc/tokens", &body).await["token"].as_str().unwrap().to_owned();
    let target = Target { http: host.http, token, codec, data: true, local: [127, 0, 0, 1].into() };
    let browsers = tokio::task::spawn_blocking(move || call(target, calls)).await.unwrap();
    let counted = &browsers.counted;
    assert_eq!((browsers.up(), counted.closed), (calls, 0), "all at once: {}", browsers.report());
    assert_eq!((counted.answered, counted.talking, counted.refused), (calls, calls, 0), "{}", browsers.report());
    assert_eq!((counted.unauthentic, counted.early), (0, 0), "nothing before the handshake, nothing of anybody else");
    tokio::task::spawn_blocking(move || {
        let mut browsers = browsers;
        browsers.hang_up();
    })
    .await
    .unwrap();
    host.runs(0).await;
    assert_eq!(host.finished_calls(calls).await.len(), calls);
}

#[tokio::test]
async fn a_hundred_browsers_call_at_once() {
    at_once(100, Codec::Pcmu).await;
    // Without optimisation Opus is slow: so many are enough to see that they all speak it.
    at_once(12, Codec::Opus).await;
}
