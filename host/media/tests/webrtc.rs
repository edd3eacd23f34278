//! Browsers that call a plane over real sockets.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod browser;

use browser::{Browser, PATIENCE, plane};
use callbox_dialogue::{CallId, PromptId};
use callbox_media::webrtc::{IceAnswer, IceFragment, Offer, OfferError, WebRtcPolicy};
use callbox_media::{
    Clip, Codec, MediaCommand, MediaError, MediaEvent, MediaPlan, MediaPlane, MediaStats, Session, Tap,
};
use callbox_webrtc::caller::{Heard, Wishes};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, UdpSocket};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// 20 ms of some noise at 16 kHz.
const OPUS: &[u8] = &[0x48, 0x83, 0x11, 0xC4, 0x52, 0x9F, 0x33, 0x70, 0x0A, 0xB1, 0x2C, 0xEE, 0x61, 0x18, 0x95, 0x07];

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Reads events while the browser lives, until one is what is wanted.
fn event(
    browser: &mut Browser,
    events: &mut Receiver<MediaEvent>,
    mut wanted: impl FnMut(&MediaEvent) -> bool,
) -> MediaEvent {
    let mut found = None;
    browser.until(|_| {
        while let Ok(event) = events.try_recv() {
            if wanted(&event) {
                found = Some(event);
                return true;
            }
        }
        false
    });
    found.unwrap()
}

fn play(session: &Session, prompt: u32, samples: Vec<i16>) {
    let prompt = PromptId(prompt);
    session.send(MediaCommand::Append { prompt, clip: Clip::from_pcm(samples) }).unwrap();
    session.send(MediaCommand::Complete { prompt }).unwrap();
    session.send(MediaCommand::Play { prompt }).unwrap();
}

fn tone(samples: usize) -> Vec<i16> {
    (0..samples).map(|n| ((n as f32 * 0.35).sin() * 8_000.0) as i16).collect()
}

fn stats(session: Session, mut events: Receiver<MediaEvent>) -> MediaStats {
    drop(session);
    wait(async {
        loop {
            if let Some(MediaEvent::Closed(stats)) = events.recv().await {
                return stats;
            }
        }
    })
}

#[test]
fn a_browser_hears_the_prompt_and_is_heard_whatever_the_codec() {
    for codec in [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma] {
        let plane = plane(1, |_, _| {});
        let (mut browser, mut opened) = Browser::call(&plane, codec, &Wishes::default());
        assert_eq!((opened.answer.codec, opened.answer.dtmf, opened.answer.data), (codec, true, true));
        let (tap, mut frames) = Tap::new(1_024);
        opened.session.send(MediaCommand::Tap(Some(tap))).unwrap();
        play(&opened.session, 1, tone(8_000));
        event(&mut browser, &mut opened.events, |event| matches!(event, MediaEvent::SecurityEstablished { .. }));
        if let Some(law) = codec.law() {
            browser.voice = tone(160).iter().map(|_| 0x20).collect();
            let mut expected = vec![0; 8_000];
            law.encode(&tone(8_000), &mut expected);
            event(&mut browser, &mut opened.events, |event| matches!(event, MediaEvent::PromptEnded { .. }));
            browser.until(|browser| browser.heard(0).windows(8_000).any(|window| window == expected));
            let mut loud = 0;
            browser.until(|_| {
                while let Some(frame) = frames.try_next() {
                    loud += usize::from(frame.samples().iter().all(|sample| sample.unsigned_abs() > 1_000));
                }
                loud > 10
            });
        } else {
            browser.voice = if codec == Codec::G722 { vec![0x5A; 160] } else { OPUS.to_vec() };
            event(&mut browser, &mut opened.events, |event| matches!(event, MediaEvent::PromptEnded { .. }));
            browser.until(|browser| browser.seen.packets.len() > 50);
            let mut heard = 0;
            browser.until(|_| {
                while frames.try_next().is_some() {
                    heard += 1;
                }
                heard > 10
            });
        }
        assert_eq!(browser.seen.early, 0, "no media before the handshake");
        let stats = stats(opened.session, opened.events);
        assert_eq!(stats.codec, Some(codec));
        assert!(stats.encryption.is_some() && stats.packets_received > 10 && stats.unauthentic == 0, "{stats:?}");
        assert_eq!(stats.remote, Some(browser.udp.local_addr().unwrap()));
        browser.until(|browser| browser.seen.closed);
    }
}

