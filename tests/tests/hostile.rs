//! Strangers, and customers' systems that misbehave: a good call does not notice,
//! and nothing grows without bound.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use axum::routing::any;
use callbox_tests::{Business, Bystander, Host, Options, Phone, SOON, eventually, guest, peer, probe_bindings, raw};
use reqwest::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

/// Strangers come from an address of their own, so that limits per source do not hit the good caller.
const STRANGER: &str = "127.0.0.66:0";
/// What a host may grow by under attack.
const GROWTH_KB: u64 = 64 << 10;

#[tokio::test]
async fn broken_sip_disturbs_nobody() {
    let good = Bystander::new().await;
    let socket = UdpSocket::bind(STRANGER).await.unwrap();
    let from = socket.local_addr().unwrap();
    let to = good.host.sip;
    let bye = |method: &str| {
        format!(
            "{method} sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKx;rport\r\nMax-Forwards: 70\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:{to}>;tag=2\r\nCall-ID: x@raw\r\nCSeq: 2 {method}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let answer = format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP {to};branch=z9hG4bKours;rport\r\nFrom: <sip:{to}>;tag=1\r\nTo: <sip:a@b>;tag=2\r\n\
         Call-ID: x@raw\r\nCSeq: 1 INVITE\r\nContact: <sip:a@{from}>\r\nContent-Length: 0\r\n\r\n"
    );
    // Of the number nobody has: a mutation that stays whole is a refused call.
    let messages = [
        raw::invite(to, "7777", from, "one"),
        raw::options(to, from, "two"),
        bye("BYE"),
        bye("CANCEL"),
        bye("ACK"),
        bye("NOTIFY"),
        bye("REGISTER"),
        answer,
    ];
    let mut dice = raw::Dice::new(1);
    for round in 0..30_000_usize {
        let bytes = match round % 10 {
            0 => {
                let length = dice.roll(1_400);
                dice.bytes(length)
            }
            _ => dice.mutated(messages[round % messages.len()].as_bytes()),
        };
        // A full socket of our own is no matter.
        let _ = socket.send_to(&bytes, to).await;
        if round % 500 == 0 {
            // In step with the host, so that it reads what is sent.
            assert!(raw::is_alive(to, &format!("alive-{round}")).await);
        }
    }
    assert!(raw::is_alive(to, "at-last").await);
    assert!(good.ends_well().await.stop().await.success());
}

/// An RTP packet as a stranger sends it.
fn rtp(kind: u8, sequence: u16, stamp: u32, source: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, kind];
    packet.extend(sequence.to_be_bytes());
    packet.extend(stamp.to_be_bytes());
    packet.extend(source.to_be_bytes());
    packet.extend(payload);
    packet
}

