//! The torture test messages of RFC 4475, byte for byte, each with what this user agent must make of it: what it
//! answers on the wire stands in `docs/rfc4475.md`, which is read and checked here, and what each layer makes of it below.
//!
//! Where the RFC leaves a choice (a generous reader may take what a strict one refuses), the comment says which we
//! took. The files are those of the RFC's own archive; `test.dat` is an extra of the same collection.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod lab;

use bytes::{Bytes, BytesMut};
use callbox_sip::sdp::{self, LocalMedia, SessionIds};
use callbox_sip::ua::Incoming;
use callbox_sip::wire::{self, Field, Frame, Message, Method, Scheme, Support};
use std::time::Duration;

/// What must become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It goes on to the transaction layer.
    Taken,
    /// It is answered with this status, from the wire or by the checks of RFC 3261 §8.2.
    Answered(u16),
    /// It is dropped without a word.
    Silence,
}
use Verdict::{Answered, Silence, Taken};

const METHODS: [Method; 6] =
    [Method::Invite, Method::Ack, Method::Cancel, Method::Bye, Method::Options, Method::Register];

/// REGISTER is among the methods here, so that the messages about it are looked at beyond their method.
const SUPPORT: Support<'_> =
    Support { methods: &METHODS, extensions: &["100rel", "timer"], session: "application/sdp" };

macro_rules! message {
    ($name:literal) => {
        ($name, include_bytes!(concat!("rfc4475/", $name, ".dat")).as_slice())
    };
}

type Case = ((&'static str, &'static [u8]), Verdict);

const CASES: &[Case] = &[
    // §3.1.1 Valid messages.
    (message!("wsinv"), Taken),
    (message!("intmeth"), Answered(501)), // Valid; a method that nobody knows.
    (message!("esc01"), Taken),
    (message!("escnull"), Taken),
    (message!("esc02"), Answered(501)), // Valid; `RE%47IST%45R` is not REGISTER.
    (message!("lwsdisp"), Taken),
    (message!("longreq"), Taken),
    (message!("dblreq"), Taken), // The first of two; a datagram holds one.
    (message!("semiuri"), Taken),
    (message!("transports"), Taken),
    (message!("mpart01"), Answered(405)), // Valid; MESSAGE is not served.
    (message!("unreason"), Taken),
    (message!("noreason"), Taken),
    // §3.1.2 Invalid messages.
    (message!("badinv01"), Answered(400)),
    (message!("clerr"), Answered(400)),
    (message!("ncl"), Answered(400)),
    (message!("scalar02"), Answered(400)),
    (message!("scalarlg"), Silence), // A response.
    (message!("quotbal"), Answered(400)),
    (message!("ltgtruri"), Answered(400)),
    (message!("lwsruri"), Answered(400)),
    (message!("lwsstart"), Answered(400)),
    (message!("trws"), Taken), // Choice: blanks at the end of the line mislead nobody.
    (message!("escruri"), Answered(400)),
    (message!("baddate"), Taken), // Choice: Date is not read.
    (message!("regbadct"), Answered(400)),
    (message!("badaspec"), Taken), // Choice: blanks inside the brackets are left out.
    (message!("baddn"), Answered(400)),
    (message!("badvers"), Answered(505)),
    (message!("mismatch01"), Answered(400)),
    (message!("mismatch02"), Answered(501)),
    (message!("bigcode"), Silence),
    // §3.2 Transaction layer.
    (message!("badbranch"), Taken),
    // §3.3 Application layer.
    (message!("insuf"), Answered(400)),
    (message!("unkscm"), Answered(416)),
    (message!("novelsc"), Answered(416)),
    (message!("unksm2"), Taken), // Schemes of From and Contact are the registrar's business.
    (message!("bext01"), Answered(420)),
    (message!("invut"), Answered(415)),
    (message!("regaut01"), Taken), // An unknown scheme of Authorization is as good as none.
    (message!("multi01"), Answered(400)),
    (message!("mcl01"), Answered(400)),
    (message!("bcast"), Taken),  // Readable; a second Via is what makes a client drop it.
    (message!("zeromf"), Taken), // An end point does not forward.
    (message!("cparam01"), Taken),
    (message!("cparam02"), Taken),
    (message!("regescrt"), Taken),
    (message!("sdp01"), Answered(406)),
    // §3.4 Backward compatibility.
    (message!("inv2543"), Taken),
    // Not in the RFC: a request line without version, no Via to answer to.
    (message!("test"), Silence),
];

/// The table for people: message, section, what it is, answer, why.
const TABLE: &str = include_str!("../../../docs/rfc4475.md");

