//! SRTP: keys in the description, fingerprints, and what happens to those who have neither.

use super::*;

const CM_80: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
const CM_32: &str = "a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj";

fn print(of: &str) -> Fingerprint {
    Fingerprint::of(of.as_bytes())
}

fn with(encryption: Encryption) -> LocalMedia {
    LocalMedia { encryption, fingerprint: Some(print("ours")), ..local() }
}

fn session() -> Session {
    Session::new(IDS).with_secrets(Secrets::new([1; 32]))
}

fn sdes(security: &Security) -> (&SrtpKeys, &SrtpKeys) {
    let Security::Sdes { send, receive } = security else { panic!("{security:?}") };
    (send, receive)
}

fn text(description: Vec<u8>) -> String {
    String::from_utf8(description).unwrap()
}

fn crypto_lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("a=crypto:")).collect()
}

/// RFC 4568 §5.1.2: the first that can be used, its tag, a key of our own.
#[test]
fn an_answer_with_keys() {
    let offer = format!("m=audio 4000 RTP/SAVP 0\r\na=crypto:7 F8_128_HMAC_SHA1_80 inline:x\r\n{CM_32}\r\n{CM_80}\r\n");
    let (answer, agreed) = session().answer(&with(Encryption::default()), &sdp(&offer)).unwrap();
    let answer = text(answer);
    assert_eq!(media_lines(&answer), ["m=audio 20000 RTP/SAVP 0"]);
    let (send, receive) = sdes(&agreed.security);
    assert_eq!(receive.to_inline(), CM_32.split(' ').nth(2).unwrap());
    let said = format!("a=crypto:2 AES_CM_128_HMAC_SHA1_32 {}", send.to_inline());
    assert_eq!(crypto_lines(&answer), [said.as_str()]);
    assert_ne!(send, receive);
}

/// RFC 4568 §6.1, §6.3: what makes a line unusable, and what does not.
#[test]
fn parameters_of_keys() {
    let key = CM_80.split(' ').nth(2).unwrap();
    for (line, usable) in [
        (CM_80.to_owned(), true),
        (format!("{CM_80}|2^31"), true),
        (format!("{CM_80}|2^31|1:1"), true),
        (format!("{CM_80} WSH=128"), true),
        (format!("{CM_80} KDR=0"), true),
        (format!("{CM_80} -anything=1"), true),
        (format!("{CM_80} KDR=1"), false),
        (format!("{CM_80} UNENCRYPTED_SRTP"), false),
        (format!("{CM_80} UNAUTHENTICATED_SRTP"), false),
        (format!("{CM_80} UNENCRYPTED_SRTCP"), false),
        (format!("{CM_80} FEC_ORDER=SRTP_FEC"), false),
        (format!("{CM_80} anything=1"), false),
        (format!("{CM_80};{key}"), false),
        (format!("{CM_80}|2^99"), false),
        (CM_80.replace("inline:", "uri:"), false),
        (CM_80.replace("inline:", "inline:AAAA"), false),
        (CM_80.replace("a=crypto:1", "a=crypto:x"), false),
        (CM_80.replace("a=crypto:1", "a=crypto:1234567890"), false),
        (CM_80.replace("a=crypto:1", "a=crypto:"), false),
        ("a=crypto:1 AES_CM_128_HMAC_SHA1_80".to_owned(), false),
        ("a=crypto".to_owned(), false),
    ] {
        let outcome =
            session().answer(&with(Encryption::default()), &sdp(&format!("m=audio 4000 RTP/SAVP 0\r\n{line}\r\n")));
        assert_eq!(outcome.is_ok(), usable, "{line}");
        if let Err(error) = outcome {
            assert_eq!((error.status(), error.warning().map(|text| &text[..3])), (488, Some("302")), "{line}");
        }
    }
}

