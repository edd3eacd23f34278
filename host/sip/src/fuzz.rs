//! Bodies of the fuzz targets: what must hold for any bytes at all. `fuzz/fuzz_targets` feeds them from libFuzzer,
//! `tests/fuzz_corpus.rs` from the corpora and their mutations.

#![allow(clippy::panic, reason = "a broken promise is what a fuzzer looks for")]

use bytes::{Bytes, BytesMut};
use std::net::{IpAddr, Ipv4Addr};

use crate::digest::{Challenge, Client, Credentials, DigestParams, Presented, Server};
use crate::registrar::Asked;
use crate::sdp::{
    Direction, Encryption, Fingerprint, Keying, LocalMedia, Need, Secrets, Security, Session, SessionIds,
};
use crate::wire::{self, Field, Frame, Framer, MAX_MESSAGE, Message, Method, NameAddr, Support, Uri, Via};

/// A datagram: it reads or is refused; what reads is readable in its core, prints, and reads again as the same.
pub fn sip_message(data: &[u8]) {
    let message = match wire::parse(data) {
        Ok(message) => message,
        Err(error) => {
            if let Some(rejection) = &error.rejection {
                assert!((400..700).contains(&rejection.status));
                let start = data.iter().position(|b| !b"\r\n".contains(b)).unwrap_or_default();
                assert!(!data[start..].starts_with(b"ACK "), "an ACK is never answered");
                check_lines(&rejection.response("tag"));
            }
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(message.top_via().is_ok() && message.vias().is_ok());
    assert!(message.from().is_ok() && message.to().is_ok() && message.cseq().is_ok() && message.call_id().is_ok());
    assert!(message.max_forwards().is_ok() && message.contact().is_ok());
    assert!(message.method().is_none_or(|method| message.cseq().is_ok_and(|cseq| cseq.method == *method)));
    look_at_everything(&message);
    check_lines(&message);
    let printed = message.to_vec();
    if printed.len() <= MAX_MESSAGE {
        match wire::parse(&printed) {
            Ok(again) => assert_eq!(again, message),
            Err(error) => panic!("what was printed does not read: {error}"),
        }
    }
    if message.is_request() {
        let mut stamped = message.clone();
        stamped.stamp_source(([192, 0, 2, 200], 5060).into());
        assert!(stamped.top_via().is_ok_and(|via| via.rport() != Some(None)));
        let response = stamped.respond(200, None, Some("tag"));
        check_lines(&response);
        if response.to_vec().len() <= MAX_MESSAGE {
            assert!(wire::parse(&response.to_vec()).is_ok());
        }
    }
}

/// Printed header lines are exactly those of the message: nothing in a value ends a line.
fn check_lines(message: &Message) {
    let printed = message.to_vec();
    let head = printed.len() - message.body.len();
    let breaks = printed[..head].iter().filter(|&&b| b == b'\n').count();
    // The start line, Content-Length, and the empty line.
    assert_eq!(breaks, message.headers.len() + 3);
}

fn look_at_everything(message: &Message) {
    let methods = [Method::Invite, Method::Options];
    let support = Support { methods: &methods, extensions: &[], session: "application/sdp" };
    if let Err(rejection) = wire::screen(message, &support) {
        check_lines(&rejection.response("tag"));
    }
    for header in message.headers.iter() {
        let mut length = 0;
        for value in message.headers.get_all(&header.name) {
            length += value.len();
        }
        assert!(length <= MAX_MESSAGE);
    }
    for field in [Field::Route, Field::RecordRoute, Field::PAssertedIdentity, Field::Diversion, Field::ReferredBy] {
        let _ = message.addresses(field);
    }
    let _ = (message.expires(), message.content_type(), message.rack(), message.rseq(), message.session_expires());
    let _ = (message.min_se(), message.retry_after(), message.refer_to(), message.replaces(), message.reasons());
    let _ = (Challenge::all(message), message.sdp(), Asked::read(message));
}

/// A stream: the first byte is the size of the chunks. Any chunking yields the same frames, and a frame is exactly
/// what the parser takes for one message.
pub fn sip_stream(data: &[u8]) {
    let Some((&chunk, stream)) = data.split_first() else { return };
    let whole = frames(stream, stream.len().max(1));
    assert_eq!(frames(stream, usize::from(chunk).max(1)), whole);
    for frame in whole.0 {
        let Frame::Message(bytes) = frame else { continue };
        assert!(bytes.len() <= MAX_MESSAGE);
        if let Ok(message) = wire::parse_bytes(bytes.clone()) {
            let head =
                (0..bytes.len()).find(|&at| bytes[at..].starts_with(b"\n\n") || bytes[at..].starts_with(b"\n\r\n"));
            let head = head.map(|at| if bytes[at + 1] == b'\n' { at + 2 } else { at + 3 });
            assert_eq!(head.map(|head| bytes.len() - head), Some(message.body.len()));
        }
    }
}

/// The frames of a stream, and whether it broke.
fn frames(stream: &[u8], chunk: usize) -> (Vec<Frame>, bool) {
    let (mut framer, mut buffer, mut found) = (Framer::new(), BytesMut::new(), Vec::new());
    for piece in stream.chunks(chunk) {
        buffer.extend_from_slice(piece);
        loop {
            match framer.next(&mut buffer) {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

/// Two descriptions with a byte 255 between them, as the offers and answers of one session: of one that speaks
/// everything, and of one that wants nothing but SRTP.
pub fn sdp(data: &[u8]) {
    let mut halves = data.splitn(2, |&b| b == 255);
    let (first, second) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let open = LocalMedia {
        other: Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9].into()),
        fingerprint: Some(Fingerprint::of(b"a certificate")),
        ..LocalMedia::new(([192, 0, 2, 9], 20000).into())
    };
    let strict = LocalMedia { encryption: Encryption::required(Keying::Any), ..open.clone() };
    for local in [open, strict] {
        sdp_of(&local, first, second);
    }
}

fn sdp_of(local: &LocalMedia, first: &[u8], second: &[u8]) {
    let mut session = Session::new(SessionIds { id: 1, version: 1 }).with_secrets(Secrets::new([7; 32]));
    for offer in [first, second, first] {
        let before = session.negotiated().cloned();
        match session.answer(local, offer) {
            Ok((text, negotiated)) => {
                assert_eq!(session.negotiated(), Some(&negotiated));
                assert!((10..=60).contains(&negotiated.ptime_ms) && negotiated.payload_type < 128);
                assert!(local.encryption.need != Need::Required || negotiated.security != Security::None);
                // Our answer reads, and its audio is what was agreed.
                let far = LocalMedia { encryption: Encryption::default(), ..local.clone() };
                let far_session = Session::new(SessionIds { id: 2, version: 1 }).with_secrets(Secrets::new([8; 32]));
                match far_session.clone().answer(&far, &text) {
                    Ok((_, read)) => {
                        assert_eq!((read.codec, read.payload_type), (negotiated.codec, negotiated.payload_type));
                        assert_eq!(read.security == Security::None, negotiated.security == Security::None);
                    }
                    Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&text)),
                }
                assert!(text.ends_with(b"\r\n") && !text.windows(3).any(|three| three == b"\n\r\n"));
            }
            Err(error) => {
                assert_eq!(session.negotiated(), before.as_ref());
                assert!(matches!(error.status(), 400 | 488));
            }
        }
    }
    let agreed = session.negotiated().map(|agreed| agreed.security.clone());
    let local = local.clone().with_direction(Direction::SendOnly);
    session.offer(&local);
    if session.accept(&local, second).is_ok() {
        // What was agreed on does not lose its protection by an answer.
        let now = session.negotiated().map(|agreed| agreed.security.clone());
        assert!(agreed.is_none_or(|agreed| agreed == Security::None) || now != Some(Security::None));
    }
    assert!(!session.has_pending_offer());
    let mut caller = Session::new(SessionIds { id: 1, version: 1 }).with_secrets(Secrets::new([7; 32]));
    caller.offer(&local);
    let previewed = caller.preview(&local, first);
    assert_eq!(caller.accept(&local, first), previewed);
}

/// The value of a challenge or of credentials.
pub fn digest(data: &[u8]) {
    let raw = Bytes::copy_from_slice(data);
    let _ = DigestParams::parse(&raw);
    let mut response = Message::request(Method::Options, TARGET.with(Clone::clone));
    // A value from the network holds no line break.
    if response.headers.push(Field::WwwAuthenticate, raw.clone()).is_err() {
        return;
    }
    let mut client =
        Client::new(Credentials { username: "alice \"a\"".to_owned(), password: "secret".to_owned(), realm: None });
    if client.challenged(&response).is_ok() {
        for (field, line) in client.authorize(&Method::Options, b"sip:a@h", "c0ffee") {
            let read = DigestParams::parse(&line).ok().flatten();
            assert!(read.is_some_and(|params| params.get("response").is_some()), "{line:?}");
            assert!(response.headers.push(field, line).is_ok());
        }
    }
    let _ = response.headers.push(Field::Authorization, raw);
    let server = Server::new("callbox", [1; 32], 60);
    if let Presented::Signed(signed) = server.read(&response, 1000, IpAddr::V4(Ipv4Addr::LOCALHOST)) {
        assert!(!signed.proves(None) && !signed.proves(Some("")), "{signed:?}");
    }
}

thread_local! {
    static TARGET: Uri = Uri::sip(Some("a"), ([127, 0, 0, 1], 5060).into(), None);
}

/// A URI, an address and a hop.
pub fn uri(data: &[u8]) {
    let raw = Bytes::copy_from_slice(data);
    if let Ok(uri) = Uri::parse(&raw) {
        assert_eq!(uri.as_bytes(), &raw);
        assert!(!raw.iter().any(|b| b.is_ascii_whitespace()));
        let _ = (uri.text(), uri.scheme_name(), uri.user_text(), uri.host(), uri.ip(), uri.port(), uri.param("lr"));
        let _ = (uri.header("Replaces"), uri.params().count());
        assert_eq!(Uri::parse(uri.as_request_target().as_bytes()).as_ref(), Ok(&uri.as_request_target()));
    }
    if let Ok(address) = NameAddr::parse(&raw) {
        let _ = (address.display_text(), address.tag(), address.params.iter().count());
        let again = NameAddr::parse(&address.to_bytes());
        assert!(again.is_ok_and(|again| again.uri == address.uri && again.tag() == address.tag()), "{address}");
    }
    if let Ok(via) = Via::parse(&raw) {
        let _ = (via.sent_by(), via.ip(), via.transaction_branch(), via.received(), via.rport(), via.port());
    }
}

/// A datagram that may be STUN: it gets a small whole answer or none.
pub fn stun(data: &[u8]) {
    let source = ([192, 0, 2, 200], 5060).into();
    if let Some(answer) = crate::transport::stun::answer(data, source) {
        assert!(answer.len() <= 44 && answer.len() % 4 == 0);
        assert_eq!(usize::from(u16::from_be_bytes([answer[2], answer[3]])) + 20, answer.len());
        assert_eq!(answer[4..20], data[4..20], "the transaction is the request's");
    }
}
