//! The bodies of the fuzz targets, on their corpora and on many mutations of them.

use callbox_mutations::Mutations;
use callbox_webrtc::fuzz;

/// Pieces that mean something to one of the parsers.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\0\0",
    b"\xff\xff",
    b"\x00\x01\x00",
    b"\x21\x12\xA4\x42",
    b"\x00\x06\x00\x08",
    b"hostufrag:",
    b"\x16\xfe\xfd",
    b"\x17\xfe\xfd",
    b"\x80\x6f",
    b"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
    b"m=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
    b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
    b"a=rtpmap:111 opus/48000/2\r\n",
    b"a=fmtp:111 useinbandfec=1;usedtx=1\r\n",
    b"a=mid:0\r\n",
    b"a=group:BUNDLE 0 1\r\n",
    b"a=rtcp-mux\r\n",
    b"a=ice-lite\r\n",
    b"a=setup:passive\r\n",
    b"a=sctp-port:5000\r\n",
    b"99999999999999999999",
    b"-1",
];

const ROOM: Mutations<'_> = Mutations {
    room: env!("CARGO_MANIFEST_DIR"),
    pieces: PIECES,
    // What makes a peer each time takes longer than what reads a few bytes: fewer rounds for those.
    rounds: 20_000,
    longest: 4_096,
    least: 5,
};

#[test]
fn offer() {
    Mutations { rounds: 10_000, ..ROOM }.run("offer", fuzz::offer);
}

#[test]
fn datagrams() {
    Mutations { rounds: 2_000, ..ROOM }.run("datagrams", fuzz::datagrams);
}

#[test]
fn frames() {
    ROOM.run("frames", fuzz::frames);
}