/// Something like speech: a tone and its overtones that rise and fall.
fn speech(samples: usize) -> Vec<i16> {
    let at = |n: usize| {
        let swell = (n as f32 * 0.002).sin().abs();
        let voice: f32 = (1..6).map(|k| (n as f32 * 0.09 * k as f32).sin() / k as f32).sum();
        (swell * voice * 8_000.0) as i16
    };
    (0..samples).map(at).collect()
}

#[test]
fn a_browser_gets_the_opus_that_it_asks_for() {
    // A packet of speech whose second bit behind the first byte is set holds the one before once more (RFC 6716 §4.2.3).
    let repeats = |(_, _, payload): &(u8, u32, Vec<u8>)| match payload[..] {
        [kind, bits, ..] => kind >> 3 < 16 && bits & 0x40 != 0,
        _ => false,
    };
    let call = |asked: &str| {
        let plane = plane(1, |_, _| {});
        let (mut browser, offer) = Browser::new(&Wishes::default(), None);
        assert!(offer.contains("useinbandfec=1"), "{offer}");
        let offer = Offer::parse(&offer.replace("useinbandfec=1", asked)).unwrap();
        let policy = WebRtcPolicy { codecs: vec![Codec::Opus], dtx: true, ..WebRtcPolicy::default() };
        let mut opened = plane.open_webrtc(&CallId("call".into()), &offer, &policy).unwrap();
        browser.caller.accept(&opened.answer.sdp).unwrap();
        play(&opened.session, 1, speech(8_000));
        event(&mut browser, &mut opened.events, |event| matches!(event, MediaEvent::PromptEnded { .. }));
        (plane, opened, browser)
    };
    for (asked, wanted) in [("useinbandfec=0", false), ("useinbandfec=1", true)] {
        let (_plane, _opened, mut browser) = call(asked);
        // Most of the second has been spoken.
        browser.until(|browser| browser.seen.packets.iter().filter(|(_, _, payload)| payload.len() > 20).count() > 30);
        assert_eq!(browser.seen.packets.iter().any(repeats), wanted, "{asked}");
    }
    // Where both sides want pauses, silence is no packet each 20 ms.
    let (_plane, _opened, mut browser) = call("usedtx=1");
    browser.until(|browser| browser.seen.packets.windows(2).any(|two| two[1].1.wrapping_sub(two[0].1) >= 10 * 960));
}

#[test]
fn keys_and_messages_pass_in_both_directions() {
    for codec in [Codec::Opus, Codec::Pcma] {
        let plane = plane(1, |_, _| {});
        let (mut browser, mut opened) = Browser::call(&plane, codec, &Wishes::default());
        opened.session.send(MediaCommand::Message("{\"type\":\"caption\"}".into())).unwrap();
        browser.until(|browser| browser.seen.connected && browser.seen.channel);
        browser.until(|browser| browser.seen.messages == ["{\"type\":\"caption\"}"]);
        for (key, digit) in [(5, '5'), (11, '#')] {
            browser.press(key);
            event(&mut browser, &mut opened.events, |event| *event == MediaEvent::Digit { digit });
        }
        assert!(browser.say("{\"type\":\"digits\"}"));
        let said = MediaEvent::Message("{\"type\":\"digits\"}".into());
        event(&mut browser, &mut opened.events, |event| *event == said);
        opened.session.send(MediaCommand::SendDigits { digits: "7".into() }).unwrap();
        event(&mut browser, &mut opened.events, |event| *event == MediaEvent::DigitsSent);
        let number = browser.caller.agreed().unwrap().events.unwrap();
        browser.until(|browser| {
            browser.seen.packets.iter().any(|(other, _, payload)| *other == number && payload[..2] == [7, 0x80 | 10])
        });
    }
}

