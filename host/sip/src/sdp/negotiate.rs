//! Offer and answer.

use std::fmt::Write as _;
use std::net::IpAddr;

use callbox_media::Codec;
use sha2::{Digest as _, Sha256};

use super::payload::{Numbers, Payload};
use super::protection::{self, Protection, Secrets};
use super::remote::{self, Line, Profile, Remote};
use super::{CodecOrder, Direction, LocalMedia, Negotiated, SdpError, Security, SessionIds};

/// The descriptions of one dialog: what is agreed, what is offered, and how ours are numbered.
#[derive(Clone, Debug)]
pub struct Session {
    ids: SessionIds,
    secrets: Option<Secrets>,
    /// What we sent last, without its version: the same again keeps the version, and is no change to the far end. Its
    /// hash, since it may hold keys.
    sent: Option<[u8; 32]>,
    /// The media lines of the session in their order, which no later description may change (RFC 3264 §8).
    slots: Vec<Slot>,
    /// What payload types stand for.
    numbers: Numbers,
    /// The address that we named last.
    addr: Option<IpAddr>,
    negotiated: Option<Negotiated>,
    /// The lines of an offer of ours that waits for its answer.
    offered: Option<Vec<Slot>>,
}

/// One media line of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot {
    Audio(Audio),
    /// A line that is switched off: it keeps its place.
    Off {
        media: String,
        proto: String,
        formats: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Audio {
    proto: String,
    formats: Vec<(u8, Payload)>,
    ptime_ms: u8,
    direction: Direction,
    rtcp_mux: bool,
    protection: Protection,
}

/// A line of the far end that can be served.
struct Served {
    index: usize,
    negotiated: Negotiated,
    audio: Audio,
    secrets: Option<Secrets>,
    addr: IpAddr,
}

impl Session {
    /// A session with nothing agreed. The numbers come from the caller: random, or the time.
    pub fn new(ids: SessionIds) -> Self {
        Self {
            ids,
            secrets: None,
            sent: None,
            slots: Vec::new(),
            numbers: Numbers::default(),
            addr: None,
            negotiated: None,
            offered: None,
        }
    }

    /// The same, with what keys are made of; without it there are no keys in descriptions (SDES).
    #[must_use]
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        Self { secrets: Some(secrets), ..self }
    }

    /// What is agreed now.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.negotiated.as_ref()
    }

    /// Whether an offer of ours waits for its answer; an offer from the far end then gets 491 (RFC 3261 §14.2).
    pub fn has_pending_offer(&self) -> bool {
        self.offered.is_some()
    }

    /// Makes an offer: the first of the session, a full one for a late answer, or a change (hold, resume, address).
    pub fn offer(&mut self, local: &LocalMedia) -> Vec<u8> {
        let mut slots = self.slots.clone();
        match (slots.iter_mut().find_map(Slot::audio_mut), self.negotiated.clone()) {
            (Some(audio), Some(agreed)) => {
                let protection =
                    protection::offered_again(local, &agreed.security, &audio.protection, self.secrets.as_ref());
                *audio = self.offered_audio(local, audio.proto.clone(), protection);
            }
            _ => {
                let lines = protection::offered(local, self.secrets.as_ref());
                let lines = lines.into_iter();
                slots.extend(
                    lines.map(|(proto, protection)| {
                        Slot::Audio(self.offered_audio(local, proto.to_owned(), protection))
                    }),
                );
            }
        }
        let description = self.publish(local, &slots);
        self.offered = Some(slots);
        description
    }

    /// All that we speak, what is agreed first. Payload types once agreed stay (RFC 3264 §8.3.2).
    fn offered_audio(&mut self, local: &LocalMedia, proto: String, protection: Protection) -> Audio {
        let before = self.negotiated.as_ref();
        let agreed = before.map(|before| before.codec).filter(|codec| local.codecs.contains(codec));
        let mut codecs: Vec<Codec> = Vec::new();
        for codec in agreed.into_iter().chain(local.codecs.iter().copied()) {
            if !codecs.contains(&codec) {
                codecs.push(codec);
            }
        }
        let mut payloads: Vec<Payload> = codecs.iter().map(|codec| Payload::Audio(*codec)).collect();
        if before.is_some_and(|before| before.comfort_noise.is_some()) && local.comfort_noise {
            payloads.push(Payload::Noise(8000));
        }
        if local.dtmf {
            for clock in [8000, 48_000] {
                let needed = codecs.iter().any(|codec| codec.rtp_clock() == clock);
                payloads.extend(needed.then_some(Payload::Events(clock)));
            }
        }
        let (ptime_ms, mux) = (before.map_or(local.ptime_ms, |before| before.ptime_ms), protection.dtls.is_some());
        // A far end may have several numbers for the same.
        let kept = |payload| {
            let before = before.filter(|before| match payload {
                Payload::Audio(codec) => codec == before.codec,
                Payload::Events(clock) | Payload::Noise(clock) => clock == before.codec.rtp_clock(),
                Payload::Other => false,
            })?;
            match payload {
                Payload::Audio(_) => Some(before.payload_type),
                Payload::Events(_) => before.dtmf,
                Payload::Noise(_) | Payload::Other => before.comfort_noise,
            }
        };
        let mut formats: Vec<(u8, Payload)> = Vec::new();
        for payload in payloads {
            let number = kept(payload).or_else(|| self.numbers.of(payload));
            formats.extend(number.map(|number| (number, payload)));
        }
        Audio {
            formats,
            proto,
            ptime_ms,
            direction: local.direction,
            // One handshake is enough.
            rtcp_mux: local.rtcp_mux && mux,
            protection,
        }
    }

    /// Takes the answer to our offer.
    ///
    /// # Errors
    /// [`SdpError`]; what was agreed before stays. The offer counts as answered all the same.
    pub fn accept(&mut self, local: &LocalMedia, answer: &[u8]) -> Result<Negotiated, SdpError> {
        let mut slots = self.offered.take().ok_or(SdpError::NoOffer)?;
        let remote = remote::read(answer)?;
        let served = self.take_answer(local, &slots, &remote)?;
        for (index, slot) in slots.iter_mut().enumerate() {
            match slot {
                Slot::Audio(audio) if index == served.index => *audio = served.audio.clone(),
                // The other alternative was not taken.
                Slot::Audio(audio) => *slot = audio.off(),
                Slot::Off { .. } => {}
            }
        }
        let line = remote.lines.get(place(served.index, &slots, &remote));
        Ok(self.agree(slots, served, line))
    }

    /// Tells what the answer to our offer would come to, which stays open: for a provisional response that promises
    /// nothing.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub fn preview(&self, local: &LocalMedia, answer: &[u8]) -> Result<Negotiated, SdpError> {
        self.clone().accept(local, answer)
    }

    /// Gives up an offer that was refused or never answered: what was agreed before stays (RFC 3264 §8).
    pub fn withdraw(&mut self) {
        self.offered = None;
    }

    /// Answers an offer.
    ///
    /// # Errors
    /// [`SdpError`] with the status to refuse with; what was agreed before stays.
    pub fn answer(&mut self, local: &LocalMedia, offer: &[u8]) -> Result<(Vec<u8>, Negotiated), SdpError> {
        let remote = remote::read(offer)?;
        let served = self.take_offer(local, &remote)?;
        let slot = |(at, line): (usize, &Line)| {
            if at == served.index { Slot::Audio(served.audio.clone()) } else { Slot::off(line) }
        };
        let slots: Vec<Slot> = remote.lines.iter().enumerate().map(slot).collect();
        let line = remote.lines.get(served.index);
        self.addr = Some(served.addr);
        let description = self.publish(local, &slots);
        let negotiated = self.agree(slots, served, line);
        Ok((description, negotiated))
    }

    fn agree(&mut self, slots: Vec<Slot>, served: Served, line: Option<&Line>) -> Negotiated {
        for &(number, payload) in line.iter().flat_map(|line| &line.payloads) {
            self.numbers.learn(number, payload);
        }
        (self.slots, self.secrets, self.addr) = (slots, served.secrets, Some(served.addr));
        self.negotiated = Some(served.negotiated.clone());
        served.negotiated
    }

    /// Chooses the one audio line of an offer that is served: never two. Among those that can be, a protected one comes
    /// before a plain one, the line in use before others, the first before the later ones.
    fn take_offer(&self, local: &LocalMedia, remote: &Remote) -> Result<Served, SdpError> {
        let mut why = SdpError::NoAudio;
        let current = self.slots.iter().position(|slot| matches!(slot, Slot::Audio(_)));
        let mut best: Option<((bool, bool), Served)> = None;
        for (index, line) in remote.lines.iter().enumerate().filter(|(_, line)| line.is_audio() && line.port != 0) {
            match self.serve(local, index, line) {
                Ok(served) => {
                    let rank = (served.negotiated.security != Security::None, current == Some(index));
                    if best.as_ref().is_none_or(|(before, _)| rank > *before) {
                        best = Some((rank, served));
                    }
                }
                // What is said of a line that is otherwise fine tells more than that another has a strange transport.
                Err(error @ SdpError::Transport(_)) if why == SdpError::NoAudio => why = error,
                Err(SdpError::Transport(_)) => {}
                Err(error) => why = error,
            }
        }
        best.map(|(_, served)| served).ok_or(why)
    }

    /// Answers one line.
    fn serve(&self, local: &LocalMedia, index: usize, line: &Line) -> Result<Served, SdpError> {
        let mut secrets = self.secrets.clone();
        let before = self.negotiated.as_ref().map(|before| &before.security);
        let (security, protection) = protection::answered(local, line, before, secrets.as_mut())?;
        let mut common: Vec<(Codec, u8)> = line.codecs().filter(|(codec, _)| local.codecs.contains(codec)).collect();
        if local.codec_order == CodecOrder::Ours {
            common.sort_by_key(|(codec, _)| local.codecs.iter().position(|ours| ours == codec));
        }
        // Digits matter more than the band: many a telephone offers Opus first and its digits for the others alone.
        let with_digits = |codec: Codec| line.number_of(Payload::Events(codec.rtp_clock())).is_some();
        let chosen = common.iter().find(|(codec, _)| local.dtmf && with_digits(*codec)).or(common.first()).copied();
        let (codec, number) = chosen.ok_or(SdpError::NoCodec)?;
        let (negotiated, addr) = self.described(local, line, (codec, number), security)?;
        let mut formats = vec![(number, Payload::Audio(codec))];
        formats.extend(negotiated.comfort_noise.map(|number| (number, Payload::Noise(codec.rtp_clock()))));
        formats.extend(negotiated.dtmf.map(|number| (number, Payload::Events(codec.rtp_clock()))));
        let audio = Audio {
            proto: line.proto.clone(),
            formats,
            ptime_ms: negotiated.ptime_ms,
            direction: negotiated.direction,
            rtcp_mux: line.rtcp_mux && local.rtcp_mux,
            protection,
        };
        Ok(Served { index, negotiated, audio, secrets, addr })
    }

    /// Reads the line of an answer that belongs to our audio. Lines that are missing elsewhere do no harm.
    fn take_answer(&self, local: &LocalMedia, slots: &[Slot], remote: &Remote) -> Result<Served, SdpError> {
        let mut why = SdpError::NoOffer;
        // The protected alternative is the first: should both be taken, that one counts.
        for (index, slot) in slots.iter().enumerate() {
            let Slot::Audio(audio) = slot else { continue };
            let error = match remote.lines.get(place(index, slots, remote)).filter(|line| line.is_audio()) {
                None => SdpError::Shape,
                Some(line) if line.port == 0 => SdpError::Refused,
                Some(line) => match self.taken(local, index, audio, line) {
                    Ok(served) => return Ok(served),
                    Err(error) => error,
                },
            };
            if matches!(why, SdpError::NoOffer | SdpError::Shape | SdpError::Refused) {
                why = error;
            }
        }
        Err(why)
    }

    fn taken(&self, local: &LocalMedia, index: usize, audio: &Audio, line: &Line) -> Result<Served, SdpError> {
        let profile = Profile::read(&audio.proto);
        let security = protection::accepted(local, line, &audio.protection, profile)?;
        let spoken = |codec: &Codec| audio.formats.iter().any(|(_, payload)| *payload == Payload::Audio(*codec));
        let chosen = line.codecs().find(|(codec, _)| spoken(codec)).ok_or(SdpError::NoCodec)?;
        let (mut negotiated, addr) = self.described(local, line, chosen, security)?;
        // It sends what it has taken, by our numbers (RFC 3264 §6.1), or by its own.
        let taken = line.codecs().filter(|(codec, _)| spoken(codec));
        let theirs: Vec<(u8, Codec)> = taken.map(|(codec, number)| (number, codec)).collect();
        let mut formats: Vec<(u8, Codec)> = audio
            .formats
            .iter()
            .filter_map(|&(number, payload)| match payload {
                Payload::Audio(codec) => Some((number, codec)),
                _ => None,
            })
            .filter(|(_, codec)| theirs.iter().any(|(_, other)| other == codec))
            .collect();
        for format in theirs {
            if formats.iter().all(|(number, _)| *number != format.0) {
                formats.push(format);
            }
        }
        negotiated.formats = formats;
        let ours = audio.formats.iter().filter(|(_, payload)| matches!(payload, Payload::Events(_)));
        let mut events: Vec<u8> = ours.map(|(number, _)| *number).filter(|_| negotiated.dtmf.is_some()).collect();
        events.retain(|number| Some(*number) != negotiated.dtmf);
        negotiated.events = events;
        let audio = Audio {
            formats: line.payloads.iter().copied().filter(|(_, payload)| *payload != Payload::Other).collect(),
            proto: line.proto.clone(),
            ptime_ms: negotiated.ptime_ms,
            direction: negotiated.direction,
            rtcp_mux: line.rtcp_mux && local.rtcp_mux,
            protection: audio.protection.clone(),
        };
        Ok(Served { index, negotiated, audio, secrets: self.secrets.clone(), addr })
    }

    /// What a line of the far end means in that codec, and which of our addresses goes with it.
    fn described(
        &self,
        local: &LocalMedia,
        line: &Line,
        (codec, payload_type): (Codec, u8),
        security: Security,
    ) -> Result<(Negotiated, IpAddr), SdpError> {
        let (remote, addr) = line.rtp(local, self.own(local))?;
        let clock = codec.rtp_clock();
        let wishes = line.opus(payload_type);
        let negotiated = Negotiated {
            codec,
            payload_type,
            formats: vec![(payload_type, codec)],
            dtmf: line.number_of(Payload::Events(clock)).filter(|_| local.dtmf),
            events: Vec::new(),
            comfort_noise: line.number_of(Payload::Noise(clock)).filter(|_| local.comfort_noise),
            fec: wishes.fec,
            dtx: wishes.dtx,
            remote,
            remote_rtcp: line.rtcp(remote, line.rtcp_mux && local.rtcp_mux),
            direction: Direction::new(
                local.direction.sends() && line.takes_audio(),
                local.direction.receives() && line.direction.sends(),
            ),
            ptime_ms: line.ptime(codec, local.ptime_ms),
            security,
        };
        Ok((negotiated, addr))
    }

    /// Our address, of the family that we use.
    fn own(&self, local: &LocalMedia) -> IpAddr {
        self.addr.and_then(|addr| local.address_towards(addr)).unwrap_or(local.addr)
    }

    fn publish(&mut self, local: &LocalMedia, slots: &[Slot]) -> Vec<u8> {
        let addr = self.own(local);
        let body = body(local, addr, slots);
        let hash: [u8; 32] = Sha256::digest(&body).into();
        if self.sent.is_some_and(|sent| sent != hash) {
            self.ids.version = self.ids.version.wrapping_add(1);
        }
        self.sent = Some(hash);
        let family = family(addr);
        let head = format!("v=0\r\no=- {} {} IN {family} {addr}\r\n", self.ids.id, self.ids.version);
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

/// Where the answer to a line of ours stands: in the same place; or, where the far end has left out what it did not
/// take, by its transport.
fn place(index: usize, slots: &[Slot], remote: &Remote) -> usize {
    let Some(Slot::Audio(ours)) = slots.get(index).filter(|_| remote.lines.len() < slots.len()) else { return index };
    let same = |line: &Line| line.is_audio() && line.proto.eq_ignore_ascii_case(&ours.proto);
    remote.lines.iter().position(same).unwrap_or(index)
}

/// Answers an offer outside of a [`Session`], without keys.
///
/// # Errors
/// As [`Session::answer`].
pub fn answer(local: &LocalMedia, ids: &SessionIds, offer: &[u8]) -> Result<(Vec<u8>, Negotiated), SdpError> {
    Session::new(*ids).answer(local, offer)
}

fn family(addr: IpAddr) -> &'static str {
    if addr.is_ipv4() { "IP4" } else { "IP6" }
}

