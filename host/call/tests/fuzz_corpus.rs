//! Runs the fuzz target on its corpus and on many mutations of it: the same ones each time, so that a failure repeats.
//! Coverage-guided runs use `fuzz/`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_call::fuzz;
use std::path::Path;

/// Mutated inputs.
const ROUNDS: u32 = 20_000;

/// Pieces that mean something to who reads it.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "-1",
    "1e999",
    "\\ud800",
    "\0",
    "\u{feff}",
    "\"type\"",
    "\"digits\"",
    "\"data\"",
    "\"message\"",
    "*",
    "D",
];

/// A small generator whose numbers are the same everywhere (xorshift).
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
        let end = at + dice.below(data.len() + 1 - at);
        match dice.below(4) {
            0 => drop(data.drain(at..end)),
            1 => {
                let other = &seeds[dice.below(seeds.len())];
                data.splice(at..end, other[dice.below(other.len())..].iter().copied());
            }
            2 => data.insert(at, u8::try_from(dice.below(256)).unwrap()),
            _ => drop(data.splice(at..at, PIECES[dice.below(PIECES.len())].bytes())),
        }
    }
    data
}

#[test]
fn page_message() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/page_message");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    // The order of a folder is not the same everywhere.
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(seeds.len() >= 5, "a corpus to start from");
    seeds.iter().for_each(|seed| fuzz::page_message(seed));
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for _ in 0..ROUNDS {
        fuzz::page_message(&mutate(&mut dice, &seeds));
    }
}
