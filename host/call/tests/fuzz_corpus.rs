//! The bodies of the fuzz targets, on their corpora and on many mutations of them.

use callbox_call::fuzz;
use callbox_mutations::Mutations;

/// Pieces that mean something to who reads it.
const PIECES: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"null",
    b"-1",
    b"1e999",
    b"\\ud800",
    b"\0",
    "\u{feff}".as_bytes(),
    b"\"type\"",
    b"\"digits\"",
    b"\"data\"",
    b"\"message\"",
    b"*",
    b"D",
];

const ROOM: Mutations<'_> =
    Mutations { room: env!("CARGO_MANIFEST_DIR"), pieces: PIECES, rounds: 20_000, longest: 16_384, least: 5 };

#[test]
fn page_message() {
    ROOM.run("page_message", fuzz::page_message);
}
