//! Bodies of the fuzz targets: what any bytes must not break. `fuzz/` runs them under libFuzzer, the test
//! `fuzz_corpus` on their corpora and on mutations of them.

use crate::codec::Codec;
use crate::command::{MediaCommand, MediaEvent, MediaPlan};
use crate::dtmf;
use crate::rtp::{self, HEADER};
use crate::security::Fingerprint;
use crate::srtp::{OVERHEAD, Protector, SrtpKeys, SrtpSuite, Unprotector};
use crate::stream::{Identity, Output, Stream};
use crate::{Clip, rtcp, wav};
use callbox_dialogue::PromptId;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// One datagram as RTP: what is read and written again is the same.
pub fn rtp(data: &[u8]) {
    let Ok(packet) = rtp::parse(data) else { return };
    assert!(packet.payload.len() + HEADER <= data.len());
    let mut header = [0; HEADER];
    rtp::write_header(&mut header, packet.marker, packet.payload_type, packet.sequence, packet.timestamp, packet.ssrc);
    assert_eq!(rtp::parse(&[&header, packet.payload].concat()), Ok(packet));
}

/// One datagram as RTCP, about a stream that is named in its first bytes.
pub fn rtcp(data: &[u8]) {
    let ssrc = data.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    if let Ok(feedback) = rtcp::read(data.get(4..).unwrap_or_default(), ssrc)
        && let Some(about) = feedback.about_us
    {
        assert!((0.0..=100.0).contains(&about.loss_pct));
        assert!(about.round_trip_ms(1 << 40).is_none_or(|ms| ms >= 0.0));
    }
}

/// A row of telephone-event packets: 1 byte SSRC, 2 bytes timestamp in steps of 80, 1 byte with the marker and the
/// length of the payload, which follows.
pub fn dtmf(mut data: &[u8]) {
    let mut receiver = dtmf::Receiver::default();
    while let Some(([ssrc, high, low, shape], rest)) = data.split_first_chunk::<4>() {
        let (payload, behind) = rest.split_at(usize::from(shape & 0x1F).min(rest.len()));
        data = behind;
        let timestamp = u32::from(u16::from_be_bytes([*high, *low])).wrapping_mul(80);
        let mut keys = 0;
        receiver.packet(u32::from(*ssrc), timestamp, shape & 0x80 != 0, payload, |_| keys += 1);
        assert!(keys <= payload.len() / 4);
        // The same packet again tells nothing new.
        receiver.packet(u32::from(*ssrc), timestamp, shape & 0x80 != 0, payload, |key| {
            // Unless it holds more events than are remembered, or moves its own press on.
            assert!(payload.len() > 4, "{key} twice");
        });
    }
}

/// A file as WAV: what is read can be written and read again.
pub fn wav(data: &[u8]) {
    if let Ok(samples) = wav::read_samples(data) {
        assert_eq!(wav::read_samples(&wav::write(&samples)), Ok(samples));
    }
}

/// Protected packets: 1 byte suite, then a row of steps, each 1 byte what, 1 byte length, and so many bytes: a datagram
/// of a stranger, or one of the far end before it is sealed.
pub fn srtp(data: &[u8]) {
    let Some((suite, mut data)) = data.split_first() else { return };
    let suite = SrtpSuite::ALL[usize::from(suite % 4)];
    let keys = SrtpKeys::random(suite, &[0xA5; SrtpKeys::RANDOM]);
    let (mut sender, mut receiver) = (Protector::new(&keys), Unprotector::new(&keys));
    while let Some(([what, length], rest)) = data.split_first_chunk::<2>() {
        let (bytes, behind) = rest.split_at(usize::from(*length).min(rest.len()));
        data = behind;
        let rtcp = what & 1 == 1;
        let mut buffer = bytes.to_vec();
        let open = if rtcp { Unprotector::rtcp } else { Unprotector::rtp };
        if what & 2 == 0 {
            assert!(open(&mut receiver, &mut buffer).is_err(), "a forgery");
            assert_eq!(buffer, bytes, "left as it was");
            continue;
        }
        if let Some(ssrc) = buffer.get_mut(8..12).filter(|_| !rtcp) {
            // One stream: a far end counts each of its streams by itself.
            ssrc.fill(7);
        }
        let plain = buffer.clone();
        buffer.resize(plain.len() + OVERHEAD, 0);
        let seal = if rtcp { Protector::rtcp } else { Protector::rtp };
        if let Ok(length) = seal(&mut sender, &mut buffer, plain.len()) {
            let sealed = &mut buffer[..length];
            // RTCP may be sealed whatever it says; only what is of version 2 is opened.
            if plain[0] >> 6 == 2 {
                let again = &mut sealed.to_vec();
                assert_eq!(open(&mut receiver, sealed), Ok(plain.len()));
                assert_eq!(sealed[..plain.len()], plain);
                assert!(open(&mut receiver, again).is_err(), "a replay");
            }
        }
    }
}

