//! Writing the answer: one codec, digits, one way for everything, and the rest refused politely.

use crate::codec::Codec;
use crate::offer::{Direction, Format, IceCredentials, Kind, Offer, OfferError, Section, Setup};
use std::fmt::Write as _;
use std::net::SocketAddr;

/// What we want in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What may be spoken, the best first. The first that the offer has is taken, unless the offer's order counts.
    pub codecs: Vec<Codec>,
    /// The far end's order of codecs counts, not ours.
    pub follow_offer: bool,
    /// Opus may pause while nobody speaks, on both sides: it saves the line nearly everything, but its listeners hear
    /// that somebody has stopped.
    pub dtx: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { codecs: vec![Codec::Opus, Codec::Pcmu, Codec::Pcma], follow_offer: false, dtx: false }
    }
}

/// What is settled about the audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// What both sides send.
    pub codec: Codec,
    /// Its payload type, both ways.
    pub payload_type: u8,
    /// The payload type of telephone-event on the clock of `codec`, where the far end has it.
    pub dtmf: Option<u8>,
    /// Payload types under which telephone-events may come on other clocks.
    pub events: Vec<u8>,
    /// The payload type of comfort noise (RFC 3389), beside G.711 and G.722 alone.
    pub comfort_noise: Option<u8>,
    /// We may pause while nobody speaks.
    pub dtx: bool,
    /// The far end makes use of the redundancy of Opus.
    pub fec: bool,
    /// Milliseconds of audio in a packet that the far end wants.
    pub ptime_ms: u8,
    /// We send audio: the far end wants it.
    pub send: bool,
    /// We expect audio.
    pub receive: bool,
    /// There is a data channel.
    pub data: bool,
}

/// Our side of a description.
#[derive(Clone, Debug)]
pub(crate) struct Local<'a> {
    /// Candidates, the best first; not empty.
    pub(crate) candidates: &'a [Candidate],
    pub(crate) ice: &'a IceCredentials,
    /// Of our certificate.
    pub(crate) fingerprint: &'a [u8; 32],
    /// Of the stream that we send, and its canonical name.
    pub(crate) ssrc: u32,
    pub(crate) cname: &'a str,
    /// The number of the session, and how often it has been described.
    pub(crate) session: u64,
    pub(crate) version: u64,
    /// Bytes of the longest message that we take on a data channel.
    pub(crate) max_message: usize,
}

/// A way to reach us (RFC 8839 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where.
    pub address: SocketAddr,
    /// It is a TCP port that waits for connections (RFC 6544), for whom UDP does not reach us.
    pub tcp: bool,
}

impl Candidate {
    /// RFC 8445 §5.1.2.1: a host candidate; UDP before TCP, earlier ones before later ones.
    fn priority(self, place: usize) -> u32 {
        let local: u32 = if self.tcp { 0x2FFF } else { 0xFFFF };
        let local = local.saturating_sub(place as u32);
        (if self.tcp { 90 } else { 126 }) << 24 | local << 8 | 255
    }

    fn write(self, place: usize, out: &mut String) {
        let (ip, port, priority) = (self.address.ip(), self.address.port(), self.priority(place));
        let (protocol, kind) = if self.tcp { ("tcp", " tcptype passive") } else { ("udp", "") };
        line(out, format_args!("a=candidate:{} 1 {protocol} {priority} {ip} {port} typ host{kind}", place + 1));
    }
}