#[tokio::test]
async fn a_strangers_audio_and_keys_reach_nobody() {
    let good = Bystander::new().await;
    let (audio, control) =
        (good.line.host_rtp, SocketAddr::new(good.line.host_rtp.ip(), good.line.host_rtp.port() + 1));
    let strangers = [UdpSocket::bind(STRANGER).await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
    let mut dice = raw::Dice::new(2);
    for round in 0..10_000_u16 {
        let stranger = &strangers[usize::from(round) % 2];
        let stamp = u32::from(round) * 160;
        let packet = match round % 5 {
            0 => {
                let length = dice.roll(1_400);
                dice.bytes(length)
            }
            // The good caller's own source, and one of the stranger's.
            1 => rtp(0, round, stamp, 0x0102_0304, &[0x55; 160]),
            2 => rtp(0, round, stamp, 7, &[0x55; 160]),
            // The key 9, from beginning to end.
            3 => rtp(101 | 0x80, round, stamp, 0x0102_0304, &[9, 0x0a, 0, 160]),
            _ => rtp(101, round, stamp, 7, &[9, 0x8a, 3, 0x20]),
        };
        let _ = stranger.send_to(&packet, audio).await;
        // A sender report, a goodbye in the good caller's name, and junk.
        let report = match round % 3 {
            0 => [&[0x80, 200, 0, 6, 1, 2, 3, 4][..], &[0xff; 20]].concat(),
            1 => vec![0x81, 203, 0, 1, 1, 2, 3, 4],
            _ => {
                let length = dice.roll(300);
                dice.bytes(length)
            }
        };
        let _ = stranger.send_to(&report, control).await;
        if round % 200 == 0 {
            // The good caller goes on in between.
            let heard = good.line.sent().len();
            good.line.speaks_for(heard / 8 + 20).await;
        }
    }
    let mut packet = [0; 2_048];
    for stranger in &strangers {
        assert!(stranger.try_recv_from(&mut packet).is_err(), "a stranger was sent something");
    }
    good.ends_well().await;
}

async fn options_over(stream: &mut TcpStream, to: SocketAddr, name: &str) -> String {
    let request = raw::options(to, stream.local_addr().unwrap(), name).replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = [0; 4_096];
    let length = timeout(SOON, stream.read(&mut bytes)).await.expect("an answer in time").unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

async fn stranger(to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(STRANGER.parse().unwrap()).unwrap();
    socket.connect(to).await.ok()
}

#[tokio::test]
async fn broken_and_slow_connections_disturb_nobody() {
    let good = Bystander::new().await;
    let mut dice = raw::Dice::new(3);
    // Garbage and endless messages.
    for round in 0..60 {
        let Some(mut connection) = stranger(good.host.sip_tcp).await else { continue };
        for _ in 0..50 {
            let bytes = match round % 3 {
                0 => dice.bytes(2_000),
                1 => vec![b'x'; 20_000],
                _ => b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 999999999\r\nX: ".repeat(40),
            };
            // Closed by the host, as it should be.
            if connection.write_all(&bytes).await.is_err() {
                break;
            }
        }
    }
    // Connections that send next to nothing and stay: the host keeps some and closes the rest.
    let mut slow = Vec::new();
    for _ in 0..400 {
        if let Some(mut connection) = stranger(good.host.sip_tcp).await {
            let _ = connection.write_all(b"INVITE sip:2000@").await;
            slow.push(connection);
        }
    }
    assert!(raw::is_alive(good.host.sip, "udp").await);
    let mut other = TcpStream::connect(good.host.sip_tcp).await.unwrap();
    let answer = options_over(&mut other, good.host.sip_tcp, "tcp").await;
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    good.ends_well().await;
}

#[tokio::test]
async fn broken_offers_are_refused_with_the_reason() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let phone = Phone::new().await;
    let head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\n";
    let address = "c=IN IP4 127.0.0.1\r\nt=0 0\r\n";
    let offers = [
        "hello".to_owned(),
        "v=1\r\n".to_owned(),
        "v=0\r\n".to_owned(),
        "\0\u{1}\u{2}\r\n\r\n".to_owned(),
        format!("{head}{address}"),
        format!("{head}{address}m=audio 99999 RTP/AVP 0\r\n"),
        format!("{head}{address}m=audio x RTP/AVP 0\r\n"),
        format!("{head}{address}m=audio 0 RTP/AVP 0\r\n"),
        format!("{head}{address}m=audio 4000 RTP/AVP\r\n"),
        format!("{head}{address}m=audio 4000 RTP/SAVP 0\r\n"),
        format!("{head}{address}m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 speex/8000\r\n"),
        format!("{head}{address}m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 G729/8000\r\n"),
        format!("{head}{address}m=video 4000 RTP/AVP 31\r\n"),
    ];
    for offer in &offers {
        let over = phone.try_with(&host, "2000", offer).await;
        assert!(matches!(over.status, Some(400 | 415 | 488)), "{offer:?}: {over:?}");
    }
    assert!(host.get("/v1/calls").await["data"].as_array().unwrap().is_empty());
    phone.dial_probe(&host, "hello", &[]).await.over().await;
    host.finished_call().await;
}

/// A component with one more custom section (WebAssembly core specification, 2.5.9 and 5.5.3).
fn with_section(mut component: Vec<u8>, name: &str, content: &[u8]) -> Vec<u8> {
    let leb = |mut number: usize| {
        let mut bytes = Vec::new();
        loop {
            let low = u8::try_from(number & 0x7f).unwrap();
            number >>= 7;
            bytes.push(low | if number > 0 { 0x80 } else { 0 });
            if number == 0 {
                return bytes;
            }
        }
    };
    let body = [leb(name.len()), name.as_bytes().to_vec(), content.to_vec()].concat();
    component.push(0);
    component.extend(leb(body.len()));
    component.extend(body);
    component
}

#[tokio::test]
async fn a_broken_sound_in_a_script_is_refused_at_its_upload() {
    let host = Host::start().await;
    let script = host.post("/v1/scripts", &json!({ "name": "bad" })).await["id"].as_str().unwrap().to_owned();
    let tone = std::fs::read(callbox_tests::root().join("tests/guests/probe/assets/tone.wav")).unwrap();
    let mut huge = tone.clone();
    huge[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    for (path, content) in [
        ("broken.wav", &b"RIFF but no more"[..]),
        ("cut.wav", &tone[..30]),
        ("mp3.wav", &b"ID3\x04\0\0\0\0\0\0"[..]),
        ("../etc/passwd.wav", &tone[..]),
    ] {
        let component = with_section(guest("probe"), &format!("callbox:asset:{path}"), content);
        let (status, problem) = host.upload(&script, component).await;
        assert!(status.is_client_error(), "{path}: {status} {problem}");
        assert!(problem.to_string().contains(path), "{path}: {problem}");
    }
    // A sound that is well comes through.
    let component = with_section(guest("probe"), "callbox:asset:more/tone.wav", &tone);
    let (status, version) = host.upload(&script, component).await;
    assert!(status.is_success(), "{version}");
}

/// A server of these answers.
async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A hundred megabytes, a piece at a time.
async fn flood() -> impl IntoResponse {
    let mut left = 1_600;
    Body::from_stream(futures_util::stream::poll_fn(move |_| {
        left -= 1;
        std::task::Poll::Ready((left > 0).then(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 64 << 10]))))
    }))
}

