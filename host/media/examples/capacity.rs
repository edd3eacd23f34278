//! How many calls a media thread carries: sessions in pairs that play prompts to each other over the loopback.
//!
//! `cargo run --release -p callbox-media --example capacity -- [sessions] [seconds] [threads] [codec] [complexity]`
//! prints one line of JSON:
//! CPU of this process in percent of a core, memory, and the plane's own figures. All packets count twice here, as
//! sent and as received, so the sessions of a pair cost what two calls with far ends on other machines would.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program: its output is its purpose")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use callbox_dialogue::{CallId, PromptId};
use callbox_media::{Clip, Codec, MediaCommand, MediaConfig, MediaPlan, MediaPlane};
use std::time::{Duration, Instant};

fn main() {
    let mut words = std::env::args().skip(1).collect::<Vec<_>>();
    let codec = if words.len() > 3 { words.remove(3) } else { Codec::Pcma.name().into() };
    let codec = *Codec::ALL.iter().find(|known| known.name().eq_ignore_ascii_case(&codec)).expect("a codec");
    let mut arguments = words.into_iter().map(|word| word.parse::<usize>().expect("a number"));
    let sessions = arguments.next().unwrap_or(1_500).next_multiple_of(2);
    let seconds = arguments.next().unwrap_or(10);
    let workers = arguments.next().unwrap_or(1);
    let opus_complexity = arguments.next().unwrap_or(0) as u8;
    let config = MediaConfig { workers, max_sessions: sessions, opus_complexity, ..MediaConfig::default() };
    let plane = MediaPlane::start(config).unwrap();
    let opened = Instant::now();
    let calls: Vec<_> = (0..sessions).map(|_| plane.open(&CallId("capacity".into())).unwrap()).collect();
    let open_us = opened.elapsed().as_micros() as f64 / sessions as f64;
    let clip = Clip::from_pcm((0..80_000_i64).map(|n| (n * n % 20_011 - 10_000) as i16).collect());
    for (n, (session, _)) in calls.iter().enumerate() {
        let remote = calls[n ^ 1].0.local_rtp();
        let payload_type = codec.static_payload_type().unwrap_or(111);
        let plan = MediaPlan { dtmf: Some(101), ..MediaPlan::new(codec, payload_type, remote) };
        session.send(MediaCommand::Configure(plan)).unwrap();
        let prompt = PromptId(1);
        for _ in 0..=seconds / 10 {
            session.send(MediaCommand::Append { prompt, clip: clip.clone() }).unwrap();
        }
        session.send(MediaCommand::Play { prompt }).unwrap();
    }
    // The wheel gets going.
    std::thread::sleep(Duration::from_secs(1));
    let (before, start) = (cpu_ticks(), Instant::now());
    std::thread::sleep(Duration::from_secs(seconds as u64));
    // A tick of Linux is 10 ms.
    let cpu_pct = (cpu_ticks() - before) as f64 / start.elapsed().as_secs_f64();
    let report = serde_json::json!({
        "codec": codec.name(),
        "sessions": sessions,
        "threads": workers,
        "cpu_pct_of_a_core": cpu_pct,
        "cpu_pct_per_call": cpu_pct / sessions as f64,
        "rss_kb": resident_kb(),
        "open_us": open_us,
        "plane": plane.stats(),
    });
    println!("{report}");
}

/// User and system time of this process.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
