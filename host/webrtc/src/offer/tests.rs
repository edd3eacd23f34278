#![allow(clippy::unwrap_used, reason = "a test may panic")]
use super::*;
use crate::answer::{self, Agreement, Candidate, Local, Policy};
use proptest::prelude::*;
use std::net::SocketAddr;

const CHROMIUM: &str = include_str!("../../fuzz/corpus/offer/chromium");
const FIREFOX: &str = include_str!("../../fuzz/corpus/offer/firefox");
const DATA_FIRST: &str = include_str!("../../fuzz/corpus/offer/data_first");

fn answered(sdp: &str, policy: &Policy) -> (Agreement, String) {
    let offer = Offer::parse(sdp).unwrap();
    let agreed = answer::agree(&offer, policy).unwrap();
    let ice = IceCredentials { ufrag: "ours".into(), pwd: "our-password-of-22-chars".into() };
    let local = Local {
        candidates: &[
            Candidate { address: SocketAddr::from(([203, 0, 113, 1], 3_478)), tcp: false },
            Candidate { address: SocketAddr::from(([203, 0, 113, 1], 3_479)), tcp: true },
        ],
        ice: &ice,
        fingerprint: &[0xAB; 32],
        ssrc: 77,
        cname: "us",
        session: 9,
        version: 1,
        max_message: 1_000,
    };
    let sdp = answer::write(&offer, &agreed, policy.dtx, &local);
    (agreed, sdp)
}

#[test]
fn chromiums_offer_is_answered_line_by_line() {
    let (agreed, sdp) = answered(CHROMIUM, &Policy::default());
    assert_eq!((agreed.codec, agreed.payload_type, agreed.dtmf), (Codec::Opus, 111, Some(110)));
    assert!(agreed.fec && !agreed.dtx && agreed.data && agreed.events == [126] && agreed.comfort_noise.is_none());
    let transport = format!(
        "a=ice-ufrag:ours\r\na=ice-pwd:our-password-of-22-chars\r\na=fingerprint:sha-256 {}\r\na=setup:passive\r\n\
         a=candidate:1 1 udp 2130706431 203.0.113.1 3478 typ host\r\n\
         a=candidate:2 1 tcp 1513094911 203.0.113.1 3479 typ host tcptype passive\r\na=end-of-candidates\r\n",
        ["AB"; 32].join(":")
    );
    let expected = format!(
        "v=0\r\no=- 9 1 IN IP4 203.0.113.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=ice-lite\r\n\
         a=msid-semantic:WMS callbox\r\n\
         m=audio 3478 UDP/TLS/RTP/SAVPF 111 110 126\r\nc=IN IP4 203.0.113.1\r\na=mid:0\r\n{transport}\
         a=sendrecv\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:111 opus/48000/2\r\n\
         a=fmtp:111 minptime=10;useinbandfec=1;maxplaybackrate=16000;sprop-maxcapturerate=16000\r\n\
         a=rtpmap:110 telephone-event/48000\r\na=fmtp:110 0-15\r\na=rtpmap:126 telephone-event/8000\r\n\
         a=fmtp:126 0-15\r\na=ptime:20\r\na=msid:callbox audio\r\na=ssrc:77 cname:us\r\n\
         m=application 3478 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 203.0.113.1\r\na=mid:1\r\n{transport}\
         a=sctp-port:5000\r\na=max-message-size:1000\r\n"
    );
    assert_eq!(sdp, expected);
}

#[test]
fn firefoxs_video_is_refused_and_its_pauses_are_understood() {
    let (agreed, sdp) = answered(FIREFOX, &Policy { dtx: true, ..Policy::default() });
    assert_eq!((agreed.codec, agreed.payload_type, agreed.dtmf), (Codec::Opus, 109, None), "no events at 48 kHz");
    assert!(agreed.dtx && agreed.fec && agreed.events == [101]);
    assert!(sdp.contains("a=group:BUNDLE 0 2\r\n") && sdp.contains(";usedtx=1\r\n"), "{sdp}");
    let refused =
        "m=video 0 UDP/TLS/RTP/SAVPF 120\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=inactive\r\na=rtpmap:120 VP8/90000\r\n";
    assert!(sdp.contains(refused), "{sdp}");
    let (agreed, _) = answered(FIREFOX, &Policy { codecs: vec![Codec::Pcma], ..Policy::default() });
    assert_eq!((agreed.codec, agreed.payload_type, agreed.dtmf), (Codec::Pcma, 8, Some(101)));
}

#[test]
fn sections_keep_their_order_and_comfort_noise_its_number() {
    let policy = Policy { codecs: vec![Codec::Pcmu], dtx: true, ..Policy::default() };
    let (agreed, sdp) = answered(DATA_FIRST, &policy);
    assert_eq!((agreed.comfort_noise, agreed.dtx, agreed.dtmf), (Some(13), true, Some(126)));
    assert!(sdp.find("m=application 3478") < sdp.find("m=audio 3478"), "{sdp}");
    assert!(sdp.contains("m=audio 3478 UDP/TLS/RTP/SAVPF 0 13 126 110\r\n"), "{sdp}");
}

