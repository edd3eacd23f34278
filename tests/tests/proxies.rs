//! Kamailio in front of a host: it records its route, changes the transport, watches the host, and relays the media.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::kamailio::{Kamailio, Proxying, Rtpengine};
use callbox_tests::{Host, Line, Options, Phone};
use serde_json::{Value, json};

async fn probe_host() -> Host {
    let host = Host::start().await;
    host.publish_probe(None).await;
    host
}

/// A call to the echo of the probe through the proxy.
async fn dial(phone: &Phone, proxy: &Kamailio) -> Line {
    let headers = [("X-Probe-Mode", "echo"), ("X-Probe-Count", "1")];
    let line = phone.dial_to(&format!("sip:2000@{}", proxy.address), &headers).await;
    line.unwrap_or_else(|over| panic!("{over:?}: {}", proxy.log()))
}

/// The call hears, is heard, and ends by the robot's BYE, which goes back the way the call came.
async fn talks(host: &Host, mut line: Line) -> Value {
    line.sound(400.0);
    line.hears_for(500).await;
    line.press("42#");
    assert!(line.over().await.by_host);
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["end_reason"], "script_returned", "{record}");
    assert_eq!(record["fields"]["digits"], json!(["42"]), "{record}");
    record
}

#[tokio::test]
async fn a_proxy_in_front_stays_in_the_way_of_the_call() {
    for transport in ["", ";transport=tcp"] {
        let host = probe_host().await;
        let address = if transport.is_empty() { host.sip } else { host.sip_tcp };
        let proxying = Proxying { host: format!("{address}{transport}"), ..Proxying::default() };
        let proxy = Kamailio::start(&proxying).await;
        proxy.sees_host(true).await;
        let phone = Phone::new().await;
        // From a telephone that speaks UDP.
        talks(&host, dial(&phone, &proxy).await).await;
        assert!(!proxy.log().contains("ERROR"), "{}", proxy.log());
    }
}

#[tokio::test]
async fn a_caller_behind_a_proxy_hangs_up() {
    let host = probe_host().await;
    let proxying = Proxying { host: format!("{};transport=tcp", host.sip_tcp), ..Proxying::default() };
    let proxy = Kamailio::start(&proxying).await;
    proxy.sees_host(true).await;
    let phone = Phone::new().await;
    let mut line = dial(&phone, &proxy).await;
    line.hears_for(200).await;
    line.hang_up().await;
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["end_reason"], "caller_hangup", "{record}");
}

#[tokio::test]
async fn a_call_of_ours_goes_through_the_proxy_and_comes_back_by_it() {
    let phone = Phone::new().await;
    let proxying = Proxying { host: "127.0.0.1:9".into(), phone: Some(phone.address()), ..Proxying::default() };
    let proxy = Kamailio::start(&proxying).await;
    let env = vec![("CALLBOX_OUTBOUND__PROXY", proxy.address.to_string())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    let script = host.publish_probe(None).await;
    host.post("/v1/calls", &json!({ "to": "+493012345", "script_id": script })).await;
    let incoming = phone.incoming().await;
    assert!(incoming.invite.headers.iter().any(|(name, _)| name == "record-route"), "{:?}", incoming.invite.headers);
    incoming.dialog.ring().await.unwrap();
    let mut line = phone.pick_up(incoming).await;
    line.hears_for(200).await;
    // Our BYE to its BYE finds the way through the proxy.
    line.hang_up().await;
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["outcome"], "answered", "{record}");
    assert_eq!(record["end_reason"], "caller_hangup", "{record}");
}

