//! The bodies of the fuzz targets, on their corpora and on many mutations of them.

use callbox_mutations::Mutations;
use callbox_sip::fuzz;

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

const ROOM: Mutations<'_> =
    Mutations { room: env!("CARGO_MANIFEST_DIR"), pieces: PIECES, rounds: 30_000, longest: 65_536, least: 4 };

#[test]
fn sip_message() {
    ROOM.run_from("sip_message", &["fuzz/corpus/sip_message", "tests/rfc4475"], fuzz::sip_message);
}

#[test]
fn sip_stream() {
    ROOM.run("sip_stream", fuzz::sip_stream);
}

#[test]
fn sdp() {
    ROOM.run("sdp", fuzz::sdp);
}

#[test]
fn digest() {
    ROOM.run("digest", fuzz::digest);
}

#[test]
fn uri() {
    ROOM.run("uri", fuzz::uri);
}

#[test]
fn stun() {
    ROOM.run("stun", fuzz::stun);
}
