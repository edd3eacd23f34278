//! What passes through: header fields of carriers reach the user of the stack raw and in order, and those that its user
//! writes reach the wire as they are (RFC 3325, RFC 5806, RFC 7044, RFC 7315, RFC 7433, RFC 7989, RFC 8224 …).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod lab;

use bytes::Bytes;
use callbox_sip::ua::DialogEvent;
use callbox_sip::wire::{Field, HeaderName};
use lab::{ANSWER, Bench, LIFE, OFFER, Pair, SDP, header, invite, request, response, to_tag};

/// An INVITE as a carrier sends it, line for line.
const CARRIER: &[(&str, &str)] = &[
    ("P-Asserted-Identity", "\"Müller, A.\" <sip:+4930123456@carrier.example;user=phone>, <tel:+4930123456>"),
    ("P-Preferred-Identity", "<sip:+4930999@pbx.example>"),
    ("Remote-Party-ID", "\"A\" <sip:100@pbx.example>;party=calling;screen=yes;privacy=off"),
    ("Privacy", "id;critical"),
    ("Diversion", "<sip:200@pbx.example>;reason=no-answer;counter=2;privacy=full"),
    ("Diversion", "<sip:100@pbx.example>;reason=unconditional"),
    ("History-Info", "<sip:300@pbx.example>;index=1, <sip:200@pbx.example?Reason=SIP%3Bcause%3D302>;index=1.1;rc=1"),
    ("Identity", "eyJhbGciOiJFUzI1NiJ9.e30.sig;info=<https://cert.example/a.pem>;alg=ES256;ppt=shaken"),
    ("User-to-User", "56a390f3d2b7310023a2;encoding=hex;purpose=foo;content=bar"),
    ("Session-ID", "ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000"),
    ("P-Charging-Vector", "icid-value=\"AyretyU0dm+6O2IrT5tAFrbHLso=\";orig-ioi=home1.net"),
    ("P-Early-Media", "supported"),
    ("P-Access-Network-Info", "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=2621207"),
    ("Geolocation", "<cid:target123@atlanta.example>"),
    ("Geolocation-Routing", "no"),
    ("Call-Info", "<http://www.example/alice/photo.jpg> ;purpose=icon, <http://www.example/>;purpose=info"),
    ("Alert-Info", "<urn:alert:service:call-waiting>"),
    ("X-Account", "  spaced   out ; a=1"),
    ("X-Account", "and again"),
    ("Feature-Caps", "*;+g.3gpp.srvcc"),
];

#[test]
fn what_a_carrier_says_of_a_call_reaches_its_user() {
    let mut bench = Bench::new();
    let lines: String = CARRIER.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    bench.put(&request(
        "INVITE",
        1,
        "inv",
        None,
        &format!("{lines}Authorization: Digest username=\"u\"\n{SDP}"),
        "v=0\n",
    ));
    let headers = &bench.calls[0].1.headers;
    let first = headers.iter().position(|(name, _)| name == "p-asserted-identity").unwrap();
    let found: Vec<(&str, &str)> =
        headers[first..first + CARRIER.len()].iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected: Vec<(String, &str)> =
        CARRIER.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim())).collect();
    assert_eq!(found, expected.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>());
    assert!(!headers.iter().any(|(name, _)| name == "authorization"), "credentials stay with the stack");
    assert_eq!(headers[0].0, "via", "all of it is there, in order");
}

