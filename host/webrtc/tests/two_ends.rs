//! A caller and a peer in virtual time, with a network between them that loses and moves.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_webrtc::caller::{Caller, Heard, Wishes};
use callbox_webrtc::{
    Answered, Candidate, Codec, IceCredentials, IceFragment, Identity, Keys, Offer, OfferError, Output, Path, Peer,
    PeerConfig, Policy, stun,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const HOST: ([u8; 4], u16) = ([203, 0, 113, 1], 3_478);

fn credentials(name: &str) -> IceCredentials {
    IceCredentials { ufrag: format!("{name}ufrag"), pwd: format!("{name}-password-of-enough-characters") }
}

fn at(host: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, host], 40_000))
}

#[allow(clippy::disallowed_methods, reason = "the beginning of virtual time")]
fn config() -> PeerConfig {
    let certificate = callbox_webrtc::generate_certificate().unwrap();
    PeerConfig {
        fingerprint: callbox_webrtc::fingerprint(&certificate),
        certificate,
        candidates: vec![Candidate { address: HOST.into(), tcp: false }, Candidate { address: HOST.into(), tcp: true }],
        max_message: 4_000,
        messages_per_second: 10,
        connect_timeout: Duration::from_secs(20),
        start: Instant::now(),
    }
}

fn identity() -> Identity {
    Identity { ice: credentials("host"), session: 1, ssrc: 77, cname: "host".into() }
}

/// What a peer has told.
#[derive(Debug, Default)]
struct Told {
    connected: Vec<Keys>,
    messages: Vec<String>,
    channel: Vec<bool>,
    selected: Vec<Path>,
    known: usize,
    failed: Vec<String>,
    left: bool,
    media: usize,
}

/// What a caller has told.
#[derive(Debug, Default)]
struct Seen {
    connected: bool,
    channel: bool,
    messages: Vec<String>,
    closed: bool,
}

struct Ends {
    config: PeerConfig,
    caller: Caller,
    peer: Peer,
    answered: Answered,
    now: Duration,
    /// Towards the host: from where, and what. Towards the caller: to where, and what.
    up: VecDeque<(SocketAddr, Vec<u8>)>,
    down: VecDeque<(SocketAddr, Vec<u8>)>,
    told: Told,
    seen: Seen,
    /// Everything else is lost.
    checks_alone: bool,
}

impl Ends {
    fn new(wishes: &Wishes) -> Self {
        let config = config();
        let (mut caller, offer) = Caller::new(config.start, &[(at(1), false)], wishes).unwrap();
        let offer = Offer::parse(&offer).unwrap();
        let (peer, answered) = Peer::new(&config, identity(), offer, &Policy::default(), Duration::ZERO).unwrap();
        caller.accept(&answered.sdp).unwrap();
        Self {
            config,
            caller,
            peer,
            answered,
            now: Duration::ZERO,
            up: VecDeque::new(),
            down: VecDeque::new(),
            told: Told::default(),
            seen: Seen::default(),
            checks_alone: false,
        }
    }

    /// Lets time pass. `lost` says of each datagram, counted over both ways, whether it is.
    fn run(&mut self, ms: u64, mut lost: impl FnMut(usize) -> bool) {
        let (until, mut count) = (self.now + Duration::from_millis(ms), 0);
        let checks_alone = self.checks_alone;
        let mut lost = move |count, datagram: &[u8]| lost(count) || (checks_alone && !stun::is_stun(datagram));
        while self.now < until {
            self.now += Duration::from_millis(5);
            let Self { caller, peer, now, up, down, told, seen, .. } = self;
            caller.tick(*now, &mut |heard| hear(heard, up, seen));
            peer.tick(*now, &mut |output| tell(output, down, told));
            for _ in 0..10 {
                for (from, datagram) in std::mem::take(up) {
                    count += 1;
                    if lost(count, &datagram) {
                        continue;
                    }
                    if stun::is_media(&datagram) {
                        told.media += 1;
                    } else {
                        let path = Path { far: from, tcp: false };
                        peer.take(*now, path, &datagram, &mut |output| tell(output, down, told));
                    }
                }
                for (to, datagram) in std::mem::take(down) {
                    count += 1;
                    if !lost(count, &datagram) {
                        caller.take(*now, HOST.into(), to, false, &datagram, &mut |heard| hear(heard, up, seen));
                    }
                }
            }
        }
    }

