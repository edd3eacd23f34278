//! What the far end's description says, as far as a telephone call needs it.

use std::net::{IpAddr, SocketAddr};

use callbox_media::{Codec, Fingerprint};

use super::payload::Payload;
use super::protection::{Crypto, Setup};
use super::{Direction, LocalMedia, MAX_MEDIA, SdpError};

/// Keys that are looked at in one line; a telephone offers up to eight.
const MAX_CRYPTO: usize = 16;

/// A description from the network.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) lines: Vec<Line>,
}

/// What a transport protocol means for a call. Feedback (`AVPF`) is not told apart: nobody has to send any
/// (RFC 4585 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// `RTP/AVP(F)`: plain, unless there are keys beside it (RFC 8643).
    Plain,
    /// `RTP/SAVP(F)`: protected, with keys of whatever origin.
    Secure,
    /// `UDP/TLS/RTP/SAVP(F)`: protected, with the keys of a handshake.
    Tls,
}

impl Profile {
    pub(super) fn read(proto: &str) -> Option<Self> {
        Some(match proto.to_ascii_uppercase().as_str() {
            "RTP/AVP" | "RTP/AVPF" => Self::Plain,
            "RTP/SAVP" | "RTP/SAVPF" => Self::Secure,
            "UDP/TLS/RTP/SAVP" | "UDP/TLS/RTP/SAVPF" => Self::Tls,
            _ => return None,
        })
    }
}

/// What a far end likes to be sent in Opus (RFC 7587 §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OpusWishes {
    pub(super) fec: bool,
    pub(super) dtx: bool,
}

/// One `m=` line with what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) media: String,
    pub(super) port: u16,
    pub(super) proto: String,
    pub(super) profile: Option<Profile>,
    pub(super) formats: String,
    pub(super) direction: Direction,
    address: Result<IpAddr, String>,
    rtcp: Option<(u16, Option<IpAddr>)>,
    pub(super) rtcp_mux: bool,
    ptime: Option<u32>,
    minptime: Option<u32>,
    maxptime: Option<u32>,
    /// What the numbers of the line stand for, in its order, none twice.
    pub(super) payloads: Vec<(u8, Payload)>,
    opus: Vec<(u8, OpusWishes)>,
    /// Keys that can be used, in their order.
    pub(super) crypto: Vec<Crypto>,
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) setup: Option<Setup>,
}

impl Line {
    pub(super) fn is_audio(&self) -> bool {
        self.media.eq_ignore_ascii_case("audio")
    }

    /// Codecs in the order of the line, with the payload type the far end gave them.
    pub(super) fn codecs(&self) -> impl Iterator<Item = (Codec, u8)> {
        self.payloads.iter().filter_map(|&(number, payload)| match payload {
            Payload::Audio(codec) => Some((codec, number)),
            _ => None,
        })
    }

    /// The first number of that payload.
    pub(super) fn number_of(&self, payload: Payload) -> Option<u8> {
        self.payloads.iter().find(|(_, other)| *other == payload).map(|(number, _)| *number)
    }

    pub(super) fn opus(&self, number: u8) -> OpusWishes {
        self.opus.iter().rev().find(|(of, _)| *of == number).map(|(_, wishes)| *wishes).unwrap_or_default()
    }

    /// Where the far end wants audio, unspecified when it wants none (RFC 2543 hold); and our address for it.
    pub(super) fn rtp(&self, local: &LocalMedia, current: IpAddr) -> Result<(SocketAddr, IpAddr), SdpError> {
        // Names are not looked up; audio of the far end will come from where its signalling does, most likely.
        let named = self.address.clone().or_else(|name| local.signalling.ok_or(name));
        let ip = named.map_err(SdpError::Address)?.to_canonical();
        if ip.is_multicast() {
            return Err(SdpError::Address(format!("{ip} is a multicast address")));
        }
        let ours = match local.address_towards(ip) {
            Some(_) | None if ip.is_unspecified() => current,
            Some(ours) => ours,
            None => return Err(SdpError::Address(format!("{ip} cannot be reached from {}", local.addr))),
        };
        Ok((SocketAddr::new(ip, self.port), ours))
    }

    /// Where it wants RTCP (RFC 3605, RFC 5761).
    pub(super) fn rtcp(&self, rtp: SocketAddr, mux: bool) -> SocketAddr {
        match self.rtcp {
            _ if mux => rtp,
            Some((port, ip)) => {
                let ip = ip.filter(|ip| ip.is_ipv4() == rtp.is_ipv4() && !ip.is_multicast()).unwrap_or(rtp.ip());
                SocketAddr::new(ip, port)
            }
            None => SocketAddr::new(rtp.ip(), rtp.port().checked_add(1).unwrap_or(rtp.port())),
        }
    }

