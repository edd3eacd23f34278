//! Sessions over real sockets on the loopback: with each other, and with a far end made of a plain socket.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod peer;

use callbox_dialogue::{CallId, PromptId};
use callbox_media::{
    Clip, Codec, Law, MediaCommand, MediaConfig, MediaError, MediaEvent, MediaPlan, MediaPlane, Session, Tap, dtmf,
};
use peer::{Peer, Received, plan, within};
use std::collections::HashSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

const PROMPT: PromptId = PromptId(1);

fn plane(change: impl FnOnce(&mut MediaConfig)) -> MediaPlane {
    let mut config = MediaConfig { ports: 0..=0, workers: 2, ..MediaConfig::default() };
    change(&mut config);
    MediaPlane::start(config).unwrap()
}

fn open(plane: &MediaPlane) -> (Session, Receiver<MediaEvent>) {
    plane.open(&CallId("call_test".into())).unwrap()
}

/// Two sessions that send to each other.
fn talking(plane: &MediaPlane, codec: Codec) -> [(Session, Receiver<MediaEvent>); 2] {
    let (one, other) = (open(plane), open(plane));
    one.0.send(MediaCommand::Configure(plan(codec, other.0.local_rtp()))).unwrap();
    other.0.send(MediaCommand::Configure(plan(codec, one.0.local_rtp()))).unwrap();
    [one, other]
}

fn play(session: &Session, clip: &Arc<Clip>) {
    session.send(MediaCommand::Append { prompt: PROMPT, clip: Arc::clone(clip) }).unwrap();
    session.send(MediaCommand::Complete { prompt: PROMPT }).unwrap();
    session.send(MediaCommand::Play { prompt: PROMPT }).unwrap();
}

fn voice(samples: usize) -> Arc<Clip> {
    Clip::from_pcm((0..samples).map(|n| ((n * 37 % 2_000) as i16 - 1_000) * 15 + 1).collect())
}

/// Waits for the event that `wanted` picks; others are skipped.
async fn event<T>(events: &mut Receiver<MediaEvent>, mut wanted: impl FnMut(MediaEvent) -> Option<T>) -> T {
    within(async {
        loop {
            let event = events.recv().await.expect("the session is open");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    })
    .await
}

fn digit(event: MediaEvent) -> Option<char> {
    if let MediaEvent::Digit { digit } = event { Some(digit) } else { None }
}

fn is(expected: MediaEvent) -> impl FnMut(MediaEvent) -> Option<()> {
    move |event| (event == expected).then_some(())
}

#[tokio::test]
async fn every_byte_of_a_prompt_arrives() {
    for codec in Codec::G711 {
        let law = codec.law().unwrap();
        let plane = plane(|_| ());
        let peer = Peer::new();
        let (session, mut events) = open(&plane);
        session.send(MediaCommand::Configure(plan(codec, peer.address()))).unwrap();
        // Silence flows as soon as there is a plan.
        let first = peer.audio(1);
        assert!(first[0].marker && first[0].payload.iter().all(|byte| *byte == law.silence()));
        let clip = voice(4_000 + 70);
        play(&session, &clip);
        event(&mut events, is(MediaEvent::PromptStarted { prompt: PROMPT })).await;
        event(&mut events, is(MediaEvent::PromptEnded { prompt: PROMPT, played: 508, complete: true })).await;
        let packets = peer.audio_until(|packets| {
            let loud = packets.iter().rposition(|packet| packet.payload.iter().any(|byte| *byte != law.silence()));
            loud.is_some_and(|loud| loud > 20 && packets.len() > loud + 3)
        });
        let start = packets.iter().position(|packet| packet.payload[0] == clip.encoded(law)[0]).unwrap();
        assert!(packets[start].marker);
        let bytes: Vec<u8> = packets[start..].iter().flat_map(|packet| packet.payload.clone()).collect();
        assert_eq!(bytes[..4_070], *clip.encoded(law));
        assert!(bytes[4_070..].iter().all(|byte| *byte == law.silence()));
        for pair in packets.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
            assert_eq!(pair[1].ssrc, pair[0].ssrc);
            assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp) % 160, 0);
        }
    }
}