#[test]
fn the_table_says_what_happens_on_the_wire() {
    let mut rows = 0;
    for row in TABLE.lines().filter(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _section, _what, answer, _why] = cells[..] else { panic!("five columns: {row}") };
        let ((_, bytes), _) = CASES.iter().find(|((found, _), _)| *found == name).unwrap();
        rows += 1;
        let mut bench = lab::Bench::new();
        let (now, flow) = (bench.now, bench.way);
        bench.act(|end, _| end.receive(now, Incoming { bytes: Bytes::from_static(bytes), flow, age: Duration::ZERO }));
        let statuses: Vec<String> = bench.names().iter().map(|name| name[..3].to_owned()).collect();
        let wanted: &[&str] = if answer == "silence" { &[] } else { &[answer] };
        assert_eq!(statuses, wanted, "{name}");
        // Nothing of it stays, whatever it was.
        bench.run(Duration::from_secs(200));
        bench.must_be_clean();
    }
    assert_eq!(rows, CASES.len());
}

fn verdict(bytes: &[u8]) -> Verdict {
    let rejection = match wire::parse(bytes) {
        Ok(message) => match wire::screen(&message, &SUPPORT) {
            Ok(()) => return Taken,
            Err(rejection) => rejection,
        },
        Err(error) => match error.rejection {
            Some(rejection) => rejection,
            None => return Silence,
        },
    };
    // Whatever is sent back is itself a message that reads, or repeats fields that do not.
    let answer = rejection.response("tag");
    assert_eq!(answer.status(), Some(rejection.status));
    assert!(answer.headers.contains(Field::Via), "an answer needs a way back");
    Answered(rejection.status)
}

#[test]
fn every_message_gets_its_verdict() {
    let wrong: Vec<String> = CASES
        .iter()
        .filter_map(|((name, bytes), expected)| {
            let found = verdict(bytes);
            let why = wire::parse(bytes).err().map(|error| error.to_string()).unwrap_or_default();
            (found != *expected).then(|| format!("{name}: {found:?} instead of {expected:?} {why}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_message_of_the_folder_is_left_out() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rfc4475");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".dat")?.to_owned()))
        .collect();
    let mut cases: Vec<String> = CASES.iter().map(|((name, _), _)| (*name).to_owned()).collect();
    files.sort();
    cases.sort();
    assert_eq!(cases, files);
}

