//! Reading a browser's offer: what of it concerns one call of audio and a data channel, and what is wrong with it.
//!
//! Lines that mean nothing here are skipped, whatever they hold; what is needed must be there and must make sense. The
//! reading never panics and keeps no more than the sections and the numbers of their formats.

use crate::codec::Codec;
use std::fmt;

/// The longest offer that is read. A browser's with video and every codec it has is a third of it.
pub const LONGEST_OFFER: usize = 32 * 1_024;
/// Media sections that an offer may have.
const MOST_SECTIONS: usize = 32;
/// Formats of one section that are looked at.
const MOST_FORMATS: usize = 64;
/// The longest token that is echoed into an answer: `a=mid` and the protocol of a section.
const LONGEST_TOKEN: usize = 64;

/// Why an offer cannot be answered, or not by this session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Not a session description at all.
    #[error("this is no session description: its first line is not v=0")]
    NotSdp,
    /// Longer than [`LONGEST_OFFER`], or of more sections than anybody needs.
    #[error("the offer is too large: at most {LONGEST_OFFER} bytes and {MOST_SECTIONS} media sections are read")]
    TooLarge,
    /// A line that is needed cannot be read.
    #[error("line {line} of the offer cannot be read: {what}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// No section for audio, or it is switched off: video or a data channel alone is no call.
    #[error("the offer has no audio: a call needs one m=audio section whose port is not 0")]
    NoAudio,
    /// The audio is not sent by a protected RTP profile.
    #[error("the audio of the offer is {0:?}, not UDP/TLS/RTP/SAVPF: WebRTC is protected by DTLS (RFC 8827)")]
    Profile(String),
    /// Nothing that we speak.
    #[error("no codec in common: the offer has none of {0}")]
    NoCodec(String),
    /// No credentials for ICE, or broken ones.
    #[error(
        "the offer has no usable a=ice-ufrag and a=ice-pwd (RFC 8839: 4 and 22 characters at least): only ICE finds the way"
    )]
    NoIce,
    /// The far end is ICE-lite as we are: nobody would begin.
    #[error("the offer says a=ice-lite, and so do we: one side must do the checks")]
    BothLite,
    /// No fingerprint of its certificate that proves anything.
    #[error("the offer has no a=fingerprint with sha-256: without it nobody knows who the far end is (RFC 8122)")]
    NoFingerprint,
    /// RTCP on a port of its own.
    #[error("the offer does not multiplex RTCP with RTP (a=rtcp-mux, RFC 8834 §4.5)")]
    NoMux,
    /// A later offer of the same session that would make another one of it.
    #[error("the offer changes {0}, which would be another call: begin a new one")]
    Changed(&'static str),
}

/// The names by which both sides of ICE know each other's checks.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// `a=ice-ufrag`.
    pub ufrag: String,
    /// `a=ice-pwd`. It proves who sends a check.
    pub pwd: String,
}

impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceCredentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// Who sends and who listens, seen from the side that says it (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Direction {
    /// It sends.
    pub sends: bool,
    /// It listens.
    pub receives: bool,
}

impl Direction {
    const BOTH: Self = Self { sends: true, receives: true };

    /// The attribute that says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match (self.sends, self.receives) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        }
    }

    fn read(attribute: &str) -> Option<Self> {
        [(true, true), (true, false), (false, true), (false, false)]
            .map(|(sends, receives)| Self { sends, receives })
            .into_iter()
            .find(|direction| direction.as_str() == attribute)
    }
}

/// A format that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Audio(Codec),
    /// telephone-event, on that clock.
    Events(u32),
    /// Comfort noise at 8 kHz.
    Noise,
}

/// What an offer says of Opus (RFC 7587 §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpusWishes {
    /// It makes use of redundancy.
    pub(crate) fec: bool,
    /// It understands pauses.
    pub(crate) dtx: bool,
}