    fn say(&mut self, message: &str) -> bool {
        let Self { caller, now, up, seen, .. } = self;
        caller.say(*now, message, &mut |heard| hear(heard, up, seen))
    }

    fn tell(&mut self, message: &str) {
        let Self { peer, now, down, told, .. } = self;
        peer.send(*now, message.into(), &mut |output| tell(output, down, told));
    }
}

fn hear(heard: Heard<'_>, up: &mut VecDeque<(SocketAddr, Vec<u8>)>, seen: &mut Seen) {
    match heard {
        Heard::Send { from, bytes, .. } => up.push_back((from, bytes.to_vec())),
        Heard::Connected => seen.connected = true,
        Heard::Channel => seen.channel = true,
        Heard::Message(message) => seen.messages.push(message),
        Heard::Closed => seen.closed = true,
        Heard::Rtp { .. } => panic!("a peer sends no audio"),
    }
}

fn tell(output: Output<'_>, down: &mut VecDeque<(SocketAddr, Vec<u8>)>, told: &mut Told) {
    match output {
        Output::Datagram { to, bytes } => down.push_back((to.far, bytes.to_vec())),
        Output::Known(_) => told.known += 1,
        Output::Forgotten(_) => {}
        Output::Selected(path) => told.selected.push(path),
        Output::Connected(keys) => told.connected.push(keys),
        Output::Failed(why) => told.failed.push(why),
        Output::Channel(open) => told.channel.push(open),
        Output::Message(message) => told.messages.push(message),
        Output::Left => told.left = true,
    }
}

#[test]
fn a_caller_comes_and_both_have_keys_and_a_channel() {
    let mut ends = Ends::new(&Wishes::default());
    let agreed = &ends.answered.agreed;
    assert_eq!((agreed.codec, agreed.dtmf, agreed.send, agreed.receive), (Codec::Opus, Some(110), true, true));
    ends.run(1_000, |_| false);
    assert!(ends.seen.connected && ends.seen.channel);
    assert_eq!(ends.told.connected.len(), 1);
    assert_eq!(ends.told.channel, [true]);
    assert_eq!(ends.told.selected, [Path { far: at(1), tcp: false }]);
    assert!(ends.peer.is_connected() && ends.told.failed.is_empty());
    assert!(ends.say("{\"type\":\"digits\"}"));
    ends.tell("{\"type\":\"caption\"}");
    ends.run(200, |_| false);
    assert_eq!(ends.told.messages, ["{\"type\":\"digits\"}"]);
    assert_eq!(ends.seen.messages, ["{\"type\":\"caption\"}"]);
}

#[test]
fn what_is_lost_is_sent_again() {
    for seed in 1..=5_u32 {
        let mut random = seed;
        // One in four, as it happens.
        let mut lost = move |_| {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            random % 4 == 0
        };
        let mut ends = Ends::new(&Wishes::default());
        ends.run(19_000, &mut lost);
        assert!(ends.seen.connected && ends.peer.is_connected(), "{seed}: {:?}", ends.told);
        ends.run(60_000, &mut lost);
        assert_eq!(ends.told.channel, [true], "{seed}");
    }
}

#[test]
fn messages_wait_for_the_channel_and_are_bounded_in_size_and_number() {
    let mut ends = Ends::new(&Wishes::default());
    for n in 0..70 {
        ends.tell(&n.to_string());
    }
    ends.tell(&"x".repeat(4_001));
    ends.run(1_000, |_| false);
    let expected: Vec<String> = (0..64).map(|n| n.to_string()).collect();
    assert_eq!(ends.seen.messages, expected);
    assert_eq!(ends.peer.dropped(), 7);
    for n in 0..50 {
        assert!(ends.say(&n.to_string()));
    }
    ends.run(100, |_| false);
    assert_eq!(ends.told.messages.len(), 20, "as many as a second allows, and as many more");
    ends.run(2_000, |_| false);
    assert!(!ends.say(&"x".repeat(4_001)), "the answer says how long a message may be");
    ends.say("short");
    ends.run(500, |_| false);
    assert_eq!(ends.told.messages.last().unwrap(), "short");
    assert_eq!(ends.peer.dropped(), 7 + 30);
}