#[test]
fn what_is_taken_prints_and_reads_the_same() {
    for ((name, bytes), _) in CASES {
        let Ok(message) = wire::parse(bytes) else { continue };
        let again = wire::parse(&message.to_vec()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(again, message, "{name}");
    }
}

#[test]
fn a_stream_gives_the_same_as_datagrams() {
    for ((name, bytes), _) in CASES {
        let Ok(message) = wire::parse(bytes) else { continue };
        // Over a stream a message needs its length (`inv2543` has none).
        let mut buffer = BytesMut::from(&message.to_vec()[..]);
        match wire::frame(&mut buffer) {
            Ok(Some(Frame::Message(frame))) => assert_eq!(wire::parse_bytes(frame).unwrap(), message, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        assert!(buffer.is_empty(), "{name}");
    }
}

fn read(name: &str) -> Message {
    let ((_, bytes), _) = CASES.iter().find(|((found, _), _)| *found == name).unwrap();
    wire::parse(bytes).unwrap()
}

/// §3.1.1.1: what is inside the short tortuous INVITE.
#[test]
fn the_tortuous_invite_in_detail() {
    let message = read("wsinv");
    assert_eq!(message.method(), Some(&Method::Invite));
    assert_eq!(message.request_uri().unwrap().text(), "sip:vivekg@chair-dnrc.example.com;unknownparam");
    let to = message.to().unwrap();
    assert_eq!(
        (to.uri.text().as_ref(), to.tag().as_deref()),
        ("sip:vivekg@chair-dnrc.example.com", Some("1918181833n"))
    );
    let from = message.from().unwrap();
    assert_eq!((from.display_text().as_str(), from.tag().as_deref()), ("J Rosenberg \\\"", Some("98asjd8")));
    assert_eq!(message.max_forwards(), Ok(Some(68)));
    assert_eq!(message.call_id().unwrap().as_ref(), b"wsinv.ndaksdj@192.0.2.1");
    assert_eq!((message.cseq().unwrap().seq, message.cseq().unwrap().method), (9, Method::Invite));
    let vias = message.vias().unwrap();
    let hops: Vec<_> = vias.iter().map(|via| (via.transport(), via.host(), via.branch().unwrap())).collect();
    assert_eq!(
        hops,
        [
            ("UDP", "192.0.2.2", "390skdjuw".to_owned()),
            ("TCP", "spindle.example.com", "z9hG4bK9ikj8".to_owned()),
            ("UDP", "192.168.255.111", "z9hG4bK30239".to_owned()),
        ]
    );
    assert_eq!(message.headers.text(Field::Subject).as_deref(), Some(""));
    assert_eq!(
        message.headers.text("newfangledheader").as_deref(),
        Some("newfangled value continued newfangled value")
    );
    assert_eq!(message.headers.text("UnknownHeaderWithUnusualValue").as_deref(), Some(";;,,;;,;"));
    let route = &message.addresses(Field::Route).unwrap()[0];
    assert!(route.uri.is_loose());
    assert_eq!(route.uri.text(), "sip:services.example.com;lr;unknownwith=value;unknown-no-value");
    let contact = message.contact().unwrap().unwrap();
    assert_eq!(contact.display_text(), "Quoted string \"\"");
    assert_eq!(contact.params.text("newparam").as_deref(), Some("newvalue"));
    assert_eq!(contact.params.text("q").as_deref(), Some("0.33"));
    assert_eq!(message.body.len(), 150);
    // Two addresses, one for the session and one for its owner; PCMU is offered.
    let local = LocalMedia::new("192.0.2.9:20000".parse().unwrap());
    let (_, negotiated) = sdp::answer(&local, &SessionIds { id: 1, version: 1 }, &message.body).unwrap();
    assert_eq!(negotiated.remote, "192.0.2.4:49217".parse().unwrap());
}

/// Details that the other valid messages are about.
#[test]
fn details_of_the_valid_messages() {
    let message = read("intmeth");
    assert_eq!(message.method().unwrap().as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
    let uri = message.request_uri().unwrap();
    assert_eq!((uri.scheme(), uri.host()), (Scheme::Sip, "example.com"));
    assert_eq!(message.to().unwrap().display_text(), "BEL:\u{7} NUL:\0 DEL:\u{7f}");
    assert_eq!(message.from().unwrap().display_text(), "token1~` token2'+_ token3*%!.-");

    let message = read("esc01");
    assert_eq!(message.request_uri().unwrap().user_text().as_deref(), Some("sips:user@example.com"));
    assert_eq!(message.to().unwrap().uri.user_text().as_deref(), Some("user"));
    let contact = message.contact().unwrap().unwrap();
    assert_eq!(contact.uri.user_text().as_deref(), Some("caller"));
    assert!(!contact.uri.is_loose(), "`%6C%72` as a name is not `lr`: names are compared as received");
    assert_eq!(contact.uri.param("n%61me").as_deref(), Some(&b"value%41"[..]));

    let message = read("escnull");
    let users: Vec<_> = message.addresses(Field::Contact).unwrap().iter().map(|one| one.uri.user_text()).collect();
    assert_eq!(users, [Some("\0".to_owned()), Some("\0\0".to_owned())]);

    let message = read("esc02");
    assert_eq!(message.addresses(Field::Contact).unwrap().len(), 2, "`C%6Fntact` is another field");
    assert_eq!(message.to().unwrap().display_text(), "%Z%45");

    let message = read("semiuri");
    assert_eq!(message.request_uri().unwrap().user(), Some(&b"user;par=u%40example.net"[..]));
    assert_eq!(message.headers.get_all(Field::Accept).count(), 6);

    let message = read("transports");
    let transports: Vec<_> = message.vias().unwrap().iter().map(|via| via.transport().to_owned()).collect();
    assert_eq!(transports, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);

    let message = read("noreason");
    assert_eq!(message.status(), Some(100));
    assert!(matches!(message.start, wire::StartLine::Response { ref reason, .. } if reason.is_empty()));

    let message = read("dblreq");
    assert_eq!(message.method(), Some(&Method::Register));
    assert!(message.body.is_empty());

    assert_eq!(read("badbranch").top_via().unwrap().transaction_branch(), None);
    assert_eq!(read("mpart01").body.len(), 553);
}

/// The answers name what was wrong.
#[test]
fn rejections_help_the_sender() {
    let rejection = |name: &str| wire::screen(&read(name), &SUPPORT).unwrap_err();
    let headers = rejection("bext01").headers;
    assert_eq!(headers.text(Field::Unsupported).as_deref(), Some("nothingSupportsThis, nothingSupportsThisEither"));
    assert!(rejection("mpart01").headers.lists(Field::Allow, "OPTIONS"));
    assert!(rejection("invut").headers.lists(Field::Accept, "application/sdp"));
    let ((_, bytes), _) = CASES.iter().find(|((name, _), _)| *name == "quotbal").unwrap();
    let rejection = wire::parse(bytes).unwrap_err().rejection.unwrap();
    assert_eq!(rejection.reason, "Bad Request (To: quoted string does not end)");
}
