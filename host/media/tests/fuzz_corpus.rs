//! The bodies of the fuzz targets, on their corpora and on many mutations of them.

use callbox_media::fuzz;
use callbox_mutations::Mutations;

/// Pieces that mean something to one of the parsers.
const PIECES: &[&[u8]] = &[
    b"\0\0",
    b"\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x00",
    b"\x90\x65",
    b"\xa0",
    b"\xbf",
    b"\x81\xc8",
    b"\x81\xc9",
    b"\x81\xca",
    b"\x81\xcb",
    b"\x80\x80",
    b"RIFF",
    b"WAVE",
    b"fmt ",
    b"data",
    b"\x01\x00",
    b"\xfe\xff",
    b"\x40\x1f\x00\x00",
    b"inline:",
    b"|2^20|1:4",
    b"sha-256 ",
    b"AB:",
];

const ROOM: Mutations<'_> =
    Mutations { room: env!("CARGO_MANIFEST_DIR"), pieces: PIECES, rounds: 20_000, longest: 4_096, least: 5 };

#[test]
fn rtp() {
    ROOM.run("rtp", fuzz::rtp);
}

#[test]
fn rtcp() {
    ROOM.run("rtcp", fuzz::rtcp);
}

#[test]
fn dtmf() {
    ROOM.run("dtmf", fuzz::dtmf);
}

#[test]
fn wav() {
    ROOM.run("wav", fuzz::wav);
}

#[test]
fn call() {
    ROOM.run("call", fuzz::call);
}

#[test]
fn srtp() {
    ROOM.run("srtp", fuzz::srtp);
}

#[test]
fn keys() {
    ROOM.run("keys", fuzz::keys);
}