/// Whoever has a call may write another's address into a check of its own. What comes from there is believed to be its
/// only until who is there checks again.
#[test]
fn an_address_that_another_call_claims_comes_back() {
    let plane = plane(1, |_, _| {});
    let (mut browser, mut opened) = Browser::call(&plane, Codec::Pcmu, &Wishes::default());
    browser.until(|browser| browser.seen.connected && browser.seen.channel);
    let (mut thief, _claiming) = Browser::call(&plane, Codec::Pcmu, &Wishes::default());
    let (mut checks, mut now) = (Vec::new(), Duration::ZERO);
    while checks.is_empty() {
        now += Duration::from_millis(50);
        thief.caller.tick(now, &mut |heard| {
            if let Heard::Send { bytes, .. } = heard {
                checks.push(bytes.to_vec());
            }
        });
    }
    browser.udp.send_to(&checks[0], plane.webrtc_ports().0[0]).unwrap();
    assert!(browser.say("still here"));
    let said = MediaEvent::Message("still here".into());
    event(&mut browser, &mut opened.events, |event| *event == said);
}

#[test]
fn the_media_follows_the_browser_to_another_network() {
    for workers in [1, 2] {
        let plane = plane(workers, |_, _| {});
        let (mut browser, mut opened) = Browser::call(&plane, Codec::Pcmu, &Wishes::default());
        browser.voice = vec![0x20; 160];
        browser.until(|browser| browser.seen.packets.len() > 10);
        let before = opened.answer.ice_session.clone();
        let offer = browser.roam();
        let answer = wait(opened.session.renegotiate(Offer::parse(&offer).unwrap())).unwrap();
        assert_ne!(answer.ice_session, before);
        browser.caller.accept(&answer.sdp).unwrap();
        let (there, heard) = (browser.udp.local_addr().unwrap(), browser.seen.packets.len());
        event(&mut browser, &mut opened.events, |event| *event == MediaEvent::Latched { remote: there });
        browser.until(|browser| browser.seen.packets.len() > heard + 20);
        // The same stream goes on: the far end hears no other, and neither do we.
        let stats = stats(opened.session, opened.events);
        assert_eq!((stats.remote, stats.unauthentic), (Some(there), 0));
    }
}

#[test]
fn a_fragment_begins_ice_anew_and_candidates_alone_do_not() {
    let plane = plane(1, |_, _| {});
    let (mut browser, opened) = Browser::call(&plane, Codec::Pcmu, &Wishes::default());
    browser.until(|browser| browser.seen.connected);
    let ask = |text: &str| wait(opened.session.restart_ice(IceFragment::parse(text).unwrap())).unwrap();
    assert_eq!(ask("a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"), IceAnswer::Unchanged);
    let IceAnswer::Restarted { fragment, ice_session } =
        ask("a=ice-ufrag:fresh\r\na=ice-pwd:of-enough-characters-for-ice\r\n")
    else {
        panic!("a restart")
    };
    assert!(fragment.contains(&format!("a=ice-ufrag:{ice_session}\r\n")), "{fragment}");
    assert_ne!(ice_session, opened.answer.ice_session);
}

#[test]
fn whom_udp_does_not_reach_comes_by_tcp() {
    for workers in [1, 2] {
        let plane = plane(workers, |_, _| {});
        for _ in 0..3 {
            let (mut browser, mut opened) = Browser::call_by(&plane, Codec::Pcmu, &Wishes::default(), true);
            browser.voice = vec![0x20; 160];
            play(&opened.session, 1, tone(800));
            event(&mut browser, &mut opened.events, |event| matches!(event, MediaEvent::PromptEnded { .. }));
            browser.until(|browser| browser.seen.packets.len() > 20 && browser.seen.channel);
            let stats = stats(opened.session, opened.events);
            assert!(stats.packets_received > 5, "{stats:?}");
        }
    }
}

