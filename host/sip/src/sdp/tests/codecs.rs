//! Codecs, their clocks and parameters, and the numbers they have.

use super::*;

/// One that speaks everything.
fn all() -> LocalMedia {
    LocalMedia::new("192.0.2.9:20000".parse().unwrap())
}

fn answered(local: &LocalMedia, media: &str) -> (String, Negotiated) {
    let (text, negotiated) = answer(local, &IDS, &sdp(media)).unwrap_or_else(|error| panic!("{media}: {error}"));
    (String::from_utf8(text).unwrap(), negotiated)
}

#[test]
fn an_offer_of_everything() {
    let local = LocalMedia { codecs: vec![Codec::Opus, Codec::G722, Codec::Pcma], ..all() };
    let text = String::from_utf8(Session::new(IDS).offer(&local)).unwrap();
    let media = text.split("t=0 0\r\n").nth(1).unwrap();
    assert_eq!(
        media,
        "m=audio 20000 RTP/AVP 111 9 8 101 110\r\na=rtpmap:111 opus/48000/2\r\n\
         a=fmtp:111 minptime=10;useinbandfec=1;maxplaybackrate=16000;sprop-maxcapturerate=16000\r\n\
         a=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n\
         a=rtpmap:110 telephone-event/48000\r\na=fmtp:110 0-15\r\n\
         a=ptime:20\r\na=maxptime:60\r\na=sendrecv\r\n"
    );
}

/// RFC 4733 §2.1 and rule 3: digits and comfort noise on the clock of the audio.
#[test]
fn what_goes_with_a_codec_has_its_clock() {
    let both =
        "a=rtpmap:100 telephone-event/8000\r\na=rtpmap:102 telephone-event/48000\r\na=rtpmap:96 opus/48000/2\r\n";
    for (formats, codec, number, dtmf, noise) in [
        ("96 9 0 100 102 13", Codec::Opus, 96, Some(102), None),
        ("9 96 0 102 100 13", Codec::G722, 9, Some(100), Some(13)),
        ("96 102", Codec::Opus, 96, Some(102), None),
        ("96 100", Codec::Opus, 96, None, None),
        // Digits matter more than the band.
        ("96 8 9 100", Codec::Pcma, 8, Some(100), None),
        ("0 102", Codec::Pcmu, 0, None, None),
        ("0 13", Codec::Pcmu, 0, None, Some(13)),
    ] {
        let (text, agreed) = answered(&all(), &format!("m=audio 4000 RTP/AVP {formats}\r\n{both}"));
        let seen = (agreed.codec, agreed.payload_type, agreed.dtmf, agreed.comfort_noise);
        assert_eq!(seen, (codec, number, dtmf, noise), "{formats}");
        assert!(text.contains(&format!("a=rtpmap:{number} {codec}/{}", codec.rtp_clock())), "{text}");
    }
    let silent = LocalMedia { comfort_noise: false, ..all() };
    assert_eq!(answered(&silent, "m=audio 4000 RTP/AVP 0 13").1.comfort_noise, None);
}

#[test]
fn the_order_is_theirs_unless_ours_is_wanted() {
    let offer = "m=audio 4000 RTP/AVP 9 8 0\r\n";
    let local = LocalMedia { codecs: vec![Codec::Pcmu, Codec::Pcma, Codec::G722], ..all() };
    assert_eq!(answered(&local, offer).1.codec, Codec::G722);
    assert_eq!(answered(&LocalMedia { codec_order: CodecOrder::Ours, ..local }, offer).1.codec, Codec::Pcmu);
    let narrow = LocalMedia { codecs: vec![Codec::Pcmu, Codec::Pcma], ..all() };
    assert_eq!(answered(&narrow, offer).1.codec, Codec::Pcma);
}

#[test]
fn opus_as_others_write_it() {
    for (rtpmap, taken) in [
        ("opus/48000/2", true),
        ("OPUS/48000/2", true),
        ("opus/48000", true),
        ("opus/48000/1", true),
        ("opus/8000/2", false),
        ("opus/48000/6", false),
    ] {
        let (_, agreed) = answered(&all(), &format!("m=audio 4000 RTP/AVP 107 0\r\na=rtpmap:107 {rtpmap}\r\n"));
        assert_eq!(agreed.codec == Codec::Opus, taken, "{rtpmap}");
    }
    for (fmtp, fec, dtx) in [
        ("", false, false),
        ("a=fmtp:107 useinbandfec=1", true, false),
        ("a=fmtp:107 stereo=0; UseDTX=1 ;useinbandfec=0", false, true),
        ("a=fmtp:107 ;;=;x;useinbandfec", false, false),
        ("a=fmtp:108 useinbandfec=1;usedtx=1", false, false),
    ] {
        let (_, agreed) =
            answered(&all(), &format!("m=audio 4000 RTP/AVP 107\r\n{fmtp}\r\na=rtpmap:107 opus/48000/2\r\n"));
        assert_eq!((agreed.fec, agreed.dtx), (fec, dtx), "{fmtp}");
    }
}

#[test]
fn packet_times_that_a_codec_has() {
    for (number, attributes, ms) in [
        (107, "a=ptime:30", 20),
        (107, "a=ptime:50", 40),
        (107, "a=ptime:60", 60),
        (0, "a=ptime:30", 30),
        (0, "a=minptime:40", 40),
        (0, "a=minptime:40\r\na=maxptime:30", 30),
        (0, "", 20),
    ] {
        let media = format!("m=audio 4000 RTP/AVP {number}\r\na=rtpmap:107 opus/48000/2\r\n{attributes}\r\n");
        assert_eq!(answered(&all(), &media).1.ptime_ms, ms, "{number} {attributes}");
    }
    let slow = LocalMedia { ptime_ms: 40, ..all() };
    assert_eq!(answered(&slow, "m=audio 4000 RTP/AVP 0\r\n").1.ptime_ms, 40);
    assert_eq!(answered(&slow, "m=audio 4000 RTP/AVP 0\r\na=ptime:20\r\n").1.ptime_ms, 20);
}