/// One `m=` section, as far as its answer needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    /// The medium and the protocol as they were written, for the answer that refuses it.
    pub(crate) medium: String,
    pub(crate) protocol: String,
    pub(crate) first_format: String,
    /// What its first format stands for: strict readers want it of refused sections too.
    pub(crate) first_map: Option<String>,
    pub(crate) mid: Option<String>,
    /// The port was 0: it is switched off.
    pub(crate) off: bool,
    pub(crate) direction: Direction,
    pub(crate) rtcp_mux: bool,
    pub(crate) rtcp_rsize: bool,
    /// In the order of the offer, by their numbers.
    pub(crate) formats: Vec<(u8, Format)>,
    /// What is said of each number, whose meaning may be said only behind it (Firefox).
    wishes: Vec<(u8, OpusWishes)>,
    pub(crate) ptime_ms: Option<u8>,
    pub(crate) max_ptime_ms: Option<u8>,
    pub(crate) sctp_port: Option<u16>,
    /// Bytes of the longest message that the far end takes on its data channel; 65,536 where it says nothing (RFC 8841
    /// §6.1).
    pub(crate) max_message: u32,
    transport: Transport,
}

/// What a section is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Audio,
    Data,
    Other,
}

/// What concerns the transport. It stands in the session or in a section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Transport {
    ufrag: Option<String>,
    pwd: Option<String>,
    fingerprint: Option<[u8; 32]>,
    setup: Option<Setup>,
}

/// Who begins the DTLS handshake (RFC 8842), seen from the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// It does, or leaves it to us: then it does.
    Active,
    /// We must.
    Passive,
}

/// An offer that can be answered, if a codec is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub(crate) sections: Vec<Section>,
    /// The section of the audio.
    pub(crate) audio: usize,
    /// The section of the data channel, where it goes the same way as the audio.
    pub(crate) data: Option<usize>,
    /// The sections of the bundle by their names; empty where there is none.
    pub(crate) bundle: Vec<String>,
    pub(crate) ice: IceCredentials,
    pub(crate) fingerprint: [u8; 32],
    pub(crate) setup: Setup,
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// [`OfferError`] with what is missing or wrong. [`OfferError::NoCodec`] comes only with the answer.
    pub fn parse(sdp: &str) -> Result<Self, OfferError> {
        if sdp.len() > LONGEST_OFFER {
            return Err(OfferError::TooLarge);
        }
        let mut lines = sdp.lines().map(str::trim_end).enumerate().filter(|(_, line)| !line.is_empty());
        if lines.next().map(|(_, line)| line) != Some("v=0") {
            return Err(OfferError::NotSdp);
        }
        let mut reader = Reader::default();
        for (at, line) in lines {
            reader.line(line).map_err(|wrong| match wrong {
                Wrong::Line(what) => OfferError::Line { line: at + 1, what },
                Wrong::TooLarge => OfferError::TooLarge,
            })?;
        }
        reader.offer()
    }

    /// Whether this looks like an offer of WebRTC: a section that is protected by DTLS and finds its way by ICE. What
    /// says only one of them is for a telephone.
    #[must_use]
    pub fn is_webrtc(sdp: &str) -> bool {
        let has = |what: &str| sdp.lines().any(|line| line.starts_with(what));
        has("a=ice-ufrag:")
            && has("a=fingerprint:")
            && sdp.lines().any(|line| line.starts_with("m=audio") && line.contains("UDP/TLS/RTP/SAVP"))
    }

    pub(crate) fn audio(&self) -> &Section {
        // `offer` has found it there.
        &self.sections[self.audio]
    }

    /// The section goes the way of the audio.
    pub(crate) fn bundles(&self, at: usize) -> bool {
        let in_bundle = |section: &Section| section.mid.as_ref().is_some_and(|mid| self.bundle.contains(mid));
        at == self.audio || (self.sections.get(at).is_some_and(in_bundle) && in_bundle(self.audio()))
    }
}

