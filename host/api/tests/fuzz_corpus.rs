//! Runs the fuzz targets on their corpora and on many mutations of them: the same mutations on every run, so that a
//! failure here repeats. Coverage-guided runs use `fuzz/`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_api::fuzz;
use std::path::Path;

/// Mutated inputs per target, unless `CALLBOX_FUZZ_ROUNDS` asks for more.
const ROUNDS: u32 = 20_000;

/// Pieces that mean something to one of the parsers.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551616",
    "\\u0000",
    "\\ud800",
    "\0",
    "é",
    "name",
    "address",
    "fallback",
    "secret",
    "whsec_",
    "2026-01-01",
    "bytes=",
    "-",
    "0",
    " ",
    "\r\n",
    "\u{feff}",
];

/// A small generator with a fixed seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

fn mutate(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut data = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(data.len() + 1);
        match dice.below(6) {
            0 if !data.is_empty() => data[at.min(at.saturating_sub(1))] = u8::try_from(dice.below(256)).unwrap(),
            1 => drop(data.drain(at..(at + dice.below(8)).min(data.len()))),
            2 => drop(data.splice(at..at, PIECES[dice.below(PIECES.len())].bytes())),
            3 => {
                let other = &seeds[dice.below(seeds.len())];
                data.truncate(at);
                data.extend_from_slice(&other[dice.below(other.len() + 1)..]);
            }
            4 => data.truncate(at),
            _ => {
                let end = (at + dice.below(16)).min(data.len());
                let part = data[at..end].to_vec();
                drop(data.splice(at..at, part));
            }
        }
    }
    data
}

fn run(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    seeds.iter().for_each(|seed| target(seed));
    let rounds = std::env::var("CALLBOX_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds {
        target(&mutate(&mut dice, &seeds));
    }
}

#[test]
fn body() {
    run("body", fuzz::body);
}

#[test]
fn range() {
    run("range", fuzz::range_header);
}
