//! Offer and answer.

use std::fmt::Write as _;

use super::remote::{self, Line, Remote};
use super::{DTMF_PAYLOAD_TYPE, Direction, LocalMedia, Negotiated, SdpError, SessionIds};

/// The descriptions of one dialog: what is agreed, what is offered, and how ours are numbered.
#[derive(Clone, Debug)]
pub struct Session {
    ids: SessionIds,
    /// What we sent last, without its version: the same again keeps the version, and is no change to the far end.
    sent: Option<String>,
    /// The media lines of the session in their order, which no later description may change (RFC 3264 §8).
    slots: Vec<Slot>,
    negotiated: Option<Negotiated>,
    /// The lines of an offer of ours that waits for its answer.
    offered: Option<Vec<Slot>>,
}

/// One media line of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot {
    Audio {
        proto: String,
        formats: Vec<Format>,
        ptime_ms: u8,
        direction: Direction,
        rtcp_mux: bool,
    },
    /// A line of the far end that is switched off: it keeps its place.
    Off {
        media: String,
        proto: String,
        formats: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Format {
    payload_type: u8,
    name: &'static str,
}

const EVENTS: &str = "telephone-event";

impl Session {
    /// A session with nothing agreed. The numbers come from the caller: random, or the time.
    pub fn new(ids: SessionIds) -> Self {
        Self { ids, sent: None, slots: Vec::new(), negotiated: None, offered: None }
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
        let audio = Slot::offered(local, self.negotiated.as_ref());
        match slots.iter_mut().find(|slot| matches!(slot, Slot::Audio { .. })) {
            Some(slot) => *slot = audio,
            None => slots.push(audio),
        }
        let description = self.publish(local, &slots);
        self.offered = Some(slots);
        description
    }

    /// Takes the answer to our offer.
    ///
    /// # Errors
    /// [`SdpError`]; what was agreed before stays. The offer counts as answered all the same.
    pub fn accept(&mut self, local: &LocalMedia, answer: &[u8]) -> Result<Negotiated, SdpError> {
        let mut slots = self.offered.take().ok_or(SdpError::NoOffer)?;
        let index = slots.iter().position(|slot| matches!(slot, Slot::Audio { .. })).ok_or(SdpError::NoOffer)?;
        let remote = remote::read(answer)?;
        let (negotiated, line) = take_answer(local, index, &remote)?;
        slots[index] = Slot::agreed(&negotiated, local, line);
        self.slots = slots;
        self.negotiated = Some(negotiated.clone());
        Ok(negotiated)
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
        let (index, negotiated) = take_offer(local, &remote)?;
        let slot = |(at, line)| if at == index { Slot::agreed(&negotiated, local, line) } else { Slot::off(line) };
        let slots: Vec<Slot> = remote.lines.iter().enumerate().map(slot).collect();
        let description = self.publish(local, &slots);
        self.slots = slots;
        self.negotiated = Some(negotiated.clone());
        Ok((description, negotiated))
    }

    fn publish(&mut self, local: &LocalMedia, slots: &[Slot]) -> Vec<u8> {
        let body = body(local, slots);
        match &self.sent {
            Some(sent) if *sent == body => {}
            Some(_) => self.ids.version = self.ids.version.wrapping_add(1),
            None => {}
        }
        let (family, addr) = (if local.addr.is_ipv4() { "IP4" } else { "IP6" }, local.addr);
        let head = format!("v=0\r\no=- {} {} IN {family} {addr}\r\n", self.ids.id, self.ids.version);
        let description = [head.as_bytes(), body.as_bytes()].concat();
        self.sent = Some(body);
        description
    }
}

/// Makes an offer outside of a [`Session`].
pub fn offer(local: &LocalMedia, ids: &SessionIds) -> Vec<u8> {
    Session::new(*ids).offer(local)
}

/// Answers an offer outside of a [`Session`].
///
/// # Errors
/// As [`Session::answer`].
pub fn answer(local: &LocalMedia, ids: &SessionIds, offer: &[u8]) -> Result<(Vec<u8>, Negotiated), SdpError> {
    Session::new(*ids).answer(local, offer)
}

/// Takes the answer to `our_offer` outside of a [`Session`].
///
/// # Errors
/// As [`Session::accept`].
pub fn accept(local: &LocalMedia, our_offer: &[u8], answer: &[u8]) -> Result<Negotiated, SdpError> {
    let ours = remote::read(our_offer)?;
    let index = ours.lines.iter().position(|line| line.is_audio() && line.port != 0).ok_or(SdpError::NoOffer)?;
    let remote = remote::read(answer)?;
    take_answer(local, index, &remote).map(|(negotiated, _)| negotiated)
}

/// Chooses the one audio line of an offer that is served (rules 1 to 3 of the house: never two).
fn take_offer(local: &LocalMedia, remote: &Remote) -> Result<(usize, Negotiated), SdpError> {
    let mut why = SdpError::NoAudio;
    for (index, line) in remote.lines.iter().enumerate().filter(|(_, line)| line.is_audio() && line.port != 0) {
        if !line.is_plain_rtp() {
            if why == SdpError::NoAudio {
                why = SdpError::Transport(line.proto.clone());
            }
            continue;
        }
        match agree(local, line) {
            Ok(negotiated) => return Ok((index, negotiated)),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// Reads the line of an answer that belongs to our audio. Lines that are missing elsewhere do no harm.
fn take_answer<'a>(local: &LocalMedia, index: usize, remote: &'a Remote) -> Result<(Negotiated, &'a Line), SdpError> {
    let line = remote.lines.get(index).filter(|line| line.is_audio()).ok_or(SdpError::Shape)?;
    if line.port == 0 {
        return Err(SdpError::Refused);
    }
    if !line.is_plain_rtp() {
        return Err(SdpError::Transport(line.proto.clone()));
    }
    Ok((agree(local, line)?, line))
}

fn agree(local: &LocalMedia, line: &Line) -> Result<Negotiated, SdpError> {
    let spoken = line.codecs.iter().find(|(codec, _)| local.codecs.contains(codec));
    let &(codec, payload_type) = spoken.ok_or(SdpError::NoCodec)?;
    let remote = line.rtp(local.addr)?;
    Ok(Negotiated {
        codec,
        payload_type,
        dtmf: line.dtmf.filter(|_| local.dtmf),
        remote,
        remote_rtcp: line.rtcp(remote, line.rtcp_mux && local.rtcp_mux),
        direction: Direction::new(
            local.direction.sends() && line.takes_audio(),
            local.direction.receives() && line.direction.sends(),
        ),
        ptime_ms: line.ptime(),
    })
}

impl Slot {
    /// All that we speak, what is agreed first. Payload types once agreed stay (RFC 3264 §8.3.2).
    fn offered(local: &LocalMedia, before: Option<&Negotiated>) -> Self {
        let events = before.and_then(|before| before.dtmf).filter(|_| local.dtmf);
        let mut formats: Vec<Format> = Vec::new();
        if let Some(before) = before.filter(|before| local.codecs.contains(&before.codec)) {
            formats.push(Format { payload_type: before.payload_type, name: before.codec.name() });
        }
        for codec in &local.codecs {
            let Some(payload_type) = codec.static_payload_type() else { continue };
            let format = Format { payload_type, name: codec.name() };
            let taken = |other: &Format| other.payload_type == format.payload_type || other.name == format.name;
            if !formats.iter().any(taken) && events != Some(format.payload_type) {
                formats.push(format);
            }
        }
        if local.dtmf {
            let free = |number: &u8| formats.iter().all(|format| format.payload_type != *number);
            let payload_type = events.or_else(|| (DTMF_PAYLOAD_TYPE..128).find(free)).unwrap_or(DTMF_PAYLOAD_TYPE);
            formats.push(Format { payload_type, name: EVENTS });
        }
        Self::Audio {
            proto: "RTP/AVP".to_owned(),
            formats,
            ptime_ms: before.map_or(20, |before| before.ptime_ms),
            direction: local.direction,
            rtcp_mux: false,
        }
    }

    /// The chosen codec and digits, with the numbers and the transport of the far end.
    fn agreed(negotiated: &Negotiated, local: &LocalMedia, line: &Line) -> Self {
        let mut formats = vec![Format { payload_type: negotiated.payload_type, name: negotiated.codec.name() }];
        formats.extend(negotiated.dtmf.map(|payload_type| Format { payload_type, name: EVENTS }));
        Self::Audio {
            proto: line.proto.clone(),
            formats,
            ptime_ms: negotiated.ptime_ms,
            direction: negotiated.direction,
            rtcp_mux: line.rtcp_mux && local.rtcp_mux,
        }
    }

    fn off(line: &Line) -> Self {
        Self::Off { media: line.media.clone(), proto: line.proto.clone(), formats: line.formats.clone() }
    }
}

/// Everything after the `o=` line.
fn body(local: &LocalMedia, slots: &[Slot]) -> String {
    let family = if local.addr.is_ipv4() { "IP4" } else { "IP6" };
    let mut out = format!("s=-\r\nc=IN {family} {}\r\nt=0 0\r\n", local.addr);
    for slot in slots {
        // Writing to a string does not fail.
        let _ = slot.write(local, &mut out);
    }
    out
}

impl Slot {
    fn write(&self, local: &LocalMedia, out: &mut String) -> std::fmt::Result {
        match self {
            Self::Off { media, proto, formats } => write!(out, "m={media} 0 {proto} {formats}\r\n"),
            Self::Audio { proto, formats, ptime_ms, direction, rtcp_mux } => {
                write!(out, "m=audio {} {proto}", local.rtp_port)?;
                for format in formats {
                    write!(out, " {}", format.payload_type)?;
                }
                out.push_str("\r\n");
                for Format { payload_type, name } in formats {
                    write!(out, "a=rtpmap:{payload_type} {name}/8000\r\n")?;
                    if *name == EVENTS {
                        write!(out, "a=fmtp:{payload_type} 0-15\r\n")?;
                    }
                }
                write!(out, "a=ptime:{ptime_ms}\r\na={}\r\n", direction.as_str())?;
                if *rtcp_mux {
                    out.push_str("a=rtcp-mux\r\n");
                } else if local.rtp_port.checked_add(1) != Some(local.rtcp_port) {
                    write!(out, "a=rtcp:{}\r\n", local.rtcp_port)?;
                }
                Ok(())
            }
        }
    }
}