/// A certificate for this machine and its key, PEM, signed by itself.
fn identity() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[tokio::test]
async fn a_proxy_that_encrypts_brings_calls_and_takes_them() {
    let (certificate, key) = identity();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root.pem");
    std::fs::write(&root, &certificate).unwrap();
    let env = vec![
        ("CALLBOX_SIP__TLS", "[\"127.0.0.1:0\"]".to_owned()),
        ("CALLBOX_TLS__SELF_SIGNED", "true".to_owned()),
        ("CALLBOX_TLS__EXTRA_ROOTS", format!("[\"{}\"]", root.display())),
        ("CALLBOX_OUTBOUND__ALLOWED_HOSTS", "[\"127.0.0.1\"]".to_owned()),
    ];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    let script = host.publish_probe(None).await;
    let phone = Phone::new().await;
    let proxying = Proxying {
        host: format!("{};transport=tls", host.listener("tls")),
        phone: Some(phone.address()),
        identity: Some((certificate, key)),
        ..Proxying::default()
    };
    let proxy = Kamailio::start(&proxying).await;
    proxy.sees_host(true).await;
    talks(&host, dial(&phone, &proxy).await).await;

    // And one of ours: the proxy's certificate is believed, and is for the address that we call.
    let to = format!("sip:anna@{};transport=tls", proxy.tls);
    host.post("/v1/calls", &json!({ "to": to, "script_id": script })).await;
    let incoming = phone.incoming().await;
    let mut line = phone.pick_up(incoming).await;
    line.hears_for(200).await;
    line.hang_up().await;
    let calls = host.finished_calls(2).await;
    assert!(calls.iter().any(|call| call["end_reason"] == "caller_hangup"), "{calls:?}");
}

/// A call whose media goes through rtpengine, which makes of plain audio what the host is to understand.
async fn relayed(offer: &'static str) -> Value {
    let host = probe_host().await;
    let relay = Rtpengine::start().await;
    let proxying = Proxying {
        host: host.sip.to_string(),
        // Back to what the telephone speaks.
        media: relay.with(offer, "replace-origin ICE=remove RTP/AVP"),
        ..Proxying::default()
    };
    let proxy = Kamailio::start(&proxying).await;
    proxy.sees_host(true).await;
    let phone = Phone::new().await;
    let line = dial(&phone, &proxy).await;
    assert_ne!(line.host_rtp.port(), 0);
    talks(&host, line).await
}

#[tokio::test]
async fn a_relay_encrypts_for_us_with_keys_in_the_offer() {
    let record = relayed("replace-origin ICE=remove RTP/SAVP DTLS=off").await;
    assert!(record["media"]["encryption"].is_string(), "{record}");
}

#[tokio::test]
async fn a_relay_encrypts_for_us_with_a_handshake() {
    let record = relayed("replace-origin ICE=remove UDP/TLS/RTP/SAVP SDES-off").await;
    assert!(record["media"]["encryption"].is_string(), "{record}");
}

#[tokio::test]
async fn a_relay_speaks_another_codec_with_us() {
    for codec in ["PCMA", "G722", "opus"] {
        let offer: &'static str = match codec {
            "PCMA" => "replace-origin ICE=remove RTP/AVP codec-mask-PCMU transcode-PCMA",
            "G722" => "replace-origin ICE=remove RTP/AVP codec-mask-PCMU transcode-G722",
            _ => "replace-origin ICE=remove RTP/AVP codec-mask-PCMU transcode-opus",
        };
        let record = relayed(offer).await;
        assert_eq!(record["media"]["codec"], codec.to_lowercase(), "{record}");
    }
}

#[tokio::test]
async fn a_dispatcher_sees_who_serves_and_who_shuts_down() {
    let mut options = Options::default();
    options.env.push(("CALLBOX_CALLS__DRAIN_MS", "20000".into()));
    let host = Host::start_with(options).await;
    host.publish_probe(None).await;
    let proxy = Kamailio::start(&Proxying { host: host.sip.to_string(), ..Proxying::default() }).await;
    proxy.sees_host(true).await;
    let phone = Phone::new().await;
    let line = dial(&phone, &proxy).await;
    line.hears_for(200).await;
    // It ends when its last call does; until then its pings are answered with 503, and new calls go elsewhere.
    host.terminate().await;
    proxy.sees_host(false).await;
    let refused = Phone::new().await.dial_to(&format!("sip:2000@{}", proxy.address), &[]).await;
    assert_eq!(refused.err().and_then(|over| over.status), Some(503));
    let mut line = line;
    line.press("42#");
    assert!(line.over().await.by_host);
    assert!(host.exit().await.success());
}
