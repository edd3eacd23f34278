//! What the far end's description says, as far as a telephone call needs it.

use std::net::{IpAddr, SocketAddr};

use callbox_media::Codec;

use super::{Direction, MAX_MEDIA, SdpError};

/// A description from the network.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) lines: Vec<Line>,
}

/// One `m=` line with what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) media: String,
    pub(super) port: u16,
    pub(super) proto: String,
    pub(super) formats: String,
    pub(super) direction: Direction,
    address: Result<IpAddr, String>,
    rtcp: Option<(u16, Option<IpAddr>)>,
    pub(super) rtcp_mux: bool,
    ptime: Option<u32>,
    maxptime: Option<u32>,
    /// Codecs in the order of the line, with the payload type the far end gave them.
    pub(super) codecs: Vec<(Codec, u8)>,
    /// The payload type of telephone-event at 8 kHz.
    pub(super) dtmf: Option<u8>,
}

impl Line {
    pub(super) fn is_audio(&self) -> bool {
        self.media.eq_ignore_ascii_case("audio")
    }

    /// Plain RTP. AVPF is AVP with feedback that nobody has to send (RFC 4585 §4.1).
    pub(super) fn is_plain_rtp(&self) -> bool {
        self.proto.eq_ignore_ascii_case("RTP/AVP") || self.proto.eq_ignore_ascii_case("RTP/AVPF")
    }

    /// Where the far end wants audio: unspecified when it wants none (RFC 2543 hold).
    pub(super) fn rtp(&self, local: IpAddr) -> Result<SocketAddr, SdpError> {
        let ip = self.address.clone().map_err(SdpError::Address)?;
        if ip.is_ipv4() != local.is_ipv4() && !ip.is_unspecified() {
            return Err(SdpError::Address(format!("{ip} cannot be reached from {local}")));
        }
        if ip.is_multicast() {
            return Err(SdpError::Address(format!("{ip} is a multicast address")));
        }
        Ok(SocketAddr::new(ip, self.port))
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

    /// Whether the far end takes audio: its direction says so and it has named a place.
    pub(super) fn takes_audio(&self) -> bool {
        self.direction.receives() && self.address.as_ref().is_ok_and(|ip| !ip.is_unspecified())
    }

    /// Milliseconds of audio per packet that the far end asks for: 10 to 60 in steps of 10, 20 when it does not say.
    pub(super) fn ptime(&self) -> u8 {
        let wanted = self.ptime.unwrap_or(20).min(self.maxptime.unwrap_or(60)).clamp(10, 60);
        u8::try_from(wanted / 10 * 10).unwrap_or(20)
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
    let session_direction = direction(&session.attributes);
    let lines = session.medias.iter().map(|media| {
        let address =
            media.connections.first().map_or(session_address, |connection| connection.connection_address.as_str());
        line(media, address, session_direction)
    });
    Ok(Remote { lines: lines.collect() })
}

fn line(media: &sdp_types::Media, address: &str, session_direction: Option<Direction>) -> Line {
    let mut line = Line {
        media: media.media.clone(),
        port: media.port,
        proto: media.proto.clone(),
        formats: media.fmt.clone(),
        direction: direction(&media.attributes).or(session_direction).unwrap_or_default(),
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
        maxptime: None,
        codecs: Vec::new(),
        dtmf: None,
    };
    // One pass over the attributes, one over the formats: a description full of both stays cheap.
    let mut names: [Option<Format>; 128] = [None; 128];
    names[0] = Some(Format::Audio(Codec::Pcmu));
    names[8] = Some(Format::Audio(Codec::Pcma));
    for attribute in &media.attributes {
        let value = attribute.value.as_deref().unwrap_or_default().trim();
        match attribute.attribute.trim().to_ascii_lowercase().as_str() {
            "rtpmap" => {
                if let Some((payload_type, format)) = rtpmap(value) {
                    names[usize::from(payload_type)] = format;
                }
            }
            "ptime" => line.ptime = leading_number(value).or(line.ptime),
            "maxptime" => line.maxptime = leading_number(value).or(line.maxptime),
            "rtcp" => line.rtcp = rtcp(value),
            "rtcp-mux" => line.rtcp_mux = true,
            _ => {}
        }
    }
    for format in media.fmt.split_ascii_whitespace() {
        let Some(payload_type) = format.parse::<u8>().ok().filter(|&number| number < 128) else { continue };
        match names[usize::from(payload_type)].take() {
            Some(Format::Audio(codec)) => line.codecs.push((codec, payload_type)),
            Some(Format::Events) if line.dtmf.is_none() => line.dtmf = Some(payload_type),
            _ => {}
        }
    }
    line
}

#[derive(Clone, Copy)]
enum Format {
    Audio(Codec),
    Events,
}

/// `0 PCMU/8000[/1]` → payload type and what it stands for here, if anything.
fn rtpmap(value: &str) -> Option<(u8, Option<Format>)> {
    let (number, encoding) = value.split_once(char::is_whitespace)?;
    let payload_type = number.parse::<u8>().ok().filter(|&number| number < 128)?;
    let mut words = encoding.trim().split('/').map(str::trim);
    let (name, clock, channels) = (words.next()?, words.next(), words.next());
    let telephone = matches!(clock, None | Some("8000")) && matches!(channels, None | Some("1" | ""));
    let format = match name {
        _ if !telephone => None,
        name if name.eq_ignore_ascii_case("telephone-event") => Some(Format::Events),
        name => Codec::G711.into_iter().find(|codec| name.eq_ignore_ascii_case(codec.name())).map(Format::Audio),
    };
    Some((payload_type, format))
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
