//! The IPv6 messages of RFC 5118: addresses in URIs, in Via and in session descriptions, right and wrong.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_sip::sdp::{self, LocalMedia, SessionIds};
use callbox_sip::wire::{self, Message, ParseError};

fn message(request: &str, via: &str) -> Result<Message, ParseError> {
    let method = request.split(' ').next().unwrap();
    let text = format!(
        "{request} SIP/2.0\r\nTo: sip:user@example.com\r\nFrom: sip:user@example.com;tag=81x2\r\nVia: {via}\r\n\
         Call-ID: SSG9559905523997077@hlau_4100\r\nMax-Forwards: 70\r\nContact: \"Caller\" <sip:caller@[2001:db8::1]>\r\n\
         CSeq: 98176 {method}\r\nContent-Length: 0\r\n\r\n"
    );
    wire::parse(text.as_bytes())
}

const VIA: &str = "SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111";

/// §4.1 to §4.3: a reference with brackets, one without, and one whose port stands inside.
#[test]
fn references_in_the_request_uri() {
    let good = message("REGISTER sip:[2001:db8::10]", VIA).unwrap();
    assert_eq!(good.request_uri().unwrap().ip(), Some("2001:db8::10".parse().unwrap()));
    let error = message("REGISTER sip:2001:db8::10", VIA).unwrap_err();
    assert_eq!(error.rejection.unwrap().status, 400);
    let odd = message("REGISTER sip:[2001:db8::10:5070]", VIA).unwrap();
    let uri = odd.request_uri().unwrap();
    assert_eq!((uri.ip(), uri.port()), (Some("2001:db8::10:5070".parse().unwrap()), None));
    let port = message("REGISTER sip:[2001:db8::10]:5070", VIA).unwrap();
    assert_eq!(port.request_uri().unwrap().port(), Some(5070));
    for broken in ["sip:[2001:db8::10", "sip:[]", "sip:[1.2.3.4]", "sip:[2001:db8::g]", "sip:[2001:db8::1]x"] {
        assert!(message(&format!("REGISTER {broken}"), VIA).is_err(), "{broken}");
    }
}

/// §4.4 and §4.5: `received` with brackets, which the grammar forbids and old stacks send, and without.
#[test]
fn received() {
    for value in ["[2001:db8::9:255]", "2001:db8::9:255"] {
        let via = format!("SIP/2.0/UDP [2001:db8::9:1];received={value};branch=z9hG4bKas3");
        let top = message("BYE sip:user@host.example.com", &via).unwrap().top_via().unwrap();
        assert_eq!(top.received(), Some("2001:db8::9:255".parse().unwrap()));
        assert_eq!(top.branch().as_deref(), Some("z9hG4bKas3"));
    }
}

/// §4.6 to §4.8: descriptions with IPv6, mixed families in Via, several connections.
#[test]
fn descriptions_and_mixed_paths() {
    let local = LocalMedia::new("[2001:db8::9]:20000".parse().unwrap());
    let sdp = b"v=0\r\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\r\ns=Live video feed\r\nc=IN IP6 2001:db8::20\r\n\
        t=3338481189 3370017201\r\nm=audio 6000 RTP/AVP 2\r\na=rtpmap:2 G726-32/8000\r\nm=audio 6002 RTP/AVP 0\r\n\
        c=IN IP6 2001:db8::22\r\nm=video 6024 RTP/AVP 107\r\na=rtpmap:107 H263-1998/90000\r\n";
    let (_, negotiated) = sdp::answer(&local, &SessionIds { id: 1, version: 1 }, sdp).unwrap();
    assert_eq!(negotiated.remote, "[2001:db8::22]:6002".parse().unwrap());
    let via = "SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111, SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK2";
    let hops = message("OPTIONS sip:user@[2001:db8::10]", via).unwrap().vias().unwrap();
    assert_eq!(hops[0].ip(), Some("2001:db8::9:1".parse().unwrap()));
    assert_eq!(hops[1].ip(), Some("192.0.2.1".parse().unwrap()));
}

/// §4.9 and §4.10: addresses with IPv4 inside, with two colons and with the three of an old grammar.
#[test]
fn embedded_ipv4() {
    for (text, ip) in [
        ("[::ffff:192.0.2.10]", "::ffff:192.0.2.10"),
        ("[2001:db8::192.0.2.1]", "2001:db8::192.0.2.1"),
        ("[2001:db8:::192.0.2.1]", "2001:db8::192.0.2.1"),
    ] {
        let message =
            message(&format!("OPTIONS sip:user@{text}"), &format!("SIP/2.0/UDP {text};branch=z9hG4bK1")).unwrap();
        assert_eq!(message.request_uri().unwrap().ip(), Some(ip.parse().unwrap()), "{text}");
        assert_eq!(message.top_via().unwrap().ip(), Some(ip.parse().unwrap()), "{text}");
        assert_eq!(message.top_via().unwrap().host(), text, "what came goes back as it came");
    }
}
