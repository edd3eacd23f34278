//! Random messages, written tidily and sloppily, and what must come out of them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::{Bytes, BytesMut};
use callbox_sip::wire::{self, Field, Frame, Framer, Message, Method, NameAddr, Uri, Via};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.!%*_+`'~-]{1,12}"
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,8}\\.example",
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
    ]
}

fn uri() -> impl Strategy<Value = String> {
    let user = prop::option::of("[A-Za-z0-9+._~!;?/&=,-]{1,10}(%[0-9A-F]{2})?");
    let params = prop::collection::vec("[a-z]{1,6}(=[A-Za-z0-9%.-]{1,6})?", 0..3);
    let sip = ("sips?", user, host(), prop::option::of(any::<u16>()), params).prop_map(
        |(scheme, user, host, port, params)| {
            let user = user.map(|user| format!("{user}@")).unwrap_or_default();
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let params: String = params.iter().map(|param| format!(";{param}")).collect();
            format!("{scheme}:{user}{host}{port}{params}")
        },
    );
    prop_oneof![4 => sip, 1 => "tel:\\+[0-9]{3,12}(;ext=[0-9]{2})?", 1 => "urn:service:[a-z]{2,8}"]
}

fn display() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[A-Za-z.]{1,8}( [A-Za-z.]{1,8})?", any::<String>()]
}

/// Header values as others write them: anything but line breaks.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>().prop_filter("line break", |b| !b"\r\n\0".contains(b)), 0..40)
}

fn other_headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    prop::collection::vec(("X-[A-Za-z0-9-]{1,10}", value()), 0..8)
}

prop_compose! {
    fn request()(
        method in prop_oneof![Just("INVITE".to_owned()), Just("BYE".to_owned()), token()],
        target in uri(),
        hops in prop::collection::vec((token(), host(), prop::option::of(any::<u16>()), token()), 1..4),
        (from_name, from_uri, from_tag) in (display(), uri(), token()),
        (to_name, to_uri, to_tag) in (display(), uri(), prop::option::of(token())),
        call_id in "[!-~]{1,30}",
        seq in 0u32..1 << 31,
        contacts in prop::collection::vec((display(), uri()), 0..3),
        others in other_headers(),
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) -> Message {
        let method = Method::parse(&Bytes::from(method)).unwrap();
        let mut message = Message::request(method.clone(), Uri::from_text(&target).unwrap());
        let headers = &mut message.headers;
        for (transport, host, port, branch) in hops {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            headers.push(Field::Via, Via::value(&transport, &format!("{host}{port}"), &branch).unwrap()).unwrap();
        }
        let address = |name: &str, uri: &str| NameAddr::new(Some(name), Uri::from_text(uri).unwrap());
        headers.push(Field::From, address(&from_name, &from_uri).with_tag(&from_tag).to_bytes()).unwrap();
        let to = address(&to_name, &to_uri);
        let to = match to_tag { Some(tag) => to.with_tag(&tag), None => to };
        headers.push(Field::To, to.to_bytes()).unwrap();
        headers.push(Field::CallId, call_id).unwrap();
        headers.push(Field::CSeq, format!("{seq} {method}")).unwrap();
        for (name, uri) in contacts {
            headers.push(Field::Contact, address(&name, &uri).to_bytes()).unwrap();
        }
        for (name, value) in others {
            headers.push(name.as_str(), value).unwrap();
        }
        message.body = body.into();
        message
    }
}

/// The same message as a careless sender writes it: compact names, odd case, folds, blanks, LF, lists in one line.
fn sloppy(message: &Message, dice: &[u8]) -> Vec<u8> {
    let mut at = 0;
    let mut roll = |sides: u8| {
        at += 1;
        dice[at % dice.len()].wrapping_add(at as u8) % sides
    };
    let mut out = b"\r\n".repeat(usize::from(roll(3)));
    let (method, uri) = (message.method().unwrap(), message.request_uri().unwrap());
    out.extend_from_slice(format!("{method} ").as_bytes());
    out.extend_from_slice(uri.as_bytes());
    out.extend_from_slice(if roll(2) == 0 { b" SIP/2.0\r\n" } else { b" SIP/2.0\n" });
    let mut tail =
        message.headers.iter().map(|header| (header.name.to_string(), header.value().clone())).collect::<Vec<_>>();
    tail.insert(
        usize::from(roll(6)).min(tail.len()),
        ("Content-Length".to_owned(), message.body.len().to_string().into()),
    );
    for (name, value) in tail {
        let compact = match name.as_str() {
            "Via" => "v",
            "From" => "f",
            "To" => "t",
            "Call-ID" => "i",
            "Contact" => "m",
            "Content-Length" => "l",
            other => other,
        };
        let name = match roll(4) {
            0 => compact.to_owned(),
            1 => name.to_ascii_uppercase(),
            2 => name.to_ascii_lowercase(),
            _ => name,
        };
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice([&b":"[..], b" : ", b":\t  ", b":\r\n "][usize::from(roll(4))]);
        out.extend_from_slice(&value);
        out.extend_from_slice([&b"\r\n"[..], b"\n", b" \r\n", b"\r\n \r\n"][usize::from(roll(4))]);
    }
    out.extend_from_slice(if roll(2) == 0 { b"\r\n" } else { b"\n" });
    out.extend_from_slice(&message.body);
    out
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        // The same cases on every run.
        rng_seed: RngSeed::Fixed(0xca11_b0c5),
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_printed_reads_back(message in request()) {
        let printed = message.to_vec();
        prop_assert_eq!(&wire::parse(&printed).unwrap(), &message);
        prop_assert_eq!(wire::parse(&printed).unwrap().to_vec(), printed);
    }

    #[test]
    fn careless_writing_reads_the_same(message in request(), dice in prop::collection::vec(any::<u8>(), 64)) {
        let written = sloppy(&message, &dice);
        prop_assert_eq!(wire::parse(&written).unwrap(), message);
    }

    #[test]
    fn any_chunking_of_a_stream_gives_its_messages(
        messages in prop::collection::vec((request(), prop::collection::vec(any::<u8>(), 64)), 1..4),
        cuts in prop::collection::vec(1usize..200, 1..40),
    ) {
        let stream: Vec<u8> = messages.iter().flat_map(|(message, dice)| sloppy(message, dice)).collect();
        let (mut framer, mut buffer, mut found) = (Framer::new(), BytesMut::new(), Vec::new());
        let (mut rest, mut cuts) = (&stream[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            buffer.extend_from_slice(piece);
            rest = after;
            while let Some(frame) = framer.next(&mut buffer).unwrap() {
                if let Frame::Message(bytes) = frame {
                    found.push(wire::parse_bytes(bytes).unwrap());
                }
            }
        }
        prop_assert_eq!(found, messages.into_iter().map(|(message, _)| message).collect::<Vec<_>>());
        prop_assert!(buffer.is_empty());
    }

    /// A response repeats what it must, byte for byte, and reads.
    #[test]
    fn responses_fit_their_request(message in request(), status in 100u16..700, source in any::<std::net::SocketAddr>()) {
        let mut message = message;
        message.stamp_source(source);
        let response = message.respond(status, None, Some("mytag"));
        let read = wire::parse(&response.to_vec()).unwrap();
        prop_assert_eq!(read.call_id().unwrap(), message.call_id().unwrap());
        prop_assert_eq!(read.from().unwrap(), message.from().unwrap());
        prop_assert_eq!(read.vias().unwrap(), message.vias().unwrap());
        prop_assert_eq!(read.top_via().unwrap().rport(), Some(Some(source.port())));
        prop_assert_eq!(read.top_via().unwrap().received(), Some(source.ip().to_canonical()));
        let had_tag = message.to().unwrap().tag();
        prop_assert_eq!(read.to().unwrap().tag(), had_tag.or((status > 100).then(|| "mytag".to_owned())));
    }

    /// Whatever text reaches the builders, no line is added to the message.
    #[test]
    fn text_cannot_add_lines(name in any::<String>(), user in any::<String>(), tag in any::<String>(), value in any::<String>()) {
        let mut message = Message::request(Method::Options, Uri::sip(Some(&user), ([192, 0, 2, 1], 5060).into(), Some(&tag)));
        let address = NameAddr::new(Some(&name), message.request_uri().unwrap().clone()).with_tag(&tag);
        message.headers.push(Field::From, address.to_bytes()).unwrap();
        prop_assert_eq!(NameAddr::parse(&address.to_bytes()).unwrap().uri, address.uri);
        let taken = message.headers.push("X-Text", value.clone()).is_ok();
        prop_assert_eq!(taken, !value.contains(['\r', '\n', '\0']));
        let response = message.respond(200, Some(&value), Some(&tag));
        let lines = |message: &Message| message.to_vec().iter().filter(|&&b| b == b'\n').count();
        prop_assert_eq!(lines(&message), 3 + message.headers.len());
        prop_assert_eq!(lines(&response), 3 + response.headers.len());
    }
}
