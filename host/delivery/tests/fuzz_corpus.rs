//! The bodies of the fuzz targets, on their corpora and on many mutations of them.

use callbox_delivery::fuzz;
use callbox_mutations::Mutations;

/// Pieces that mean something to one of the parsers.
const PIECES: &[&[u8]] = &[
    b"127.0.0.1",
    b"0x7f",
    b"0177",
    b"2130706433",
    b"[::1]",
    b"::ffff:",
    b"@",
    b"\\",
    b"/",
    b"//",
    b"#",
    b"?",
    b".",
    b"..",
    b"%00",
    b"%31",
    "①".as_bytes(),
    "。".as_bytes(),
    b"localhost",
    b":0",
    b":80",
    b"http://",
    b"https://",
    b"/32",
    b"/128",
    b"\t",
    b"\n",
    b"\0",
    b"64:ff9b::",
    b"2002:",
    "é".as_bytes(),
    b"xn--",
    b"0",
    b"[DONE]",
    b"\"choices\"",
    b"\"delta\"",
    b"\"tool_calls\"",
    b"\"arguments\"",
    b"\"index\":7",
    b"\"error\"",
    b"<think>",
    b"</think>",
    b"null",
];

const ROOM: Mutations<'_> =
    Mutations { room: env!("CARGO_MANIFEST_DIR"), pieces: PIECES, rounds: 20_000, longest: 16_384, least: 1 };

#[test]
fn url() {
    ROOM.run("url", fuzz::url);
}

#[test]
fn network() {
    ROOM.run("network", fuzz::network);
}

#[test]
fn model() {
    ROOM.run("model", fuzz::model);
}
