//! Runs the fuzz targets on their corpora and on many mutations of them: the same mutations on every run, so that a
//! failure here repeats. Coverage-guided runs use `fuzz/`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use callbox_sip::fuzz;

/// Mutated inputs per target, unless `CALLBOX_FUZZ_ROUNDS` asks for more.
const ROUNDS: u32 = 30_000;

/// Pieces that mean something to one of the parsers.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n ",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\"",
    b"\\",
    b"<",
    b">",
    b"@",
    b"?",
    b"=",
    b"[",
    b"]",
    b"%",
    b"%00",
    b"*",
    b"/",
    b"\xff",
    b"\xc3\x28",
    b"SIP/2.0",
    b"sip:",
    b"Content-Length: ",
    b"l:",
    b"Via: ",
    b"v:",
    b"CSeq",
    b"ACK ",
    b"INVITE ",
    b"4294967295",
    b"18446744073709551616",
    b"-1",
    b"65536",
    b";tag=",
    b";rport",
    b"m=audio ",
    b"\r\na=",
    b"c=IN IP4 ",
    b"RTP/AVP",
    b"--b",
    b"Digest ",
    b"qop=\"auth\"",
    b"nonce=\"",
    b"Content-Type: multipart/mixed;boundary=b",
];

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// A stretch of `bytes`, mostly short.
    fn stretch(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        let longest = if self.below(4) == 0 { bytes.len() } else { 12 };
        start..(start + self.below(longest + 1)).min(bytes.len())
    }
}

fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next() as u8,
            2 => drop(bytes.drain(random.stretch(&bytes))),
            3 => {
                let piece = bytes[random.stretch(&bytes)].to_vec();
                for _ in 0..=random.below(3) {
                    bytes.splice(at..at, piece.iter().copied());
                }
            }
            4 => {
                let other = &seeds[random.below(seeds.len())];
                let piece = other[random.stretch(other)].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => bytes.truncate(at),
            _ => {
                let piece = PIECES[random.below(PIECES.len())];
                let over = random.below(2) * piece.len().min(bytes.len() - at);
                bytes.splice(at..at + over, piece.iter().copied());
            }
        }
    }
    bytes
}

fn seeds(folders: &[&str]) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'))
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn run(target: fn(&[u8]), folders: &[&str]) {
    let seeds = seeds(folders);
    assert!(seeds.len() >= 4, "the corpus is not where it belongs");
    seeds.iter().for_each(|seed| target(seed));
    let mut random = Random(0xca11_b0c5);
    let rounds = std::env::var("CALLBOX_FUZZ_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        let input = mutate(&mut random, &seeds);
        let outcome = std::panic::catch_unwind(|| target(&input));
        assert!(outcome.is_ok(), "round {round}: {:?}", String::from_utf8_lossy(&input));
    }
}

#[test]
fn sip_message() {
    run(fuzz::sip_message, &["fuzz/corpus/sip_message", "tests/rfc4475"]);
}

#[test]
fn sip_stream() {
    run(fuzz::sip_stream, &["fuzz/corpus/sip_stream"]);
}

#[test]
fn sdp() {
    run(fuzz::sdp, &["fuzz/corpus/sdp"]);
}

#[test]
fn digest() {
    run(fuzz::digest, &["fuzz/corpus/digest"]);
}

#[test]
fn uri() {
    run(fuzz::uri, &["fuzz/corpus/uri"]);
}

#[test]
fn stun() {
    run(fuzz::stun, &["fuzz/corpus/stun"]);
}
