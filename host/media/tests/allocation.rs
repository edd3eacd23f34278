//! In the steady state of a call nothing is allocated: not for packets, prompts, recordings, taps or bridges, and not
//! by any codec.

#![allow(
    unsafe_code,
    reason = "a global allocator that counts is unsafe by its trait; it passes everything on as it is"
)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod browser;

use browser::Browser;
use callbox_dialogue::{CallId, PromptId};
use callbox_media::srtp::{OVERHEAD, Protector};
use callbox_media::{
    Clip, Codec, Law, MediaCommand, MediaConfig, MediaPlan, MediaPlane, Security, SrtpKeys, SrtpSuite, Tap,
};
use callbox_webrtc::caller::Wishes;
use std::alloc::{GlobalAlloc, Layout, System};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// What is counted is everybody's: tests take turns.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

struct Counting;

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Of a browser's call too, whichever worker has the socket that its packets come to: what str0m allocates, it does for
/// ICE, DTLS and messages, not for audio.
#[test]
fn the_steady_state_of_a_browsers_call_allocates_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for workers in [1, 2] {
        let plane = browser::plane(workers, |_, _| {});
        let (mut browser, opened) = Browser::call(&plane, Codec::Pcmu, &Wishes { data: false, ..Wishes::default() });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.pcap");
        opened.session.send(MediaCommand::Capture { path, decrypted: true }).unwrap();
        browser.until(|browser| browser.seen.packets.len() > 10);
        let keys = browser.caller.keys().unwrap();
        // The client's key and the server's, then their salts; AES-256-GCM is what both prefer.
        let ours = SrtpKeys::new(SrtpSuite::AeadAes256Gcm, &[&keys.material[..32], &keys.material[64..76]].concat());
        let mut protector = Protector::new(&ours.unwrap());
        let (host, mut sequence) = (plane.webrtc_ports().0[0], 1_u16);
        browser.udp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut buffer = [0; 2_000];
        let mut echo = |count: usize| {
            for _ in 0..count {
                browser.udp.recv(&mut buffer).unwrap();
                sequence += 1;
                let packet = &mut buffer[..172 + OVERHEAD];
                packet.fill(0x55);
                packet[..2].copy_from_slice(&[0x80, 0]);
                packet[2..4].copy_from_slice(&sequence.to_be_bytes());
                packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
                let length = protector.rtp(packet, 172).unwrap();
                browser.udp.send_to(&packet[..length], host).unwrap();
            }
        };
        echo(50);
        // str0m looks at its clock each few seconds, and reports are sent.
        let quiet = (0..10).any(|_| {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            echo(50);
            ALLOCATIONS.load(Ordering::Relaxed) == before
        });
        assert!(quiet, "allocations in each second with {workers} workers");
    }
}

#[test]
fn the_steady_state_of_a_call_allocates_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Both directions with one key, so that the far end may send back what it gets.
    let sdes = |suite| {
        let keys = SrtpKeys::random(suite, &[7; SrtpKeys::RANDOM]);
        Security::Sdes { send: keys.clone(), receive: keys }
    };
    for security in [sdes(SrtpSuite::AesCm128HmacSha1_80), sdes(SrtpSuite::AeadAes256Gcm)] {
        nothing_is_allocated(Codec::Pcma, &security, &voice());
    }
    for codec in Codec::ALL {
        let clip = voice();
        nothing_is_allocated(*codec, &Security::None, &clip);
        if *codec == Codec::Opus {
            // Packets that others have made, up to where they came, and more for those that come.
            nothing_is_allocated(*codec, &Security::None, &clip);
        }
    }
}

/// Something that sounds like a voice.
fn voice() -> Arc<Clip> {
    let mut phase = 0.0_f64;
    let sample = |n: i32| {
        let time = f64::from(n) / 8_000.0;
        phase += (140.0 + 30.0 * (time * 2.1).sin()) * std::f64::consts::TAU / 8_000.0;
        let level = 3_000.0 + 2_500.0 * (time * 20.0).sin();
        let tones: f64 = [1.0, 0.6, 0.5, 0.3, 0.2].iter().zip(1..).map(|(a, k)| a * (phase * f64::from(k)).sin()).sum();
        (level * tones) as i16
    };
    Clip::from_pcm((0..80_000).map(sample).collect())
}

fn nothing_is_allocated(codec: Codec, security: &Security, clip: &Arc<Clip>) {
    let folder = tempfile::tempdir().unwrap();
    let plane = MediaPlane::start(MediaConfig { ports: 0..=0, workers: 2, ..MediaConfig::default() }).unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let plan = |remote: std::net::SocketAddr| MediaPlan {
        dtmf: Some(101),
        remote_rtcp: remote,
        detect_tones: true,
        security: security.clone(),
        ..MediaPlan::new(codec, codec.static_payload_type().unwrap_or(111), remote)
    };
    // One session talks to us, is protected, recorded, captured, tapped, listened to and plays a prompt, which it hears
    // as a voice; two are bridged, on different workers, and
    // echo each other's silence.
    let sessions: Vec<_> = (0..3).map(|_| plane.open(&CallId("call".into())).unwrap()).collect();
    let (tap, mut frames) = Tap::new(64);
    let (words, mut said) = Tap::new(64);
    let prompt = PromptId(1);
    for law in Law::ALL {
        clip.encoded(law);
    }
    let [(talking, _), (one, _), (other, _)] = &sessions[..] else { panic!("three") };
    for command in [
        MediaCommand::Configure(plan(peer.local_addr().unwrap())),
        MediaCommand::Record { path: folder.path().join("call.wav") },
        MediaCommand::Capture { path: folder.path().join("call.pcap"), decrypted: true },
        MediaCommand::Tap(Some(tap)),
        MediaCommand::Listen { tap: Some(words) },
        MediaCommand::Append { prompt, clip: Arc::clone(clip) },
        MediaCommand::Complete { prompt },
        MediaCommand::Play { prompt },
    ] {
        talking.send(command).unwrap();
    }
    one.send(MediaCommand::Configure(plan(other.local_rtp()))).unwrap();
    other.send(MediaCommand::Configure(plan(one.local_rtp()))).unwrap();
    one.send(MediaCommand::Bridge { with: other.id() }).unwrap();
    // Every packet goes straight back.
    let (mut buffer, mut words_heard) = ([0; 2_000], 0);
    let mut echo = |count: usize| {
        for _ in 0..count {
            let length = peer.recv(&mut buffer).unwrap();
            peer.send_to(&buffer[..length], talking.local_rtp()).unwrap();
            while frames.try_next().is_some() {}
            while said.try_next().is_some() {
                words_heard += 1;
            }
        }
    };
    // Vectors grow to their size, the first blocks of the recording come round.
    echo(50);
    // Reports do allocate, each session's every five seconds: some seconds are without one.
    let seconds = (0..10).map(|_| {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        assert!(before > 0, "it counts");
        echo(50);
        ALLOCATIONS.load(Ordering::Relaxed) - before
    });
    let mut seen = Vec::with_capacity(10);
    for allocations in seconds {
        seen.push(allocations);
        if allocations == 0 {
            assert!(words_heard > 50, "{words_heard} frames of a voice");
            return;
        }
    }
    panic!("allocations in each second of three calls of {codec} with {security:?}: {seen:?}");
}