#[test]
fn what_its_user_writes_reaches_the_wire() {
    let mut bench = Bench::new();
    let mut call = invite(1, 0, Some(OFFER));
    call.headers = CARRIER
        .iter()
        .map(|(name, value)| {
            let name = HeaderName::parse(&Bytes::copy_from_slice(name.as_bytes())).unwrap();
            (name, Bytes::from(value.trim().to_owned()))
        })
        .collect();
    bench.act(|end, now| end.invite(now, call)).unwrap();
    let lines: Vec<&str> = bench.last().lines().collect();
    let expected: Vec<String> = CARRIER.iter().map(|(name, value)| format!("{name}: {}", value.trim())).collect();
    let first = lines.iter().position(|line| *line == expected[0]).expect("the first is there");
    assert_eq!(lines[first..first + expected.len()], expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn reasons_are_told_in_every_message_that_ends_a_call() {
    // RFC 3326 in BYE and CANCEL, RFC 6432 and RFC 8606 in final responses.
    let q850 = "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\nReason: Q.850;cause=26;text=\"elsewhere\"\n";
    let mut cancelled = Bench::new();
    cancelled.put(&request("INVITE", 1, "inv", None, SDP, "v=0\n"));
    cancelled.put(&request("CANCEL", 1, "inv", None, q850, ""));
    let Some(DialogEvent::Ended { status: Some(487), q850: Some(26), reason, .. }) = cancelled.events.last() else {
        panic!("{:?}", cancelled.events)
    };
    assert_eq!(reason.as_deref(), Some("Call completed elsewhere"));
    for (status, extra, cause, text) in [
        ("603 Decline", "", None, "Decline"),
        ("607 Unwanted", "", None, "Unwanted"),
        ("608 Rejected", "Reason: Q.850;cause=21;location=LN\n", Some(21), "Rejected"),
        ("486 Busy Here", "Reason: Q.850;cause=17;text=\"user busy\"\n", Some(17), "user busy"),
        ("600 Busy Everywhere", "Reason: nonsense;;;\n", None, "Busy Everywhere"),
    ] {
        let mut bench = Bench::new();
        bench.act(|end, now| end.invite(now, invite(1, 0, Some(OFFER)))).unwrap();
        let ours = bench.take().pop().unwrap();
        bench.put(&response(&ours, status, "b", extra, ""));
        let Some(DialogEvent::Ended { status: Some(found), q850, reason: Some(reason), .. }) = bench.events.last()
        else {
            panic!("{:?}", bench.events)
        };
        assert_eq!((found.to_string().as_str(), *q850, reason.as_str()), (&status[..3], cause, text));
    }
}

#[test]
fn our_reasons_are_written_into_each_of_them() {
    let reason = Some((17, "busy".to_owned()));
    let mut pair = Pair::new(1);
    let (caller, callee) = pair.answered();
    pair.ends[0].hang_up(pair.now, caller, reason.clone()).unwrap();
    pair.run_ms(50);
    assert!(matches!(pair.of(1, callee).last(), Some(DialogEvent::Ended { q850: Some(17), status: None, .. })));
    let (caller, callee) = pair.call(Some(OFFER));
    pair.ends[0].hang_up(pair.now, caller, reason.clone()).unwrap();
    pair.run_ms(50);
    assert!(matches!(pair.of(1, callee).last(), Some(DialogEvent::Ended { q850: Some(17), status: Some(487), .. })));
    let (caller, callee) = pair.call(Some(OFFER));
    pair.ends[1].hang_up(pair.now, callee, reason).unwrap();
    pair.run_ms(50);
    assert!(matches!(pair.of(0, caller).last(), Some(DialogEvent::Ended { q850: Some(17), status: Some(486), .. })));
    let (caller, callee) = pair.call(Some(OFFER));
    let header = (Field::Reason.into(), Bytes::from_static(b"Q.850;cause=1;location=LN"));
    pair.ends[1].reject(pair.now, callee, 404, None, vec![header]).unwrap();
    pair.run_ms(50);
    assert!(matches!(pair.of(0, caller).last(), Some(DialogEvent::Ended { q850: Some(1), status: Some(404), .. })));
    pair.must_be_clean();
}

#[test]
fn subscriptions_and_messages_are_refused_so_that_they_are_not_repeated() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(&request("SUBSCRIBE", 1, "s", None, "Event: presence\n", "")), ["489 1 SUBSCRIBE"]);
    assert_eq!(header(bench.last(), "Allow-Events"), Some("refer"));
    assert_eq!(bench.ask(&request("MESSAGE", 1, "m", None, "Content-Type: text/plain\n", "hello")), ["405 1 MESSAGE"]);
    assert!(header(bench.last(), "Allow").unwrap().contains("PRACK"));
    // What a registrar or PBX tells unasked.
    let mwi = "Event: message-summary\nSubscription-State: active\nContent-Type: application/simple-message-summary\n";
    assert_eq!(bench.ask(&request("NOTIFY", 1, "n", None, mwi, "Messages-Waiting: yes\n")), ["200 1 NOTIFY"]);
    assert_eq!(bench.ask(&request("NOTIFY", 1, "n2", Some("gone"), mwi, "Messages-Waiting: no\n")), ["200 1 NOTIFY"]);
    assert_eq!(bench.ask(&request("NOTIFY", 1, "n3", None, "Event: presence\n", "")), ["481 1 NOTIFY"]);
    assert_eq!(bench.end.remembered(), (0, 0, 0));
    // In a dialog as well, which goes on.
    bench.put(&request("INVITE", 1, "inv", None, SDP, "v=0\n"));
    let leg = bench.calls[0].0;
    bench.act(|end, now| end.answer(now, leg, Bytes::from_static(ANSWER))).unwrap();
    let tag = to_tag(bench.last()).unwrap();
    bench.put(&request("ACK", 1, "ack", Some(&tag), "", ""));
    for (cseq, method, extra, answer) in [
        (2, "SUBSCRIBE", "Event: dialog\n", "489 2 SUBSCRIBE"),
        (3, "MESSAGE", "", "405 3 MESSAGE"),
        (4, "PUBLISH", "Event: presence\n", "405 4 PUBLISH"),
        (5, "OPTIONS", "", "200 5 OPTIONS"),
    ] {
        assert_eq!(bench.ask(&request(method, cseq, &format!("d{cseq}"), Some(&tag), extra, "")), [answer]);
    }
    for name in ["Allow", "Accept", "Supported"] {
        assert!(header(bench.last(), name).is_some(), "{name}");
    }
    bench.put(&request("BYE", 6, "bye", Some(&tag), "", ""));
    bench.run(LIFE);
    bench.must_be_clean();
}