/// Everything after the `o=` line.
fn body(local: &LocalMedia, addr: IpAddr, slots: &[Slot]) -> String {
    let mut out = format!("s=-\r\nc=IN {} {addr}\r\nt=0 0\r\n", family(addr));
    for slot in slots {
        // Writing to a string does not fail.
        let _ = match slot {
            Slot::Off { media, proto, formats } => write!(out, "m={media} 0 {proto} {formats}\r\n"),
            Slot::Audio(audio) => audio.write(local, &mut out),
        };
    }
    out
}

impl Slot {
    fn off(line: &Line) -> Self {
        Self::Off { media: line.media.clone(), proto: line.proto.clone(), formats: line.formats.clone() }
    }

    fn audio_mut(&mut self) -> Option<&mut Audio> {
        match self {
            Self::Audio(audio) => Some(audio),
            Self::Off { .. } => None,
        }
    }
}

impl Audio {
    fn off(&self) -> Slot {
        let formats: Vec<String> = self.formats.iter().map(|(number, _)| number.to_string()).collect();
        Slot::Off { media: "audio".to_owned(), proto: self.proto.clone(), formats: formats.join(" ") }
    }

    fn write(&self, local: &LocalMedia, out: &mut String) -> std::fmt::Result {
        write!(out, "m=audio {} {}", local.rtp_port, self.proto)?;
        for (number, _) in &self.formats {
            write!(out, " {number}")?;
        }
        out.push_str("\r\n");
        for (number, payload) in &self.formats {
            payload.write(*number, out);
        }
        write!(out, "a=ptime:{}\r\n", self.ptime_ms)?;
        if self.formats.iter().any(|(_, payload)| *payload == Payload::Audio(Codec::Opus)) {
            // Its packets may last 120 ms, which is more than we unpack.
            out.push_str("a=maxptime:60\r\n");
        }
        self.protection.write(out);
        write!(out, "a={}\r\n", self.direction.as_str())?;
        if self.rtcp_mux {
            out.push_str("a=rtcp-mux\r\n");
        } else if local.rtp_port.checked_add(1) != Some(local.rtcp_port) {
            write!(out, "a=rtcp:{}\r\n", local.rtcp_port)?;
        }
        Ok(())
    }
}