#[test]
fn the_media_follows_a_change_of_the_network() {
    let mut ends = Ends::new(&Wishes::default());
    ends.run(1_000, |_| false);
    let offer = Offer::parse(&ends.caller.restart(at(2), false).unwrap()).unwrap();
    let Ends { config, peer, now, .. } = &mut ends;
    let answered = peer.renegotiate(config, credentials("anew"), offer, &Policy::default(), *now).unwrap();
    assert!(answered.sdp.contains("a=ice-ufrag:anewufrag\r\n") && answered.sdp.contains("o=- 1 2 IN"));
    assert_eq!(peer.credentials(), &credentials("anew"));
    ends.caller.accept(&answered.sdp).unwrap();
    ends.run(2_000, |_| false);
    assert_eq!(ends.told.selected.last(), Some(&Path { far: at(2), tcp: false }));
    assert_eq!(ends.told.connected.len(), 1, "the same keys");
    ends.say("still here");
    ends.run(500, |_| false);
    assert_eq!(ends.told.messages, ["still here"]);
}

#[test]
fn a_fragment_restarts_and_candidates_alone_do_not() {
    let mut ends = Ends::new(&Wishes::default());
    ends.run(1_000, |_| false);
    let Ends { config, peer, now, .. } = &mut ends;
    let candidates =
        IceFragment::parse("m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.9 9 typ host\r\n");
    assert_eq!(peer.restart_ice(config, credentials("anew"), candidates.unwrap(), *now), None);
    let text = "a=ice-ufrag:fresh\r\na=ice-pwd:with-a-password-of-enough-characters\r\n";
    let fragment = IceFragment::parse(text).unwrap();
    let answer = peer.restart_ice(config, credentials("anew"), fragment.clone(), *now).unwrap();
    assert!(answer.contains("a=ice-ufrag:anewufrag\r\n") && answer.contains("a=candidate:1 1 udp "), "{answer}");
    assert_eq!(peer.restart_ice(config, credentials("more"), fragment, *now), None, "it is the same");
    assert_eq!(IceFragment::parse("a=ice-ufrag:half\r\n"), Err(OfferError::NoIce));
}

#[test]
fn who_never_comes_or_comes_half_way_is_told_by_what_was_missing() {
    let mut ends = Ends::new(&Wishes::default());
    ends.run(21_000, |_| true);
    assert_eq!(ends.told.failed, ["nobody came: no check of ICE reached us in time"]);
    // Its checks come, and nothing else.
    let mut ends = Ends { checks_alone: true, ..Ends::new(&Wishes::default()) };
    ends.run(21_000, |_| false);
    assert_eq!(ends.told.failed, ["no DTLS handshake in time"]);
    assert!(!ends.seen.connected && ends.told.connected.is_empty());
}

#[test]
fn another_certificate_than_the_offers_is_refused() {
    let config = config();
    let (mut caller, offer) = Caller::new(config.start, &[(at(1), false)], &Wishes::default()).unwrap();
    let at = offer.find("a=fingerprint:sha-256 ").unwrap() + 22;
    let other = if &offer[at..at + 2] == "00" { "11" } else { "00" };
    let forged = format!("{}{other}{}", &offer[..at], &offer[at + 2..]);
    let offer = Offer::parse(&forged).unwrap();
    let (peer, answered) = Peer::new(&config, identity(), offer, &Policy::default(), Duration::ZERO).unwrap();
    caller.accept(&answered.sdp).unwrap();
    let mut ends = Ends { config, caller, peer, answered, ..Ends::new(&Wishes::default()) };
    ends.run(2_000, |_| false);
    assert!(ends.told.connected.is_empty());
    assert!(ends.told.failed.len() == 1 && ends.told.failed[0].contains("fingerprint"), "{:?}", ends.told.failed);
}