#[tokio::test]
async fn two_sessions_hear_each_other() {
    let plane = plane(|_| ());
    let [(one, mut one_events), (other, mut other_events)] = talking(&plane, Codec::Pcma);
    let (tap, mut heard) = Tap::new(1_000);
    other.send(MediaCommand::Tap(Some(tap))).unwrap();
    let clip = voice(8_000);
    let expected: Vec<i16> = clip.encoded(Law::A).iter().map(|byte| Law::A.decode_sample(*byte)).collect();
    // On a machine that is busy with other things a packet may come too late and be concealed: then once more.
    for attempt in 1.. {
        let prompt = PromptId(attempt);
        one.send(MediaCommand::Append { prompt, clip: Arc::clone(&clip) }).unwrap();
        one.send(MediaCommand::Complete { prompt }).unwrap();
        one.send(MediaCommand::Play { prompt }).unwrap();
        event(&mut one_events, is(MediaEvent::PromptEnded { prompt, played: 1_000, complete: true })).await;
        let mut samples: Vec<i16> = Vec::new();
        // What was said and the longest delay of the jitter buffer.
        while samples.len() < 8_000 + 1_600 {
            samples.extend(within(heard.next()).await.unwrap().samples());
        }
        if samples.windows(8_000).any(|window| window == expected) {
            break;
        }
        assert!(attempt < 20, "it never comes out as it went in");
    }
    // Keys go both ways at the same time.
    one.send(MediaCommand::SendDigits { digits: "12#".into() }).unwrap();
    other.send(MediaCommand::SendDigits { digits: "9A,*".into() }).unwrap();
    for (events, expected) in [(&mut other_events, "12#"), (&mut one_events, "9A*")] {
        let (mut keys, mut sent) = (String::new(), false);
        while keys.len() < expected.len() || !sent {
            let next = event(events, |event| match event {
                MediaEvent::Digit { digit } => Some(Some(digit)),
                MediaEvent::DigitsSent => Some(None),
                _ => None,
            });
            match next.await {
                Some(digit) => keys.push(digit),
                None => sent = true,
            }
        }
        assert_eq!(keys, expected);
    }
    drop(one);
    let stats =
        event(&mut one_events, |event| if let MediaEvent::Closed(stats) = event { Some(stats) } else { None }).await;
    assert!(stats.packets_sent > 50 && stats.packets_received > 50);
    assert_eq!((stats.lost, stats.rejected, stats.digits_received), (0, 0, 3));
    assert!(stats.mos > 4.0, "{stats:?}");
    assert!(one_events.recv().await.is_none(), "closed is the last event");
}

#[tokio::test]
async fn digits_of_the_far_end_are_told_with_their_first_packet() {
    let plane = plane(|_| ());
    let peer = Peer::new();
    let (session, mut events) = open(&plane);
    session.send(MediaCommand::Configure(plan(Codec::Pcmu, peer.address()))).unwrap();
    peer.audio(1);
    peer.send_event(session.local_rtp(), 1, 4_000, dtmf::Event { code: 7, end: false, volume: 10, duration: 160 });
    assert_eq!(event(&mut events, digit).await, '7');
    for sequence in 2..6 {
        peer.send_event(
            session.local_rtp(),
            sequence,
            4_000,
            dtmf::Event { code: 7, end: sequence > 3, volume: 10, duration: 320 },
        );
    }
    peer.send_event(session.local_rtp(), 6, 9_000, dtmf::Event { code: 11, end: true, volume: 10, duration: 800 });
    assert_eq!(event(&mut events, digit).await, '#', "and the packets in between told nothing");
}

