//! The other side: a caller as a browser is one, for tests and for load. It is str0m with all of ICE, and no I/O either.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::format::{Codec as Format, FormatParams};
use str0m::media::{Direction, Frequency, MediaKind, Mid};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Rtc};

use crate::codec::Codec;
use crate::keys::{self, Keys, Tap};

/// What a caller offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// What it speaks, the best first.
    pub codecs: Vec<Codec>,
    /// It opens the data channel.
    pub data: bool,
    /// It offers video beside the audio.
    pub video: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { codecs: Codec::ALL.to_vec(), data: true, video: false }
    }
}

/// What went wrong for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the caller cannot go on: {0}")]
pub struct CallerError(String);

/// What it wants sent, or has to tell.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// Send this datagram.
    Send {
        /// From this address of its own.
        from: SocketAddr,
        /// To there.
        to: SocketAddr,
        /// By TCP.
        tcp: bool,
        /// The datagram.
        bytes: &'a [u8],
    },
    /// The handshake is done.
    Connected,
    /// A packet of RTP.
    Rtp {
        /// What it carries.
        payload_type: u8,
        /// Its place in the stream.
        sequence: u16,
        /// On the clock of the codec.
        timestamp: u32,
        /// The audio, or the event.
        payload: &'a [u8],
    },
    /// The data channel is open.
    Channel,
    /// A message came on it.
    Message(String),
    /// The host has ended the call.
    Closed,
}

/// A caller.
pub struct Caller {
    rtc: Rtc,
    tap: Tap,
    candidates: Vec<Candidate>,
    start: Instant,
    next: Duration,
    pending: Option<SdpPendingOffer>,
    mid: Mid,
    channel: Option<ChannelId>,
    sequence: u64,
    timestamp: u32,
    /// Ticks in a packet of 20 ms, and the payload types of audio and events, once there is an answer.
    agreed: Option<Agreed>,
}

/// What the answer has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The codec.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// That of telephone-event on its clock.
    pub events: Option<u8>,
}

impl Caller {
    /// A caller at these addresses of its own, of which some wait to connect by TCP, and its offer.
    ///
    /// # Errors
    /// [`CallerError`] for an address that nobody has.
    pub fn new(start: Instant, local: &[(SocketAddr, bool)], wishes: &Wishes) -> Result<(Self, String), CallerError> {
        let mut builder = Rtc::builder().clear_codecs().set_rtp_mode(true).set_stats_interval(None);
        let config = builder.codec_config();
        let plain = FormatParams::default;
        for codec in &wishes.codecs {
            match codec {
                Codec::Opus => config.enable_opus(true, false),
                Codec::G722 => config.enable_g722(true, false),
                Codec::Pcmu => config.enable_pcmu(true, false),
                Codec::Pcma => config.enable_pcma(true, false),
            }
        }
        config.add_config(110.into(), None, Format::Tele, Frequency::FORTY_EIGHT_KHZ, None, plain());
        config.add_config(126.into(), None, Format::Tele, Frequency::EIGHT_KHZ, None, plain());
        if wishes.video {
            config.enable_vp8(true);
        }
        let builder = builder.set_crypto_provider(keys::provider().clone());
        let (mut rtc, tap) = keys::tapped(|| builder.build(start));
        let candidates = local.iter().map(|(address, tcp)| add_candidate(&mut rtc, *address, *tcp));
        let candidates = candidates.collect::<Result<_, _>>()?;
        let mut changes = rtc.sdp_api();
        let mid = changes.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        if wishes.video {
            changes.add_media(MediaKind::Video, Direction::SendRecv, None, None, None);
        }
        if wishes.data {
            changes.add_channel(crate::channel::LABEL.into());
        }
        let (offer, pending) = changes.apply().ok_or_else(|| CallerError("no offer".into()))?;
        let caller = Self {
            rtc,
            tap,
            candidates,
            start,
            next: Duration::ZERO,
            pending: Some(pending),
            mid,
            channel: None,
            sequence: 1_000,
            timestamp: 7,
            agreed: None,
        };
        Ok((caller, offer.to_sdp_string()))
    }

