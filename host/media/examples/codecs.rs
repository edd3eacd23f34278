//! What a packet of each codec costs: nanoseconds for 20 ms of speech, encoded and decoded.
//!
//! `cargo run --release -p callbox-media --features g729 --example codecs` prints one line of JSON per codec. The speech
//! is espeak-ng's where that is installed, and something like it otherwise. What a whole call costs, with sockets and
//! jitter buffer, the benchmark `calls` tells.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring program: its output is its purpose")]

use callbox_media::{Codec, bench, wav};
use std::process::Command;

fn main() {
    let speech = spoken().unwrap_or_else(|| (0..160_000_i64).map(|n| (n * n % 20_011 - 10_000) as i16).collect());
    for codec in Codec::ALL {
        for complexity in if *codec == Codec::Opus { &[0, 3, 4, 6, 10][..] } else { &[0] } {
            let cost = bench::codec(*codec, *complexity, &speech).unwrap();
            println!(
                "{}",
                serde_json::json!({
                    "codec": codec.name(),
                    "complexity": complexity,
                    "packets": cost.packets,
                    "bytes_per_packet": cost.bytes / cost.packets,
                    "encode_ns": cost.encode.as_nanos(),
                    "decode_ns": cost.decode.as_nanos(),
                })
            );
        }
    }
}

/// Some sentences at 8 kHz.
fn spoken() -> Option<Vec<i16>> {
    let text = "The quick brown fox jumps over the lazy dog, and she sells sea shells by the sea shore. ".repeat(8);
    let output = Command::new("espeak-ng").args(["--stdout", &text]).output().ok()?;
    wav::read_samples(&output.stdout).ok()
}