/// Who wants what, and what comes of it: off, accepted, preferred, required against plain, optional and strict offers.
#[test]
fn policies() {
    let strict = format!("m=audio 4000 RTP/SAVP 0\r\n{CM_80}\r\n");
    let optional = format!("m=audio 4000 RTP/AVP 0\r\n{CM_80}\r\n");
    let two = format!("m=audio 4000 RTP/SAVP 0\r\n{CM_80}\r\nm=audio 4000 RTP/AVP 0\r\n");
    let two_turned = format!("m=audio 4000 RTP/AVP 0\r\nm=audio 4000 RTP/SAVP 0\r\n{CM_80}\r\n");
    let plain = "m=audio 4000 RTP/AVP 0\r\n".to_owned();
    let preferred = Encryption::preferred(Keying::Any, OfferStyle::OneLine);
    for (encryption, offer, outcome) in [
        (Encryption::OFF, &strict, None),
        (Encryption::OFF, &optional, Some(false)),
        (Encryption::OFF, &two, Some(false)),
        (Encryption::OFF, &plain, Some(false)),
        (Encryption::default(), &strict, Some(true)),
        (Encryption::default(), &optional, Some(true)),
        (Encryption::default(), &two, Some(true)),
        (Encryption::default(), &two_turned, Some(true)),
        (Encryption::default(), &plain, Some(false)),
        (preferred, &two_turned, Some(true)),
        (preferred, &plain, Some(false)),
        (Encryption::required(Keying::Any), &strict, Some(true)),
        (Encryption::required(Keying::Any), &optional, Some(true)),
        (Encryption::required(Keying::Any), &two_turned, Some(true)),
        (Encryption::required(Keying::Any), &plain, None),
        (Encryption::required(Keying::Dtls), &optional, None),
        (Encryption::required(Keying::Sdes), &optional, Some(true)),
    ] {
        let answered = session().answer(&with(encryption), &sdp(offer));
        let secure = answered.as_ref().ok().map(|(_, agreed)| agreed.security != Security::None);
        assert_eq!(secure, outcome, "{encryption:?} {offer}");
        if let Ok((answer, _)) = answered {
            let served = text(answer).lines().filter(|line| line.starts_with("m=audio 20000")).count();
            assert_eq!(served, 1, "never two streams");
        }
    }
    // Without randomness there are no keys.
    assert!(Session::new(IDS).answer(&with(Encryption::default()), &sdp(&strict)).is_err());
}

#[test]
fn profiles_are_echoed() {
    let dtls = format!("a=fingerprint:{}\r\na=setup:actpass\r\n", print("theirs"));
    for proto in ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"] {
        let offer = format!("m=audio 4000 {proto} 0\r\n{dtls}");
        let (answer, agreed) = session().answer(&with(Encryption::default()), &sdp(&offer)).unwrap();
        assert_eq!(media_lines(&text(answer)), [format!("m=audio 20000 {proto} 0")]);
        assert_eq!(agreed.security, Security::Dtls { role: DtlsRole::Active, fingerprint: print("theirs") });
    }
    for proto in ["TCP/TLS/RTP/SAVP", "DTLS/SCTP", "RTP/SAVPX", "udptl"] {
        let offer = format!("m=audio 4000 {proto} 0\r\n{dtls}");
        let refused = session().answer(&with(Encryption::default()), &sdp(&offer));
        assert!(matches!(refused, Err(SdpError::Transport(_))), "{proto}");
    }
}

/// RFC 5763 §5, RFC 4145 §4: who begins.
#[test]
fn the_part_in_a_handshake() {
    for (theirs, ours) in [
        ("a=setup:actpass", Some(("active", DtlsRole::Active))),
        ("a=setup:passive", Some(("active", DtlsRole::Active))),
        ("a=setup:active", Some(("passive", DtlsRole::Passive))),
        ("", Some(("passive", DtlsRole::Passive))),
        ("a=setup:holdconn", None),
    ] {
        let offer = format!("m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\na=fingerprint:{}\r\n{theirs}\r\n", print("theirs"));
        let answered = session().answer(&with(Encryption::default()), &sdp(&offer));
        match (answered, ours) {
            (Ok((answer, agreed)), Some((setup, part))) => {
                let answer = text(answer);
                assert!(
                    answer.contains(&format!("a=fingerprint:{}\r\na=setup:{setup}\r\n", print("ours"))),
                    "{answer}"
                );
                assert!(matches!(agreed.security, Security::Dtls { role, .. } if role == part));
            }
            (Err(error), None) => assert!(matches!(error, SdpError::Keys(_)), "{error}"),
            (outcome, _) => panic!("{theirs}: {outcome:?}"),
        }
    }
    for (answer, part) in [
        ("a=setup:active", Some(DtlsRole::Passive)),
        ("a=setup:passive", Some(DtlsRole::Active)),
        ("a=setup:actpass", Some(DtlsRole::Active)),
        ("", Some(DtlsRole::Active)),
        ("a=setup:holdconn", None),
    ] {
        let local = with(Encryption::required(Keying::Dtls));
        let mut session = session();
        let offer = text(session.offer(&local));
        assert!(offer.contains("UDP/TLS/RTP/SAVP 0") && offer.contains("a=setup:actpass\r\n"), "{offer}");
        assert!(offer.contains("a=rtcp-mux\r\n"), "one handshake is enough: {offer}");
        let theirs = format!("m=audio 4000 UDP/TLS/RTP/SAVP 0\r\na=fingerprint:{}\r\n{answer}\r\n", print("theirs"));
        let agreed = session.accept(&local, &sdp(&theirs));
        let role = agreed.ok().map(|agreed| match agreed.security {
            Security::Dtls { role, .. } => role,
            other => panic!("{other:?}"),
        });
        assert_eq!(role, part, "{answer}");
    }
}

