//! Bodies of the fuzz targets: what any bytes must not break. `fuzz/` runs them under libFuzzer, the test `fuzz_corpus`
//! on their corpora and on mutations of them.

use crate::{
    Candidate, IceCredentials, IceFragment, Identity, Offer, Output, Path, Peer, PeerConfig, Policy, caller, frame,
    generate_certificate, stun,
};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What every peer is made with. The clock is read once: its beginning means nothing.
#[allow(clippy::disallowed_methods, reason = "the beginning of virtual time")]
fn config() -> &'static PeerConfig {
    static CONFIG: OnceLock<PeerConfig> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let certificate = generate_certificate().unwrap_or_else(|| unreachable!("there is randomness"));
        PeerConfig {
            fingerprint: crate::fingerprint(&certificate),
            certificate,
            candidates: vec![Candidate { address: SocketAddr::from(([192, 0, 2, 1], 3_478)), tcp: false }],
            max_message: 1_000,
            messages_per_second: 5,
            connect_timeout: Duration::from_secs(20),
            start: Instant::now(),
        }
    })
}

fn credentials(name: &str) -> IceCredentials {
    IceCredentials { ufrag: format!("{name}ufrag"), pwd: format!("{name}-password-of-enough-characters") }
}

fn identity() -> Identity {
    Identity { ice: credentials("host"), session: 1, ssrc: 7, cname: "host".into() }
}

/// A description as an offer: what can be answered is answered with a section for each of its, in the same order, and
/// none of it is longer than what came by more than we say ourselves.
pub fn offer(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = IceFragment::parse(&text);
    let Ok(offer) = Offer::parse(&text) else { return };
    let Ok((mut peer, answered)) = Peer::new(config(), identity(), offer.clone(), &Policy::default(), Duration::ZERO)
    else {
        return;
    };
    let sections = |sdp: &str| sdp.lines().filter(|line| line.starts_with("m=")).count();
    assert_eq!(sections(&answered.sdp), sections(&text), "{}", answered.sdp);
    assert_eq!(answered.sdp.lines().filter(|line| *line == "a=ice-lite").count(), 1);
    assert!(answered.sdp.len() < 2 * text.len() + 4_096);
    assert!(answered.sdp.lines().all(|line| line.as_bytes().get(1) == Some(&b'=')), "{}", answered.sdp);
    // The same again changes nothing but the version.
    let again = peer.renegotiate(config(), credentials("anew"), offer, &Policy::default(), Duration::ZERO);
    assert_eq!(again.map(|again| again.agreed), Ok(answered.agreed));
    assert_eq!(peer.credentials(), &credentials("host"));
}

/// Datagrams to a peer: a row of steps, each 1 byte from whom, 1 byte of time, 1 byte length, and so many bytes. Nothing
/// is sent to who has not proven who it is, and nothing is established.
pub fn datagrams(mut data: &[u8]) {
    static OFFER: OnceLock<Option<Offer>> = OnceLock::new();
    let offer = OFFER.get_or_init(|| {
        let (_, sdp) = caller::Caller::new(config().start, &[], &caller::Wishes::default()).ok()?;
        Offer::parse(&sdp).ok()
    });
    let Some(offer) = offer.clone() else { unreachable!("a caller makes offers") };
    let Ok((mut peer, _)) = Peer::new(config(), identity(), offer, &Policy::default(), Duration::ZERO) else { return };
    let mut now = Duration::ZERO;
    let mut silent = |output: Output<'_>| {
        assert!(matches!(output, Output::Failed(_)), "{output:?}");
    };
    while let Some(([from, time, length], rest)) = data.split_first_chunk::<3>() {
        let (bytes, behind) = rest.split_at(usize::from(*length).min(rest.len()));
        data = behind;
        now += Duration::from_millis(u64::from(*time));
        let path = Path { far: SocketAddr::from(([198, 51, 100, from & 7], 9)), tcp: from & 8 != 0 };
        peer.take(now, path, bytes, &mut silent);
        peer.tick(now, &mut silent);
        assert!(!peer.knows(path));
    }
    peer.close(now, &mut silent);
}

/// A TCP stream of frames, and the first bytes of a datagram.
pub fn frames(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some((datagram, taken))) = frame::first(rest) {
        let header = frame::header(datagram).map(|header| [&header[..], datagram].concat());
        assert_eq!(header.as_deref(), rest.get(..taken));
        rest = &rest[taken..];
    }
    if let Some(name) = stun::named(data) {
        assert!(stun::is_stun(data) && !name.contains(':'));
    }
}
