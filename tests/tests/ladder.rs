//! SIP in the open: the messages of a call, in the API and in the terminal.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Host, Phone, eventually, peer, probe_bindings};
use reqwest::Method;
use serde_json::{Value, json};

fn starts(messages: &Value) -> Vec<String> {
    let messages = messages["messages"].as_array().unwrap();
    messages.iter().map(|message| format!("{} {}", message["direction"].as_str().unwrap(), first(message))).collect()
}

fn first(message: &Value) -> &str {
    message["start"].as_str().unwrap().split(' ').next().unwrap()
}

/// The id of the only call, which is in the books a moment after it was answered.
async fn running(host: &Host) -> String {
    eventually("a call in the books", async || {
        let calls = host.get("/v1/calls").await;
        calls["data"][0]["id"].as_str().map(ToOwned::to_owned)
    })
    .await
}

#[tokio::test]
async fn a_call_shows_its_messages_while_it_runs_and_when_it_is_over() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let phone = Phone::new().await;
    let mut line = phone.dial_probe(&host, "echo", &[]).await;
    let id = running(&host).await;
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

// ---- packets

/// What tshark shows of a file: a line of fields for each packet.
async fn tshark(file: &[u8], fields: &[&str], options: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.pcap");
    std::fs::write(&path, file).unwrap();
    let mut command = tokio::process::Command::new("tshark");
    command.args(options).args(["-T", "fields"]).arg("-r").arg(&path);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn wireshark_reads_the_signalling_and_the_media_of_a_call() {
    let host = Host::start().await;
    host.publish("probe", "2000", &probe_bindings(None), &json!({"capture": true})).await;
    let phone = Phone::new().await;
    let mut line = phone.dial_probe(&host, "echo", &[]).await;
    line.hears_for(300).await;
    line.hang_up().await;
    let call = host.finished_call().await;
    let id = call["id"].as_str().unwrap();
    let file = host.bytes(&format!("/v1/calls/{id}/pcap")).await;
    let port = host.sip.port();
    let sip = format!("udp.port=={port},sip");
    let lines = tshark(&file, &["frame.protocols"], &["-d", &sip, "-o", "rtp.heuristic_rtp:TRUE"]).await;
    assert!(lines[0].ends_with(":sip:sdp"), "{lines:?}");
    let of = |kind: &str| lines.iter().filter(|line| line.ends_with(kind)).count();
    assert!(of(":rtp") > 20, "{lines:?}");
    assert!(of(":sip") >= 3, "{lines:?}");
    // In the order of time.
    let times = tshark(&file, &["frame.time_epoch"], &[]).await;
    let times: Vec<f64> = times.iter().map(|time| time.parse().unwrap()).collect();
    assert!(times.is_sorted());
}

#[tokio::test]
async fn a_running_call_is_captured_from_then_on_and_one_that_is_over_is_not() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let phone = Phone::new().await;
    let mut line = phone.dial_probe(&host, "echo", &[]).await;
    let id = running(&host).await;
    let before = host.bytes(&format!("/v1/calls/{id}/pcap")).await;
    host.post(&format!("/v1/calls/{id}/capture"), &json!({})).await;
    // Ten packets of 160 bytes of audio and more.
    eventually("a capture that grows", async || {
        let now = host.bytes(&format!("/v1/calls/{id}/pcap")).await;
        (now.len() > before.len() + 10 * 200).then_some(())
    })
    .await;
    line.hang_up().await;
    host.finished_call().await;
    let (status, problem) = host.request(Method::POST, &format!("/v1/calls/{id}/capture"), None).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some("call_not_active")), "{problem}");
}