#[test]
fn both_families_of_addresses_are_served() {
    let v6 = Ipv6Addr::LOCALHOST;
    let plane = plane(2, |_, webrtc| webrtc.udp.push((v6, 0).into()));
    assert_eq!(plane.webrtc_ports().0.iter().filter(|port| port.is_ipv6()).count(), 1);
    for host in [IpAddr::from(v6), Ipv4Addr::LOCALHOST.into()] {
        let (browser, offer) = Browser::new_at(host, &Wishes::default(), None);
        let (mut browser, opened) = browser.offered(&plane, Codec::Pcmu, &offer);
        assert!(opened.answer.sdp.contains(" ::1 ") && opened.answer.sdp.contains(" 127.0.0.1 "));
        browser.voice = vec![0x20; 160];
        browser.until(|browser| browser.seen.packets.len() > 20);
        assert_eq!(stats(opened.session, opened.events).remote.map(|remote| remote.ip()), Some(host));
    }
}

#[test]
fn many_share_one_port_and_none_hears_another() {
    let plane = plane(2, |_, _| {});
    let mut calls: Vec<_> = (0..20)
        .map(|n| {
            let (browser, opened) = Browser::call(&plane, Codec::Pcmu, &Wishes { data: false, ..Wishes::default() });
            play(&opened.session, 1, vec![1_000 * (n + 1); 8_000]);
            (browser, opened)
        })
        .collect();
    assert_eq!(plane.webrtc_ports().0.len(), 1);
    for round in 0.. {
        assert!(round < 20_000, "some never hear their prompt");
        let mut all = true;
        for (browser, _) in &mut calls {
            browser.turn();
            all &= browser.seen.packets.len() > 40;
        }
        if all {
            break;
        }
    }
    // Of so many, some come to the worker that has not their session.
    assert!(plane.stats().handed_on > 0);
    for (n, (browser, _)) in calls.iter().enumerate() {
        let mut expected = [0];
        callbox_media::Law::Mu.encode(&[1_000 * (n as i16 + 1)], &mut expected);
        let heard = browser.heard(0);
        assert!(heard.iter().all(|byte| *byte == expected[0] || *byte == 0xFF), "{n} hears somebody else");
        assert!(heard.iter().filter(|byte| **byte == expected[0]).count() > 1_000);
    }
}

#[test]
fn a_browser_is_bridged_to_a_telephone() {
    let plane = plane(2, |_, _| {});
    let (mut browser, mut opened) = Browser::call(&plane, Codec::Opus, &Wishes::default());
    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    phone.set_nonblocking(true).unwrap();
    let (target, _events) = plane.open(&CallId("target".into())).unwrap();
    let plan = MediaPlan { dtmf: Some(101), ..MediaPlan::new(Codec::Pcma, 8, phone.local_addr().unwrap()) };
    target.send(MediaCommand::Configure(plan)).unwrap();
    opened.session.send(MediaCommand::Bridge { with: target.id() }).unwrap();
    event(&mut browser, &mut opened.events, |event| matches!(event, MediaEvent::SecurityEstablished { .. }));
    // A key of the browser's, on a clock of 48 kHz, is one of the telephone's, on 8 kHz.
    browser.voice = OPUS.to_vec();
    browser.until(|browser| browser.seen.packets.len() > 5);
    browser.press(9);
    let mut buffer = [0; 1_500];
    let (mut sequence, mut key, mut loud) = (0_u16, false, false);
    browser.until(|browser| {
        while let Ok(length) = phone.recv(&mut buffer) {
            key |= buffer[1] & 0x7F == 101 && length == 16 && buffer[12] == 9;
            // The telephone says something with each packet.
            sequence += 1;
            let mut packet = vec![0x80, 8];
            packet.extend(sequence.to_be_bytes());
            packet.extend((u32::from(sequence) * 160).to_be_bytes());
            packet.extend([0, 0, 0, 9]);
            packet.extend((0..160).map(|n: u8| if n % 8 < 4 { 0x2A } else { 0xAA }));
            phone.send_to(&packet, target.local_rtp()).unwrap();
        }
        // Silence of Opus is a few bytes; this is not.
        loud |= browser.seen.packets.iter().any(|(_, _, payload)| payload.len() > 30);
        key && loud
    });
}

