//! The bodies of the fuzz targets, on their corpora and on many mutations of them.

use callbox_api::fuzz;
use callbox_mutations::Mutations;

/// Pieces that mean something to one of the parsers.
const PIECES: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"\\u0000",
    b"\\ud800",
    b"\0",
    "é".as_bytes(),
    b"name",
    b"address",
    b"fallback",
    b"secret",
    b"whsec_",
    b"2026-01-01",
    b"bytes=",
    b"-",
    b"0",
    b" ",
    b"\r\n",
    "\u{feff}".as_bytes(),
];

const ROOM: Mutations<'_> =
    Mutations { room: env!("CARGO_MANIFEST_DIR"), pieces: PIECES, rounds: 20_000, longest: 65_536, least: 1 };

#[test]
fn body() {
    ROOM.run("body", fuzz::body);
}

#[test]
fn range() {
    ROOM.run("range", fuzz::range_header);
}
