//! Runs the fuzz targets on their corpora and on many mutations of them: the same mutations on every run, so that a
//! failure here repeats. Coverage-guided runs use `fuzz/`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_media::fuzz;
use std::path::Path;

/// Mutated inputs per target, unless `CALLBOX_FUZZ_ROUNDS` asks for more.
const ROUNDS: u32 = 20_000;

/// Pieces that mean something to one of the parsers.
const PIECES: &[&[u8]] = &[
    b"\0\0",
    b"\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x00",
    b"\x90\x65",
    b"\xa0",
    b"\xbf",
    b"\x81\xc8",
    b"\x81\xc9",
    b"\x81\xca",
    b"\x81\xcb",
    b"\x80\x80",
    b"RIFF",
    b"WAVE",
    b"fmt ",
    b"data",
    b"\x01\x00",
    b"\xfe\xff",
    b"\x40\x1f\x00\x00",
    b"inline:",
    b"|2^20|1:4",
    b"sha-256 ",
    b"AB:",
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

fn run(target: &str, body: fn(&[u8])) {
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
    for round in 0..rounds {
        let input = mutate(&mut random, &seeds);
        let done = std::panic::catch_unwind(|| body(&input));
        assert!(done.is_ok(), "{target}, round {round}: {input:02x?}");
    }
}

#[test]
fn rtp() {
    run("rtp", fuzz::rtp);
}

#[test]
fn rtcp() {
    run("rtcp", fuzz::rtcp);
}

#[test]
fn dtmf() {
    run("dtmf", fuzz::dtmf);
}

#[test]
fn wav() {
    run("wav", fuzz::wav);
}

#[test]
fn call() {
    run("call", fuzz::call);
}

#[test]
fn srtp() {
    run("srtp", fuzz::srtp);
}

#[test]
fn keys() {
    run("keys", fuzz::keys);
}
