//! What a call costs in each codec and under each protection, in less than a minute:
//! `cargo bench -p callbox-media --features g729 --bench calls`. Two planes of one thread each talk to each other over
//! loopback: both play a prompt without end, decode what they hear, keep their adaptive jitter buffers and report by
//! RTCP. Printed is the CPU time of a thread per call; the other thread does the same work once more. What a packet of
//! each codec costs without all that, the example `codecs` tells. With the argument `listened` only what it costs to
//! listen for voices.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement prints and times"
)]

use callbox_dialogue::CallId;
use callbox_dialogue::leg::PromptId;
use callbox_media::security::{DtlsRole, Security};
use callbox_media::srtp::{SrtpKeys, SrtpSuite};
use callbox_media::{Clip, Codec, Law, MediaCommand, MediaConfig, MediaEvent, MediaPlan, MediaPlane, Session};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;

/// Calls at once, where `CALLBOX_BENCH_CALLS` does not say another number.
const CALLS: usize = 100;
/// How long is measured, after everything has begun.
const SPAN: Duration = Duration::from_secs(4);
/// Until codecs and jitter buffers have settled.
const WARM: Duration = Duration::from_millis(1_500);

#[derive(Clone, Copy)]
enum Protection {
    None,
    Sdes(SrtpSuite),
    Dtls,
}

/// Whether all calls play one clip, as they do with what a script always says, or each one of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prompts {
    Shared,
    Own,
}

/// Whether somebody listens to the calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ears {
    Shut,
    Open,
}

/// A plane of one thread, and that thread.
struct Side {
    plane: MediaPlane,
    thread: PathBuf,
    calls: Vec<(Session, Receiver<MediaEvent>)>,
}

impl Side {
    fn new(calls: usize) -> Self {
        let before = media_threads();
        let config = MediaConfig { ports: 0..=0, workers: 1, max_sessions: calls, ..MediaConfig::default() };
        let plane = MediaPlane::start(config).unwrap();
        // A thread takes its name only once it runs.
        let thread = loop {
            match media_threads().into_iter().find(|thread| !before.contains(thread)) {
                Some(thread) => break thread,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let open = |n: usize| plane.open(&CallId(format!("call_{n}"))).unwrap();
        let calls = (0..calls).map(open).collect();
        Self { plane, thread, calls }
    }

    /// CPU time of the thread so far.
    fn cpu(&self) -> Duration {
        // Nanoseconds on the processor; the first of three numbers.
        let text = fs::read_to_string(self.thread.join("schedstat")).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }
}

/// The threads of this process that move media.
fn media_threads() -> Vec<PathBuf> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let is_media = |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("media-"));
    tasks.filter(is_media).collect()
}

fn keys(suite: SrtpSuite, n: usize, side: u8) -> SrtpKeys {
    let mut random = [side; SrtpKeys::RANDOM];
    random[..8].copy_from_slice(&n.to_be_bytes());
    SrtpKeys::random(suite, &random)
}

