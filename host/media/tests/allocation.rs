//! In the steady state of a call nothing is allocated: not for packets, prompts, recordings, taps or bridges, and not
//! by any codec.

#![allow(
    unsafe_code,
    reason = "a global allocator that counts is unsafe by its trait; it passes everything on as it is"
)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_dialogue::{CallId, PromptId};
use callbox_media::{
    Clip, Codec, Law, MediaCommand, MediaConfig, MediaPlan, MediaPlane, Security, SrtpKeys, SrtpSuite, Tap,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

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

#[test]
fn the_steady_state_of_a_call_allocates_nothing() {
    // Both directions with one key, so that the far end may send back what it gets.
    let sdes = |suite| {
        let keys = SrtpKeys::random(suite, &[7; SrtpKeys::RANDOM]);
        Security::Sdes { send: keys.clone(), receive: keys }
    };
    for security in [sdes(SrtpSuite::AesCm128HmacSha1_80), sdes(SrtpSuite::AeadAes256Gcm)] {
        nothing_is_allocated(Codec::Pcma, &security);
    }
    for codec in Codec::ALL {
        nothing_is_allocated(*codec, &Security::None);
    }
}

fn nothing_is_allocated(codec: Codec, security: &Security) {
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
    // One session talks to us, is protected, recorded, captured, tapped and plays a prompt; two are bridged, on different workers, and
    // echo each other's silence.
    let sessions: Vec<_> = (0..3).map(|_| plane.open(&CallId("call".into())).unwrap()).collect();
    let (tap, mut frames) = Tap::new(64);
    let prompt = PromptId(1);
    let clip = Clip::from_pcm(vec![5_000; 80_000]);
    for law in Law::ALL {
        clip.encoded(law);
    }
    let [(talking, _), (one, _), (other, _)] = &sessions[..] else { panic!("three") };
    for command in [
        MediaCommand::Configure(plan(peer.local_addr().unwrap())),
        MediaCommand::Record { path: folder.path().join("call.wav") },
        MediaCommand::Capture { path: folder.path().join("call.pcap"), decrypted: true },
        MediaCommand::Tap(Some(tap)),
        MediaCommand::Append { prompt, clip },
        MediaCommand::Complete { prompt },
        MediaCommand::Play { prompt },
    ] {
        talking.send(command).unwrap();
    }
    one.send(MediaCommand::Configure(plan(other.local_rtp()))).unwrap();
    other.send(MediaCommand::Configure(plan(one.local_rtp()))).unwrap();
    one.send(MediaCommand::Bridge { with: other.id() }).unwrap();
    // Every packet goes straight back.
    let mut buffer = [0; 2_000];
    let mut echo = |count: usize| {
        for _ in 0..count {
            let length = peer.recv(&mut buffer).unwrap();
            peer.send_to(&buffer[..length], talking.local_rtp()).unwrap();
            while frames.try_next().is_some() {}
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
            return;
        }
    }
    panic!("allocations in each second of three calls of {codec} with {security:?}: {seen:?}");
}