enum Wrong {
    Line(&'static str),
    TooLarge,
}

#[derive(Default)]
struct Reader {
    session: Transport,
    direction: Option<Direction>,
    lite: bool,
    bundle: Vec<String>,
    sections: Vec<Section>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), Wrong> {
        if let Some(section) = line.strip_prefix("m=") {
            if self.sections.len() == MOST_SECTIONS {
                return Err(Wrong::TooLarge);
            }
            self.sections.push(section_of(section, self.direction.unwrap_or(Direction::BOTH))?);
            return Ok(());
        }
        let Some(attribute) = line.strip_prefix("a=") else { return Ok(()) };
        let (name, value) = attribute.split_once(':').map_or((attribute, ""), |(name, value)| (name, value.trim()));
        let transport = self.sections.last_mut().map_or(&mut self.session, |section| &mut section.transport);
        match name {
            "ice-ufrag" => transport.ufrag = Some(word(value, 4)?),
            "ice-pwd" => transport.pwd = Some(word(value, 22)?),
            // A second one with another hash adds nothing to one that is understood.
            "fingerprint" => transport.fingerprint = transport.fingerprint.or_else(|| fingerprint(value)),
            "setup" => {
                transport.setup = Some(match value {
                    "actpass" | "active" => Setup::Active,
                    "passive" => Setup::Passive,
                    _ => return Err(Wrong::Line("a=setup is actpass, active or passive")),
                });
            }
            "ice-lite" => self.lite = true,
            "group" if self.sections.is_empty() && self.bundle.is_empty() => {
                let mut words = value.split_ascii_whitespace();
                if words.next() == Some("BUNDLE") {
                    self.bundle = words.take(MOST_SECTIONS).map(token).collect::<Result<_, _>>()?;
                }
            }
            _ => {
                if let Some(direction) = Direction::read(name) {
                    match self.sections.last_mut() {
                        Some(section) => section.direction = direction,
                        None => self.direction = Some(direction),
                    }
                } else if let Some(section) = self.sections.last_mut() {
                    section.attribute(name, value)?;
                }
            }
        }
        Ok(())
    }

    fn offer(self) -> Result<Offer, OfferError> {
        let Self { session, lite, bundle, sections, .. } = self;
        let usable = |section: &Section| section.kind == Kind::Audio && !section.off;
        let audio = sections.iter().position(usable).ok_or(OfferError::NoAudio)?;
        let section = &sections[audio];
        if !["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP"].contains(&section.protocol.as_str()) {
            return Err(OfferError::Profile(section.protocol.clone()));
        }
        if lite {
            return Err(OfferError::BothLite);
        }
        if !section.rtcp_mux {
            return Err(OfferError::NoMux);
        }
        // Of a bundle's sections any may say it for all.
        let members = sections.iter().filter(|other| {
            let bundled = |section: &Section| section.mid.as_ref().is_some_and(|mid| bundle.contains(mid));
            bundled(section) && bundled(other)
        });
        let told: Vec<&Transport> =
            std::iter::once(section).chain(members).map(|section| &section.transport).chain([&session]).collect();
        let ice = told.iter().find_map(|told| {
            let (ufrag, pwd) = (told.ufrag.clone()?, told.pwd.clone()?);
            Some(IceCredentials { ufrag, pwd })
        });
        let ice = ice.ok_or(OfferError::NoIce)?;
        let fingerprint = told.iter().find_map(|told| told.fingerprint).ok_or(OfferError::NoFingerprint)?;
        let setup = told.iter().find_map(|told| told.setup).unwrap_or(Setup::Active);
        let mut offer = Offer { audio, data: None, bundle, ice, fingerprint, setup, sections };
        let data = |(at, section): (usize, &Section)| {
            (section.kind == Kind::Data && !section.off && section.sctp_port.is_some() && offer.bundles(at))
                .then_some(at)
        };
        offer.data = offer.sections.iter().enumerate().find_map(data);
        Ok(offer)
    }
}

