//! The fuzz targets on their corpus and on many mutations of it, the same ones
//! each time, so that `cargo test` runs them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

/// A small generator whose numbers are the same everywhere (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<_> = paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!seeds.is_empty(), "the corpus of {target} is empty");
    seeds
}

fn mutate(seed: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=numbers.next(4) {
        let at = numbers.next(bytes.len() + 1);
        match numbers.next(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << numbers.next(8),
            1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'\n', b'{'][numbers.next(8)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, numbers.next(256) as u8),
            4 => {
                let end = (at + numbers.next(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let from = numbers.next(other.len());
                let to = (from + numbers.next(64)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let end = (at + numbers.next(32)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

fn run(target: &str, rounds: usize, parse: fn(&[u8])) {
    let seeds = corpus(target);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for seed in &seeds {
        parse(seed);
    }
    for round in 0..rounds {
        let seed = &seeds[round % seeds.len()];
        let other = &seeds[numbers.next(seeds.len())];
        parse(&mutate(seed, other, &mut numbers));
    }
}

#[test]
fn scenario() {
    run("scenario", 3_000, callbox_sim::fuzz::scenario);
}