    /// Whether the far end takes audio: its direction says so and it has not taken its address away.
    pub(super) fn takes_audio(&self) -> bool {
        self.direction.receives() && !self.address.as_ref().is_ok_and(IpAddr::is_unspecified)
    }

    /// Milliseconds of audio per packet that the far end asks for: 10 to 60 in steps of 10; ours when it does not say.
    pub(super) fn ptime(&self, codec: Codec, ours: u8) -> u8 {
        let wanted = self.ptime.unwrap_or(ours.into()).max(self.minptime.unwrap_or(10));
        let wanted = wanted.min(self.maxptime.unwrap_or(60)).clamp(10, 60) / 10 * 10;
        match (codec, u8::try_from(wanted).unwrap_or(20)) {
            // Opus has no frames of these lengths (RFC 6716 §2.1.4).
            (Codec::Opus, 30) => 20,
            (Codec::Opus, 50) => 40,
            (_, ms) => ms,
        }
    }
}

/// Reads a description.
pub(super) fn read(bytes: &[u8]) -> Result<Remote, SdpError> {
    let text = normalised(bytes)?;
    let session = sdp_types::Session::parse(text.as_bytes()).map_err(|error| SdpError::Syntax(error.to_string()))?;
    if session.medias.len() > MAX_MEDIA {
        return Err(SdpError::TooManyMedia);
    }
    // Without any c= line the address of o= is the best guess there is. One that names nothing is no hold, which
    // only a c= line can ask for, but no address at all.
    let origin = session.origin.unicast_address.as_str();
    let origin = if matches!(origin, "0.0.0.0" | "::") { "(none given)" } else { origin };
    let session_address =
        session.connection.as_ref().map_or(origin, |connection| connection.connection_address.as_str());
    let common = Common {
        direction: direction(&session.attributes),
        fingerprint: fingerprint(&session.attributes),
        setup: setup(&session.attributes),
    };
    let lines = session.medias.iter().map(|media| {
        let address =
            media.connections.first().map_or(session_address, |connection| connection.connection_address.as_str());
        line(media, address, &common)
    });
    Ok(Remote { lines: lines.collect() })
}

/// What the session says for all lines that say nothing else.
struct Common {
    direction: Option<Direction>,
    fingerprint: Option<Fingerprint>,
    setup: Option<Setup>,
}

fn line(media: &sdp_types::Media, address: &str, common: &Common) -> Line {
    let mut line = Line {
        media: media.media.clone(),
        port: media.port,
        proto: media.proto.clone(),
        profile: Profile::read(&media.proto),
        formats: media.fmt.clone(),
        direction: direction(&media.attributes).or(common.direction).unwrap_or_default(),
        // IPv4 multicast carries a TTL after a slash.
        address: address
            .split('/')
            .next()
            .unwrap_or_default()
            .parse()
            .map_err(|_| format!("{address} is no IP address")),
        rtcp: None,
        rtcp_mux: false,
        ptime: None,
        minptime: None,
        maxptime: None,
        payloads: Vec::new(),
        opus: Vec::new(),
        crypto: Vec::new(),
        fingerprint: fingerprint(&media.attributes).or(common.fingerprint),
        setup: setup(&media.attributes).or(common.setup),
    };
    // One pass over the attributes, one over the formats: a description full of both stays cheap.
    let mut names: [Option<Payload>; 128] = [None; 128];
    let mut wishes: [Option<OpusWishes>; 128] = [None; 128];
    let mut keys = 0;
    for attribute in &media.attributes {
        let value = attribute.value.as_deref().unwrap_or_default().trim();
        match attribute.attribute.trim().to_ascii_lowercase().as_str() {
            "rtpmap" => {
                if let Some((number, payload)) = Payload::read(value) {
                    names[usize::from(number)] = Some(payload);
                }
            }
            "fmtp" => {
                if let Some((number, found)) = opus_wishes(value) {
                    wishes[usize::from(number)] = Some(found);
                }
            }
            "ptime" => line.ptime = leading_number(value).or(line.ptime),
            "minptime" => line.minptime = leading_number(value).or(line.minptime),
            "maxptime" => line.maxptime = leading_number(value).or(line.maxptime),
            "rtcp" => line.rtcp = rtcp(value),
            "rtcp-mux" => line.rtcp_mux = true,
            "crypto" if keys < MAX_CRYPTO => {
                keys += 1;
                line.crypto.extend(Crypto::read(value));
            }
            _ => {}
        }
    }
    let mut seen = [false; 128];
    for format in media.fmt.split_ascii_whitespace() {
        let Some(number) = format.parse::<u8>().ok().filter(|&number| number < 128) else { continue };
        let at = usize::from(number);
        if std::mem::replace(&mut seen[at], true) {
            continue;
        }
        let payload = names[at].or_else(|| Payload::statically(number)).unwrap_or(Payload::Other);
        line.payloads.push((number, payload));
        if payload == Payload::Audio(Codec::Opus) {
            line.opus.extend(wishes[at].map(|wishes| (number, wishes)));
        }
    }
    line
}