fn section_of(line: &str, direction: Direction) -> Result<Section, Wrong> {
    let mut words = line.split_ascii_whitespace();
    let wrong = Wrong::Line("a media section is m=MEDIUM PORT PROTOCOL FORMATS");
    let (Some(medium), Some(port), Some(protocol), Some(first)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(wrong);
    };
    let port: u16 = port.split('/').next().unwrap_or_default().parse().map_err(|_| wrong)?;
    let kind = match medium {
        "audio" => Kind::Audio,
        "application" if protocol.ends_with("DTLS/SCTP") && first == "webrtc-datachannel" => Kind::Data,
        _ => Kind::Other,
    };
    let mut formats = Vec::new();
    if kind == Kind::Audio {
        for number in std::iter::once(first).chain(words).take(MOST_FORMATS) {
            let number: u8 =
                number.parse().ok().filter(|number| *number < 128).ok_or(Wrong::Line("a payload type is 0 to 127"))?;
            // What the number means is told by a=rtpmap, or by its registration.
            formats.push((
                number,
                Codec::statically(number).map(Format::Audio).or((number == 13).then_some(Format::Noise)),
            ));
        }
    }
    Ok(Section {
        kind,
        medium: token(medium)?,
        protocol: token(protocol)?,
        first_format: token(first)?,
        first_map: None,
        mid: None,
        off: port == 0,
        direction,
        rtcp_mux: false,
        rtcp_rsize: false,
        // Those without a meaning so far are kept in their places as events of no clock.
        formats: formats.into_iter().map(|(number, format)| (number, format.unwrap_or(Format::Events(0)))).collect(),
        wishes: Vec::new(),
        ptime_ms: None,
        max_ptime_ms: None,
        sctp_port: None,
        max_message: 65_536,
        transport: Transport::default(),
    })
}

impl Section {
    fn attribute(&mut self, name: &str, value: &str) -> Result<(), Wrong> {
        match name {
            "mid" => self.mid = Some(token(value)?),
            "rtcp-mux" | "rtcp-mux-only" => self.rtcp_mux = true,
            "rtcp-rsize" => self.rtcp_rsize = true,
            "bundle-only" => self.off = false,
            "ptime" => self.ptime_ms = milliseconds(value),
            "maxptime" => self.max_ptime_ms = milliseconds(value),
            "sctp-port" => {
                self.sctp_port = Some(value.parse().map_err(|_| Wrong::Line("a=sctp-port is a number of 16 bits"))?);
            }
            // 0 is as much as one likes (RFC 8841 §6).
            "max-message-size" => {
                let bytes = value.parse().map_err(|_| Wrong::Line("a=max-message-size is a number of bytes"))?;
                self.max_message = if bytes == 0 { u32::MAX } else { bytes };
            }
            "rtpmap" => self.rtpmap(value),
            "fmtp" => self.fmtp(value),
            _ => {}
        }
        Ok(())
    }

    fn rtpmap(&mut self, value: &str) {
        let Some((number, encoding)) = value.split_once(char::is_whitespace) else { return };
        if number == self.first_format {
            self.first_map = token(encoding.trim()).ok();
        }
        let Ok(number) = number.parse::<u8>() else { return };
        let mut words = encoding.trim().split('/');
        let (name, clock) = (words.next().unwrap_or_default(), words.next().and_then(|clock| clock.parse().ok()));
        let codec = Codec::ALL
            .into_iter()
            .find(|codec| name.eq_ignore_ascii_case(codec.name()) && clock == Some(codec.rtp_clock()));
        let meant = match (codec, clock) {
            (Some(codec), _) => Format::Audio(codec),
            (None, Some(clock)) if name.eq_ignore_ascii_case("telephone-event") => Format::Events(clock),
            (None, Some(8_000)) if name.eq_ignore_ascii_case("CN") => Format::Noise,
            _ => Format::Events(0),
        };
        if let Some((_, format)) = self.formats.iter_mut().find(|(other, _)| *other == number) {
            *format = meant;
        }
    }

