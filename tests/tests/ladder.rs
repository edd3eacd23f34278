//! SIP in the open: the messages of a call, in the API and in the terminal.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Host, Phone, peer};
use reqwest::Method;
use serde_json::Value;

fn starts(messages: &Value) -> Vec<String> {
    let messages = messages["messages"].as_array().unwrap();
    messages.iter().map(|message| format!("{} {}", message["direction"].as_str().unwrap(), first(message))).collect()
}

fn first(message: &Value) -> &str {
    message["start"].as_str().unwrap().split(' ').next().unwrap()
}

#[tokio::test]
async fn a_call_shows_its_messages_while_it_runs_and_when_it_is_over() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let phone = Phone::new().await;
    let mut line = phone.dial_probe(&host, "listen", &[]).await;
    // A call is in the books a moment after it was answered.
    let id = loop {
        let calls = host.get("/v1/calls").await;
        if let Some(id) = calls["data"][0]["id"].as_str() {
            break id.to_owned();
        }
    };
    let live = host.get(&format!("/v1/calls/{id}/sip")).await;
    assert_eq!(starts(&live)[0], "received INVITE", "{live}");
    line.hang_up().await;
    host.finished_call().await;

    let over = host.get(&format!("/v1/calls/{id}/sip")).await;
    let all = starts(&over);
    for expected in ["received INVITE", "sent 100", "sent 200", "received ACK", "received BYE"] {
        assert!(all.iter().any(|start| start == expected), "{expected} in {all:?}");
    }
    let offsets: Vec<u64> =
        over["messages"].as_array().unwrap().iter().map(|m| m["offset_us"].as_u64().unwrap()).collect();
    assert!(offsets.is_sorted() && offsets[0] == 0, "{offsets:?}");
    let invite = over["messages"][0]["message"].as_str().unwrap();
    assert!(invite.starts_with("INVITE sip:") && invite.contains("\r\n\r\nv=0\r\n"), "{invite}");

    let text = host.text(&format!("/v1/calls/{id}/sip?format=text")).await;
    assert!(text.contains("◄ INVITE (1) sdp"), "{text}");
    let url = format!("http://{}", host.http);
    let env = [("CALLBOX_URL", url.as_str()), ("CALLBOX_KEY", host.key.as_str())];
    let shown = peer::callbox(&["ladder", &id, "--messages"], &env).await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("◄ INVITE (1) sdp") && shown.contains("\na=rtpmap:"), "{shown}");
    // What does not exist, or belongs to somebody else, is not found.
    let (status, problem) = host.request(Method::GET, "/v1/calls/call_none/sip", None).await;
    assert_eq!(status, 404, "{problem}");
}

#[tokio::test]
async fn a_bridge_shows_both_dialogs() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let (callers, agents) = (Phone::new().await, Phone::new().await);
    let target = agents.uri();
    let options = [("X-Probe-Target", target.as_str()), ("X-Probe-Transfer-Mode", "bridge")];
    let mut line = callers.dial_probe(&host, "transfer", &options).await;
    let ringing = agents.incoming().await;
    let _agent = agents.pick_up(ringing).await;
    line.hang_up().await;
    let call = host.finished_call().await;
    let id = call["id"].as_str().unwrap();
    let messages = host.get(&format!("/v1/calls/{id}/sip")).await;
    let mut dialogs: Vec<&str> =
        messages["messages"].as_array().unwrap().iter().map(|m| m["call_id"].as_str().unwrap()).collect();
    dialogs.sort_unstable();
    dialogs.dedup();
    assert_eq!(dialogs.len(), 2, "{messages}");
    assert!(starts(&messages).iter().any(|start| start == "sent INVITE"), "{messages}");
}
