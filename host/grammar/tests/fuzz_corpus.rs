//! The bodies of the fuzz targets, on their corpora and on many mutations of them.

use callbox_grammar::fuzz;
use callbox_mutations::Mutations;

/// Pieces that mean something to one of the parsers.
const PIECES: &[&[u8]] = &[
    b"0",
    b"12",
    b"99999999999999999999",
    b"2026-12-01",
    b"14:30",
    b"1,234.5",
    b"/",
    b"+49",
    b"'",
    b".",
    b"p.m.",
    b" uh ",
    b"twenty ",
    b"three ",
    b"hundred ",
    b"double ",
    b"and ",
    b"the third of ",
    b"May ",
    b"half past ",
    b"in two weeks",
    b"yes",
    b" not ",
    b"euros ",
    b"repeat",
    b"zwei",
    b"hundert",
    b"et ",
    b"menos ",
    "年".as_bytes(),
    "月".as_bytes(),
    "点".as_bytes(),
    "半".as_bytes(),
    "块".as_bytes(),
    "零".as_bytes(),
    "下周".as_bytes(),
    "€".as_bytes(),
    "\u{301}".as_bytes(),
    "ẞ".as_bytes(),
    "１".as_bytes(),
    "\u{fffd}".as_bytes(),
    b"\0",
    b"\"kind\":",
    b"\"phrases\": [",
    b"\"key\": \"*\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"min\": 0",
    b"\"max\": 255",
    b"null",
    b"-1",
];

const ROOM: Mutations<'_> =
    Mutations { room: env!("CARGO_MANIFEST_DIR"), pieces: PIECES, rounds: 400, longest: 4_096, least: 5 };

#[test]
fn json() {
    ROOM.run("json", fuzz::json);
}

#[test]
fn words() {
    ROOM.run("words", fuzz::words);
}
