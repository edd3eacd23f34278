//! The bodies of the fuzz targets, on their corpora and on many mutations of them.

use callbox_mutations::Mutations;
use callbox_store::fuzz;

/// Pieces that mean something to one of the parsers.
const PIECES: &[&[u8]] = &[
    b"${",
    b"}",
    b"{",
    b"\"",
    b":",
    b",",
    b"null",
    b"whsec_",
    b"\\u0000",
    b"https://",
    b"[",
    b"]",
    b"%",
    b";",
    b"+",
    b"cbk_",
    b"_",
    b"\0",
    "é".as_bytes(),
    b"secret",
    b"1e999",
    b"-1",
    b"sources",
    b"headers",
    b" ",
    b"\r\n",
    b"@",
    "٣".as_bytes(),
];

const ROOM: Mutations<'_> =
    Mutations { room: env!("CARGO_MANIFEST_DIR"), pieces: PIECES, rounds: 20_000, longest: 65_536, least: 1 };

#[test]
fn bindings() {
    ROOM.run("bindings", fuzz::bindings);
}

#[test]
fn key() {
    ROOM.run("key", fuzz::key);
}

#[test]
fn user_part() {
    ROOM.run("user_part", fuzz::user_part);
}
