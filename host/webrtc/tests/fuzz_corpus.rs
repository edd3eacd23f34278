//! Runs the fuzz targets on their corpora and on many mutations of them: the same mutations on every run, so that a
//! failure here repeats. Coverage-guided runs use `fuzz/`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_webrtc::fuzz;
use std::path::Path;

/// Mutated inputs per target, unless `CALLBOX_FUZZ_ROUNDS` asks for more.
const ROUNDS: u32 = 20_000;

/// Pieces that mean something to one of the parsers.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\0\0",
    b"\xff\xff",
    b"\x00\x01\x00",
    b"\x21\x12\xA4\x42",
    b"\x00\x06\x00\x08",
    b"hostufrag:",
    b"\x16\xfe\xfd",
    b"\x17\xfe\xfd",
    b"\x80\x6f",
    b"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
    b"m=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
    b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
    b"a=rtpmap:111 opus/48000/2\r\n",
    b"a=fmtp:111 useinbandfec=1;usedtx=1\r\n",
    b"a=mid:0\r\n",
    b"a=group:BUNDLE 0 1\r\n",
    b"a=rtcp-mux\r\n",
    b"a=ice-lite\r\n",
    b"a=setup:passive\r\n",
    b"a=sctp-port:5000\r\n",
    b"99999999999999999999",
    b"-1",
];

/// A small generator of our own (xorshift), so that mutations never change with a library.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(input.len() + 1);
        let end = at + random.below(input.len() + 1 - at).min(40);
        match random.below(8) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.below(256) as u8,
            2 => drop(input.drain(at..end)),
            3 => {
                let copy = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            4 => {
                let piece = PIECES[random.below(PIECES.len())];
                let over = piece.len().min(input.len() - at) * random.below(2);
                input.splice(at..at + over, piece.iter().copied());
            }
            5 => input.truncate(at),
            6 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => input.insert(at, random.below(256) as u8),
        }
    }
    input.truncate(4_096);
    input
}

/// One in so many rounds is run: what makes a peer each time takes longer than what reads a few bytes.
fn run(target: &str, share: u32, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut seeds: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    // The order of a folder is not the same everywhere.
    seeds.sort();
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(seeds.len() >= 5, "a corpus to start from");
    for seed in &seeds {
        body(seed);
    }
    let rounds = std::env::var("CALLBOX_FUZZ_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for round in 0..rounds / share {
        let input = mutate(&mut random, &seeds);
        let done = std::panic::catch_unwind(|| body(&input));
        assert!(done.is_ok(), "{target}, round {round}: {input:02x?}");
    }
}

#[test]
fn offer() {
    run("offer", 2, fuzz::offer);
}

#[test]
fn datagrams() {
    run("datagrams", 10, fuzz::datagrams);
}

#[test]
fn frames() {
    run("frames", 1, fuzz::frames);
}