    /// Takes the answer.
    ///
    /// # Errors
    /// [`CallerError`] for one that does not fit the offer.
    pub fn accept(&mut self, answer: &str) -> Result<(), CallerError> {
        let wrong = |error: &dyn std::fmt::Display| CallerError(error.to_string());
        let pending = self.pending.take().ok_or_else(|| CallerError("nothing was offered".into()))?;
        let read = SdpAnswer::from_sdp_string(answer).map_err(|error| wrong(&error))?;
        self.rtc.sdp_api().accept_answer(pending, read).map_err(|error| wrong(&error))?;
        self.agreed = chosen(answer);
        Ok(())
    }

    /// It has changed its network: another offer, to begin ICE anew from there.
    ///
    /// # Errors
    /// [`CallerError`] for an address that nobody has.
    pub fn restart(&mut self, local: SocketAddr, tcp: bool) -> Result<String, CallerError> {
        // The old addresses are gone at once, not with the answer.
        for old in std::mem::take(&mut self.candidates) {
            self.rtc.direct_api().invalidate_candidate(&old);
        }
        self.candidates.push(add_candidate(&mut self.rtc, local, tcp)?);
        let mut changes = self.rtc.sdp_api();
        changes.ice_restart(true);
        let (offer, pending) = changes.apply().ok_or_else(|| CallerError("no offer".into()))?;
        self.pending = Some(pending);
        Ok(offer.to_sdp_string())
    }