/// The only delivery to this endpoint, once it has been tried.
async fn tried(host: &Host) -> Value {
    eventually("a delivery that was tried", async || {
        let deliveries = host.get("/v1/deliveries").await;
        let found = deliveries["data"].as_array()?.iter().find(|delivery| delivery["attempts"].as_u64() > Some(0))?;
        matches!(found["state"].as_str()?, "pending" | "delivered" | "failed" | "dead").then(|| found.clone())
    })
    .await
}

#[tokio::test]
async fn a_customer_that_answers_for_ever_is_not_listened_to() {
    let host = Host::start().await;
    let address = serve(Router::new().fallback(any(flood))).await;
    let mut bindings = probe_bindings(None);
    for binding in ["early", "late"] {
        bindings["sources"][binding]["url"] = json!(format!("http://{address}/{binding}"));
    }
    bindings["destinations"]["sink"]["url"] = json!(format!("http://{address}/sink"));
    host.publish("probe", "2000", &bindings, &json!({})).await;
    let before = host.memory_kb();
    peer::call_probe(&host, "context", &[]).await;
    let record = host.finished_call().await["record"].take();
    assert_eq!(record["end_reason"], "script_returned", "{record}");
    for source in ["early", "late"] {
        assert!(record["fields"][source]["error"].is_string(), "{record}");
    }
    peer::call_probe(&host, "push", &["--header", "X-Probe-Count: 1"]).await;
    tried(&host).await;
    let grown = host.memory_kb().saturating_sub(before);
    assert!(grown < GROWTH_KB, "it grew by {grown} kB");
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_not_followed() {
    let host = Host::start().await;
    let elsewhere = Business::start().await;
    let target = elsewhere.url("/private");
    let redirect = move || {
        let target = target.clone();
        async move { (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, target)]) }
    };
    let address = serve(Router::new().fallback(any(redirect))).await;
    let mut bindings = probe_bindings(None);
    bindings["sources"]["early"]["url"] = json!(format!("http://{address}/early"));
    bindings["destinations"]["sink"]["url"] = json!(format!("http://{address}/sink"));
    host.publish("probe", "2000", &bindings, &json!({})).await;
    peer::call_probe(&host, "push", &["--header", "X-Probe-Count: 1"]).await;
    let delivery = tried(&host).await;
    assert_eq!(delivery["last_status"], 307, "{delivery}");
    assert_ne!(delivery["state"], "delivered", "{delivery}");
    peer::call_probe(&host, "context", &[]).await;
    let calls = host.finished_calls(2).await;
    for call in calls {
        let record = host.get(&format!("/v1/calls/{}", call["id"].as_str().unwrap())).await["record"].take();
        if record["fields"]["mode"] == "context" {
            assert!(record["fields"]["early"]["error"].is_string(), "{record}");
        }
    }
    assert!(elsewhere.try_next().await.is_none(), "the redirect was followed");
}

#[tokio::test]
async fn private_addresses_are_out_of_reach_unless_the_operator_says_otherwise() {
    let host = Host::start_with(Options { guarded: true, ..Options::default() }).await;
    let business = Business::start().await;
    // By a name too: what counts is where it leads.
    for name in ["127.0.0.1", "localhost"] {
        let at = |path: &str| business.url(path).replace("127.0.0.1", name);
        let mut bindings = probe_bindings(Some(&business));
        for source in ["early", "late"] {
            bindings["sources"][source]["url"] = json!(at("/early"));
        }
        bindings["destinations"]["sink"]["url"] = json!(at("/sink"));
        let number = if name == "localhost" { "2001" } else { "2000" };
        host.publish("probe", number, &bindings, &json!({})).await;
        let called = peer::call(&host, number, &["--header", "X-Probe-Mode: context"]).await;
        assert!(called.answered);
        let called =
            peer::call(&host, number, &["--header", "X-Probe-Mode: push", "--header", "X-Probe-Count: 1"]).await;
        assert!(called.answered);
    }
    for call in host.finished_calls(4).await {
        let record = host.get(&format!("/v1/calls/{}", call["id"].as_str().unwrap())).await["record"].take();
        assert_eq!(record["end_reason"], "script_returned", "{record}");
        if record["fields"]["mode"] == "context" {
            let error = record["fields"]["early"]["error"].as_str().unwrap();
            assert!(error.contains("not open to requests"), "{error}");
        }
    }
    let delivery = tried(&host).await;
    let error = delivery["last_error"].as_str().unwrap();
    assert!(error.contains("not open to requests"), "{delivery}");
    let (status, problem) = host.request(Method::GET, "/v1/deliveries?state=delivered", None).await;
    assert!(status.is_success() && problem["data"].as_array().unwrap().is_empty(), "{problem}");
    assert!(business.try_next().await.is_none(), "a private address was reached");
}