/// G.729 is in the enum whether or not it is built in; its annex B never is.
#[test]
fn g729_is_spoken_where_it_is_built_in() {
    let offer = sdp("m=audio 4000 RTP/AVP 18\r\na=fmtp:18 annexb=yes\r\n");
    match answer(&all(), &IDS, &offer) {
        Ok((text, agreed)) => {
            assert!(Codec::ALL.contains(&Codec::G729));
            assert_eq!((agreed.codec, agreed.payload_type), (Codec::G729, 18));
            assert!(String::from_utf8(text).unwrap().contains("a=fmtp:18 annexb=no\r\n"));
        }
        Err(error) => {
            assert!(!Codec::ALL.contains(&Codec::G729));
            assert_eq!(error, SdpError::NoCodec);
        }
    }
}

/// RFC 3264 §6.1: the answerer may number what it wants to hear in its own way, and name several.
#[test]
fn an_answer_with_numbers_of_its_own() {
    let mut session = Session::new(IDS);
    let local = LocalMedia { codecs: vec![Codec::Opus, Codec::Pcmu], ..all() };
    session.offer(&local);
    let theirs = "m=audio 4000 RTP/AVP 96 0 97\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 telephone-event/48000\r\n";
    let agreed = session.accept(&local, &sdp(theirs)).unwrap();
    assert_eq!((agreed.codec, agreed.payload_type, agreed.dtmf), (Codec::Opus, 96, Some(97)));
    assert_eq!(agreed.formats, [(111, Codec::Opus), (0, Codec::Pcmu), (96, Codec::Opus)]);
    assert_eq!(agreed.events, [101, 110]);
    // From now on these are the numbers of this dialog, and what has one gets no other.
    let hold = String::from_utf8(session.offer(&local.clone().with_direction(Direction::SendOnly))).unwrap();
    assert_eq!(media_lines(&hold), ["m=audio 20000 RTP/AVP 96 0 101 97"]);
}

/// A number that the far end has given to something we do not speak is not ours to give.
#[test]
fn numbers_of_others_are_left_alone() {
    let mut session = Session::new(IDS);
    let offer = "m=audio 4000 RTP/AVP 0 111 101\r\na=rtpmap:111 iLBC/8000\r\na=rtpmap:101 speex/8000\r\n";
    session.answer(&all(), &sdp(offer)).unwrap();
    let local = LocalMedia { codecs: vec![Codec::Pcmu, Codec::Opus], ..all() };
    let ours = String::from_utf8(session.offer(&local)).unwrap();
    assert_eq!(media_lines(&ours), ["m=audio 20000 RTP/AVP 0 96 97 110"]);
    assert!(ours.contains("a=rtpmap:96 opus/48000/2\r\n") && ours.contains("a=rtpmap:97 telephone-event/8000\r\n"));
}

/// An answer must name something that we offered.
#[test]
fn an_answer_in_a_codec_that_was_not_offered_is_none() {
    let local = LocalMedia { codecs: vec![Codec::Pcma], ..all() };
    let mut session = Session::new(IDS);
    session.offer(&local);
    assert_eq!(session.accept(&local, &sdp("m=audio 4000 RTP/AVP 0\r\n")), Err(SdpError::NoCodec));
}

/// The far end's family decides, where we have an address of it; it stays for what we offer later.
#[test]
fn both_families() {
    let local = LocalMedia { other: Some("2001:db8::9".parse().unwrap()), ..all() };
    let mut session = Session::new(IDS);
    let six =
        b"v=0\r\no=x 1 1 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 2001:db8::1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let (text, agreed) = session.answer(&local, six).unwrap();
    assert!(String::from_utf8(text).unwrap().contains("c=IN IP6 2001:db8::9\r\n"));
    assert_eq!(agreed.remote, ip("[2001:db8::1]:4000"));
    // Whoever holds with 0.0.0.0 has not moved to IPv4.
    let hold = String::from_utf8_lossy(six).replace("c=IN IP6 2001:db8::1", "c=IN IP4 0.0.0.0");
    let (text, _) = session.answer(&local, hold.as_bytes()).unwrap();
    assert!(String::from_utf8(text).unwrap().contains("c=IN IP6 2001:db8::9\r\n"));
    assert!(String::from_utf8(session.offer(&local)).unwrap().contains("o=- 7 102 IN IP6 2001:db8::9\r\n"));
    let (text, _) = answer(&local, &IDS, &sdp("m=audio 4000 RTP/AVP 0\r\n")).unwrap();
    assert!(String::from_utf8(text).unwrap().contains("c=IN IP4 192.0.2.9\r\n"));
    let mapped = "v=0\r\nc=IN IP6 ::ffff:192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n";
    assert_eq!(answer(&all(), &IDS, mapped.as_bytes()).unwrap().1.remote, ip("192.0.2.1:4000"));
}

/// Names are not looked up: where the signalling comes from is where such audio goes.
#[test]
fn a_host_name_is_served_where_its_signalling_is() {
    let offer = sdp("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 media.example.com\r\n");
    let local = LocalMedia { signalling: Some("192.0.2.44".parse().unwrap()), ..all() };
    let (_, agreed) = answer(&local, &IDS, &offer).unwrap();
    assert_eq!((agreed.remote, agreed.direction), (ip("192.0.2.44:4000"), Direction::SendRecv));
}
