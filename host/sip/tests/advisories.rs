//! What has broken other SIP stacks, one test each: published advisories and the outages of others,
//! fed to the parsers that strangers reach.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::fmt::Write as _;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use callbox_sip::sdp::{self, LocalMedia, SessionIds};
use callbox_sip::wire::{
    self, Fault, Field, Framer, MAX_HEADERS, MAX_MESSAGE, MAX_NAME, MAX_VALUE, MAX_VIAS, Message, ParseError,
};

/// A good INVITE with more lines, and a body.
fn invite(lines: &str, body: &str) -> String {
    format!(
        "INVITE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
         Call-ID: 1\r\nCSeq: 1 INVITE\r\n{lines}\r\n{body}"
    )
}

fn read(text: &str) -> Result<Message, ParseError> {
    wire::parse(text.as_bytes())
}

fn status(text: &str) -> Option<u16> {
    read(text).unwrap_err().rejection.map(|rejection| rejection.status)
}

/// AST-2017-002, FreeSWITCH: sequence numbers that overflow.
#[test]
fn cseq_overflow() {
    for number in ["2147483648", "4294967296", "18446744073709551616", "-1", "1e9", &"9".repeat(10_000)] {
        let text = invite("", "").replace("CSeq: 1", &format!("CSeq: {number}"));
        assert_eq!(status(&text), Some(400), "{}", &number[..number.len().min(30)]);
    }
}

/// AST-2018-004: 32 and more Accept headers smashed the stack.
#[test]
fn accept_headers() {
    let message = read(&invite(&"Accept: application/sdp, text/plain\r\n".repeat(64), "")).unwrap();
    assert_eq!(message.headers.get_all(Field::Accept).count(), 128);
}

/// CVE-2020-28361: `Header :` slipped past what removes headers.
#[test]
fn a_blank_before_the_colon_hides_nothing() {
    let mut message = read(&invite("X-Secret : 1\r\nx-secret\t:2\r\nP-Asserted-Identity : <sip:a@h>\r\n", "")).unwrap();
    assert_eq!(message.headers.lines("X-Secret").count(), 2);
    message.headers.remove("X-Secret");
    message.headers.remove(Field::PAssertedIdentity);
    assert!(!String::from_utf8(message.to_vec()).unwrap().to_lowercase().contains("secret"));
    assert!(!message.headers.contains("p-asserted-identity"));
    assert_eq!(status(&invite("", "").replace("Call-ID: 1", "Call-ID: 1\r\nCall-ID : 2")), Some(400));
}

/// Lengths that lie, on datagrams and on streams.
#[test]
fn content_length() {
    for length in
        ["-1", "-999", "4294967296", "18446744073709551615", "18446744073709551616", "0x10", "1 2", "5", "99999"]
    {
        assert_eq!(status(&invite(&format!("Content-Length: {length}\r\n"), "body")), Some(400), "{length}");
    }
    assert_eq!(status(&invite("Content-Length: 4\r\nl: 3\r\n", "body")), Some(400));
    assert_eq!(read(&invite("Content-Length: 2\r\n", "body")).unwrap().body, "bo");
    assert_eq!(read(&invite("", "body")).unwrap().body, "body");
}

/// Request smuggling: line ends that one reader sees and another does not.
#[test]
fn line_ends_are_seen_by_all_or_refused() {
    assert_eq!(status(&invite("X-A: 1\rVia: SIP/2.0/UDP evil\r\n", "")), Some(400));
    assert_eq!(status(&invite("X-A: 1\r\r\n", "")), Some(400));
    let message = read(&invite("X-A: 1\nX-B: 2\r\n", "")).unwrap();
    assert_eq!(message.headers.text("X-B").as_deref(), Some("2"));
    let folded = read(&invite("X-A: 1\r\n\tVia: SIP/2.0/UDP evil\r\n", "")).unwrap();
    assert_eq!(folded.headers.text("X-A").as_deref(), Some("1 Via: SIP/2.0/UDP evil"));
    assert_eq!(folded.vias().unwrap().len(), 1);
}