#[test]
fn fingerprints_of_the_session_and_weak_ones() {
    let head = |lines: &str| {
        let media = "m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\na=setup:actpass\r\n";
        format!("v=0\r\nc=IN IP4 192.0.2.1\r\n{lines}{media}").into_bytes()
    };
    let sha1 = "a=fingerprint:sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB\r\n";
    let good = format!("a=fingerprint:{}\r\n", print("theirs"));
    let of_session = session().answer(&with(Encryption::default()), &head(&good)).unwrap().1;
    assert!(matches!(of_session.security, Security::Dtls { fingerprint, .. } if fingerprint == print("theirs")));
    assert!(session().answer(&with(Encryption::default()), &head(&format!("{sha1}{good}"))).is_ok());
    assert!(session().answer(&with(Encryption::default()), &head(sha1)).is_err());
    // Nothing of ours to show: no handshake.
    let bare = LocalMedia { fingerprint: None, ..with(Encryption::default()) };
    assert!(session().answer(&bare, &head(&good)).is_err());
}

/// RFC 8643 and the two lines: what an offer looks like, and what its answers mean.
#[test]
fn offers_of_preferred_encryption() {
    let one = with(Encryption::preferred(Keying::Any, OfferStyle::OneLine));
    let mut caller = session();
    let offer = text(caller.offer(&one));
    assert_eq!(media_lines(&offer), ["m=audio 20000 RTP/AVP 0 8 101"]);
    let suites: Vec<&str> = crypto_lines(&offer).iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(suites, ["AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80"]);
    assert!(offer.contains("a=setup:actpass\r\n"));
    let taken = format!("m=audio 4000 RTP/AVP 0\r\n{}\r\n", CM_80.replace(":1 ", ":3 "));
    let agreed = caller.clone().accept(&one, &sdp(&taken)).unwrap();
    let (send, _) = sdes(&agreed.security);
    assert!(offer.contains(&format!("a=crypto:3 AES_CM_128_HMAC_SHA1_80 {}\r\n", send.to_inline())));
    // An answer that counts anew is known by its suite; one of a suite that was not offered is none.
    let anew = format!("m=audio 4000 RTP/AVP 0\r\n{CM_80}\r\n");
    assert_eq!(caller.clone().accept(&one, &sdp(&anew)).unwrap().security, agreed.security);
    let plain = caller.clone().accept(&one, &sdp("m=audio 4000 RTP/AVP 0\r\n")).unwrap();
    assert_eq!(plain.security, Security::None);

    let two = with(Encryption::preferred(Keying::Sdes, OfferStyle::TwoLines));
    let mut caller = session();
    let offer = text(caller.offer(&two));
    assert_eq!(media_lines(&offer), ["m=audio 20000 RTP/SAVP 0 8 101", "m=audio 20000 RTP/AVP 0 8 101"]);
    let secure = format!("m=audio 4000 RTP/SAVP 0\r\n{}\r\nm=audio 0 RTP/AVP 0\r\n", CM_80.replace(":1 ", ":3 "));
    assert_ne!(caller.clone().accept(&two, &sdp(&secure)).unwrap().security, Security::None);
    let plain = "m=audio 0 RTP/SAVP 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let mut plainly = caller.clone();
    assert_eq!(plainly.accept(&two, &sdp(plain)).unwrap().security, Security::None);
    let later = text(plainly.offer(&two));
    assert_eq!(media_lines(&later), ["m=audio 0 RTP/SAVP 0 8 101", "m=audio 20000 RTP/AVP 0 8 101"]);
    assert!(crypto_lines(&later).is_empty());
    // A far end that answers with the line it took and nothing else.
    assert_eq!(caller.clone().accept(&two, &sdp("m=audio 4000 RTP/AVP 0\r\n")).unwrap().security, Security::None);
    // One that takes both has the protected one.
    let both = format!("m=audio 4000 RTP/SAVP 0\r\n{CM_80}\r\nm=audio 4000 RTP/AVP 0\r\n");
    assert_ne!(caller.accept(&two, &sdp(&both)).unwrap().security, Security::None);
}