/// Finds what both sides speak.
///
/// # Errors
/// [`OfferError::NoCodec`].
pub(crate) fn agree(offer: &Offer, policy: &Policy) -> Result<Agreement, OfferError> {
    let audio = offer.audio();
    let codec_of = |(number, format): &(u8, Format)| match format {
        Format::Audio(codec) if policy.codecs.contains(codec) => Some((*number, *codec)),
        _ => None,
    };
    let mut offered = audio.formats.iter().filter_map(codec_of);
    let place = |(_, codec): &(u8, Codec)| policy.codecs.iter().position(|ours| ours == codec);
    let chosen = if policy.follow_offer { offered.next() } else { offered.min_by_key(place) };
    let Some((payload_type, codec)) = chosen else {
        let names: Vec<&str> = policy.codecs.iter().map(|codec| codec.name()).collect();
        return Err(OfferError::NoCodec(names.join(", ")));
    };
    let find = |wanted: Format| audio.formats.iter().find(|(_, format)| *format == wanted).map(|(number, _)| *number);
    let dtmf = find(Format::Events(codec.rtp_clock()));
    let other_events = |(number, format): &(u8, Format)| match format {
        Format::Events(8_000 | 48_000) if Some(*number) != dtmf => Some(*number),
        _ => None,
    };
    let opus = codec == Codec::Opus;
    let wishes = audio.opus(payload_type);
    let comfort_noise = find(Format::Noise).filter(|_| !opus);
    let ptime = audio.ptime_ms.unwrap_or(20).min(audio.max_ptime_ms.unwrap_or(120));
    Ok(Agreement {
        codec,
        payload_type,
        dtmf,
        events: audio.formats.iter().filter_map(other_events).collect(),
        comfort_noise,
        dtx: policy.dtx && if opus { wishes.dtx } else { comfort_noise.is_some() },
        fec: opus && wishes.fec,
        ptime_ms: ptime.clamp(10, 60),
        send: audio.direction.receives,
        receive: audio.direction.sends,
        data: offer.data.is_some(),
    })
}

/// Writes the answer.
pub(crate) fn write(offer: &Offer, agreed: &Agreement, dtx: bool, local: &Local<'_>) -> String {
    let mut out = String::with_capacity(2_048);
    let Some(first) = local.candidates.first() else { return out };
    let (ip, port) = (first.address.ip(), first.address.port());
    let family = if ip.is_ipv4() { 4 } else { 6 };
    let (session, version) = (local.session, local.version);
    let accepted = |at: usize| at == offer.audio || Some(at) == offer.data;
    out.push_str("v=0\r\n");
    line(&mut out, format_args!("o=- {session} {version} IN IP{family} {ip}"));
    out.push_str("s=-\r\nt=0 0\r\n");
    if !offer.bundle.is_empty() && offer.bundles(offer.audio) {
        out.push_str("a=group:BUNDLE");
        for (_, section) in offer.sections.iter().enumerate().filter(|(at, _)| accepted(*at)) {
            if let Some(mid) = section.mid.as_ref().filter(|mid| offer.bundle.contains(mid)) {
                out.push(' ');
                out.push_str(mid);
            }
        }
        out.push_str("\r\n");
    }
    out.push_str("a=ice-lite\r\na=msid-semantic:WMS callbox\r\n");
    for (at, section) in offer.sections.iter().enumerate() {
        if !accepted(at) {
            refuse(section, &mut out);
            continue;
        }
        if section.kind == Kind::Audio {
            audio_formats(section, agreed, port, &mut out);
        } else {
            line(&mut out, format_args!("m={} {port} {} {}", section.medium, section.protocol, section.first_format));
        }
        line(&mut out, format_args!("c=IN IP{family} {ip}"));
        if let Some(mid) = &section.mid {
            line(&mut out, format_args!("a=mid:{mid}"));
        }
        transport(offer, local, &mut out);
        if section.kind == Kind::Audio {
            audio(section, agreed, dtx, local, &mut out);
        } else {
            line(&mut out, format_args!("a=sctp-port:5000\r\na=max-message-size:{}", local.max_message));
        }
    }
    out
}

/// Writes the fragment that answers a restart (RFC 8840): what of ours has changed.
pub(crate) fn write_fragment(offer: &Offer, local: &Local<'_>) -> String {
    let mut out = String::with_capacity(512);
    let section = offer.audio();
    out.push_str("a=ice-lite\r\n");
    credentials(local, &mut out);
    line(&mut out, format_args!("m=audio 9 {} {}", section.protocol, section.first_format));
    if let Some(mid) = &section.mid {
        line(&mut out, format_args!("a=mid:{mid}"));
    }
    candidates(local, &mut out);
    out
}

