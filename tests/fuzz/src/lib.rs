//! Runs the bodies of fuzz targets in plain tests: on their corpora, and on many mutations of them – the same ones on
//! every run, so that a failure repeats. Coverage-guided runs use the folder `fuzz/` of each room.

#![allow(clippy::unwrap_used, reason = "only tests use it, and they may panic")]

use std::panic::catch_unwind;
use std::path::Path;

/// How a room's targets are run.
#[derive(Clone, Copy, Debug)]
pub struct Mutations<'a> {
    /// The room's folder, `env!("CARGO_MANIFEST_DIR")`, in which corpora are at `fuzz/corpus/TARGET`.
    pub room: &'a str,
    /// Pieces that mean something to one of the room's parsers; put in and written over.
    pub pieces: &'a [&'a [u8]],
    /// Mutated inputs of a target, unless `CALLBOX_FUZZ_ROUNDS` says otherwise.
    pub rounds: u32,
    /// Bytes of the longest mutated input.
    pub longest: usize,
    /// Seeds that a corpus has at the least: fewer mean that it is not where it belongs.
    pub least: usize,
}

impl Mutations<'_> {
    /// Runs `body` on the corpus of `target` and on mutations of it.
    ///
    /// # Panics
    /// Where the body does; tells on what.
    pub fn run(&self, target: &str, body: fn(&[u8])) {
        self.run_from(target, &[&format!("fuzz/corpus/{target}")], body);
    }

    /// The same with seeds from several folders of the room.
    ///
    /// # Panics
    /// Where the body does; tells on what.
    pub fn run_from(&self, target: &str, folders: &[&str], body: fn(&[u8])) {
        let seeds = seeds(Path::new(self.room), folders);
        assert!(seeds.len() >= self.least, "{target} has a corpus of {} in {folders:?}", seeds.len());
        for seed in &seeds {
            check(target, "a seed", seed, body);
        }
        let rounds = std::env::var("CALLBOX_FUZZ_ROUNDS").map_or(self.rounds, |rounds| rounds.parse().unwrap());
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        for round in 0..rounds {
            let input = self.mutate(&mut random, &seeds);
            check(target, &format!("round {round}"), &input, body);
        }
    }

    fn mutate(&self, random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = random.one_of(seeds).clone();
        for _ in 0..=random.below(6) {
            let at = random.below(input.len() + 1);
            let stretch = random.stretch(&input);
            match random.below(11) {
                0 if at < input.len() => input[at] ^= 1 << random.below(8),
                1 if at < input.len() => input[at] = random.below(256) as u8,
                2 if at < input.len() => input[at] = *random.one_of(&TELLING),
                3 => input.insert(at, random.below(256) as u8),
                4 => input.truncate(at),
                5 => drop(input.drain(stretch)),
                6 => {
                    // Many times only what is short: deep nesting, not size, is looked for.
                    let times = if stretch.len() > SHORT { 1 } else { 1 + random.below(20) };
                    let again = input[stretch].repeat(times);
                    drop(input.splice(at..at, again));
                }
                7 if !self.pieces.is_empty() => {
                    let piece = *random.one_of(self.pieces);
                    let over = piece.len().min(input.len() - at) * random.below(2);
                    drop(input.splice(at..at + over, piece.iter().copied()));
                }
                8 if !self.pieces.is_empty() => {
                    drop(input.splice(stretch, random.one_of(self.pieces).iter().copied()));
                }
                9 => {
                    let other = random.one_of(seeds);
                    let part = other[random.stretch(other)].to_vec();
                    drop(input.splice(at..at, part));
                }
                _ => {
                    let other = random.one_of(seeds);
                    let from = random.below(other.len() + 1);
                    drop(input.splice(at.., other[from..].iter().copied()));
                }
            }
            input.truncate(self.longest);
        }
        input
    }
}

/// Bytes of a short stretch at the most.
const SHORT: usize = 40;
/// Bytes at which parsers decide.
const TELLING: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'\n', b'{'];

fn check(target: &str, which: &str, input: &[u8], body: fn(&[u8])) {
    let held = catch_unwind(|| body(input)).is_ok();
    assert!(held, "{target}, {which}: {input:02x?}\n{}", String::from_utf8_lossy(input));
}

fn seeds(room: &Path, folders: &[&str]) -> Vec<Vec<u8>> {
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(room.join(folder)).unwrap());
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'));
    // The order of a folder is not the same everywhere.
    files.sort();
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// A small generator of our own (xorshift), so that mutations never change with a library.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A stretch of `bytes`, mostly short.
    fn stretch(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        let longest = if self.below(4) == 0 { bytes.len() } else { SHORT };
        start..(start + self.below(longest + 1)).min(bytes.len())
    }
}