#[test]
fn what_happened_is_in_the_files_and_secrets_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(1, |_, _| {});
    let (mut browser, mut opened) = Browser::call(&plane, Codec::Pcmu, &Wishes::default());
    let (wav, pcap) = (folder.path().join("call.wav"), folder.path().join("call.pcap"));
    opened.session.send(MediaCommand::Capture { path: pcap.clone(), decrypted: true }).unwrap();
    opened.session.send(MediaCommand::Record { path: wav.clone() }).unwrap();
    browser.voice = vec![0x20; 160];
    browser.until(|browser| browser.seen.packets.len() > 30);
    opened.session.send(MediaCommand::Mask(true)).unwrap();
    browser.voice = vec![0x31; 160];
    let heard = browser.seen.packets.len();
    browser.until(|browser| browser.seen.packets.len() > heard + 30);
    opened.session.send(MediaCommand::StopCapture).unwrap();
    opened.session.send(MediaCommand::StopRecording).unwrap();
    // Two threads write the files: either may be done first.
    let (mut captured, mut recorded) = (None, false);
    event(&mut browser, &mut opened.events, |event| {
        match event {
            MediaEvent::CaptureDone { packets, dropped, .. } => captured = Some((*packets, *dropped)),
            MediaEvent::RecordingDone { .. } => recorded = true,
            _ => {}
        }
        captured.is_some() && recorded
    });
    let (packets, dropped) = captured.unwrap();
    assert!(packets > 60 && dropped == 0);
    let pcap = std::fs::read(pcap).unwrap();
    let holds = |byte: u8| pcap.windows(160).any(|window| window.iter().all(|other| *other == byte));
    assert!(holds(0x20), "in the clear, as it was asked for");
    assert!(!holds(0x31), "secret");
    // The checks of ICE are in it too.
    assert!(pcap.windows(4).any(|window| window == [0x21, 0x12, 0xA4, 0x42]));
    assert!(std::fs::metadata(wav).unwrap().len() > 10_000);
}

#[test]
fn a_capture_shows_no_media_before_the_handshake_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(1, |_, _| {});
    let (mut browser, mut opened) = Browser::call(&plane, Codec::Pcmu, &Wishes { data: false, ..Wishes::default() });
    let path = folder.path().join("call.pcap");
    opened.session.send(MediaCommand::Capture { path: path.clone(), decrypted: false }).unwrap();
    play(&opened.session, 1, tone(8_000));
    browser.voice = vec![0x20; 160];
    browser.until(|browser| browser.seen.packets.len() > 20);
    opened.session.send(MediaCommand::StopCapture).unwrap();
    event(&mut browser, &mut opened.events, |event| matches!(event, MediaEvent::CaptureDone { .. }));
    let file = std::fs::read(path).unwrap();
    let (mut rest, mut kinds) = (&file[24..], Vec::new());
    while let Some((header, behind)) = rest.split_at_checked(16) {
        let length = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        // Behind the headers of IPv4 and UDP.
        kinds.push(match behind[28] {
            0..4 => "check",
            20..64 => "handshake",
            _ => "media",
        });
        rest = &behind[length..];
    }
    let first = kinds.iter().position(|kind| *kind == "media").unwrap();
    assert_eq!(kinds[0], "check");
    let before = kinds[..first].iter().filter(|kind| **kind == "handshake").count();
    // Two flights of each side; what comes later is a message sent again at most.
    assert!(before >= 4, "{:?}", &kinds[..=first]);
    assert!(kinds[first..].iter().filter(|kind| **kind == "media").count() > 30);
    assert!(kinds[first..].iter().filter(|kind| **kind == "handshake").count() <= 2);
}

