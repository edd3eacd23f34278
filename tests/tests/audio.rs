//! What goes over the wire: every byte of a prompt, and nothing to strangers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_media::{Law, wav};
use callbox_sip::{DialogEvent, OutgoingCall, SipConfig, SipStack};
use callbox_tests::{Host, Options, SOON, Watch, eventually, expand, fidelity, voices};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// A far end that keeps every packet it gets.
struct Ear {
    stack: SipStack,
    rtp: UdpSocket,
}

/// What came: payloads by their place in the stream, of one payload type.
#[derive(Default)]
struct Heard {
    packets: BTreeMap<u16, Vec<u8>>,
    sources: Vec<SocketAddr>,
}

impl Heard {
    fn take(&mut self, packet: &[u8], source: SocketAddr) {
        assert_eq!(packet[0] >> 6, 2, "RTP version 2");
        assert_eq!(packet[1] & 0x7f, 0, "PCMU");
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        self.packets.insert(sequence, packet[12..].to_vec());
        if !self.sources.contains(&source) {
            self.sources.push(source);
        }
    }

    /// The stream; sequence numbers that wrap within it are unwrapped.
    fn bytes(&self) -> Vec<u8> {
        let wraps = self.packets.contains_key(&0) && self.packets.contains_key(&u16::MAX);
        let (low, high): (Vec<_>, Vec<_>) = self.packets.iter().partition(|(sequence, _)| wraps && **sequence < 0x8000);
        let ordered = if wraps { [high, low].concat() } else { self.packets.iter().collect() };
        for pair in ordered.windows(2) {
            assert_eq!(pair[0].0.wrapping_add(1), *pair[1].0, "a packet is missing");
        }
        ordered.into_iter().flat_map(|(_, payload)| payload.clone()).collect()
    }
}

impl Ear {
    async fn new() -> Self {
        let config = SipConfig { udp: vec!["127.0.0.1:0".parse().unwrap()], ..SipConfig::default() };
        let (stack, _) = SipStack::start(config).await.unwrap();
        Self { stack, rtp: UdpSocket::bind("127.0.0.1:0").await.unwrap() }
    }

    /// Calls the probe and listens until it hangs up.
    async fn listen(&self, host: &Host, headers: &[(&str, &str)]) -> Heard {
        let port = self.rtp.local_addr().unwrap().port();
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
        );
        let call = OutgoingCall {
            target: format!("sip:2000@{}", host.sip),
            headers: headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            offer: Some(offer.into_bytes()),
            ..OutgoingCall::default()
        };
        let (_dialog, mut events) = self.stack.call(call).await.unwrap();
        let mut heard = Heard::default();
        let mut packet = [0; 2_048];
        let all = async {
            loop {
                tokio::select! {
                    event = events.recv() => match event {
                        Some(DialogEvent::Ended { .. }) | None => break,
                        Some(_) => {}
                    },
                    received = self.rtp.recv_from(&mut packet) => {
                        let (length, source) = received.unwrap();
                        heard.take(&packet[..length], source);
                    }
                }
            }
        };
        timeout(SOON, all).await.expect("the call ends in time");
        heard
    }
}

/// Calls the probe, and hears this among what it says. Whoever speaks or listens too late, because the machine did not keep
/// its time, proves nothing: the call is made again.
async fn heard_whole(host: &Host, headers: &[(&str, &str)], wanted: &[u8]) -> Heard {
    for _ in 0..5 {
        let watch = Watch::start();
        let heard = Ear::new().await.listen(host, headers).await;
        if contains(&heard.bytes(), wanted) {
            return heard;
        }
        assert!(watch.was_late(), "what is on the wire is not what was to be said");
    }
    panic!("five times the machine was late, and what is on the wire is not what was to be said");
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn every_byte_of_a_prompt_is_what_was_synthesised() {
    let text = "The train to Cambridge leaves at 14:35 from platform 9.";
    let host = Host::start().await;
    host.publish_probe(None).await;
    let spoken = voices::of_the_host(text).await;
    let synthesised: Vec<u8> = spoken.iter().map(|&sample| Law::Mu.encode_sample(sample)).collect();
    assert!(synthesised.len() > 8_000, "{} bytes are no sentence", synthesised.len());
    let heard = heard_whole(&host, &[("X-Probe-Mode", "hello"), ("X-Probe-Text", text)], &synthesised).await;
    let [said, heard_by_ear] =
        [&synthesised, &heard.bytes()].map(|pcmu| pcmu.iter().map(|&byte| expand(byte)).collect());
    let (said, heard_by_ear): (Vec<i16>, Vec<i16>) = (said, heard_by_ear);
    let found = fidelity::compare(&said, &heard_by_ear);
    assert!(found.is_whole(), "{found:?}");
    // What PCMU costs, and nothing else.
    let (score, of_pcmu) = (fidelity::pesq(&spoken, &heard_by_ear).await, fidelity::pesq(&spoken, &said).await);
    assert!(score > 3.5 && score > of_pcmu - 0.2, "PESQ {score}, of PCMU itself {of_pcmu}");
    assert_eq!(heard.sources.len(), 1);
}

#[tokio::test]
async fn an_audio_asset_arrives_as_it_is() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let path = callbox_tests::root().join("tests/guests/probe/assets/tone.wav");
    let clip = wav::read(&std::fs::read(path).unwrap()).unwrap();
    heard_whole(&host, &[("X-Probe-Mode", "tone"), ("X-Probe-Count", "2")], clip.encoded(Law::Mu)).await;
}

#[tokio::test]
async fn what_is_said_in_every_call_is_rendered_when_a_version_is_published() {
    let rendered = tempfile::tempdir().unwrap();
    let env = vec![("CALLBOX_SPEECH__CACHE_DIR", rendered.path().display().to_string())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    let nowhere = json!({"models": {"assistant": {"url": "http://127.0.0.1:9/v1/chat/completions", "model": "none"}}});
    host.publish("talk", "2300", &nowhere, &json!({})).await;
    // Nobody has called.
    eventually("a prompt in the cache", async || {
        let mut files = std::fs::read_dir(rendered.path()).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|extension| extension == "pcm"))
    })
    .await;
}