#[tokio::test]
async fn a_stop_takes_effect_before_the_next_packet() {
    let plane = plane(|_| ());
    let peer = Peer::new();
    let (session, mut events) = open(&plane);
    session.send(MediaCommand::Configure(plan(Codec::Pcmu, peer.address()))).unwrap();
    let clip = voice(80_000);
    play(&session, &clip);
    event(&mut events, is(MediaEvent::PromptStarted { prompt: PROMPT })).await;
    let loud = |packet: &Received| packet.payload.iter().any(|byte| *byte != Law::Mu.silence());
    // A packet has just come: the next is 20 ms away, and must be silent.
    let before = peer.audio_until(|packets| packets.iter().filter(|packet| loud(packet)).count() >= 10);
    session.send(MediaCommand::Stop { prompt: PROMPT }).unwrap();
    let played = event(&mut events, |event| match event {
        MediaEvent::PromptEnded { prompt: PROMPT, played, complete: false } => Some(played),
        _ => None,
    })
    .await;
    let after = peer.audio_until(|packets| packets.iter().rev().take(5).filter(|packet| !loud(packet)).count() == 5);
    let heard = before.iter().chain(&after).filter(|packet| loud(packet)).count() as u32;
    assert_eq!(played, heard * 20, "what was played is what left");
}

#[tokio::test]
async fn hold_stops_the_stream_and_resume_goes_on() {
    let plane = plane(|config| config.media_timeout = Duration::from_secs(1));
    let peer = Peer::new();
    let (session, mut events) = open(&plane);
    let active = plan(Codec::Pcmu, peer.address());
    session.send(MediaCommand::Configure(active.clone())).unwrap();
    play(&session, &voice(8_000));
    let before = peer.audio(20);
    peer.send_audio(session.local_rtp(), 1, 0, &[0x80; 160]);
    let mut held = active.clone();
    (held.send, held.receive) = (false, false);
    session.send(MediaCommand::Configure(held)).unwrap();
    // RTCP or nothing: no RTP once the command has been carried out, and no timeout while held.
    peer.drain_until_quiet(Duration::from_millis(1_500));
    assert!(std::iter::from_fn(|| events.try_recv().ok()).all(|event| event != MediaEvent::MediaTimeout));
    session.send(MediaCommand::Configure(active)).unwrap();
    let after = peer.audio(1);
    assert!(after[0].marker);
    assert_eq!(after[0].ssrc, before[0].ssrc);
    let passed = after[0].timestamp.wrapping_sub(before[19].timestamp);
    assert!(passed >= 8 * 1_400, "the clock has gone on: {passed}");
    // The prompt waited.
    event(&mut events, is(MediaEvent::PromptEnded { prompt: PROMPT, played: 1_000, complete: true })).await;
    event(&mut events, is(MediaEvent::MediaTimeout)).await;
}