/// Zero bytes where C would stop.
#[test]
fn zero_bytes() {
    let message = read(&invite("X-A: a\0b\r\n", "v=0\0m=audio")).unwrap();
    assert_eq!(message.headers.get("X-A").unwrap().as_ref(), b"a\0b");
    assert_eq!(message.body.len(), 11);
    assert!(read(&invite("X\0A: 1\r\n", "")).is_err());
    assert!(read(&invite("", "").replace("a@h SIP", "a\0@h SIP")).is_err());
    assert!(read(&"\0".repeat(1000)).is_err());
}

#[test]
fn limits() {
    let lines = |count: usize| "X-A: 1\r\n".repeat(count);
    assert!(read(&invite(&lines(MAX_HEADERS - 5), "")).is_ok());
    assert_eq!(read(&invite(&lines(MAX_HEADERS - 4), "")).unwrap_err().fault, Fault::TooManyHeaders);
    assert_eq!(status(&invite(&lines(3_000), "")), Some(400));

    assert!(read(&invite(&format!("X-A: {}\r\n", "x".repeat(MAX_VALUE)), "")).is_ok());
    assert_eq!(status(&invite(&format!("X-A: {}\r\n", "x".repeat(MAX_VALUE + 1)), "")), Some(400));
    assert_eq!(status(&invite(&format!("X-A: {}\r\n", "x".repeat(60_000)), "")), Some(400));
    assert_eq!(status(&invite(&format!("{}: 1\r\n", "x".repeat(MAX_NAME + 1)), "")), Some(400));

    let hops = |count: usize| format!("Via: {}\r\n", vec!["SIP/2.0/UDP h"; count].join(","));
    assert!(read(&invite(&hops(MAX_VIAS - 1), "")).is_ok());
    assert_eq!(status(&invite(&hops(1_000), "")), Some(400));
    assert_eq!(status(&invite(&"v: SIP/2.0/UDP h\r\n".repeat(200), "")), Some(400));

    let body = "x".repeat(MAX_MESSAGE);
    assert_eq!(status(&invite("", &body)), Some(513));
    assert_eq!(status(&invite("", "").replace("sip:a@h SIP", &format!("sip:{}@h SIP", "a".repeat(17_000)))), Some(400));
}

/// ezk: 3,000 headers took 194 ms. Here no input of the largest size may cost more than a few times another.
#[test]
fn no_input_costs_the_square_of_its_size() {
    let mut inputs: Vec<(&str, String)> = Vec::new();
    for (what, piece) in [
        ("empty folds", "\r\n "),
        ("commas", ","),
        ("semicolons", ";"),
        ("quotes", "\""),
        ("escapes", "\\\""),
        ("brackets", "<"),
        ("parameters", ";a=b"),
        ("addresses", "<sip:a@h>,"),
        ("blanks", " "),
        ("percent signs", "%"),
    ] {
        for name in ["Contact", "From", "Via", "X-A", "Supported", "WWW-Authenticate", "Content-Length"] {
            let value = piece.repeat(16_000 / piece.len());
            inputs.push((what, invite(&format!("{name}: {value}\r\n").repeat(3), "")));
        }
    }
    inputs.push(("line feeds", "\n".repeat(60_000)));
    inputs.push(("short lines", invite(&"a:\n".repeat(20_000), "")));
    let parts = format!("Content-Type: multipart/mixed;boundary=b\r\n\r\n{}", "--b\r\n".repeat(12_000));
    inputs.push(("parts", invite("", "").replace("\r\n\r\n", &format!("\r\n{parts}"))));
    for (what, text) in inputs {
        let start = worked();
        callbox_sip::fuzz::sip_message(text.as_bytes());
        assert!(worked() - start < FAR_BELOW_A_SQUARE, "{what}: {:?}", worked() - start);
    }
}

/// Unoptimised, on a slow machine: generous, yet far below what sixty thousand squared would take.
const FAR_BELOW_A_SQUARE: Duration = Duration::from_secs(3);