/// Keys and fingerprints as an SDP has them: what is read is written the same.
pub fn keys(data: &[u8]) {
    let Some((suite, data)) = data.split_first() else { return };
    let suite = SrtpSuite::ALL[usize::from(suite % 4)];
    let text = String::from_utf8_lossy(data);
    if let Ok(keys) = SrtpKeys::from_inline(suite, &text) {
        assert_eq!(SrtpKeys::from_inline(suite, &keys.to_inline()), Ok(keys));
    }
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    }
}

/// A whole call: a row of steps, each 1 byte what, 1 byte who or how much, 1 byte length, and so many bytes.
pub fn call(mut data: &[u8]) {
    let far_end = SocketAddr::from((Ipv4Addr::LOCALHOST, 4_000));
    let stranger = SocketAddr::from((Ipv4Addr::new(10, 9, 9, 9), 666));
    let mut sink = Sink { far_end, stranger, latched: false };
    let identity = Identity { ssrc: 1, sequence: 2, timestamp: 3, cname: "abc".into() };
    let mut stream = Stream::new(identity, Duration::from_secs(1), 0, 0);
    let mut now = Duration::ZERO;
    while let Some(([what, much, length], rest)) = data.split_first_chunk::<3>() {
        let (bytes, behind) = rest.split_at(usize::from(*length).min(rest.len()));
        data = behind;
        let prompt = PromptId(u32::from(much % 4));
        let command = match what % 16 {
            0..5 => {
                stream.rtp(now, far_end, bytes, &mut sink);
                continue;
            }
            5 => {
                stream.rtp(now, stranger, bytes, &mut sink);
                sink.latched |= stream.stats().remote == Some(stranger);
                continue;
            }
            6 => {
                stream.rtcp(now, far_end, bytes);
                continue;
            }
            7..10 => {
                now += Duration::from_millis(u64::from(*much));
                stream.tick(now, u32::from(what / 128), &mut sink);
                continue;
            }
            10 => MediaCommand::Configure(MediaPlan {
                formats: Codec::ALL.iter().map(|codec| (codec.static_payload_type().unwrap_or(111), *codec)).collect(),
                comfort_noise: (much & 1 == 0).then_some(13),
                dtx: much & 32 != 0,
                detect_tones: much & 64 != 0,
                fec: much & 128 != 0,
                dtmf: (much & 4 == 0).then_some(101),
                remote_rtcp: far_end,
                signalling_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
                send: much & 8 == 0,
                receive: much & 16 == 0,
                ptime_ms: *length,
                ..{
                    let codec = Codec::ALL[usize::from(much % 4)];
                    MediaPlan::new(codec, codec.static_payload_type().unwrap_or(111), far_end)
                }
            }),
            11 => MediaCommand::Append {
                prompt,
                clip: Clip::from_pcm(bytes.iter().map(|byte| i16::from(*byte)).collect()),
            },
            12 => MediaCommand::Complete { prompt },
            13 => MediaCommand::Play { prompt },
            14 => MediaCommand::Stop { prompt },
            _ if much % 2 == 0 => MediaCommand::SendDigits { digits: String::from_utf8_lossy(bytes).into_owned() },
            _ => MediaCommand::Mask(what / 16 % 2 == 0),
        };
        stream.command(now, command, &mut sink);
    }
    let stats = stream.stats();
    assert!((1.0..=4.5).contains(&stats.mos) && (0.0..=100.0).contains(&stats.loss_pct), "{stats:?}");
}

/// Nothing may go anywhere but to the far end, unless a stranger has been believed.
struct Sink {
    far_end: SocketAddr,
    stranger: SocketAddr,
    latched: bool,
}

impl Output for Sink {
    fn rtp(&mut self, to: SocketAddr, packet: &[u8]) -> bool {
        assert!(to == self.far_end || (self.latched && to == self.stranger));
        assert!(rtp::parse(packet).is_ok());
        true
    }

    fn rtcp(&mut self, to: SocketAddr, packet: &[u8], _: bool) {
        assert!(to == self.far_end || (self.latched && to == self.stranger));
        assert!(rtcp::read(packet, 0).is_ok());
    }

    fn keep_open(&mut self, to: SocketAddr) {
        assert!(to == self.far_end || (self.latched && to == self.stranger));
    }

    fn event(&mut self, _: MediaEvent) {}
}