#[tokio::test]
async fn a_stranger_is_not_heard_and_gets_nothing() {
    let plane = plane(|_| ());
    let (peer, stranger) = (Peer::new(), Peer::new());
    let (session, mut events) = open(&plane);
    session.send(MediaCommand::Configure(plan(Codec::Pcmu, peer.address()))).unwrap();
    peer.audio(1);
    peer.send_audio(session.local_rtp(), 1, 0, &[0x80; 160]);
    event(&mut events, is(MediaEvent::Latched { remote: peer.address() })).await;
    for sequence in 0..500_u16 {
        // Not faster than it is read, for what the system drops cannot be counted.
        within(async {
            while plane.stats().rejected + 100 < u64::from(sequence) * 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        stranger.send_audio(session.local_rtp(), sequence, u32::from(sequence) * 160, &[0x00; 160]);
        stranger.send_event(
            session.local_rtp(),
            sequence,
            7,
            dtmf::Event { code: 5, end: false, volume: 10, duration: 160 },
        );
    }
    peer.send_event(session.local_rtp(), 2, 800, dtmf::Event { code: 1, end: true, volume: 10, duration: 160 });
    assert_eq!(event(&mut events, digit).await, '1');
    peer.audio(20);
    assert!(stranger.nothing());
    drop(session);
    let stats =
        event(&mut events, |event| if let MediaEvent::Closed(stats) = event { Some(stats) } else { None }).await;
    assert_eq!((stats.packets_received, stats.rejected), (2, 1_000));
    assert_eq!(plane.stats().rejected, 1_000);
}

#[tokio::test]
async fn a_far_end_behind_a_nat_is_answered_where_it_is() {
    let plane = plane(|_| ());
    let (named, real) = (Peer::new(), Peer::new());
    let (session, mut events) = open(&plane);
    session.send(MediaCommand::Configure(plan(Codec::Pcmu, named.address()))).unwrap();
    named.audio(1);
    real.send_audio(session.local_rtp(), 1, 0, &[0x80; 160]);
    event(&mut events, is(MediaEvent::Latched { remote: real.address() })).await;
    real.audio(5);
}

#[tokio::test]
async fn silence_of_the_far_end_is_told_once() {
    let plane = plane(|config| config.media_timeout = Duration::from_millis(100));
    let peer = Peer::new();
    let (session, mut events) = open(&plane);
    session.send(MediaCommand::Configure(plan(Codec::Pcmu, peer.address()))).unwrap();
    event(&mut events, is(MediaEvent::MediaTimeout)).await;
    peer.audio(20);
    assert!(events.try_recv().is_err(), "once");
    peer.send_audio(session.local_rtp(), 1, 0, &[0x80; 160]);
    event(&mut events, is(MediaEvent::MediaTimeout)).await;
}

#[tokio::test]
async fn a_recording_holds_both_sides_sample_by_sample() {
    // On a machine that is busy with other things a packet may come too late and be concealed: then once more.
    for attempt in 1.. {
        if record_both_sides().await {
            break;
        }
        assert!(attempt < 20, "packets are late all the time");
    }
}

/// False where packets were late.
async fn record_both_sides() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.wav");
    let plane = plane(|_| ());
    let [(one, mut one_events), (other, mut other_events)] = talking(&plane, Codec::Pcmu);
    one.send(MediaCommand::Record { path: path.clone() }).unwrap();
    let said = voice(6_400);
    let heard = Clip::from_pcm((0..6_400_i32).map(|n| (n * n % 20_011 - 10_000) as i16).collect());
    play(&one, &said);
    play(&other, &heard);
    let ended = || is(MediaEvent::PromptEnded { prompt: PROMPT, played: 800, complete: true });
    event(&mut one_events, ended()).await;
    event(&mut other_events, ended()).await;
    // What is secret is not in the file, although it is said.
    one.send(MediaCommand::Mask(true)).unwrap();
    let secret = PromptId(2);
    other.send(MediaCommand::Append { prompt: secret, clip: Arc::clone(&heard) }).unwrap();
    other.send(MediaCommand::Complete { prompt: secret }).unwrap();
    other.send(MediaCommand::Play { prompt: secret }).unwrap();
    event(&mut other_events, is(MediaEvent::PromptEnded { prompt: secret, played: 800, complete: true })).await;
    drop(one);
    let done = event(&mut one_events, |event| match event {
        MediaEvent::RecordingDone { path, bytes, duration_ms } => Some((path, bytes, duration_ms)),
        _ => None,
    });
    let done = done.await;
    let Some(MediaEvent::Closed(stats)) = one_events.recv().await else { panic!("closed comes after the recording") };
    assert_eq!((&done.0, done.1), (&path, std::fs::metadata(&path).unwrap().len()));
    let samples: Vec<i16> = hound::WavReader::open(&path).unwrap().samples().map(Result::unwrap).collect();
    assert_eq!(samples.len() as u64 / 2 / 8, done.2);
    if stats.late + stats.concealed_ms + stats.skipped > 0 {
        return false;
    }
    let decoded =
        |clip: &Clip| -> Vec<i16> { clip.encoded(Law::Mu).iter().map(|byte| Law::Mu.decode_sample(*byte)).collect() };
    let left: Vec<i16> = samples.chunks(2).map(|pair| pair[0]).collect();
    let right: Vec<i16> = samples.chunks(2).map(|pair| pair[1]).collect();
    // Of the caller the last was still in the jitter buffer when it became secret.
    let places = |channel: &[i16], wanted: &[i16]| -> Vec<usize> {
        let found = channel.windows(wanted.len()).enumerate().filter(|(_, window)| *window == wanted);
        found.map(|(at, _)| at).collect()
    };
    assert_eq!(places(&right, &decoded(&said)).len(), 1, "the robot is on the right");
    let caller = places(&left, &decoded(&heard)[..4_800]);
    assert_eq!(caller.len(), 1, "the caller is on the left, once");
    assert!(left[caller[0] + 6_400 + 3_200..].iter().all(|sample| *sample == 0), "the second time was secret");
    true
}

#[tokio::test]
async fn a_recording_that_cannot_be_made_is_told_and_the_call_goes_on() {
    let plane = plane(|_| ());
    let peer = Peer::new();
    let (session, mut events) = open(&plane);
    session.send(MediaCommand::Configure(plan(Codec::Pcmu, peer.address()))).unwrap();
    session.send(MediaCommand::Record { path: "/nonexistent/call.wav".into() }).unwrap();
    let error =
        event(
            &mut events,
            |event| if let MediaEvent::RecordingFailed { error, .. } = event { Some(error) } else { None },
        )
        .await;
    assert!(error.contains("No such file"), "{error}");
    peer.audio(5);
}

#[tokio::test]
async fn bridged_sessions_pass_on_what_they_hear() {
    let plane = plane(|_| ());
    let (caller, callee) = (Peer::new(), Peer::new());
    let (one, mut one_events) = open(&plane);
    let (other, _other_events) = open(&plane);
    assert_ne!(one.id(), other.id());
    one.send(MediaCommand::Configure(plan(Codec::Pcmu, caller.address()))).unwrap();
    other.send(MediaCommand::Configure(plan(Codec::Pcma, callee.address()))).unwrap();
    assert!(matches!(one.send(MediaCommand::Bridge { with: one.id() }), Err(MediaError::InvalidBridge(_))));
    one.send(MediaCommand::Bridge { with: other.id() }).unwrap();
    // A level that no silence has, in µ-law on one side and A-law on the other.
    let level = Law::Mu.encode_sample(10_000);
    let expected = Law::A.encode_sample(Law::Mu.decode_sample(level));
    let mut sequence = 0;
    caller.audio_until(|packets| {
        for _ in 0..packets.len() {
            caller.send_audio(one.local_rtp(), sequence, u32::from(sequence) * 160, &[level; 160]);
            sequence += 1;
        }
        callee.take().iter().any(|packet| packet.payload == [expected; 160])
    });
    caller.send_event(
        one.local_rtp(),
        sequence,
        1 << 20,
        dtmf::Event { code: 3, end: true, volume: 10, duration: 800 },
    );
    assert_eq!(event(&mut one_events, digit).await, '3');
    let keys = callee.until(|packets| {
        packets.iter().filter(|packet| packet.payload_type == 101 && packet.payload[1] & 0x80 != 0).count() >= 3
    });
    assert!(keys.iter().filter(|packet| packet.payload_type == 101).all(|packet| packet.payload[0] == 3));
    other.send(MediaCommand::Unbridge).unwrap();
    callee.until(|packets| {
        packets.iter().rev().take(5).filter(|packet| packet.payload == [Law::A.silence(); 160]).count() == 5
    });
}

#[tokio::test]
async fn packet_times_of_the_answer_are_kept_and_any_is_understood() {
    let plane = plane(|_| ());
    let clip = voice(4_800);
    let calls = [(10, 80), (20, 160), (30, 240), (40, 320), (60, 480), (0, 160), (255, 480), (35, 240)].map(
        |(wished, bytes)| {
            let peer = Peer::new();
            let (session, events) = open(&plane);
            let wish = MediaPlan { ptime_ms: wished, ..plan(Codec::Pcma, peer.address()) };
            session.send(MediaCommand::Configure(wish)).unwrap();
            play(&session, &clip);
            (wished, bytes, peer, session, events)
        },
    );
    for (wished, bytes, peer, _session, mut events) in calls {
        event(&mut events, is(MediaEvent::PromptEnded { prompt: PROMPT, played: 600, complete: true })).await;
        let packets =
            peer.audio_until(|packets| packets.iter().map(|packet| packet.payload.len()).sum::<usize>() >= 4_800 + 960);
        assert!(packets.iter().all(|packet| packet.payload.len() == bytes), "{wished}");
        let all: Vec<u8> = packets.iter().flat_map(|packet| packet.payload.clone()).collect();
        assert!(all.windows(4_800).any(|window| window == clip.encoded(Law::A)), "{wished}");
    }
}

#[tokio::test]
async fn reports_flow_and_bye_ends_them() {
    let plane = plane(|_| ());
    let peer = Peer::new();
    let rtcp = UdpSocket::bind("127.0.0.1:0").unwrap();
    rtcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (session, _events) = open(&plane);
    let mut plan = plan(Codec::Pcmu, peer.address());
    plan.remote_rtcp = rtcp.local_addr().unwrap();
    session.send(MediaCommand::Configure(plan)).unwrap();
    let ssrc = peer.audio(1)[0].ssrc;
    let mut buffer = [0; 500];
    let (length, source) = rtcp.recv_from(&mut buffer).unwrap();
    assert_eq!(source.port(), session.local_rtp().port() + 1);
    assert_eq!(buffer[1], 200, "a sender report");
    assert_eq!(buffer[4..8], ssrc.to_be_bytes());
    assert!(!callbox_media::rtcp::read(&buffer[..length], 0).unwrap().bye);
    drop(session);
    let (length, _) = rtcp.recv_from(&mut buffer).unwrap();
    assert!(callbox_media::rtcp::read(&buffer[..length], 0).unwrap().bye);
}

#[tokio::test]
async fn half_of_the_ports_taken_by_others_costs_no_call() {
    // Every second pair of a range is held by another program.
    let (held, base) = (0..50)
        .find_map(|attempt| {
            let base = 22_000 + (std::process::id() % 50) as u16 * 80 + attempt * 80;
            let held: Option<Vec<UdpSocket>> =
                (0..20).map(|n| UdpSocket::bind(("127.0.0.1", base + n * 4)).ok()).collect();
            held.map(|held| (held, base))
        })
        .expect("a quiet range");
    let plane = plane(|config| config.ports = base..=base + 79);
    assert_eq!(held.len(), 20);
    let sessions: Vec<_> = (0..20).map_while(|_| plane.open(&CallId("c".into())).ok()).collect();
    assert!(sessions.len() >= 19, "{} of 20", sessions.len());
    let ports: HashSet<u16> = sessions.iter().map(|(session, _)| session.local_rtp().port()).collect();
    assert_eq!(ports.len(), sessions.len());
    assert!(ports.iter().all(|port| (port - base) % 4 == 2));
    assert!(matches!(plane.open(&CallId("c".into())), Err(MediaError::PortsExhausted { pairs: 40, .. })));
}

#[tokio::test]
async fn ports_rest_before_they_are_used_again() {
    let plane = plane(|config| {
        config.quarantine = Duration::from_millis(400);
        config.max_sessions = 1;
    });
    let (session, mut events) = open(&plane);
    assert!(matches!(plane.open(&CallId("c".into())), Err(MediaError::SessionLimit(1))));
    let address = session.local_rtp();
    drop(session);
    event(&mut events, |event| matches!(event, MediaEvent::Closed(_)).then_some(())).await;
    assert!(UdpSocket::bind(address).is_err(), "still bound");
    within(async {
        while UdpSocket::bind(address).is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(plane.stats().active_sessions, 0);
}

#[tokio::test]
async fn shutdown_closes_all_and_finishes_recordings() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane(|_| ());
    let [(one, mut one_events), (other, mut other_events)] = talking(&plane, Codec::Pcmu);
    one.send(MediaCommand::Record { path: folder.path().join("call.wav") }).unwrap();
    event(&mut one_events, |event| matches!(event, MediaEvent::Latched { .. }).then_some(())).await;
    let stopping = plane.clone();
    tokio::task::spawn_blocking(move || stopping.shutdown()).await.unwrap();
    event(&mut one_events, |event| matches!(event, MediaEvent::RecordingDone { .. }).then_some(())).await;
    event(&mut one_events, |event| matches!(event, MediaEvent::Closed(_)).then_some(())).await;
    event(&mut other_events, |event| matches!(event, MediaEvent::Closed(_)).then_some(())).await;
    assert!(matches!(other.send(MediaCommand::Unbridge), Err(MediaError::Stopped)));
    assert!(matches!(plane.open(&CallId("c".into())), Err(MediaError::Stopped)));
}

#[tokio::test]
async fn commands_that_make_no_sense_are_refused_or_harmless() {
    let plane = plane(|_| ());
    let (session, mut events) = open(&plane);
    assert!(matches!(
        session.send(MediaCommand::SendDigits { digits: "12x".into() }),
        Err(MediaError::InvalidDigits(_))
    ));
    for command in [
        MediaCommand::Stop { prompt: PROMPT },
        MediaCommand::Play { prompt: PROMPT },
        MediaCommand::StopRecording,
        MediaCommand::Unbridge,
        MediaCommand::Mask(false),
        MediaCommand::Tap(None),
    ] {
        session.send(command).unwrap();
    }
    drop(session);
    event(&mut events, |event| matches!(event, MediaEvent::Closed(_)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_on_one_port_leaves_the_others_alone() {
    let plane = plane(|config| config.workers = 1);
    let (peer, victim_peer) = (Peer::new(), Peer::new());
    let (session, mut events) = open(&plane);
    let (victim, mut victim_events) = open(&plane);
    session.send(MediaCommand::Configure(plan(Codec::Pcmu, peer.address()))).unwrap();
    victim.send(MediaCommand::Configure(plan(Codec::Pcmu, victim_peer.address()))).unwrap();
    let target = victim.local_rtp();
    // The far end is known before the flood begins; else the first packet that looks right would be believed.
    victim_peer.send_audio(target, 1, 0, &[0x80; 160]);
    event(&mut victim_events, is(MediaEvent::Latched { remote: victim_peer.address() })).await;
    let flood = std::thread::spawn(move || {
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut junk = [0x80; 172];
        for n in 0..40_000_u32 {
            junk[1] = n as u8;
            // What does not fit into the port's buffer is lost, as it should be.
            let _ = stranger.send_to(&junk, target);
        }
    });
    play(&session, &voice(16_000));
    event(&mut events, is(MediaEvent::PromptEnded { prompt: PROMPT, played: 2_000, complete: true })).await;
    flood.join().unwrap();
    let packets = peer.audio(100);
    assert!(packets.windows(2).all(|pair| pair[1].sequence == pair[0].sequence.wrapping_add(1)));
    let stats = plane.stats();
    assert!(stats.rejected > 100, "{stats:?}");
    assert!((15.0..30.0).contains(&stats.gaps.p50_ms), "{stats:?}");
    victim_peer.audio(50);
}

#[tokio::test]
async fn calls_over_ipv6() {
    let host = std::net::IpAddr::from(std::net::Ipv6Addr::LOCALHOST);
    if UdpSocket::bind((host, 0)).is_err() {
        // A container without IPv6: nothing to show.
        return;
    }
    let plane = plane(|config| (config.bind, config.advertise) = (host, host));
    let [(one, _one_events), (_other, mut other_events)] = talking(&plane, Codec::Pcmu);
    one.send(MediaCommand::SendDigits { digits: "7".into() }).unwrap();
    assert_eq!(event(&mut other_events, digit).await, '7');
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_sessions_at_once() {
    let plane = plane(|_| ());
    let clip = voice(16_000);
    let mut pairs: Vec<_> = (0..100).map(|_| talking(&plane, Codec::Pcma)).collect();
    assert_eq!(plane.stats().active_sessions, 200);
    for (session, _) in pairs.iter().flatten() {
        play(session, &clip);
    }
    for (_, events) in pairs.iter_mut().flatten() {
        event(events, is(MediaEvent::PromptEnded { prompt: PROMPT, played: 2_000, complete: true })).await;
    }
    let stats = plane.stats();
    assert!(stats.gaps.count >= 200 * 95, "{stats:?}");
    assert!((15.0..30.0).contains(&stats.gaps.p50_ms), "{stats:?}");
    assert_eq!((stats.rejected, stats.send_errors), (0, 0), "{stats:?}");
    let mut lost = 0;
    for (session, mut events) in pairs.into_iter().flatten() {
        drop(session);
        lost += event(&mut events, |event| if let MediaEvent::Closed(stats) = event { Some(stats.lost) } else { None })
            .await;
    }
    assert_eq!(lost, 0);
}
