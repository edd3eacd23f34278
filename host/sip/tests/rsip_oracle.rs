//! Our reading of messages beside that of `rsip`, wherever `rsip` reads them. It knows less (no IPv6, no `tel:`, no
//! unknown methods, no folds), so the messages here stay plain; on those the two must see the same.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use callbox_sip::wire::{self, Field, Message};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rsip::SipMessage;
use rsip::message::HasHeaders;
use rsip::prelude::{HeadersExt, ToTypedHeader, UntypedHeader};

prop_compose! {
    fn plain()(
        method in prop::sample::select(vec!["INVITE", "BYE", "OPTIONS", "REGISTER", "CANCEL", "INFO", "NOTIFY"]),
        user in "[a-z0-9+]{1,10}",
        host in "[a-z]{2,8}\\.[a-z]{2,3}|10\\.[0-9]{1,2}\\.0\\.[1-9]",
        port in prop::option::of(1024u16..),
        names in prop::collection::vec("\"[A-Za-z ]{1,12}\"", 2),
        tags in prop::collection::vec("[a-z0-9]{1,12}", 2),
        transport in prop::sample::select(vec!["UDP", "TCP", "TLS", "WSS"]),
        branch in "z9hG4bK[A-Za-z0-9]{1,16}",
        call_id in "[a-z0-9]{1,20}@[a-z0-9.]{1,10}",
        (seq, hops) in (0u32..1 << 31, any::<u8>()),
        agent in "[A-Za-z][A-Za-z0-9/ .]{0,18}[a-z]",
        answer in prop::option::of(prop::sample::select(vec![100u16, 180, 183, 200, 302, 401, 404, 407, 480, 486, 487, 503, 603])),
        body in "[ -~]{0,40}",
    ) -> String {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let start = match answer {
            Some(status) => format!("SIP/2.0 {status} {}", wire::reason_phrase(status)),
            None => format!("{method} sip:{user}@{host}{port} SIP/2.0"),
        };
        format!(
            "{start}\r\nVia: SIP/2.0/{transport} {host}{port};branch={branch}\r\nMax-Forwards: {hops}\r\n\
             From: {} <sip:{user}@{host}>;tag={}\r\nTo: {} <sip:{user}@{host}{port}>;tag={}\r\nCall-ID: {call_id}\r\n\
             CSeq: {seq} {method}\r\nContact: <sip:{user}@{host}{port}>\r\nUser-Agent: {agent}\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            names[0], tags[0], names[1], tags[1], body.len()
        )
    }
}

/// Panics where the two differ. Bytes that both take as a message are compared field by field.
fn compare(ours: &Message, theirs: &SipMessage) {
    match theirs {
        SipMessage::Request(request) => {
            assert_eq!(ours.method().unwrap().as_str(), request.method.to_string());
            assert_eq!(ours.request_uri().unwrap().text(), request.uri.to_string());
            assert_eq!(ours.request_uri().unwrap().host(), request.uri.host().to_string());
            assert_eq!(ours.request_uri().unwrap().port(), request.uri.port().map(|port| *port.value()));
        }
        SipMessage::Response(response) => assert_eq!(ours.status(), Some(response.status_code.clone().into())),
    }
    assert_eq!(ours.body.as_ref(), theirs.body());
    assert_eq!(ours.call_id().unwrap().as_ref(), theirs.call_id_header().unwrap().value().as_bytes());
    let cseq = theirs.cseq_header().unwrap().typed().unwrap();
    assert_eq!(ours.cseq().unwrap().seq, cseq.seq);
    assert_eq!(ours.cseq().unwrap().method.as_str(), cseq.method.to_string());
    let via = theirs.via_header().unwrap().typed().unwrap();
    let top = ours.top_via().unwrap();
    assert_eq!(top.transport(), via.transport.to_string());
    assert_eq!(top.host(), via.uri.host().to_string());
    assert_eq!(top.port(), via.uri.port().map(|port| *port.value()));
    assert_eq!(top.branch(), via.branch().map(|branch| branch.value().to_owned()));
    let from = theirs.from_header().unwrap().typed().unwrap();
    assert_eq!(ours.from().unwrap().tag(), from.tag().map(|tag| tag.value().to_owned()));
    assert_eq!(ours.from().unwrap().uri.text(), from.uri.to_string());
    let to = theirs.to_header().unwrap().typed().unwrap();
    assert_eq!(ours.to().unwrap().tag(), to.tag().map(|tag| tag.value().to_owned()));
    let contact = theirs.contact_header().unwrap().typed().unwrap();
    assert_eq!(ours.contact().unwrap().unwrap().uri.text(), contact.uri.to_string());
    assert_eq!(ours.max_forwards().unwrap().map(u32::from), Some(theirs.max_forwards_header().unwrap().num().unwrap()));
    // All lines, in order. Theirs count Content-Length, ours do not.
    let lines = theirs.headers().iter().filter(|header| !matches!(header, rsip::Header::ContentLength(_)));
    let theirs: Vec<String> = lines.map(ToString::to_string).collect();
    let ours: Vec<String> = ours
        .headers
        .iter()
        .map(|header| format!("{}: {}", header.name, String::from_utf8_lossy(header.value())))
        .collect();
    assert_eq!(ours, theirs);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0xca11_b0c5),
        ..ProptestConfig::default()
    })]

    #[test]
    fn both_read_plain_messages_alike(text in plain()) {
        let ours = wire::parse(text.as_bytes()).unwrap();
        compare(&ours, &SipMessage::try_from(text.as_bytes()).unwrap());
        // What we print, they read; what they print, we read.
        let printed = SipMessage::try_from(ours.to_vec()).unwrap();
        compare(&ours, &printed);
        let back = wire::parse(printed.to_string().as_bytes()).unwrap();
        // They print a reason phrase of their own.
        prop_assert_eq!((back.method(), back.status(), &back.headers, &back.body),
            (ours.method(), ours.status(), &ours.headers, &ours.body));
    }
}

/// What they read and we refuse must be something the RFC wants refused, and so is listed by name.
#[test]
fn where_we_are_stricter() {
    for (name, bytes) in [
        ("mismatch01", include_bytes!("rfc4475/mismatch01.dat").as_slice()),
        ("multi01", include_bytes!("rfc4475/multi01.dat")),
        ("mcl01", include_bytes!("rfc4475/mcl01.dat")),
        ("insuf", include_bytes!("rfc4475/insuf.dat")),
    ] {
        assert!(SipMessage::try_from(bytes).is_ok(), "{name}");
        assert!(wire::parse(bytes).is_err(), "{name}");
    }
    let ours = wire::parse(include_bytes!("rfc4475/wsinv.dat")).unwrap();
    assert!(SipMessage::try_from(include_bytes!("rfc4475/wsinv.dat").as_slice()).is_err());
    assert!(ours.headers.contains(Field::Route));
}