fn measure(
    name: &str,
    codec: Codec,
    protection: Protection,
    (ears, prompts): (Ears, Prompts),
    calls: usize,
    speech: &Arc<Clip>,
) {
    let sides = [Side::new(calls), Side::new(calls)];
    let payload_type = codec.static_payload_type().unwrap_or(96);
    for n in 0..calls {
        for side in 0..2_usize {
            let (ours, theirs) = (&sides[side].calls[n].0, &sides[1 - side].calls[n].0);
            let security = match protection {
                Protection::None => Security::None,
                Protection::Sdes(suite) => {
                    Security::Sdes { send: keys(suite, n, side as u8), receive: keys(suite, n, 1 - side as u8) }
                }
                Protection::Dtls => Security::Dtls {
                    role: if side == 0 { DtlsRole::Active } else { DtlsRole::Passive },
                    fingerprint: sides[1 - side].plane.fingerprint(),
                },
            };
            // What browsers ask for.
            let fec = codec == Codec::Opus;
            let plan = MediaPlan { security, fec, ..MediaPlan::new(codec, payload_type, theirs.local_rtp()) };
            let prompt = PromptId(1);
            let clip = match prompts {
                Prompts::Shared => Arc::clone(speech),
                Prompts::Own => Clip::from_pcm(speech.samples().to_vec()),
            };
            ours.send(MediaCommand::Configure(plan)).unwrap();
            if ears == Ears::Open {
                ours.send(MediaCommand::Listen { tap: None }).unwrap();
            }
            ours.send(MediaCommand::Append { prompt, clip }).unwrap();
            ours.send(MediaCommand::Complete { prompt }).unwrap();
            ours.send(MediaCommand::Play { prompt }).unwrap();
        }
    }
    std::thread::sleep(WARM);
    let (began, before) = (Instant::now(), sides.each_ref().map(Side::cpu));
    std::thread::sleep(SPAN);
    let (span, after) = (began.elapsed(), sides.each_ref().map(Side::cpu));
    let share = |n: usize| (after[n] - before[n]).as_secs_f64() / span.as_secs_f64() / calls as f64;
    let mean = f64::midpoint(share(0), share(1));
    let stats = sides[0].plane.stats();
    println!(
        "{name:<28} {:>7.4} % of a core a call  {:>6.2} µs per 20 ms  {:>7} packets in, gap p99 {:.1} ms",
        mean * 100.0,
        mean * 20_000.0,
        stats.packets_received,
        stats.gaps.p99_ms
    );
    for side in sides {
        drop(side.calls);
        side.plane.shutdown();
    }
}

/// Something that codecs have work with: a voice's pitch with its harmonics, louder and softer, and noise.
fn speech() -> Arc<Clip> {
    let mut noise = 1_u32;
    let sample = |n: usize| {
        let t = n as f32 / 8_000.0;
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let hiss = (noise >> 16) as f32 / 65_536.0 - 0.5;
        let pitch = 120.0 + 30.0 * (t * 2.1).sin();
        let voice: f32 =
            (1..12_u8).map(|k| (t * pitch * f32::from(k) * std::f32::consts::TAU).sin() / f32::from(k)).sum();
        let loud = (t * 3.3 * std::f32::consts::TAU).sin().max(0.05);
        ((voice * 5_000.0 + hiss * 600.0) * loud) as i16
    };
    let clip = Clip::from_pcm((0..30 * 8_000).map(sample).collect());
    for law in [Law::Mu, Law::A] {
        clip.encoded(law);
    }
    clip
}

fn main() {
    // `cargo test --benches` only wants to know whether it runs.
    let calls = match std::env::var("CALLBOX_BENCH_CALLS").map(|calls| calls.parse()) {
        Ok(Ok(calls)) => calls,
        _ => CALLS,
    };
    let speech = speech();
    use SrtpSuite::{AeadAes128Gcm, AesCm128HmacSha1_80};
    println!("{calls} calls, a prompt playing each way, jitter buffers and RTCP on");
    if !std::env::args().any(|arg| arg == "listened") {
        for codec in Codec::ALL {
            measure(codec.name(), *codec, Protection::None, (Ears::Shut, Prompts::Shared), calls, &speech);
        }
        let own = (Ears::Shut, Prompts::Own);
        measure("Opus, each its own prompt", Codec::Opus, Protection::None, own, calls, &speech);
        for (name, codec, protection) in [
            ("PCMU, SRTP AES_CM_128_80", Codec::Pcmu, Protection::Sdes(AesCm128HmacSha1_80)),
            ("PCMU, SRTP AEAD_AES_128_GCM", Codec::Pcmu, Protection::Sdes(AeadAes128Gcm)),
            ("PCMU, DTLS-SRTP", Codec::Pcmu, Protection::Dtls),
            ("Opus, DTLS-SRTP", Codec::Opus, Protection::Dtls),
        ] {
            measure(name, codec, protection, (Ears::Shut, Prompts::Shared), calls, &speech);
        }
    }
    for (name, codec, ears) in [
        ("PCMU, not listened to", Codec::Pcmu, Ears::Shut),
        ("PCMU, listened to", Codec::Pcmu, Ears::Open),
        ("G722, listened to", Codec::G722, Ears::Open),
        ("Opus, listened to", Codec::Opus, Ears::Open),
    ] {
        measure(name, codec, Protection::None, (ears, Prompts::Shared), calls, &speech);
    }
}