    fn fmtp(&mut self, value: &str) {
        let Some((number, parameters)) = value.split_once(char::is_whitespace) else { return };
        let Ok(number) = number.parse::<u8>() else { return };
        if self.wishes.len() < MOST_FORMATS && self.formats.iter().any(|(other, _)| *other == number) {
            let has = |wanted: &str| {
                let mut all = parameters.split(';').map(str::trim);
                all.any(|parameter| parameter.split_once('=') == Some((wanted, "1")))
            };
            self.wishes.push((number, OpusWishes { fec: has("useinbandfec"), dtx: has("usedtx") }));
        }
    }

    /// What it says of Opus under that number.
    pub(crate) fn opus(&self, number: u8) -> OpusWishes {
        self.wishes.iter().find(|(other, _)| *other == number).map(|(_, wishes)| *wishes).unwrap_or_default()
    }
}

fn milliseconds(value: &str) -> Option<u8> {
    value.parse().ok().filter(|ms| (1..=120).contains(ms))
}

/// A word that is echoed.
fn token(word: &str) -> Result<String, Wrong> {
    let sane = (1..=LONGEST_TOKEN).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_graphic());
    sane.then(|| word.to_owned()).ok_or(Wrong::Line("a name is 1 to 64 visible characters of ASCII"))
}

/// A credential of ICE. RFC 8839 allows letters, digits, `+` and `/`; there are stacks that use more, but a colon would
/// make two of it.
fn word(value: &str, least: usize) -> Result<String, Wrong> {
    let sane =
        (least..=256).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    sane.then(|| value.to_owned())
        .ok_or(Wrong::Line("an ICE credential is 4 (a=ice-pwd: 22) to 256 visible characters"))
}

/// A SHA-256 digest in pairs of hexadecimal digits.
fn fingerprint(value: &str) -> Option<[u8; 32]> {
    let (hash, digest) = value.split_once(char::is_whitespace)?;
    let mut pairs = digest.trim().split(':');
    let mut bytes = [0; 32];
    for byte in &mut bytes {
        let pair = pairs.next().filter(|pair| pair.len() == 2 && pair.bytes().all(|c| c.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    (hash.eq_ignore_ascii_case("sha-256") && pairs.next().is_none()).then_some(bytes)
}

/// What a client sends to begin ICE anew, or to tell candidates as it finds them (RFC 8840, `trickle-ice-sdpfrag`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceFragment {
    /// Its credentials: new ones begin anew. None where it tells candidates alone.
    pub(crate) ice: Option<IceCredentials>,
}

impl IceFragment {
    /// Reads a fragment. Its candidates are of no use to us: who is ICE-lite waits for checks.
    ///
    /// # Errors
    /// [`OfferError::TooLarge`], [`OfferError::Line`]; [`OfferError::NoIce`] where there is one half of the credentials.
    pub fn parse(text: &str) -> Result<Self, OfferError> {
        if text.len() > LONGEST_OFFER {
            return Err(OfferError::TooLarge);
        }
        let mut told = Transport::default();
        for (at, line) in text.lines().enumerate() {
            let wrong = |wrong| match wrong {
                Wrong::Line(what) => OfferError::Line { line: at + 1, what },
                Wrong::TooLarge => OfferError::TooLarge,
            };
            if let Some(value) = line.strip_prefix("a=ice-ufrag:") {
                told.ufrag = Some(word(value.trim(), 4).map_err(wrong)?);
            } else if let Some(value) = line.strip_prefix("a=ice-pwd:") {
                told.pwd = Some(word(value.trim(), 22).map_err(wrong)?);
            }
        }
        match (told.ufrag, told.pwd) {
            (Some(ufrag), Some(pwd)) => Ok(Self { ice: Some(IceCredentials { ufrag, pwd }) }),
            (None, None) => Ok(Self { ice: None }),
            _ => Err(OfferError::NoIce),
        }
    }
}

#[cfg(test)]
mod tests;
