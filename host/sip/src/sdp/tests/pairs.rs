//! Two sessions of ours, each with its own wishes, must come to the same.

use proptest::prelude::*;

use super::*;

const CODECS: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![
        4 => Just(Direction::SendRecv),
        1 => Just(Direction::SendOnly),
        1 => Just(Direction::RecvOnly),
        1 => Just(Direction::Inactive),
    ]
}

fn encryption() -> impl Strategy<Value = Encryption> {
    let need = prop_oneof![Just(Need::Off), Just(Need::Accepted), Just(Need::Preferred), Just(Need::Required)];
    let keying = prop_oneof![Just(Keying::Any), Just(Keying::Sdes), Just(Keying::Dtls)];
    let style = prop_oneof![Just(OfferStyle::OneLine), Just(OfferStyle::TwoLines)];
    (need, keying, style).prop_map(|(need, keying, style)| Encryption { need, keying, style })
}

fn side(last: u8, name: &'static str) -> impl Strategy<Value = LocalMedia> {
    let codecs = (prop::sample::subsequence(CODECS.to_vec(), 1..=4), any::<bool>()).prop_map(|(mut codecs, turned)| {
        if turned {
            codecs.reverse();
        }
        codecs
    });
    let order = prop_oneof![Just(CodecOrder::Theirs), Just(CodecOrder::Ours)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (codecs, order, flags, direction(), encryption(), 1..=6_u8).prop_map(
        move |(codecs, codec_order, (dtmf, mux, six, apart), direction, encryption, tens)| {
            let four: IpAddr = [192, 0, 2, last].into();
            let rtp = SocketAddr::new(four, 20_000 + u16::from(last) * 2);
            LocalMedia {
                other: six.then(|| [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)].into()),
                codecs,
                codec_order,
                dtmf,
                rtcp_mux: mux,
                rtcp_port: if apart { 30_000 } else { rtp.port() + 1 },
                ptime_ms: tens * 10,
                direction,
                encryption,
                fingerprint: Some(Fingerprint::of(name.as_bytes())),
                ..LocalMedia::new(rtp)
            }
        },
    )
}

/// Whether the two can talk at all.
fn possible(caller: &LocalMedia, callee: &LocalMedia) -> bool {
    let (a, b) = (caller.encryption, callee.encryption);
    let keys = matches!(
        (a.need, offered_keying(a), b.keying),
        (Need::Preferred | Need::Required, Keying::Any, _)
            | (Need::Preferred | Need::Required, _, Keying::Any)
            | (Need::Preferred | Need::Required, Keying::Sdes, Keying::Sdes)
            | (Need::Preferred | Need::Required, Keying::Dtls, Keying::Dtls)
    );
    let secure = keys && b.need != Need::Off;
    let plain = a.need != Need::Required && b.need != Need::Required;
    let codec = caller.codecs.iter().any(|codec| callee.codecs.contains(codec));
    codec && (secure || plain)
}

/// An offer that has to choose one manner chooses SDES.
fn offered_keying(encryption: Encryption) -> Keying {
    let chooses = encryption.need == Need::Required || encryption.style == OfferStyle::TwoLines;
    if encryption.keying == Keying::Any && chooses { Keying::Sdes } else { encryption.keying }
}

fn secured(session: Security) -> Option<(SrtpKeys, SrtpKeys)> {
    match session {
        Security::Sdes { send, receive } => Some((send, receive)),
        _ => None,
    }
}