fn credentials(local: &Local<'_>, out: &mut String) {
    line(out, format_args!("a=ice-ufrag:{}\r\na=ice-pwd:{}", local.ice.ufrag, local.ice.pwd));
}

fn candidates(local: &Local<'_>, out: &mut String) {
    for (place, candidate) in local.candidates.iter().enumerate() {
        candidate.write(place, out);
    }
    out.push_str("a=end-of-candidates\r\n");
}

fn transport(offer: &Offer, local: &Local<'_>, out: &mut String) {
    credentials(local, out);
    out.push_str("a=fingerprint:sha-256 ");
    for (n, byte) in local.fingerprint.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(out, "{}{byte:02X}", if n == 0 { "" } else { ":" });
    }
    let setup = if offer.setup == Setup::Active { "passive" } else { "active" };
    line(out, format_args!("\r\na=setup:{setup}"));
    candidates(local, out);
}

/// The numbers that are spoken in this section, as they stand in its first line.
fn audio_formats(section: &Section, agreed: &Agreement, port: u16, out: &mut String) {
    let _ = write!(out, "m=audio {port} {} {}", section.protocol, agreed.payload_type);
    for number in agreed.comfort_noise.iter().chain(&agreed.dtmf).chain(&agreed.events) {
        let _ = write!(out, " {number}");
    }
    out.push_str("\r\n");
}

fn audio(section: &Section, agreed: &Agreement, dtx: bool, local: &Local<'_>, out: &mut String) {
    let direction = Direction { sends: agreed.send, receives: agreed.receive };
    line(out, format_args!("a={}\r\na=rtcp-mux", direction.as_str()));
    if section.rtcp_rsize {
        out.push_str("a=rtcp-rsize\r\n");
    }
    let number = agreed.payload_type;
    let channels = if agreed.codec == Codec::Opus { "/2" } else { "" };
    line(out, format_args!("a=rtpmap:{number} {}/{}{channels}", agreed.codec.name(), agreed.codec.rtp_clock()));
    if agreed.codec == Codec::Opus {
        // What we play is no wider, and what is lost is found in the packet behind.
        let dtx = if dtx { ";usedtx=1" } else { "" };
        line(
            out,
            format_args!(
                "a=fmtp:{number} minptime=10;useinbandfec=1;maxplaybackrate=16000;sprop-maxcapturerate=16000{dtx}"
            ),
        );
    }
    if let Some(number) = agreed.comfort_noise {
        line(out, format_args!("a=rtpmap:{number} CN/8000"));
    }
    for (number, format) in &section.formats {
        if let Format::Events(clock) = format
            && (agreed.dtmf == Some(*number) || agreed.events.contains(number))
        {
            line(out, format_args!("a=rtpmap:{number} telephone-event/{clock}\r\na=fmtp:{number} 0-15"));
        }
    }
    line(out, format_args!("a=ptime:{}", agreed.ptime_ms));
    line(out, format_args!("a=msid:callbox audio\r\na=ssrc:{} cname:{}", local.ssrc, local.cname));
}

/// A section that is not wanted keeps its place (RFC 3264 §6).
fn refuse(section: &Section, out: &mut String) {
    line(out, format_args!("m={} 0 {} {}", section.medium, section.protocol, section.first_format));
    out.push_str("c=IN IP4 0.0.0.0\r\n");
    if let Some(mid) = &section.mid {
        line(out, format_args!("a=mid:{mid}"));
    }
    if section.kind != Kind::Data {
        out.push_str("a=inactive\r\n");
    }
    if let Some(map) = &section.first_map {
        line(out, format_args!("a=rtpmap:{} {map}", section.first_format));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(text);
    out.push_str("\r\n");
}