#[test]
fn reports_tell_how_well_both_sides_hear() {
    let plane = plane(1, |_, _| {});
    let (mut browser, opened) = Browser::call(&plane, Codec::Opus, &Wishes { data: false, ..Wishes::default() });
    browser.voice = OPUS.to_vec();
    browser.lose_one_in = 5;
    // Both sides report each five seconds, more or less: two of each.
    browser.until(|browser| browser.seen.packets.len() > 50 * 13);
    let stats = stats(opened.session, opened.events);
    assert!((10.0..30.0).contains(&stats.loss_pct), "{stats:?}");
    assert!(stats.rtt_ms.is_some() && stats.remote_loss_pct.is_some(), "{stats:?}");
    assert!((1.0..4.0).contains(&stats.mos) && stats.history.intervals > 0, "{stats:?}");
}

#[test]
fn a_hold_is_heard_and_who_vanishes_in_it_is_missed() {
    let plane = plane(1, |config, _| config.media_timeout = Duration::from_secs(6));
    let (mut browser, mut opened) = Browser::call(&plane, Codec::Pcmu, &Wishes::default());
    browser.voice = vec![0x20; 160];
    browser.until(|browser| browser.seen.packets.len() > 10);
    let offer = browser.caller.direct(false, false).unwrap();
    let answer = wait(opened.session.renegotiate(Offer::parse(&offer).unwrap())).unwrap();
    assert_eq!((answer.send, answer.receive), (false, false));
    browser.caller.accept(&answer.sdp).unwrap();
    browser.voice.clear();
    // Its checks keep it alive.
    let silence =
        browser.until_or(|_| opened.events.try_recv() == Ok(MediaEvent::MediaTimeout), Duration::from_secs(8));
    assert_eq!(silence, Err(()));
    let missed = wait(async {
        loop {
            if opened.events.recv().await == Some(MediaEvent::MediaTimeout) {
                return true;
            }
        }
    });
    assert!(missed);
}

#[test]
fn who_never_comes_and_who_leaves_is_told() {
    let plane = plane(1, |_, webrtc| webrtc.connect_timeout = Duration::from_millis(300));
    let (browser, mut opened) = Browser::call(&plane, Codec::Pcmu, &Wishes::default());
    drop(browser);
    let event = wait(opened.events.recv());
    let Some(MediaEvent::SecurityFailed { why }) = event else { panic!("{event:?}") };
    assert!(why.contains("nobody came"), "{why}");
    let plane = self::plane(1, |config, _| config.media_timeout = Duration::from_millis(700));
    let (mut browser, mut opened) = Browser::call(&plane, Codec::Pcmu, &Wishes::default());
    browser.voice = vec![0x20; 160];
    browser.until(|browser| browser.seen.packets.len() > 10);
    drop(browser);
    wait(async { while opened.events.recv().await.unwrap() != MediaEvent::MediaTimeout {} });
    let plane = self::plane(1, |_, _| {});
    let (mut browser, mut opened) = Browser::call(&plane, Codec::Pcmu, &Wishes::default());
    browser.until(|browser| browser.seen.channel);
    browser.with(|caller, now, mut out| caller.close(now, &mut out));
    self::event(&mut browser, &mut opened.events, |event| *event == MediaEvent::Left);
}