/// `111 minptime=10;useinbandfec=1`
fn opus_wishes(value: &str) -> Option<(u8, OpusWishes)> {
    let (number, parameters) = value.split_once(char::is_whitespace)?;
    let number = number.parse::<u8>().ok().filter(|&number| number < 128)?;
    let mut wishes = OpusWishes::default();
    for (name, value) in parameters.split(';').filter_map(|parameter| parameter.split_once('=')) {
        let on = value.trim() == "1";
        match name.trim().to_ascii_lowercase().as_str() {
            "useinbandfec" => wishes.fec = on,
            "usedtx" => wishes.dtx = on,
            _ => {}
        }
    }
    Some((number, wishes))
}

/// The first fingerprint that proves something; others of the same certificate may stand beside it (RFC 8122 §5.1).
fn fingerprint(attributes: &[sdp_types::Attribute]) -> Option<Fingerprint> {
    values(attributes, "fingerprint").take(MAX_CRYPTO).find_map(|value| value.parse().ok())
}

fn setup(attributes: &[sdp_types::Attribute]) -> Option<Setup> {
    values(attributes, "setup").find_map(Setup::read)
}

fn values<'a>(attributes: &'a [sdp_types::Attribute], name: &'a str) -> impl Iterator<Item = &'a str> {
    let named = move |attribute: &&sdp_types::Attribute| attribute.attribute.trim().eq_ignore_ascii_case(name);
    attributes.iter().filter(named).filter_map(|attribute| attribute.value.as_deref()).map(str::trim)
}

/// `53020 [IN IP4 126.16.64.4]`
fn rtcp(value: &str) -> Option<(u16, Option<IpAddr>)> {
    let mut words = value.split_ascii_whitespace();
    let port = words.next()?.parse().ok()?;
    Some((port, words.nth(2).and_then(|address| address.parse().ok())))
}

/// `20` of `20.0` too.
fn leading_number(value: &str) -> Option<u32> {
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    value[..end].parse().ok().filter(|&number| number > 0)
}

fn direction(attributes: &[sdp_types::Attribute]) -> Option<Direction> {
    attributes.iter().rev().find_map(|attribute| match attribute.attribute.trim().to_ascii_lowercase().as_str() {
        "sendrecv" => Some(Direction::SendRecv),
        "sendonly" => Some(Direction::SendOnly),
        "recvonly" => Some(Direction::RecvOnly),
        "inactive" => Some(Direction::Inactive),
        _ => None,
    })
}

/// Brings what senders write into the form that the parser takes: only the lines that matter here, the first where
/// one may be given once, single blanks, UTF-8, an origin that fits its numbers.
fn normalised(bytes: &[u8]) -> Result<String, SdpError> {
    let raw = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(raw.len() + 16);
    let mut in_media = false;
    let mut seen = (false, false, false, false);
    for line in raw.split(['\n', '\r']).map(|line| line.trim_matches([' ', '\t', '\0'])) {
        // `m =video` of RFC 4475 §3.1.1.8 is read as what it means.
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim_end(), value.trim_start());
        let first = |seen: &mut bool| !std::mem::replace(seen, true);
        match key {
            "v" if first(&mut seen.0) => version(value)?,
            "o" if !in_media && first(&mut seen.1) => push_origin(value, &mut out),
            "s" if !in_media && first(&mut seen.2) => push(&["s=", value], &mut out),
            // A c= line that lacks words is as good as none.
            "c" if value.split_ascii_whitespace().count() == 3 && (in_media || first(&mut seen.3)) => {
                push(&["c=", value], &mut out);
            }
            "a" if !value.is_empty() => push(&["a=", value], &mut out),
            "m" => {
                in_media = true;
                let words: Vec<&str> = value.split_ascii_whitespace().collect();
                push(&["m=", &words.join(" ")], &mut out);
            }
            _ => {}
        }
    }
    if !seen.0 && !in_media {
        return Err(SdpError::Syntax("neither a version nor a media line".to_owned()));
    }
    out.insert_str(0, "v=0\r\n");
    Ok(out)
}

fn push(words: &[&str], out: &mut String) {
    words.iter().for_each(|word| out.push_str(word));
    out.push_str("\r\n");
}

/// Only the address of an origin is of use here; numbers beyond 64 bits, or words that are missing, do no harm.
fn push_origin(value: &str, out: &mut String) {
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    if let [_, _, _, net, family, address] = words[..] {
        push(&["o=- 0 0 ", net, " ", family, " ", address], out);
    }
}

fn version(value: &str) -> Result<(), SdpError> {
    if value == "0" {
        return Ok(());
    }
    let shown: String = value.chars().filter(|c| !c.is_control()).take(20).collect();
    Err(SdpError::Syntax(format!("version {shown} instead of 0")))
}