#[test]
fn a_hold_is_answered_with_its_other_half() {
    for (offered, sends, receives, answer) in [
        ("sendrecv", true, true, "a=sendrecv"),
        ("sendonly", false, true, "a=recvonly"),
        ("recvonly", true, false, "a=sendonly"),
        ("inactive", false, false, "a=inactive"),
    ] {
        let sdp = CHROMIUM.replace("a=sendrecv", &format!("a={offered}"));
        let (agreed, sdp) = answered(&sdp, &Policy::default());
        assert_eq!((agreed.send, agreed.receive), (sends, receives));
        assert!(sdp.contains(answer), "{sdp}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let refused = |sdp: &str| Offer::parse(sdp).unwrap_err();
    let without = |what: &str| {
        let lines = CHROMIUM.lines().filter(|line| !line.starts_with(what));
        lines.map(|line| format!("{line}\r\n")).collect::<String>()
    };
    assert_eq!(refused(""), OfferError::NotSdp);
    assert_eq!(refused("{\"type\":\"offer\"}"), OfferError::NotSdp);
    assert_eq!(refused(include_str!("../../fuzz/corpus/offer/data_only")), OfferError::NoAudio);
    assert_eq!(refused(include_str!("../../fuzz/corpus/offer/video_only")), OfferError::NoAudio);
    assert_eq!(refused(&CHROMIUM.replace("m=audio 9", "m=audio 0")), OfferError::NoAudio);
    assert_eq!(refused(&without("m=audio")), OfferError::NoAudio);
    let telephone = include_str!("../../fuzz/corpus/offer/telephone");
    assert_eq!(refused(telephone), OfferError::Profile("RTP/AVP".into()));
    assert!(!Offer::is_webrtc(telephone) && Offer::is_webrtc(CHROMIUM) && Offer::is_webrtc(FIREFOX));
    assert_eq!(refused(&without("a=ice-ufrag")), OfferError::NoIce);
    assert_eq!(refused(&without("a=ice-pwd")), OfferError::NoIce);
    assert_eq!(refused(&without("a=fingerprint")), OfferError::NoFingerprint);
    assert_eq!(refused(&CHROMIUM.replace("sha-256", "sha-1")), OfferError::NoFingerprint);
    assert_eq!(refused(&without("a=rtcp-mux")), OfferError::NoMux);
    assert_eq!(refused(&format!("{CHROMIUM}a=x\r\n").replace("t=0 0", "a=ice-lite")), OfferError::BothLite);
    assert_eq!(refused(&CHROMIUM.repeat(20)), OfferError::TooLarge);
    let many = format!("v=0\r\n{}", "m=video 0 RTP/AVP 0\r\n".repeat(MOST_SECTIONS + 1));
    assert_eq!(refused(&many), OfferError::TooLarge);
    assert!(matches!(refused(&CHROMIUM.replace("m=audio 9", "m=audio x")), OfferError::Line { line: 8, .. }));
    assert!(matches!(refused(&CHROMIUM.replace(":T1fK", ":T1f")), OfferError::Line { line: 11, .. }));
    assert!(matches!(refused(&CHROMIUM.replace("a=mid:0", "a=mid:")), OfferError::Line { .. }));
    let offer = Offer::parse(CHROMIUM).unwrap();
    let none = Policy { codecs: Vec::new(), ..Policy::default() };
    assert_eq!(answer::agree(&offer, &none), Err(OfferError::NoCodec(String::new())));
    for error in [OfferError::NoIce, OfferError::NoAudio, OfferError::BothLite, OfferError::NoMux] {
        assert!(error.to_string().len() > 40, "says what to do: {error}");
    }
}

#[test]
fn the_transport_may_stand_in_the_session_or_in_any_section_of_the_bundle() {
    let offer = Offer::parse(FIREFOX).unwrap();
    assert_eq!((offer.fingerprint, offer.ice.ufrag.as_str()), ([0xAA; 32], "cb3aabb8"));
    let data = Offer::parse(DATA_FIRST).unwrap();
    assert_eq!((data.audio, data.data), (1, Some(0)));
    // A data channel that goes another way is none for us.
    let apart = Offer::parse(&CHROMIUM.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0")).unwrap();
    assert_eq!(apart.data, None);
}

proptest! {
    /// What is in a name never becomes a line of the answer.
    #[test]
    fn no_line_is_smuggled_into_an_answer(name in "[ -~]{1,80}", at in 0_usize..4) {
        let place = ["a=mid:0", "VP8/90000", "a=ice-ufrag:cb3aabb8", "webrtc-datachannel"][at];
        let sdp = FIREFOX.replace(place, &format!("{}{name}", place.split_inclusive([':', '/']).next().unwrap()));
        if Offer::parse(&sdp).is_ok_and(|offer| answer::agree(&offer, &Policy::default()).is_ok()) {
            let (_, sdp) = answered(&sdp, &Policy::default());
            prop_assert!(sdp.lines().all(|line| line.as_bytes()[1] == b'='));
        }
    }

    #[test]
    fn any_text_is_survived(text: String, lines in prop::collection::vec("[amov]=[ -~]{0,40}", 0..40)) {
        let _ = Offer::parse(&text);
        let _ = IceFragment::parse(&text);
        let _ = Offer::parse(&format!("v=0\r\n{}", lines.join("\r\n")));
    }
}
