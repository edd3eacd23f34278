//! Protected media over real sockets: keys of the SDP, DTLS handshakes, and what attackers can do to either.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "other tests use the rest of it")]
mod peer;

use callbox_dialogue::{CallId, PromptId};
use callbox_media::srtp::{OVERHEAD, Protector, Unprotector};
use callbox_media::{
    Clip, Codec, DtlsRole, Fingerprint, MediaCommand, MediaConfig, MediaEvent, MediaPlan, MediaPlane, MediaStats,
    OtherFamily, Security, Session, SrtpKeys, SrtpSuite, rtp,
};
use peer::{plan, within};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

type Call = (Session, Receiver<MediaEvent>);

fn plane() -> MediaPlane {
    MediaPlane::start(MediaConfig { ports: 0..=0, workers: 1, ..MediaConfig::default() }).unwrap()
}

fn open(plane: &MediaPlane) -> Call {
    plane.open(&CallId("call_test".into())).unwrap()
}

fn keys(suite: SrtpSuite, seed: u8) -> SrtpKeys {
    SrtpKeys::random(suite, &std::array::from_fn(|n| seed.wrapping_mul(29).wrapping_add(n as u8)))
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

async fn event<T>(events: &mut Receiver<MediaEvent>, mut wanted: impl FnMut(MediaEvent) -> Option<T>) -> T {
    within(async {
        loop {
            if let Some(found) = wanted(events.recv().await.expect("the session is open")) {
                return found;
            }
        }
    })
    .await
}

async fn established(events: &mut Receiver<MediaEvent>) -> SrtpSuite {
    event(events, |event| match event {
        MediaEvent::SecurityEstablished { suite } => Some(suite),
        MediaEvent::SecurityFailed { why } => panic!("{why}"),
        _ => None,
    })
    .await
}

async fn latched(events: &mut Receiver<MediaEvent>) -> SocketAddr {
    event(events, |event| if let MediaEvent::Latched { remote } = event { Some(remote) } else { None }).await
}

async fn closed((session, mut events): Call) -> MediaStats {
    drop(session);
    event(&mut events, |event| if let MediaEvent::Closed(stats) = event { Some(stats) } else { None }).await
}

/// A key is pressed here and heard there, both ways.
async fn talk(one: &mut Call, other: &mut Call) {
    for (from, to, digit) in [(0, 1, '5'), (1, 0, '7')] {
        let calls = [&mut *one, &mut *other];
        calls[from].0.send(MediaCommand::SendDigits { digits: digit.into() }).unwrap();
        let heard =
            event(&mut calls[to].1, |event| if let MediaEvent::Digit { digit } = event { Some(digit) } else { None });
        assert_eq!(heard.await, digit);
    }
}

/// A second passes, filled with a prompt.
async fn second(call: &mut Call) {
    let prompt = PromptId(1);
    let clip = Clip::from_pcm(vec![1_000; 8_000]);
    for command in
        [MediaCommand::Append { prompt, clip }, MediaCommand::Complete { prompt }, MediaCommand::Play { prompt }]
    {
        call.0.send(command).unwrap();
    }
    event(&mut call.1, |event| matches!(event, MediaEvent::PromptEnded { .. }).then_some(())).await;
}

fn configure(call: &Call, remote: SocketAddr, mux: bool, security: Security) {
    let mut plan = MediaPlan { security, ..plan(Codec::Pcma, remote) };
    if mux {
        plan.remote_rtcp = plan.remote;
    }
    call.0.send(MediaCommand::Configure(plan)).unwrap();
}

#[tokio::test]
async fn two_hosts_with_keys_of_the_sdp() {
    let (here, there) = (plane(), plane());
    for suite in SrtpSuite::ALL {
        let (mut one, mut other) = (open(&here), open(&there));
        let (a, b) = (keys(suite, 1), keys(suite, 2));
        configure(&one, other.0.local_rtp(), false, Security::Sdes { send: a.clone(), receive: b.clone() });
        configure(&other, one.0.local_rtp(), false, Security::Sdes { send: b, receive: a });
        assert_eq!(established(&mut one.1).await, suite);
        talk(&mut one, &mut other).await;
        for call in [one, other] {
            let stats = closed(call).await;
            assert_eq!((stats.encryption, stats.unauthentic, stats.replayed), (Some(suite), 0, 0));
            assert_eq!((stats.lost, stats.rejected), (0, 0));
        }
    }
}

#[tokio::test]
async fn keys_change_in_the_middle_of_a_call() {
    let (here, there) = (plane(), plane());
    let (mut one, mut other) = (open(&here), open(&there));
    for (round, suite) in [SrtpSuite::AesCm128HmacSha1_80, SrtpSuite::AeadAes128Gcm].into_iter().enumerate() {
        let (a, b) = (keys(suite, round as u8 * 2 + 1), keys(suite, round as u8 * 2 + 2));
        // As offer and answer do: one side has the new keys first.
        configure(&other, one.0.local_rtp(), false, Security::Sdes { send: b.clone(), receive: a.clone() });
        established(&mut other.1).await;
        configure(&one, other.0.local_rtp(), false, Security::Sdes { send: a, receive: b });
        established(&mut one.1).await;
        talk(&mut one, &mut other).await;
        second(&mut one).await;
        talk(&mut one, &mut other).await;
    }
    for call in [one, other] {
        let stats = closed(call).await;
        assert_eq!((stats.encryption, stats.lost), (Some(SrtpSuite::AeadAes128Gcm), 0), "{stats:?}");
    }
}

#[tokio::test]
async fn plaintext_forgeries_and_replays_are_not_heard() {
    let plane = plane();
    let far_end = socket();
    let mut call = open(&plane);
    let suite = SrtpSuite::AesCm128HmacSha1_80;
    let (ours, theirs) = (keys(suite, 1), keys(suite, 2));
    let security = Security::Sdes { send: ours.clone(), receive: theirs.clone() };
    configure(&call, far_end.local_addr().unwrap(), true, security);
    // What comes is sealed, and silence when it is opened.
    let (mut opener, mut buffer) = (Unprotector::new(&ours), [0; 500]);
    for _ in 0..5 {
        let length = far_end.recv(&mut buffer).unwrap();
        assert_eq!(length, rtp::HEADER + 160 + 10);
        let length = opener.rtp(&mut buffer[..length]).unwrap();
        assert!(rtp::parse(&buffer[..length]).unwrap().payload.iter().all(|byte| *byte == 0xD5));
    }
    // From the very address of the SDP: in the clear, with a wrong key, cut.
    let target = call.0.local_rtp();
    let mut sealer = Protector::new(&theirs);
    let mut forger = Protector::new(&keys(suite, 9));
    let packet = |sequence: u16| {
        let mut packet = vec![0xD5; rtp::HEADER + 160 + OVERHEAD];
        rtp::write_header(packet.first_chunk_mut().unwrap(), false, 8, sequence, u32::from(sequence) * 160, 7);
        packet
    };
    for sequence in 0..20 {
        far_end.send_to(&packet(sequence)[..172], target).unwrap();
        let mut forged = packet(sequence);
        let length = forger.rtp(&mut forged, 172).unwrap();
        far_end.send_to(&forged[..length], target).unwrap();
        far_end.send_to(&forged[..length - 100], target).unwrap();
    }
    // Sealed, each twice.
    for sequence in 0..20 {
        let mut sealed = packet(sequence);
        let length = sealer.rtp(&mut sealed, 172).unwrap();
        far_end.send_to(&sealed[..length], target).unwrap();
        far_end.send_to(&sealed[..length], target).unwrap();
    }
    assert_eq!(latched(&mut call.1).await, far_end.local_addr().unwrap());
    // All of it has been read when our next two packets are here.
    for _ in 0..2 {
        far_end.recv(&mut buffer).unwrap();
    }
    let stats = closed(call).await;
    assert_eq!((stats.packets_received, stats.unauthentic, stats.replayed), (20, 60, 20), "{stats:?}");
    // The last word is sealed too.
    loop {
        let length = far_end.recv(&mut buffer).unwrap();
        if rtp::is_rtcp(&buffer[..length]) {
            let length = opener.rtcp(&mut buffer[..length]).unwrap();
            if callbox_media::rtcp::read(&buffer[..length], 0).unwrap().bye {
                break;
            }
        } else {
            opener.rtp(&mut buffer[..length]).unwrap();
        }
    }
}

fn dtls(role: DtlsRole, of: &MediaPlane) -> Security {
    Security::Dtls { role, fingerprint: of.fingerprint() }
}

#[tokio::test]
async fn two_hosts_with_a_handshake() {
    let (here, there) = (plane(), plane());
    assert_ne!(here.fingerprint(), there.fingerprint());
    for (role, other_role) in [(DtlsRole::Active, DtlsRole::Passive), (DtlsRole::Passive, DtlsRole::Active)] {
        for mux in [true, false] {
            let (mut one, mut other) = (open(&here), open(&there));
            // The offering side learns of the answer when the handshake is on its way already.
            configure(&other, one.0.local_rtp(), mux, dtls(other_role, &here));
            configure(&one, other.0.local_rtp(), mux, dtls(role, &there));
            let suite = established(&mut one.1).await;
            assert_eq!(established(&mut other.1).await, suite);
            talk(&mut one, &mut other).await;
            // Hold and resume: the same keys go on.
            configure(&one, other.0.local_rtp(), mux, dtls(role, &there));
            talk(&mut one, &mut other).await;
            for call in [one, other] {
                let stats = closed(call).await;
                assert_eq!((stats.encryption, stats.unauthentic, stats.lost), (Some(suite), 0, 0), "{stats:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_wrong_certificate_is_told_and_nothing_is_ever_sent() {
    let (here, there) = (plane(), plane());
    let (mut one, mut other) = (open(&here), open(&there));
    let forged = Security::Dtls { role: DtlsRole::Passive, fingerprint: Fingerprint::of(b"somebody else") };
    configure(&one, other.0.local_rtp(), true, forged);
    configure(&other, one.0.local_rtp(), true, dtls(DtlsRole::Active, &here));
    let why = event(&mut one.1, |event| match event {
        MediaEvent::SecurityFailed { why } => Some(why),
        MediaEvent::SecurityEstablished { .. } | MediaEvent::Latched { .. } => panic!("{event:?}"),
        _ => None,
    });
    assert!(why.await.contains("certificate"));
    let stats = closed(one).await;
    assert_eq!((stats.packets_sent, stats.packets_received, stats.encryption), (0, 0, None));
    drop(other.0);
    event(&mut other.1, |event| matches!(event, MediaEvent::Closed(_)).then_some(())).await;
}

#[tokio::test]
async fn nothing_is_sent_before_the_handshake_is_done() {
    let plane = plane();
    let (far_end, witness) = (socket(), socket());
    let (call, beside) = (open(&plane), open(&plane));
    let security = Security::Dtls { role: DtlsRole::Passive, fingerprint: Fingerprint::of(b"far end") };
    configure(&call, far_end.local_addr().unwrap(), true, security);
    configure(&beside, witness.local_addr().unwrap(), true, Security::None);
    // Half a second passes for the call beside it on the same thread.
    let mut buffer = [0; 500];
    for n in 0..25_u16 {
        witness.recv(&mut buffer).unwrap();
        // What comes early, in the clear, is not heard.
        let mut packet = [0xD5; 172];
        rtp::write_header(packet.first_chunk_mut().unwrap(), false, 8, n, u32::from(n) * 160, 7);
        far_end.send_to(&packet, call.0.local_rtp()).unwrap();
    }
    far_end.set_nonblocking(true).unwrap();
    assert!(far_end.recv(&mut buffer).is_err(), "not a byte");
    let stats = closed(call).await;
    assert_eq!((stats.packets_sent, stats.packets_received), (0, 0));
    assert!(stats.unauthentic >= 20, "{stats:?}");
    assert!(far_end.recv(&mut buffer).is_err(), "not even a goodbye");
}

/// RTP bleed: who sends to the ports of a call gets nothing, and is not heard.
#[tokio::test]
async fn an_injector_gets_nothing_and_is_not_heard() {
    let (here, there) = (plane(), plane());
    let (mut one, mut other) = (open(&here), open(&there));
    configure(&one, other.0.local_rtp(), false, Security::None);
    configure(&other, one.0.local_rtp(), false, Security::None);
    let far_end = latched(&mut one.1).await;
    assert_eq!(far_end, other.0.local_rtp());
    latched(&mut other.1).await;
    let attackers = [socket(), socket()];
    let mut sent = 0;
    for sequence in 0..200_u16 {
        for (n, attacker) in attackers.iter().enumerate() {
            // Consistent streams, and guesses at everything; a digit that would be heard.
            let mut packet = [0x55; 172];
            let header = packet.first_chunk_mut().unwrap();
            rtp::write_header(header, false, 8, sequence, u32::from(sequence) * 160, n as u32);
            attacker.send_to(&packet, one.0.local_rtp()).unwrap();
            rtp::write_header(packet.first_chunk_mut().unwrap(), true, 101, sequence, 7, 7);
            packet[12..16].copy_from_slice(&[9, 10, 0, 160]);
            attacker.send_to(&packet[..16], one.0.local_rtp()).unwrap();
            let bye = [0x81, 203, 0, 1, 0, 0, 0, 7];
            let mut rtcp = one.0.local_rtp();
            rtcp.set_port(rtcp.port() + 1);
            attacker.send_to(&bye, rtcp).unwrap();
            sent += 2;
        }
        if sequence % 10 == 0 {
            talk(&mut one, &mut other).await;
        }
    }
    for attacker in attackers {
        attacker.set_nonblocking(true).unwrap();
        assert!(attacker.recv(&mut [0; 500]).is_err(), "an answer to a stranger");
    }
    let stats = closed(one).await;
    assert_eq!(stats.remote, Some(far_end));
    assert_eq!((stats.lost, stats.digits_received), (0, 20), "{stats:?}");
    assert!(stats.rejected >= sent / 2, "{stats:?}");
}

#[tokio::test]
async fn what_passes_is_captured_and_other_programs_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (plane(), plane());
    let (mut one, mut other) = (open(&here), open(&there));
    let paths = ["sealed.pcap", "decrypted.pcap"].map(|name| folder.path().join(name));
    for (call, path, decrypted) in [(&one, &paths[0], false), (&other, &paths[1], true)] {
        call.0.send(MediaCommand::Capture { path: path.clone(), decrypted }).unwrap();
    }
    configure(&one, other.0.local_rtp(), true, dtls(DtlsRole::Active, &there));
    configure(&other, one.0.local_rtp(), true, dtls(DtlsRole::Passive, &here));
    talk(&mut one, &mut other).await;
    second(&mut one).await;
    let port = one.0.local_rtp().port();
    // One is told to stop; the other's is complete when its session is.
    one.0.send(MediaCommand::StopCapture).unwrap();
    let (done, packets) = event(&mut one.1, |event| match event {
        MediaEvent::CaptureDone { path, packets, dropped: 0 } => Some((path, packets)),
        _ => None,
    })
    .await;
    assert_eq!(done, paths[0]);
    assert!(packets > 100, "{packets}");
    let (session, mut events) = other;
    drop(session);
    let packets = event(&mut events, |event| match event {
        MediaEvent::CaptureDone { packets, .. } => Some(packets),
        MediaEvent::Closed(_) => panic!("the end comes last"),
        _ => None,
    })
    .await;
    assert!(packets > 100, "{packets}");
    event(&mut events, |event| matches!(event, MediaEvent::Closed(_)).then_some(())).await;
    let [sealed, decrypted] = paths.clone().map(|path| std::fs::read(path).unwrap());
    let contains = |file: &[u8], what: &[u8]| file.windows(what.len()).any(|window| window == what);
    // Silence of G.711 is in the one that is decrypted, and the handshake is in both.
    assert!(contains(&decrypted, &[0xD5; 160]) && !contains(&sealed, &[0xD5; 160]));
    assert!(contains(&decrypted, &[22, 0xFE, 0xFD]) && contains(&sealed, &[22, 0xFE, 0xFD]));
    // Where Wireshark is installed it agrees.
    let decode = format!("udp.port=={port},rtp");
    let tshark = std::process::Command::new("tshark")
        .args(["-r", paths[1].to_str().unwrap(), "-d", &decode, "-T", "fields", "-e", "ip.checksum.status"])
        .args(["-o", "ip.check_checksum:TRUE", "-e", "rtp.p_type", "-e", "_ws.malformed"])
        .output();
    if let Ok(output) = tshark {
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.lines().count() as u64, packets, "{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.lines().all(|line| line.starts_with('1')), "checksums: {text}");
        // Payload type 8; what 101 means it cannot know.
        assert!(text.lines().filter(|line| *line == "1\t8\t").count() > 80, "{text}");
    }
}

#[tokio::test]
async fn one_session_serves_far_ends_of_both_families() {
    let six = IpAddr::from(Ipv6Addr::LOCALHOST);
    let Ok(far_six) = UdpSocket::bind((six, 0)) else {
        // A container without IPv6: nothing to show.
        return;
    };
    let other = Some(OtherFamily { bind: six, advertise: six });
    let config = MediaConfig { ports: 0..=0, workers: 1, other, ..MediaConfig::default() };
    let plane = MediaPlane::start(config.clone()).unwrap();
    let far_four = socket();
    let mut call = open(&plane);
    let (four, six) = (call.0.local_rtp(), call.0.local_other().unwrap());
    assert_eq!((four.port(), six.is_ipv6()), (six.port(), true));
    far_six.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    for (far_end, ours) in [(&far_four, four), (&far_six, six), (&far_four, four)] {
        configure(&call, far_end.local_addr().unwrap(), false, Security::None);
        let mut buffer = [0; 500];
        let (length, source) = far_end.recv_from(&mut buffer).unwrap();
        assert_eq!(source, ours);
        far_end.send_to(&buffer[..length], ours).unwrap();
        assert_eq!(latched(&mut call.1).await, far_end.local_addr().unwrap());
    }
    let same = MediaConfig { other: Some(OtherFamily { bind: four.ip(), advertise: four.ip() }), ..config };
    assert!(MediaPlane::start(same).is_err());
}