fn check(
    caller: &LocalMedia,
    callee: &LocalMedia,
    ours: &Negotiated,
    theirs: &Negotiated,
) -> Result<(), TestCaseError> {
    prop_assert_eq!((ours.codec, ours.payload_type), (theirs.codec, theirs.payload_type));
    prop_assert_eq!((ours.dtmf, ours.ptime_ms), (theirs.dtmf, theirs.ptime_ms));
    prop_assert_eq!(ours.dtmf.is_some(), caller.dtmf && callee.dtmf);
    prop_assert!(ours.formats.contains(&(theirs.payload_type, theirs.codec)), "what is sent is understood");
    prop_assert!(theirs.formats.contains(&(ours.payload_type, ours.codec)));
    prop_assert_eq!(ours.direction.sends(), theirs.direction.receives());
    prop_assert_eq!(ours.direction.receives(), theirs.direction.sends());
    prop_assert_eq!(ours.direction.sends(), caller.direction.sends() && callee.direction.receives());
    prop_assert_eq!(ours.remote, SocketAddr::new(callee.addr, callee.rtp_port));
    prop_assert_eq!(theirs.remote, SocketAddr::new(caller.addr, caller.rtp_port));
    prop_assert_eq!(ours.remote == ours.remote_rtcp, theirs.remote == theirs.remote_rtcp, "one port or two");
    let needs = [caller.encryption.need, callee.encryption.need];
    match (&ours.security, &theirs.security) {
        (Security::None, Security::None) => prop_assert!(!needs.contains(&Need::Required)),
        (Security::Sdes { .. }, Security::Sdes { .. }) => {
            let (mine, yours) = (secured(ours.security.clone()).unwrap(), secured(theirs.security.clone()).unwrap());
            prop_assert!(mine.0 == yours.1 && mine.1 == yours.0 && mine.0 != mine.1, "keys crossed");
            prop_assert!(!needs.contains(&Need::Off));
        }
        (
            Security::Dtls { role: mine, fingerprint: of_callee },
            Security::Dtls { role: yours, fingerprint: of_caller },
        ) => {
            prop_assert_ne!(mine, yours);
            prop_assert_eq!((Some(*of_callee), Some(*of_caller)), (callee.fingerprint, caller.fingerprint));
            prop_assert!(!needs.contains(&Need::Off));
        }
        (mine, yours) => prop_assert!(false, "{mine:?} and {yours:?}"),
    }
    Ok(())
}

fn shape(description: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(description).unwrap();
    media_lines(text).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn both_ends_come_to_the_same(a in side(1, "a"), b in side(2, "b"), holds in prop::collection::vec((any::<bool>(), direction()), 0..4)) {
        let mut caller = Session::new(SessionIds { id: 1, version: 1 }).with_secrets(Secrets::new([1; 32]));
        let mut callee = Session::new(SessionIds { id: 2, version: 1 }).with_secrets(Secrets::new([2; 32]));
        let offer = caller.offer(&a);
        let answered = callee.answer(&b, &offer);
        prop_assert_eq!(answered.is_ok(), possible(&a, &b), "{:?}", answered);
        let Ok((answer, theirs)) = answered else { return Ok(()) };
        prop_assert_eq!(caller.preview(&a, &answer), caller.clone().accept(&a, &answer));
        let ours = caller.accept(&a, &answer);
        prop_assert!(ours.is_ok(), "{:?}", ours);
        check(&a, &b, &ours.clone().unwrap(), &theirs)?;
        // Later offers of either side keep lines, numbers, codec and keys.
        let (shape_before, before) = (shape(&offer), ours.unwrap());
        for (by_caller, wish) in holds {
            let (from, to, from_local, to_local) = if by_caller {
                (&mut caller, &mut callee, a.clone().with_direction(wish), b.clone())
            } else {
                (&mut callee, &mut caller, b.clone().with_direction(wish), a.clone())
            };
            let offer = from.offer(&from_local);
            prop_assert_eq!(&shape(&offer), &shape_before);
            let (answer, to_agreed) = to.answer(&to_local, &offer).unwrap();
            prop_assert_eq!(&shape(&answer), &shape_before);
            let from_agreed = from.accept(&from_local, &answer).unwrap();
            check(&from_local, &to_local, &from_agreed, &to_agreed)?;
            let caller_now = if by_caller { &from_agreed } else { &to_agreed };
            prop_assert_eq!(&caller_now.security, &before.security);
            if a.codec_order == CodecOrder::Theirs && b.codec_order == CodecOrder::Theirs {
                prop_assert_eq!((caller_now.codec, caller_now.payload_type), (before.codec, before.payload_type));
            }
            // The same again is the same description.
            let again = to.clone().answer(&to_local, &offer).unwrap();
            prop_assert_eq!(again, (answer, to_agreed));
        }
    }

    #[test]
    fn any_two_offers_are_survived(first in "(?s).{0,400}", codec in "[a-zA-Z0-9/ ]{0,20}", fmtp in "(?s).{0,60}", key in "(?s).{0,80}") {
        let local = LocalMedia { fingerprint: Some(Fingerprint::of(b"x")), ..LocalMedia::new("192.0.2.9:20000".parse().unwrap()) };
        let mut session = Session::new(IDS).with_secrets(Secrets::new([1; 32]));
        let _ = session.answer(&local, first.as_bytes());
        let media = format!("m=audio 4000 RTP/AVP 0 96\na=rtpmap:96 {codec}\na=fmtp:96 {fmtp}\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\na=fingerprint:sha-256 {key}\na=setup:{fmtp}\n");
        let _ = session.answer(&local, &sdp(&media));
        let _ = session.accept(&local, &sdp(&media));
    }
}