#[test]
fn either_side_may_hang_up() {
    let mut ends = Ends::new(&Wishes::default());
    ends.run(1_000, |_| false);
    let Ends { caller, now, up, seen, .. } = &mut ends;
    caller.close(*now, &mut |heard| hear(heard, up, seen));
    ends.run(200, |_| false);
    assert!(ends.told.left);
    let mut ends = Ends::new(&Wishes::default());
    ends.run(1_000, |_| false);
    let Ends { peer, now, down, told, .. } = &mut ends;
    peer.close(*now, &mut |output| tell(output, down, told));
    ends.run(200, |_| false);
    assert!(ends.seen.closed && !ends.told.left);
}

/// Another caller may have written this one's address into a check of its own: what comes from there is this one's again
/// with its next.
#[test]
fn every_check_says_anew_whose_an_address_is() {
    let mut ends = Ends::new(&Wishes::default());
    ends.run(1_000, |_| false);
    let before = ends.told.known;
    assert!(before > 0);
    ends.run(10_000, |_| false);
    assert!(ends.told.known > before, "its checks go on while it talks");
    assert_eq!(ends.peer.paths().count(), 1);
}

#[test]
fn what_a_stranger_sends_is_nothing() {
    let mut ends = Ends::new(&Wishes::default());
    ends.run(1_000, |_| false);
    let stranger = Path { far: SocketAddr::from(([192, 0, 2, 66], 666)), tcp: false };
    let mut out = 0;
    for n in 0..2_000_u32 {
        let mut junk: Vec<u8> = (0..n % 90).map(|at| (n.wrapping_mul(2_654_435_761) >> (at % 24)) as u8).collect();
        if let Some(first) = junk.first_mut() {
            *first = [0, 20, 22, 23, 128][n as usize % 5];
        }
        ends.peer.take(ends.now, stranger, &junk, &mut |_| out += 1);
    }
    assert_eq!((out, ends.peer.knows(stranger)), (0, false));
    // Not even from where the caller is, which anybody can write into a packet.
    for junk in [&[22, 254, 253, 0, 0][..], &[23; 400], &[0; 20]] {
        ends.peer.take(ends.now, Path { far: at(1), tcp: false }, junk, &mut |_| out += 1);
    }
    assert_eq!(out, 0);
    ends.say("still here");
    ends.run(500, |_| false);
    assert_eq!(ends.told.messages, ["still here"]);
}

#[test]
fn video_is_refused_and_the_audio_goes_on() {
    let mut ends = Ends::new(&Wishes { video: true, ..Wishes::default() });
    let sdp = &ends.answered.sdp;
    assert!(sdp.contains("m=video 0 ") && sdp.contains("a=inactive"), "{sdp}");
    ends.run(1_000, |_| false);
    assert!(ends.peer.is_connected() && ends.told.channel == [true]);
}

#[test]
fn codecs_follow_our_order_or_the_offers() {
    let offered = [Codec::Pcma, Codec::Opus, Codec::Pcmu];
    for (ours, follow, expected) in [
        (vec![Codec::Opus, Codec::Pcmu], false, Some(Codec::Opus)),
        (vec![Codec::Pcmu, Codec::Opus], false, Some(Codec::Pcmu)),
        (vec![Codec::G722], false, None),
    ] {
        let config = config();
        let wishes = Wishes { codecs: offered.to_vec(), ..Wishes::default() };
        let (mut caller, offer) = Caller::new(config.start, &[(at(1), false)], &wishes).unwrap();
        let offer = Offer::parse(&offer).unwrap();
        let policy = Policy { codecs: ours, follow_offer: follow, ..Policy::default() };
        match Peer::new(&config, identity(), offer, &policy, Duration::ZERO) {
            Ok((_, answered)) => {
                assert_eq!(Some(answered.agreed.codec), expected);
                caller.accept(&answered.sdp).unwrap();
                let agreed = caller.agreed().unwrap();
                assert_eq!((Some(agreed.codec), agreed.events), (expected, answered.agreed.dtmf));
            }
            Err(error) => {
                assert_eq!(expected, None);
                assert_eq!(error, OfferError::NoCodec("G722".into()));
            }
        }
    }
}