/// A required protection cannot be talked away: not by an answer, not by a later offer.
#[test]
fn no_silent_downgrade() {
    let local = with(Encryption::required(Keying::Sdes));
    let mut caller = session();
    assert_eq!(media_lines(&text(caller.offer(&local))), ["m=audio 20000 RTP/SAVP 0 8 101"]);
    for answer in ["m=audio 4000 RTP/AVP 0\r\n", "m=audio 4000 RTP/SAVP 0\r\n"] {
        assert!(matches!(caller.clone().accept(&local, &sdp(answer)), Err(SdpError::Keys(_))), "{answer}");
    }
    let mut callee = session();
    let secure = sdp(&format!("m=audio 4000 RTP/SAVP 0\r\n{CM_80}\r\n"));
    let (_, agreed) = callee.answer(&local, &secure).unwrap();
    assert_eq!(callee.answer(&local, &sdp("m=audio 4000 RTP/AVP 0\r\n")), Err(SdpError::Unprotected));
    assert_eq!(callee.negotiated(), Some(&agreed));
    // And one that was agreed on does not get lost by an answer, whatever the policy.
    let open = with(Encryption::default());
    let mut callee = session();
    callee.answer(&open, &secure).unwrap();
    assert_eq!(media_lines(&text(callee.offer(&open)))[0], "m=audio 20000 RTP/SAVP 0 8 101");
    assert!(callee.accept(&open, &sdp("m=audio 4000 RTP/SAVP 0\r\n")).is_err());
}

/// Our key is the same as long as theirs is; theirs anew is a stream anew, and so is ours.
#[test]
fn new_keys_are_answered_with_new_keys() {
    let local = with(Encryption::default());
    let mut callee = session();
    let offer = |crypto: &str, attribute: &str| sdp(&format!("m=audio 4000 RTP/SAVP 0\r\n{crypto}\r\n{attribute}\r\n"));
    let (first_text, first) = callee.answer(&local, &offer(CM_80, "")).unwrap();
    let (_, held) = callee.answer(&local, &offer(CM_80, "a=sendonly")).unwrap();
    assert_eq!(held.security, first.security);
    let again = text(callee.offer(&local));
    assert_eq!(crypto_lines(&again)[0], crypto_lines(&text(first_text))[0], "an offer of ours says the key again");
    assert_eq!(crypto_lines(&again).len(), 3);
    callee.withdraw();
    let rekeyed = CM_80.replace("d0Rm", "AAAA");
    let (_, second) = callee.answer(&local, &offer(&rekeyed, "")).unwrap();
    let ((ours_before, _), (ours, theirs)) = (sdes(&first.security), sdes(&second.security));
    assert_ne!(ours, ours_before);
    assert_eq!(theirs.to_inline(), rekeyed.split(' ').nth(2).unwrap());
    // A refused offer renews nothing.
    assert!(callee.answer(&local, &offer(CM_80, "c=IN IP4 224.0.0.1")).is_err());
    assert_eq!(callee.answer(&local, &offer(&rekeyed, "")).unwrap().1.security, second.security);
}

/// RFC 8842 §5.3: whoever is the same keeps its part.
#[test]
fn a_handshake_is_not_repeated_by_a_hold() {
    let local = with(Encryption::default());
    let offer = |of: &str, setup: &str| {
        sdp(&format!("m=audio 4000 UDP/TLS/RTP/SAVP 0\r\na=fingerprint:{}\r\na=setup:{setup}\r\n", print(of)))
    };
    let mut callee = session();
    let (_, first) = callee.answer(&local, &offer("theirs", "active")).unwrap();
    assert!(matches!(first.security, Security::Dtls { role: DtlsRole::Passive, .. }));
    let (_, again) = callee.answer(&local, &offer("theirs", "actpass")).unwrap();
    assert_eq!(again.security, first.security);
    let (_, other) = callee.answer(&local, &offer("another", "actpass")).unwrap();
    assert_eq!(other.security, Security::Dtls { role: DtlsRole::Active, fingerprint: print("another") });
}

/// Nothing that is printed for a log tells a key.
#[test]
fn keys_are_not_shown() {
    let local = with(Encryption::required(Keying::Sdes));
    let mut caller = session();
    let offer = text(caller.offer(&local));
    let shown = format!("{caller:?}");
    for line in crypto_lines(&offer) {
        let key = line.split("inline:").nth(1).unwrap();
        assert!(!shown.contains(key));
    }
}
