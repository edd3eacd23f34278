//! The bodies of the fuzz targets, on their corpora and on many mutations of them.

use callbox_mutations::Mutations;
use callbox_speech::fuzz;

/// Pieces that mean something to one of the parsers.
const PIECES: &[&[u8]] = &[
    b"0",
    b"1",
    b"12",
    b"2026",
    b"007",
    b"99999999999999999999",
    b",",
    b".",
    b":",
    b"/",
    b"-",
    "–".as_bytes(),
    b"+",
    b"(",
    b")",
    b"%",
    b"$",
    "£".as_bytes(),
    "€".as_bytes(),
    "¥".as_bytes(),
    "°".as_bytes(),
    "½".as_bytes(),
    b" ",
    b"\n",
    b"\0",
    "\u{1}".as_bytes(),
    b"am",
    b" p.m.",
    b"st",
    b"th",
    b"km",
    b" m",
    b"USD ",
    b"November ",
    b"Nov. ",
    b"May 5",
    b"T14:30Z",
    b"Dr. ",
    b"St. ",
    b"etc.",
    b"a@b.co",
    "年".as_bytes(),
    "月".as_bytes(),
    "点".as_bytes(),
    "元".as_bytes(),
    "个".as_bytes(),
    "万".as_bytes(),
    "亿".as_bytes(),
    "２".as_bytes(),
    "好".as_bytes(),
    "。".as_bytes(),
    b"<",
    b">",
    b"/>",
    b"</",
    b"<p>",
    b"</p>",
    b"<speak>",
    b"</speak>",
    b"<break/>",
    b"<break time=\"1s\"/>",
    b"<sub alias='x'>",
    b"</sub>",
    b"<!--",
    b"-->",
    b"<?",
    b"&",
    b"&amp;",
    b"&#1;",
    b"&#x110000;",
    b"\"",
    b"'",
    b"=",
    b"RIFF",
    b"WAVE",
    b"fmt ",
    b"data",
    "\u{7fff}".as_bytes(),
    b" 5 en --/M x -rf",
    b"(en 2)",
    b"+f3",
    b"!v/",
    b"cbspeech",
    b"{\"type\":",
    b"\"Results\"",
    b"\"error\":",
    b"null",
    b"[]",
    b"1e999",
    b"\\ud800",
    "\u{fffd}".as_bytes(),
    "\u{202e}".as_bytes(),
    "👩‍👩‍👧".as_bytes(),
];

const ROOM: Mutations<'_> =
    Mutations { room: env!("CARGO_MANIFEST_DIR"), pieces: PIECES, rounds: 4_000, longest: 8_192, least: 1 };

#[test]
fn normalise() {
    ROOM.run("normalise", fuzz::text);
}

#[test]
fn ssml() {
    ROOM.run("ssml", fuzz::ssml);
}

#[test]
fn pipe_wav() {
    ROOM.run("pipe_wav", fuzz::pipe_wav);
}

#[test]
fn voice_list() {
    ROOM.run("voice_list", fuzz::voice_list);
}

#[test]
fn cache_file() {
    ROOM.run("cache_file", fuzz::cache_file);
}

#[test]
fn messages() {
    ROOM.run("messages", fuzz::messages);
}
