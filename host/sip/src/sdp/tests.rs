//! The rules of offer and answer, one table or story each.

mod codecs;
mod pairs;
mod protection;

use std::net::SocketAddr;

use super::*;

fn local() -> LocalMedia {
    LocalMedia { codecs: Codec::G711.to_vec(), ..LocalMedia::new("192.0.2.9:20000".parse().unwrap()) }
}

const IDS: SessionIds = SessionIds { id: 7, version: 100 };

/// A description with that media part; the address is 192.0.2.1.
fn sdp(media: &str) -> Vec<u8> {
    format!("v=0\r\no=x 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{media}").into_bytes()
}

fn answered(media: &str) -> (String, Negotiated) {
    let (text, negotiated) = answer(&local(), &IDS, &sdp(media)).unwrap_or_else(|error| panic!("{media}: {error}"));
    (String::from_utf8(text).unwrap(), negotiated)
}

fn media_lines(description: &str) -> Vec<&str> {
    description.lines().filter(|line| line.starts_with("m=")).collect()
}

fn ip(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn an_offer_in_full() {
    assert_eq!(
        String::from_utf8(Session::new(IDS).offer(&local())).unwrap(),
        "v=0\r\no=- 7 100 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
         m=audio 20000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    );
}

#[test]
fn an_answer_in_full() {
    let (text, negotiated) = answered(
        "m=audio 4000 RTP/AVP 9 8 0 96\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:96 telephone-event/8000\r\na=sendrecv\r\n",
    );
    assert_eq!(
        text,
        "v=0\r\no=- 7 100 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
         m=audio 20000 RTP/AVP 8 96\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:96 telephone-event/8000\r\n\
         a=fmtp:96 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    );
    assert_eq!(
        negotiated,
        Negotiated {
            codec: Codec::Pcma,
            payload_type: 8,
            formats: vec![(8, Codec::Pcma)],
            dtmf: Some(96),
            events: Vec::new(),
            comfort_noise: None,
            fec: false,
            dtx: false,
            remote: ip("192.0.2.1:4000"),
            remote_rtcp: ip("192.0.2.1:4001"),
            direction: Direction::SendRecv,
            ptime_ms: 20,
            security: Security::None,
        }
    );
}

/// Rules 1 and 2: as many lines as offered, in that order, one audio among them, the transport echoed.
#[test]
fn lines_keep_number_order_and_transport() {
    for (media, lines) in [
        ("m=audio 4000 RTP/AVP 0\nm=video 5000 RTP/AVP 31", &["m=audio 20000 RTP/AVP 0", "m=video 0 RTP/AVP 31"][..]),
        ("m=image 5000 udptl t38\nm=audio 4000 RTP/AVP 8 0", &["m=image 0 udptl t38", "m=audio 20000 RTP/AVP 8"]),
        ("m=audio 4000 RTP/SAVP 0\nm=audio 4000 RTP/AVP 0 8", &["m=audio 0 RTP/SAVP 0", "m=audio 20000 RTP/AVP 0"]),
        ("m=audio 4000 RTP/AVP 0\nm=audio 4002 RTP/AVP 8", &["m=audio 20000 RTP/AVP 0", "m=audio 0 RTP/AVP 8"]),
        ("m=audio 4000 RTP/AVP 18\nm=audio 4002 RTP/AVP 8", &["m=audio 0 RTP/AVP 18", "m=audio 20000 RTP/AVP 8"]),
        ("m=audio 0 RTP/AVP 0\nm=audio 4002 RTP/AVP 8", &["m=audio 0 RTP/AVP 0", "m=audio 20000 RTP/AVP 8"]),
        ("m=audio 4000 RTP/AVPF 0", &["m=audio 20000 RTP/AVPF 0"]),
        ("m=AUDIO 4000 rtp/avp 0", &["m=audio 20000 rtp/avp 0"]),
        ("m=text 5000 RTP/AVP 98 99\nm=audio 4000/2 RTP/AVP 0", &["m=text 0 RTP/AVP 98 99", "m=audio 20000 RTP/AVP 0"]),
    ] {
        assert_eq!(media_lines(&answered(media).0), lines, "{media}");
    }
}

/// Rule 3: numbers are the offerer's, names know no case, static types need no rtpmap, digits need the clock of the audio.
#[test]
fn payload_types() {
    for (media, payload_type, codec, dtmf) in [
        ("m=audio 4000 RTP/AVP 0", 0, Codec::Pcmu, None),
        ("m=audio 4000 RTP/AVP 8 0 101", 8, Codec::Pcma, None),
        ("m=audio 4000 RTP/AVP 96\na=rtpmap:96 pcma/8000/1", 96, Codec::Pcma, None),
        ("m=audio 4000 RTP/AVP 96 8\na=rtpmap:96 PCMA/16000", 8, Codec::Pcma, None),
        ("m=audio 4000 RTP/AVP 96 8\na=rtpmap:96 PCMU/8000/2", 8, Codec::Pcma, None),
        ("m=audio 4000 RTP/AVP 0 8\na=rtpmap:0 G726-32/8000", 8, Codec::Pcma, None),
        ("m=audio 4000 RTP/AVP 0 8\na=rtpmap:0 PCMU", 0, Codec::Pcmu, None),
        (
            "m=audio 4000 RTP/AVP 111 0 110 101\na=rtpmap:111 opus/48000/2\na=rtpmap:110 telephone-event/48000\n\
             a=rtpmap:101 Telephone-Event/8000\na=fmtp:101 0-16",
            0,
            Codec::Pcmu,
            Some(101),
        ),
        ("m=audio 4000 RTP/AVP 0 110\na=rtpmap:110 telephone-event/48000", 0, Codec::Pcmu, None),
        // telephone-event that the line does not list is not offered.
        ("m=audio 4000 RTP/AVP 0\na=rtpmap:101 telephone-event/8000", 0, Codec::Pcmu, None),
        // A fmtp without value, numbers out of range, repeated formats.
        ("m=audio 4000 RTP/AVP 999 -1 x 0 0 8\na=fmtp\na=fmtp:\na=rtpmap:999 PCMA/8000", 0, Codec::Pcmu, None),
    ] {
        let (text, negotiated) = answered(media);
        assert_eq!(
            (negotiated.payload_type, negotiated.codec, negotiated.dtmf),
            (payload_type, codec, dtmf),
            "{media}"
        );
        let dtmf = dtmf.map(|number| format!(" {number}")).unwrap_or_default();
        assert_eq!(media_lines(&text), [format!("m=audio 20000 RTP/AVP {payload_type}{dtmf}")]);
    }
    let pcma_only = LocalMedia { codecs: vec![Codec::Pcma], dtmf: false, ..local() };
    let offer = sdp("m=audio 4000 RTP/AVP 0 8 101\na=rtpmap:101 telephone-event/8000");
    let (_, negotiated) = answer(&pcma_only, &IDS, &offer).unwrap();
    assert_eq!((negotiated.codec, negotiated.dtmf), (Codec::Pcma, None));
}

/// Rule 4.
#[test]
fn packet_times() {
    for (media, ptime) in [
        ("", 20),
        ("a=ptime:30", 30),
        ("a=ptime:20.0", 20),
        ("a=ptime:0", 20),
        ("a=ptime:x", 20),
        ("a=ptime:5", 10),
        ("a=ptime:25", 20),
        ("a=ptime:4000000000000", 20),
        ("a=ptime:200", 60),
        ("a=maxptime:10", 10),
        ("a=ptime:40\r\na=maxptime:30", 30),
    ] {
        let (text, negotiated) = answered(&format!("m=audio 4000 RTP/AVP 0\r\n{media}\r\n"));
        assert_eq!(negotiated.ptime_ms, ptime, "{media}");
        assert!(text.contains(&format!("a=ptime:{ptime}\r\n")));
    }
}

/// Rule 5, with our own wish and the hold of RFC 2543.
#[test]
fn directions() {
    use Direction::*;
    for (session, media, wish, expected) in [
        ("", "", SendRecv, SendRecv),
        ("", "a=sendonly", SendRecv, RecvOnly),
        ("", "a=recvonly", SendRecv, SendOnly),
        ("", "a=inactive", SendRecv, Inactive),
        ("a=sendonly\r\n", "", SendRecv, RecvOnly),
        ("a=sendonly\r\n", "a=sendrecv", SendRecv, SendRecv),
        ("", "a=sendrecv", SendOnly, SendOnly),
        ("", "a=sendonly", SendOnly, Inactive),
        ("", "a=recvonly", SendOnly, SendOnly),
        ("", "a=sendrecv", Inactive, Inactive),
        ("", "c=IN IP4 0.0.0.0", SendRecv, RecvOnly),
        ("", "c=IN IP4 0.0.0.0\r\na=sendonly", SendRecv, RecvOnly),
        ("", "c=IN IP4 0.0.0.0\r\na=inactive", SendRecv, Inactive),
        ("", "c=IN IP4 0.0.0.0\r\na=recvonly", SendRecv, Inactive),
        ("", "c=IN IP6 ::\r\na=sendonly", SendRecv, RecvOnly),
    ] {
        let offer = sdp(&format!("{session}m=audio 4000 RTP/AVP 0\r\n{media}\r\n"));
        let (text, negotiated) = answer(&local().with_direction(wish), &IDS, &offer).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(negotiated.direction, expected, "{session}{media} {wish:?}");
        assert!(text.contains(&format!("a={}\r\n", expected.as_str())), "{text}");
    }
}

/// Rule 6: the id stays, the version counts changes, and the same again is the same.
#[test]
fn versions_count_changes() {
    let mut session = Session::new(IDS);
    let version = |description: &[u8]| {
        let text = String::from_utf8(description.to_vec()).unwrap();
        let origin = text.lines().nth(1).unwrap().to_owned();
        assert!(origin.starts_with("o=- 7 "), "{origin}");
        origin.split(' ').nth(2).unwrap().parse::<u64>().unwrap()
    };
    let offer = sdp("m=audio 4000 RTP/AVP 0\r\n");
    let hold = sdp("m=audio 4000 RTP/AVP 0\r\na=sendonly\r\n");
    let (first, _) = session.answer(&local(), &offer).unwrap();
    let (again, _) = session.answer(&local(), &offer).unwrap();
    assert_eq!(first, again);
    assert_eq!(version(&session.answer(&local(), &hold).unwrap().0), 101);
    assert_eq!(version(&session.answer(&local(), &offer).unwrap().0), 102);
    assert_eq!(version(&session.offer(&local())), 103);
    session.withdraw();
    assert_eq!(version(&session.offer(&local().with_direction(Direction::SendOnly))), 104);
}

/// Rule 7: our offer goes out late, its answer comes with the ACK.
#[test]
fn late_offer() {
    let mut session = Session::new(IDS);
    session.offer(&local());
    assert!(session.has_pending_offer());
    let theirs = sdp("m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n");
    let negotiated = session.accept(&local(), &theirs).unwrap();
    assert_eq!((negotiated.codec, negotiated.dtmf), (Codec::Pcma, Some(101)));
    assert_eq!(session.negotiated(), Some(&negotiated));
    assert!(!session.has_pending_offer());
    assert_eq!(session.accept(&local(), &theirs), Err(SdpError::NoOffer));
}

/// Rule 8: what fails changes nothing.
#[test]
fn a_failed_change_leaves_the_session() {
    let mut session = Session::new(IDS);
    let (_, before) = session.answer(&local(), &sdp("m=audio 4000 RTP/AVP 0\r\n")).unwrap();
    for bad in ["m=audio 4000 RTP/AVP 18\r\n", "m=image 4000 udptl t38\r\n", "m=audio 0 RTP/AVP 0\r\n", ""] {
        assert!(session.answer(&local(), &sdp(bad)).is_err());
        assert_eq!(session.negotiated(), Some(&before));
    }
    session.offer(&local().with_direction(Direction::Inactive));
    assert_eq!(session.accept(&local(), &sdp("m=audio 0 RTP/AVP 0\r\n")), Err(SdpError::Refused));
    assert_eq!(session.negotiated(), Some(&before));
}

/// RFC 3264 §8: a later offer of ours keeps the lines, the numbers and the codec of the session.
#[test]
fn later_offers_keep_their_shape() {
    let mut session = Session::new(IDS);
    let offer =
        "m=video 5000 RTP/AVP 31\r\nm=audio 4000 RTP/AVP 8 96\r\na=rtpmap:96 telephone-event/8000\r\na=ptime:30\r\n";
    session.answer(&local(), &sdp(offer)).unwrap();
    let hold = String::from_utf8(session.offer(&local().with_direction(Direction::SendOnly))).unwrap();
    assert_eq!(media_lines(&hold), ["m=video 0 RTP/AVP 31", "m=audio 20000 RTP/AVP 8 0 96"]);
    assert!(
        hold.contains("a=sendonly\r\n") && hold.contains("a=ptime:30\r\n") && hold.contains("a=rtpmap:96 telephone")
    );
    // An answer that leaves out a dead line or two is wrong and harmless as long as ours is in its place.
    let answer =
        "m=video 0 RTP/AVP 31\r\nm=audio 4100 RTP/AVP 8 96\r\na=rtpmap:96 telephone-event/8000\r\na=recvonly\r\n";
    let negotiated = session.accept(&local().with_direction(Direction::SendOnly), &sdp(answer)).unwrap();
    assert_eq!((negotiated.direction, negotiated.remote), (Direction::SendOnly, ip("192.0.2.1:4100")));
    session.offer(&local());
    assert!(session.accept(&local(), &sdp("m=audio 4000 RTP/AVP 8\r\n")).is_ok(), "the dead line left out");
    session.offer(&local());
    assert_eq!(session.accept(&local(), &sdp("m=video 0 RTP/AVP 31\r\n")), Err(SdpError::Shape));
    // A number that the far end moved to another codec is not given out twice.
    let mut odd = Session::new(IDS);
    odd.answer(
        &local(),
        &sdp("m=audio 4000 RTP/AVP 8 0\r\na=rtpmap:8 PCMU/8000\r\na=rtpmap:0 telephone-event/8000\r\n"),
    )
    .unwrap();
    assert_eq!(media_lines(&String::from_utf8(odd.offer(&local())).unwrap()), ["m=audio 20000 RTP/AVP 8 96 0"]);
}

/// Rule 9.
#[test]
fn rtcp_and_attributes_that_are_not_for_us() {
    for (attributes, rtcp, said) in [
        ("", "192.0.2.1:4001", ""),
        ("a=rtcp:4711", "192.0.2.1:4711", ""),
        ("a=rtcp:4711 IN IP4 192.0.2.77", "192.0.2.77:4711", ""),
        ("a=rtcp:x", "192.0.2.1:4001", ""),
        ("a=rtcp:4711 IN IP4 host.example", "192.0.2.1:4711", ""),
        ("a=rtcp-mux", "192.0.2.1:4000", "a=rtcp-mux\r\n"),
        (
            "a=ice-ufrag:x\na=ice-pwd:y\na=candidate:1 1 UDP 1 10.0.0.1 9 typ host\na=mid:0\na=label:1",
            "192.0.2.1:4001",
            "",
        ),
    ] {
        let (text, negotiated) = answered(&format!("m=audio 4000 RTP/AVP 0\n{attributes}\n"));
        assert_eq!(negotiated.remote_rtcp, ip(rtcp), "{attributes}");
        assert!(text.ends_with(&format!("a=sendrecv\r\n{said}")), "{text}");
    }
    let apart = LocalMedia { rtcp_port: 20005, rtcp_mux: false, ..local() };
    let (text, negotiated) = answer(&apart, &IDS, &sdp("m=audio 65535 RTP/AVP 0\na=rtcp-mux\n")).unwrap();
    assert!(String::from_utf8(text).unwrap().ends_with("a=rtcp:20005\r\n"));
    assert_eq!(negotiated.remote_rtcp, ip("192.0.2.1:65535"));
}

/// Rule 10, with everything that makes a description useless.
#[test]
fn refusals_say_what_to_change() {
    for (offer, status, warning) in [
        (sdp("m=audio 4000 RTP/AVP 18 9\r\n"), 488, Some("305")),
        (sdp("m=audio 4000 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n"), 488, Some("305")),
        (sdp("m=video 4000 RTP/AVP 31\r\n"), 488, Some("304")),
        (sdp(""), 488, Some("304")),
        (sdp("m=audio 0 RTP/AVP 0\r\n"), 488, Some("304")),
        (sdp("m=audio 4000 RTP/SAVP 0\r\n"), 488, Some("302")),
        (sdp("m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n"), 488, Some("302")),
        (sdp("m=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\n"), 488, Some("301")),
        (sdp("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 media.example.com\r\n"), 488, Some("301")),
        (sdp("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 224.2.1.1/127\r\n"), 488, Some("301")),
        (sdp(&"m=video 4000 RTP/AVP 31\r\n".repeat(33)), 488, Some("304")),
        (sdp("m=audio 65536 RTP/AVP 0\r\n"), 400, None),
        (sdp("m=audio -1 RTP/AVP 0\r\n"), 400, None),
        (sdp("m=audio 4000\r\n"), 400, None),
        (b"v=1\r\nm=audio 4000 RTP/AVP 0\r\n".to_vec(), 400, None),
        (b"".to_vec(), 400, None),
        (b"\0\0\0\0".to_vec(), 400, None),
        (b"<audio><pcmu port=\"443\"/></audio>".to_vec(), 400, None),
    ] {
        let error = answer(&local(), &IDS, &offer).unwrap_err();
        let text = String::from_utf8_lossy(&offer);
        assert_eq!(error.status(), status, "{text}: {error}");
        assert_eq!(error.warning().map(|text| &text[..3]), warning, "{text}: {error}");
    }
}

/// Descriptions that are wrong in ways seen in the field, all of which must give a call.
#[test]
fn sloppy_descriptions() {
    let whole = "v=0\no=x 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP 0\na=sendrecv\n";
    for (why, text) in [
        ("LF only", whole.to_owned()),
        ("CR only", whole.replace('\n', "\r")),
        ("no line end at the end", whole.trim_end().to_owned()),
        ("no s=", whole.replace("s=-\n", "")),
        ("no t=", whole.replace("t=0 0\n", "")),
        ("no o=", whole.replace("o=x 1 1 IN IP4 192.0.2.1\n", "")),
        ("no v=", whole.replace("v=0\n", "")),
        ("no c=, the address of o= will do", whole.replace("c=IN IP4 192.0.2.1\n", "")),
        ("c= of the media only", whole.replace("c=IN IP4 192.0.2.1\n", "") + "c=IN IP4 192.0.2.1\n"),
        ("c= after a=", whole.replace("c=IN IP4 192.0.2.1\n", "") + "a=x\nc=IN IP4 192.0.2.1\n"),
        ("c= without words, then a good one", whole.replace("c=", "c=\nc=")),
        ("two c=", whole.replace("t=0 0", "c=IN IP4 192.0.2.200\nt=0 0")),
        ("unknown lines", whole.replace("t=0 0", "x=1\nq\n=\n===\nt=0 0")),
        ("broken t=, b=, r=, z=, k=", whole.replace("t=0 0", "t=now\nb=AS\nr=\nz=1\nk=")),
        ("a= before t=", whole.replace("t=0 0", "a=x\nt=0 0")),
        ("a= without a name", whole.replace("t=0 0", "a=\na=:x\nt=0 0")),
        ("session id that is no number", whole.replace("x 1 1", "x abc 1")),
        ("version beyond 64 bits", whole.replace("x 1 1", "x 1 99999999999999999999999999")),
        ("origin that lacks words", whole.replace("o=x 1 1 IN IP4 192.0.2.1", "o=x")),
        ("blank line in the middle", whole.replace("t=0 0", "\nt=0 0\n\n")),
        ("blanks in front", whole.replace('\n', "\n  ").replace("v=0", "  v=0")),
        ("blanks at the end", whole.replace('\n', " \t\n")),
        ("wide m=", whole.replace("audio 4000 RTP/AVP 0", "audio   4000  RTP/AVP   0 ")),
        ("blank before the equal sign", whole.replace("m=", "m =")),
        ("Latin-1", whole.replace("s=-", "s=M\u{fc}ller")),
        ("SDES beside AVP", format!("{whole}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\n")),
        ("zero bytes at the end", format!("{whole}\0\0")),
    ] {
        let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
        let (_, negotiated) = answer(&local(), &IDS, &bytes).unwrap_or_else(|error| panic!("{why}: {error}"));
        assert_eq!(negotiated.remote, ip("192.0.2.1:4000"), "{why}");
    }
}

#[test]
fn ipv6() {
    let local = LocalMedia::new(ip("[2001:db8::9]:20000"));
    let offer =
        b"v=0\r\no=x 1 1 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 2001:db8::1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let (text, negotiated) = answer(&local, &IDS, offer).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("o=- 7 100 IN IP6 2001:db8::9\r\n") && text.contains("c=IN IP6 2001:db8::9\r\n"), "{text}");
    assert_eq!(negotiated.remote, ip("[2001:db8::1]:4000"));
    assert!(matches!(answer(&local, &IDS, &sdp("m=audio 4000 RTP/AVP 0")), Err(SdpError::Address(_))));
}

#[test]
fn no_address_at_all_is_no_hold() {
    for offer in
        ["m=audio 4000 RTP/AVP 0\r\n", "v=0\r\no=x 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"]
    {
        let refused = answer(&local(), &IDS, offer.as_bytes());
        assert!(matches!(refused, Err(SdpError::Address(_))), "{offer:?}: {refused:?}");
    }
    let hold = "v=0\r\no=x 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    assert!(answer(&local(), &IDS, hold.as_bytes()).unwrap().1.remote.ip().is_unspecified());
}

/// 64 kB of formats and attributes in one line must not cost the square of that.
#[test]
fn a_flood_of_formats_stays_cheap() {
    let offer = format!("m=audio 4000 RTP/AVP{}\r\n{}", " 0 8 96".repeat(5000), "a=rtpmap:96 x/8000\r\n".repeat(2000));
    let (_, negotiated) = answer(&local(), &IDS, &sdp(&offer)).unwrap();
    assert_eq!(negotiated.codec, Codec::Pcmu);
}