/// The processor's time that this thread has had: neighbours on the machine do not count.
fn worked() -> Duration {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).try_into().unwrap()
}

/// A sender of single bytes on a stream must not cost the square of what it sends.
#[test]
fn a_slow_stream_is_looked_at_once() {
    let (mut framer, mut buffer) = (Framer::new(), BytesMut::new());
    buffer.put_slice(b"INVITE sip:a@h SIP/2.0\r\nX-A: ");
    let start = worked();
    for _ in 0..60_000 {
        buffer.put_u8(b'x');
        assert!(framer.next(&mut buffer).unwrap().is_none());
    }
    assert!(worked() - start < FAR_BELOW_A_SQUARE, "{:?}", worked() - start);
}

/// AST-2017-003 and its kin: multiparts without boundary, without end, inside one another.
#[test]
fn multiparts() {
    for (kind, body) in [
        ("multipart/mixed", "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--"),
        ("multipart/mixed;boundary", "--\r\n\r\n"),
        ("multipart/mixed;boundary=", "--\r\n\r\n--\r\n"),
        ("multipart/mixed;boundary=\"\"", "--"),
        ("multipart/mixed;boundary=b", "--b"),
        ("multipart/mixed;boundary=b", "--b\r\n--b\r\n--b--"),
        ("multipart/mixed;boundary=b", "--b\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\n\r\n--b--"),
        ("multipart/", "x"),
        (";;;", "x"),
    ] {
        let message = read(&invite(&format!("Content-Type: {kind}\r\n"), body)).unwrap();
        assert_eq!(message.sdp(), wire::Body::Unsupported, "{kind} {body}");
    }
    let deep = (0..40).fold("v=0".to_owned(), |inner, depth| {
        format!("--b{depth}\r\nContent-Type: multipart/mixed;boundary=b{}\r\n\r\n{inner}\r\n--b{depth}--", depth - 1)
    });
    let message = read(&invite("Content-Type: multipart/mixed;boundary=b39\r\n", &deep)).unwrap();
    assert_eq!(message.sdp(), wire::Body::Unsupported);
}

/// AST-2018-002 and -003, CVE-2022-31001 to -31003: descriptions that made others read what was not there.
#[test]
fn descriptions() {
    let local = LocalMedia::new("192.0.2.9:20000".parse().unwrap());
    let answer = |media: &str| {
        let text = format!("v=0\r\no=x 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{media}");
        sdp::answer(&local, &SessionIds { id: 1, version: 1 }, text.as_bytes()).map(|_| ())
    };
    for bad in ["m=audio 65536 RTP/AVP 0\r\n", "m=audio\r\n", "m=\r\n", "m=audio 4000 RTP/AVP 256\r\n"] {
        assert!(answer(bad).is_err(), "{bad}");
    }
    for good in [
        "a=fmtp\r\n",
        "a=fmtp:\r\n",
        "a=fmtp:0\r\n",
        "a=rtpmap\r\n",
        "a=rtpmap:\r\n",
        "a=rtpmap:0\r\n",
        "a=rtcp:\r\n",
        "a=\r\n",
    ] {
        assert!(answer(&format!("m=audio 4000 RTP/AVP 0\r\n{good}")).is_ok(), "{good}");
    }
    let mut flood = String::from("m=audio 4000 RTP/AVP 0\r\n");
    while flood.len() < 60_000 {
        let _ = write!(flood, "a=rtpmap:{} X/8000\r\n", 96 + flood.len() % 32);
    }
    assert!(answer(&flood).is_ok());
}

/// CVE-2021-41145 and AST-2018-005 were floods; what one message may hold on to is bounded by its size.
#[test]
fn a_refused_message_keeps_only_what_an_answer_needs() {
    let text = invite(&format!("{}X-Bad\r\n", "X-A: 1\r\n".repeat(200)), "");
    let rejection = read(&text).unwrap_err().rejection.unwrap();
    assert_eq!(rejection.headers.len(), 5);
}
