//! Runs the fuzz targets on their corpora and on many mutations of them: the
//! same mutations on every run, so that a failure here repeats.
//! Coverage-guided runs use `fuzz/`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_speech::fuzz;
use std::path::Path;

/// Mutated inputs per target, unless `CALLBOX_FUZZ_ROUNDS` asks for more.
const ROUNDS: usize = 4_000;
/// Longest input.
const MAX: usize = 8_192;

/// Pieces that mean something to one of the parsers.
const PIECES: &[&str] = &[
    "0",
    "1",
    "12",
    "2026",
    "007",
    "99999999999999999999",
    ",",
    ".",
    ":",
    "/",
    "-",
    "–",
    "+",
    "(",
    ")",
    "%",
    "$",
    "£",
    "€",
    "¥",
    "°",
    "½",
    " ",
    "\n",
    "\0",
    "\u{1}",
    "am",
    " p.m.",
    "st",
    "th",
    "km",
    " m",
    "USD ",
    "November ",
    "Nov. ",
    "May 5",
    "T14:30Z",
    "Dr. ",
    "St. ",
    "etc.",
    "a@b.co",
    "年",
    "月",
    "点",
    "元",
    "个",
    "万",
    "亿",
    "２",
    "好",
    "。",
    "<",
    ">",
    "/>",
    "</",
    "<p>",
    "</p>",
    "<speak>",
    "</speak>",
    "<break/>",
    "<break time=\"1s\"/>",
    "<sub alias='x'>",
    "</sub>",
    "<!--",
    "-->",
    "<?",
    "&",
    "&amp;",
    "&#1;",
    "&#x110000;",
    "\"",
    "'",
    "=",
    "RIFF",
    "WAVE",
    "fmt ",
    "data",
    "\u{7fff}",
    " 5 en --/M x -rf",
    "(en 2)",
    "+f3",
    "!v/",
    "cbspeech",
    "\u{fffd}",
    "\u{202e}",
    "👩‍👩‍👧",
];

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        usize::try_from(z % limit.max(1) as u64).unwrap()
    }

    fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut data = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(6) {
            let at = self.below(data.len() + 1);
            let until = (at + self.below(12)).min(data.len());
            match self.below(6) {
                0 => drop(data.drain(at..until)),
                1 => drop(data.splice(at..at, PIECES[self.below(PIECES.len())].bytes())),
                2 => drop(data.splice(at..until, PIECES[self.below(PIECES.len())].bytes())),
                3 if at < data.len() => data[at] ^= 1 << self.below(8),
                4 => {
                    let copy = data[at..until].repeat(1 + self.below(20));
                    drop(data.splice(at..at, copy));
                }
                _ => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len() + 1);
                    drop(data.splice(at.., other[from..].iter().copied()));
                }
            }
        }
        data.truncate(MAX);
        data
    }
}

fn run(target: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!seeds.is_empty());
    let rounds = std::env::var("CALLBOX_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let mut random = Random(7);
    let mutated = (0..rounds).map(|_| random.mutate(&seeds));
    for data in seeds.iter().cloned().chain(mutated) {
        let held = std::panic::catch_unwind(|| body(&data)).is_ok();
        assert!(held, "{target} fails on {:?}", String::from_utf8_lossy(&data));
    }
}

#[test]
fn normalise() {
    run("normalise", fuzz::text);
}

#[test]
fn ssml() {
    run("ssml", fuzz::ssml);
}

#[test]
fn pipe_wav() {
    run("pipe_wav", fuzz::pipe_wav);
}

#[test]
fn voice_list() {
    run("voice_list", fuzz::voice_list);
}

#[test]
fn cache_file() {
    run("cache_file", fuzz::cache_file);
}