    /// Another description of the call as it is: to hold, or to resume.
    ///
    /// # Errors
    /// [`CallerError`] where nothing would change.
    pub fn direct(&mut self, sends: bool, receives: bool) -> Result<String, CallerError> {
        let mut changes = self.rtc.sdp_api();
        let direction = match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        };
        changes.set_direction(self.mid, direction);
        let (offer, pending) = changes.apply().ok_or_else(|| CallerError("no offer".into()))?;
        self.pending = Some(pending);
        Ok(offer.to_sdp_string())
    }

    /// What the answer has chosen.
    #[must_use]
    pub const fn agreed(&self) -> Option<Agreed> {
        self.agreed
    }

    /// The keys that it has, once: for who carries its audio without it, as a load of many callers does.
    #[must_use]
    pub fn keys(&mut self) -> Option<Keys> {
        self.tap.take()
    }

    /// When it wants to know the time.
    #[must_use]
    pub const fn next(&self) -> Duration {
        self.next
    }

    /// Takes a datagram that came to `to`, an address of its own. What is no datagram of WebRTC is dropped.
    pub fn take(
        &mut self,
        now: Duration,
        from: SocketAddr,
        to: SocketAddr,
        tcp: bool,
        datagram: &[u8],
        out: &mut impl FnMut(Heard<'_>),
    ) {
        let protocol = if tcp { Protocol::Tcp } else { Protocol::Udp };
        if let Ok(receive) = Receive::new(protocol, from, to, datagram) {
            // What is not understood is dropped, as a browser does.
            let _ = self.rtc.handle_input(Input::Receive(self.start + now, receive));
            self.drain(out);
        }
    }

    /// The time is `now`.
    pub fn tick(&mut self, now: Duration, out: &mut impl FnMut(Heard<'_>)) {
        let _ = self.rtc.handle_input(Input::Timeout(self.start + now));
        self.drain(out);
    }

    /// Sends 20 ms of audio, encoded as agreed.
    pub fn audio(&mut self, now: Duration, payload: &[u8], out: &mut impl FnMut(Heard<'_>)) {
        let Some(Agreed { codec, payload_type, .. }) = self.agreed else { return };
        self.write(now, payload_type, self.timestamp, payload, out);
        self.timestamp = self.timestamp.wrapping_add(codec.rtp_clock() / 50);
    }

    /// Loses 20 ms of audio on the way.
    pub fn lose(&mut self) {
        self.sequence += 1;
        self.timestamp = self.timestamp.wrapping_add(self.agreed.map_or(160, |agreed| agreed.codec.rtp_clock() / 50));
    }

    /// Sends a key for 100 ms, all at once: five packets and two more ends (RFC 4733 §2.5.1).
    pub fn press(&mut self, now: Duration, event: u8, out: &mut impl FnMut(Heard<'_>)) {
        let Some(Agreed { codec, events: Some(number), .. }) = self.agreed else { return };
        let (begun, packet) = (self.timestamp, codec.rtp_clock() / 50);
        for n in 1..=7_u32 {
            let duration = (n.min(5) * packet) as u16;
            let end = if n >= 5 { 0x80 } else { 0 };
            let [high, low] = duration.to_be_bytes();
            self.write(now, number, begun, &[event, end | 10, high, low], out);
        }
        self.timestamp = begun.wrapping_add(7 * packet);
    }

    fn write(&mut self, now: Duration, number: u8, timestamp: u32, payload: &[u8], out: &mut impl FnMut(Heard<'_>)) {
        let (at, sequence) = (self.start + now, self.sequence);
        if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(self.mid, None) {
            stream.write_rtp(RtpWrite::new(number.into(), sequence.into(), timestamp, at, payload));
            self.sequence += 1;
        }
        self.tick(now, out);
    }

    /// Sends a message; false where there is no channel yet.
    pub fn say(&mut self, now: Duration, message: &str, out: &mut impl FnMut(Heard<'_>)) -> bool {
        let channel = self.channel.and_then(|id| self.rtc.channel(id));
        let taken = channel.is_some_and(|mut channel| channel.write(false, message.as_bytes()).unwrap_or(false));
        self.tick(now, out);
        taken
    }

    /// Hangs up by its own means (DTLS `close_notify`).
    pub fn close(&mut self, now: Duration, out: &mut impl FnMut(Heard<'_>)) {
        let _ = self.rtc.close();
        self.tick(now, out);
    }

    fn drain(&mut self, out: &mut impl FnMut(Heard<'_>)) {
        loop {
            match self.rtc.poll_output() {
                Ok(str0m::Output::Timeout(at)) => {
                    self.next = at.saturating_duration_since(self.start);
                    return;
                }
                Ok(str0m::Output::Transmit(transmit)) => out(Heard::Send {
                    from: transmit.source,
                    to: transmit.destination,
                    tcp: transmit.proto == Protocol::Tcp,
                    bytes: &transmit.contents,
                }),
                Ok(str0m::Output::Event(event)) => self.event(event, out),
                Err(_) => {
                    self.rtc.disconnect();
                    self.next = Duration::MAX;
                    out(Heard::Closed);
                    return;
                }
            }
        }
    }

    fn event(&mut self, event: Event, out: &mut impl FnMut(Heard<'_>)) {
        match event {
            Event::Connected => out(Heard::Connected),
            Event::RtpPacket(packet) => out(Heard::Rtp {
                payload_type: *packet.header.payload_type,
                sequence: packet.header.sequence_number,
                timestamp: packet.header.timestamp,
                payload: &packet.payload,
            }),
            Event::ChannelOpen(id, _) => {
                self.channel = Some(id);
                out(Heard::Channel);
            }
            Event::ChannelData(data) => {
                if let Ok(message) = String::from_utf8(data.data) {
                    out(Heard::Message(message));
                }
            }
            Event::Closed => out(Heard::Closed),
            _ => {}
        }
    }
}

fn add_candidate(rtc: &mut Rtc, address: SocketAddr, tcp: bool) -> Result<Candidate, CallerError> {
    let candidate = if tcp {
        Candidate::builder().tcp().host(address).tcptype(TcpType::Active).build()
    } else {
        Candidate::host(address, "udp")
    };
    let candidate = candidate.map_err(|error| CallerError(error.to_string()))?;
    // It comes back as it is known to the agent, by which it can be taken away again.
    Ok(rtc.add_local_candidate(candidate.clone()).cloned().unwrap_or(candidate))
}

/// Reads what an answer of ours has chosen: its first format, and telephone-event on the same clock.
fn chosen(answer: &str) -> Option<Agreed> {
    let payload_type: u8 =
        answer.lines().find(|line| line.starts_with("m=audio"))?.split_ascii_whitespace().nth(3)?.parse().ok()?;
    let map = |number: &str, wanted: &str| {
        answer.lines().any(|line| {
            line.strip_prefix("a=rtpmap:").is_some_and(|map| {
                map.split_once(' ').is_some_and(|(other, name)| other == number && name.eq_ignore_ascii_case(wanted))
            })
        })
    };
    let number = payload_type.to_string();
    let codec = Codec::ALL.into_iter().find(|codec| {
        let channels = if *codec == Codec::Opus { "/2" } else { "" };
        map(&number, &format!("{}/{}{channels}", codec.name(), codec.rtp_clock()))
    })?;
    let events =
        (96..128_u8).find(|number| map(&number.to_string(), &format!("telephone-event/{}", codec.rtp_clock())));
    Some(Agreed { codec, payload_type, events })
}