#[test]
fn strangers_get_nothing_and_leave_nothing() {
    let plane = plane(2, |_, webrtc| webrtc.max_tcp_strangers = 3);
    let (udp, tcp) = plane.webrtc_ports();
    let (mut browser, opened) = Browser::call(&plane, Codec::Pcmu, &Wishes::default());
    browser.voice = vec![0x20; 160];
    browser.until(|browser| browser.seen.packets.len() > 10);
    let strangers: Vec<UdpSocket> = (0..8).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let mut sent = 0;
    for n in 0..500_u32 {
        for stranger in &strangers {
            let mut junk = vec![0_u8; 20 + (n as usize % 400)];
            junk[0] = [0, 22, 128, 255][n as usize % 4];
            if n % 4 == 0 {
                // A check of somebody: well made, of no call that there is.
                junk = vec![0, 1, 0, 20, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
                junk.extend([0, 6, 0, 16]);
                junk.extend(b"AAAAAAAAAAA:them");
            }
            stranger.send_to(&junk, udp[0]).unwrap();
            sent += 1;
        }
    }
    let heard = browser.seen.packets.len();
    browser.until(|browser| browser.seen.packets.len() > heard + 20);
    browser.until(|_| plane.stats().rejected >= sent / 2);
    for stranger in &strangers {
        stranger.set_nonblocking(true).unwrap();
        assert!(stranger.recv(&mut [0; 9]).is_err(), "nobody is answered");
    }
    // Connections: what is no frame, what is half open, and too many.
    let mut open: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(tcp[0]).unwrap()).collect();
    for (n, stream) in open.iter_mut().enumerate() {
        use std::io::{Read as _, Write as _};
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = match n % 3 {
            0 => stream.write_all(b"GET / HTTP/1.1\r\n\r\n"),
            1 => stream.write_all(&[0, 20, 1, 2]),
            _ => stream.write_all(&[0, 3, 128, 1, 2]),
        };
        // All are closed, without a word.
        assert!(!matches!(stream.read(&mut [0; 9]), Ok(1..)), "{n}");
    }
    let stats = stats(opened.session, opened.events);
    assert_eq!(stats.unauthentic, 0);
    wait_for_no_session(&plane);
}

#[test]
fn sessions_come_and_go_and_nothing_stays() {
    let plane = plane(2, |config, _| config.max_sessions = 3);
    for _ in 0..4 {
        let mut calls: Vec<_> =
            (0..3).map(|_| Browser::call(&plane, Codec::Pcmu, &Wishes { data: false, ..Wishes::default() })).collect();
        let (_, offer) = Browser::new(&Wishes::default(), None);
        let offer = Offer::parse(&offer).unwrap();
        let full = plane.open_webrtc(&CallId("one too many".into()), &offer, &WebRtcPolicy::default());
        assert!(matches!(full, Err(MediaError::SessionLimit(3))));
        for (browser, _) in &mut calls {
            browser.until(|browser| browser.seen.connected);
        }
        drop(calls);
        wait_for_no_session(&plane);
    }
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let plane = plane(1, |_, _| {});
    let call = CallId("call".into());
    let (_, offer) = Browser::new(&Wishes::default(), None);
    let offer = Offer::parse(&offer).unwrap();
    let only = WebRtcPolicy { codecs: vec![Codec::G729], ..WebRtcPolicy::default() };
    assert!(matches!(plane.open_webrtc(&call, &offer, &only), Err(MediaError::Offer(OfferError::NoCodec(_)))));
    let (session, _events) = plane.open(&call).unwrap();
    assert!(matches!(wait(session.renegotiate(offer.clone())), Err(MediaError::NotWebRtc)));
    let off = MediaPlane::start(callbox_media::MediaConfig { ports: 0..=0, workers: 1, ..Default::default() }).unwrap();
    assert!(matches!(off.open_webrtc(&call, &offer, &WebRtcPolicy::default()), Err(MediaError::WebRtcOff)));
    // Somebody else's certificate is another call.
    let (_, opened) = Browser::call(&plane, Codec::Pcmu, &Wishes::default());
    let changed = wait(opened.session.renegotiate(offer));
    assert!(matches!(changed, Err(MediaError::Offer(OfferError::Changed("the certificate")))), "{changed:?}");
}

fn wait_for_no_session(plane: &MediaPlane) {
    for _ in 0..6_000 {
        if plane.stats().active_sessions == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("a session stays open");
}
