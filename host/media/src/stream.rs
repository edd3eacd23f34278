//! One call's media: packets, commands and time in; packets and events out. No socket, no thread, no clock.
//!
//! Whoever drives it calls [`Stream::tick`] once per packet time. A tick plays what was heard out of the jitter
//! buffer, says what is to be said, and looks after reports and timeouts. Times are since the start of the plane.

use crate::bridge::{Bridge, Carried, Key};
use crate::codec::{self, Codec};
use crate::command::{MediaCommand, MediaEvent, MediaPlan, MediaStats};
use crate::dtmf::{self, Event};
use crate::incoming::Incoming;
use crate::latch::{self, Latch, Sighting};
use crate::listener::{Heard, Listener};
use crate::noise;
use crate::outgoing::{MOST, Outgoing, Turn};
use crate::quality;
use crate::reception::{self, Reception};
use crate::recorder::Recording;
use crate::report::Reports;
use crate::rtp;
use crate::tap::{TapFrame, TapSender};
use crate::{FRAME, SAMPLE_RATE};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc::OwnedPermit;

/// Bytes of the longest description of comfort noise: more coefficients than anybody uses.
const LONGEST_NOISE: usize = 64;

/// The longest that nothing leaves the RTP port: NATs forget after 30 s.
const KEEP_OPEN: Duration = Duration::from_secs(15);

/// Where a stream's packets and events go.
pub(crate) trait Output {
    /// Sends RTP; false where the system did not take it.
    fn rtp(&mut self, to: SocketAddr, packet: &[u8]) -> bool;
    /// Sends RTCP, from the RTP port where both use one.
    fn rtcp(&mut self, to: SocketAddr, packet: &[u8], from_rtp_port: bool);
    /// Sends an empty datagram from the RTP port.
    fn keep_open(&mut self, to: SocketAddr);
    /// Reports.
    fn event(&mut self, event: MediaEvent);
}

/// What is random about a stream (RFC 3550 §5.1), and its name in reports.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The stream's name.
    pub(crate) ssrc: u32,
    /// Where sequence numbers begin.
    pub(crate) sequence: u16,
    /// Where timestamps begin.
    pub(crate) timestamp: u32,
    /// The sender's canonical name: random, so that it tells nothing (RFC 7022).
    pub(crate) cname: String,
}

/// What remains of a stream that is closed: its figures, to which those of the edge may be added, and its last words.
pub(crate) struct Farewell {
    /// The figures of the whole call.
    pub(crate) stats: MediaStats,
    recording: Option<Recording>,
    last: OwnedPermit<MediaEvent>,
}

impl Farewell {
    /// Reports the end. Where there is a recording, the recorder reports its own first.
    pub(crate) fn say(self) {
        match self.recording {
            Some(recording) => recording.end(Some(Box::new((self.last, self.stats)))),
            None => drop(self.last.send(MediaEvent::Closed(self.stats))),
        }
    }
}

/// What is counted on the receiving side beside [`Reception`].
#[derive(Debug, Default)]
struct Received {
    packets: u64,
    bytes: u64,
    rejected: u64,
    digits: u32,
}

/// One call.
pub(crate) struct Stream {
    identity: Identity,
    plan: Option<MediaPlan>,
    latch: Option<Latch>,
    /// There are no keys yet: nothing may be sent.
    withheld: bool,
    reports: Reports,

    outgoing: Outgoing,

    reception: Reception,
    incoming: Incoming,
    keys: dtmf::Receiver,
    tones: Option<Box<dtmf::Detector>>,
    received: Received,
    /// The last packet from the far end, or the beginning of waiting for one.
    heard_at: Duration,
    /// What came last was comfort noise: the far end need not send anything until it has something to say.
    pausing: bool,
    /// When something left the RTP port, or there was no reason for it to.
    kept_open: Duration,
    timed_out: bool,
    media_timeout: Duration,
    opus_complexity: u8,

    /// What was heard, waiting to be a whole frame; at 16 kHz too, where that is its rate.
    frame: [i16; FRAME],
    wide: [i16; 2 * FRAME],
    framed: usize,
    frames: i64,
    tap: Option<TapSender>,
    /// Made when somebody listens to what is said for the first time.
    listener: Option<Box<Listener>>,
    bridge: Option<Bridge>,
    recording: Option<Recording>,
    masked: bool,
    /// Samples still in the jitter buffer that came while it was secret.
    mask_left: u32,
}

/// What a payload type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Audio(Codec),
    Event,
    /// Comfort noise, or the news that there is silence.
    Noise,
}

impl Stream {
    /// A stream that discards what comes until it is configured.
    #[must_use]
    pub(crate) fn new(identity: Identity, media_timeout: Duration, opus_complexity: u8, ntp_start: u64) -> Self {
        Self {
            outgoing: Outgoing::new(identity.ssrc, identity.sequence, identity.timestamp),
            reports: Reports::new(ntp_start),
            identity,
            plan: None,
            latch: None,
            withheld: false,
            reception: Reception::default(),
            incoming: Incoming::default(),
            keys: dtmf::Receiver::default(),
            tones: None,
            received: Received::default(),
            heard_at: Duration::ZERO,
            pausing: false,
            kept_open: Duration::ZERO,
            timed_out: false,
            media_timeout,
            opus_complexity,
            frame: [0; FRAME],
            wide: [0; 2 * FRAME],
            framed: 0,
            frames: 0,
            tap: None,
            listener: None,
            bridge: None,
            recording: None,
            masked: false,
            mask_left: 0,
        }
    }

    /// The time between two ticks; none before the first [`MediaCommand::Configure`].
    #[must_use]
    pub(crate) fn period(&self) -> Option<Duration> {
        self.plan.as_ref().map(|plan| Duration::from_millis(u64::from(plan.ptime_ms)))
    }

    /// Packets that were not the far end's.
    #[must_use]
    pub(crate) const fn rejected(&self) -> u64 {
        self.received.rejected
    }

    /// Carries out a command. [`MediaCommand::Record`], [`MediaCommand::Bridge`] need what a stream has not; they come
    /// as [`Self::record`] and [`Self::join`] and do nothing here, like those for a capture.
    pub(crate) fn command(&mut self, now: Duration, command: MediaCommand, out: &mut impl Output) {
        match command {
            MediaCommand::Configure(plan) => self.configure(now, plan),
            MediaCommand::Append { prompt, clip } => self.outgoing.playout.append(prompt, clip),
            MediaCommand::Complete { prompt } => self.outgoing.playout.complete(prompt),
            MediaCommand::Play { prompt } => self.outgoing.playout.play(prompt),
            MediaCommand::Stop { prompt } => {
                if let Some(ended) = self.outgoing.playout.stop(prompt) {
                    out.event(ended);
                }
            }
            MediaCommand::Pause { prompt } => self.outgoing.playout.pause(prompt, true),
            MediaCommand::Resume { prompt } => self.outgoing.playout.pause(prompt, false),
            MediaCommand::Listen { tap } => {
                let wide = self.incoming.jitter().wide();
                self.listener.get_or_insert_default().listen(tap, wide);
            }
            MediaCommand::Deafen => {
                if let Some(listener) = &mut self.listener {
                    listener.deafen(|event| out.event(event));
                }
            }
            MediaCommand::SendDigits { digits } => self.outgoing.digits.queue(digits.chars(), true),
            MediaCommand::Mask(on) => {
                self.mask_left =
                    if self.masked && !on { (self.incoming.jitter().held_ms() * 8.0) as u32 + FRAME as u32 } else { 0 };
                self.masked = on;
            }
            MediaCommand::StopRecording => self.stop_recording(),
            MediaCommand::Unbridge => self.bridge = None,
            MediaCommand::Tap(tap) => {
                self.tap = tap;
                self.frames = 0;
            }
            MediaCommand::Record { .. }
            | MediaCommand::Bridge { .. }
            | MediaCommand::Capture { .. }
            | MediaCommand::StopCapture
            | MediaCommand::Message(_) => {}
        }
    }

    /// Whether to hold back everything that would be sent: prompts wait, as they do while the far end holds us.
    pub(crate) const fn withhold(&mut self, withheld: bool) {
        self.withheld = withheld;
    }

    /// Where the far end's audio comes from, once it is known.
    pub(crate) fn heard_from(&self) -> Option<SocketAddr> {
        self.latch.as_ref().and_then(Latch::locked)
    }

    /// The far end is there from now on, which others than the packets themselves have found out (ICE).
    pub(crate) fn relocate(&mut self, now: Duration, far: SocketAddr) {
        let (Some(plan), Some(latch)) = (&mut self.plan, &mut self.latch) else { return };
        (plan.remote, plan.remote_rtcp, plan.signalling_ip) = (far, far, far.ip());
        latch.renew(far, far.ip(), now);
    }

    /// Audio is sent and expected: neither side holds the other.
    pub(crate) fn is_two_way(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.send && plan.receive)
    }

    /// Records from now on; a recording under way is finished.
    pub(crate) fn record(&mut self, recording: Recording) {
        self.stop_recording();
        self.recording = Some(recording);
    }

    /// Joins with another session.
    pub(crate) fn join(&mut self, bridge: Bridge) {
        self.bridge = Some(bridge);
    }

    fn stop_recording(&mut self) {
        if let Some(recording) = self.recording.take() {
            recording.end(None);
        }
    }

    fn configure(&mut self, now: Duration, mut plan: MediaPlan) {
        plan.ptime_ms = codec::packet_time(plan.codec, plan.ptime_ms);
        self.outgoing.configure(&plan, self.opus_complexity);
        if plan.codec.sample_rate() > SAMPLE_RATE {
            self.incoming.widen();
        }
        if plan.detect_tones {
            self.tones.get_or_insert_default();
        } else {
            self.tones = None;
        }
        match &mut self.latch {
            Some(latch) => latch.renew(plan.remote, plan.signalling_ip, now),
            None => {
                self.latch = Some(Latch::new(plan.remote, plan.signalling_ip, now));
                self.reports.begin(now, self.identity.ssrc);
            }
        }
        if !plan.receive {
            self.incoming.reset();
        }
        // A timeout is counted from the moment at which audio is expected (again).
        self.heard_at = now;
        self.timed_out = false;
        self.plan = Some(plan);
    }

    /// Takes a datagram of the RTP port.
    pub(crate) fn rtp(&mut self, now: Duration, source: SocketAddr, datagram: &[u8], out: &mut impl Output) {
        let (Some(plan), Some(latch)) = (&self.plan, &mut self.latch) else { return };
        if rtp::is_rtcp(datagram) {
            self.rtcp(now, source, datagram);
            return;
        }
        let Ok(packet) = rtp::parse(datagram) else {
            self.received.rejected += 1;
            return;
        };
        let Some(kind) = kind(plan, packet.payload_type, packet.payload) else {
            self.received.rejected += 1;
            return;
        };
        match latch.judge(Sighting { source, ssrc: packet.ssrc, sequence: packet.sequence }, now) {
            latch::Verdict::Accept => {}
            latch::Verdict::Moved => out.event(MediaEvent::Latched { remote: source }),
            latch::Verdict::Reject => {
                self.received.rejected += 1;
                return;
            }
        }
        self.heard_at = now;
        self.timed_out = false;
        self.pausing = kind == Kind::Noise;
        self.received.packets += 1;
        self.received.bytes += packet.payload.len() as u64;
        let listening = plan.receive;
        // Events that have a stream of their own have a sequence of their own.
        let foreign_event = kind == Kind::Event && self.reception.ssrc().is_some_and(|ssrc| ssrc != packet.ssrc);
        let verdict = if foreign_event {
            reception::Verdict::Accept
        } else {
            self.reception.receive(packet.ssrc, packet.sequence)
        };
        if verdict == reception::Verdict::Restart {
            self.incoming.reset();
        }
        if !listening {
            return;
        }
        match (kind, verdict) {
            (Kind::Event, _) => self.event(&packet, out),
            (Kind::Audio(codec), reception::Verdict::Accept | reception::Verdict::Restart) => {
                self.reception.arrived(packet.timestamp, codec.rtp_clock(), now);
                self.incoming.audio(codec, &packet);
            }
            (Kind::Noise, reception::Verdict::Accept) => {
                let said =
                    packet.payload_type == noise::PAYLOAD_TYPE || plan.comfort_noise == Some(packet.payload_type);
                self.incoming.noise(packet.timestamp, if said { packet.payload } else { &[] });
            }
            (Kind::Audio(_) | Kind::Noise, _) => {}
        }
    }

    fn event(&mut self, packet: &rtp::Packet<'_>, out: &mut impl Output) {
        let Self { keys, bridge, received, incoming, .. } = self;
        keys.packet(packet.ssrc, packet.timestamp, packet.marker, packet.payload, |digit| {
            received.digits += 1;
            if let Some(bridge) = bridge {
                bridge.give(Carried::Digit(digit));
            }
            out.event(MediaEvent::Digit { digit });
        });
        // While a key is held there is no audio; what some gateways send nevertheless is the tone of the key.
        let length = packet.payload.chunks_exact(4).map(|event| u32::from(u16::from_be_bytes([event[2], event[3]])));
        if self.reception.ssrc() == Some(packet.ssrc) {
            incoming.silence(packet.timestamp, length.sum());
        }
    }

    /// Takes a datagram of the RTCP port.
    pub(crate) fn rtcp(&mut self, now: Duration, source: SocketAddr, datagram: &[u8]) {
        let known = self.latch.as_ref().is_some_and(|latch| latch.knows_host(source.ip()));
        let clock = self.plan.as_ref().map_or(SAMPLE_RATE, |plan| plan.codec.rtp_clock());
        if !known || self.reports.take(now, source, datagram, self.identity.ssrc, self.reception.ssrc(), clock).is_err()
        {
            self.received.rejected += 1;
        }
    }

    /// One packet time. `skipped` are packet times that the machine was too late for: they are heard but nothing is
    /// said in them, and the timestamp moves on. Returns the time since the packet before, where one was sent.
    pub(crate) fn tick(&mut self, now: Duration, skipped: u32, out: &mut impl Output) -> Option<Duration> {
        let plan = self.plan.as_ref()?;
        let (samples, codec) = (usize::from(plan.ptime_ms) * 8, plan.codec);
        // What lies further back than the jitter buffer reaches is gone anyway.
        for _ in 0..skipped.min(50) {
            self.hear(&[0; MOST][..samples], out);
        }
        if skipped > 0 {
            self.outgoing.skip(skipped, samples, codec);
        }
        let mut said = [0; MOST];
        let gap = self.say(now, &mut said[..samples], out);
        self.hear(&said[..samples], out);
        self.watch(now, out);
        self.report(now, false, out);
        self.keep_open(now, gap.is_some(), out);
        gap
    }

    /// Where nothing is sent for long, since we are held or have nothing to say, an empty datagram keeps the way through
    /// NATs open (RFC 6263 §4.1).
    fn keep_open(&mut self, now: Duration, sent: bool, out: &mut impl Output) {
        let far_end = self.plan.as_ref().map(|plan| plan.remote).filter(|remote| reachable(*remote) && !self.withheld);
        let Some(remote) = far_end.filter(|_| !sent) else {
            self.kept_open = now;
            return;
        };
        if now.saturating_sub(self.kept_open) >= KEEP_OPEN {
            self.kept_open = now;
            out.keep_open(self.latch.as_ref().map_or(remote, Latch::target));
        }
    }

    /// Says BYE and ends. What remains to be told is told by the [`Farewell`].
    pub(crate) fn close(mut self, now: Duration, out: &mut impl Output, last: OwnedPermit<MediaEvent>) -> Farewell {
        self.report(now, true, out);
        Farewell { stats: self.stats(), recording: self.recording.take(), last }
    }

    /// Where to send; none while held, or where the far end gave no address.
    fn target(&self) -> Option<SocketAddr> {
        let plan = self.plan.as_ref().filter(|plan| plan.send && !self.withheld && reachable(plan.remote))?;
        Some(self.latch.as_ref().map_or(plan.remote, Latch::target)).filter(|target| reachable(*target))
    }

    fn say(&mut self, now: Duration, said: &mut [i16], out: &mut impl Output) -> Option<Duration> {
        let target = self.target();
        let plan = self.plan.as_ref()?;
        if let Some(bridge) = &mut self.bridge {
            let (digits, events) = (&mut self.outgoing.digits, plan.dtmf.is_some());
            let wide = plan.codec.sample_rate() > SAMPLE_RATE;
            let there = bridge.collect(wide, |key| {
                // A key that came as a tone is in the audio already, unless events are what is listened to here.
                if let Key::Event(digit) | Key::Tone(digit) = key
                    && (events || matches!(key, Key::Event(_)))
                {
                    digits.queue(std::iter::once(digit), false);
                }
            });
            if !there {
                self.bridge = None;
            }
        }
        let turn = Turn {
            now,
            plan,
            target,
            bridge: self.bridge.as_mut(),
            recorded: self.recording.is_some(),
            masked: self.masked,
        };
        self.outgoing.say(turn, said, out)
    }

    /// Plays what was heard to whoever wants it, beside what was said in the same time.
    fn hear(&mut self, said: &[i16], out: &mut impl Output) {
        let (mut narrow, mut wide) = ([0; MOST], [0; 2 * MOST]);
        let (heard, wide) = (&mut narrow[..said.len()], &mut wide[..2 * said.len()]);
        let made_up = self.incoming.jitter().stats().concealed;
        let is_wide = self.incoming.pop(heard, wide);
        // It may have become less: the buffer learns that what it made up was a pause.
        let made_up = self.incoming.jitter().stats().concealed.saturating_sub(made_up);
        let made_up = 2 * made_up > heard.len() as u64;
        let listens = self.listener.as_ref().is_some_and(|listener| listener.listening());
        if let Some(tones) = &mut self.tones {
            tones.push(heard, |digit| {
                self.received.digits += 1;
                if let Some(bridge) = &self.bridge {
                    bridge.give(Carried::Tone(digit));
                }
                out.event(MediaEvent::Digit { digit });
            });
        }
        if self.tap.is_some() || self.bridge.is_some() || listens {
            for (at, (sample, pair)) in heard.iter().zip(wide.chunks_exact(2)).enumerate() {
                self.frame[self.framed] = *sample;
                self.wide[2 * self.framed..2 * self.framed + 2].copy_from_slice(pair);
                self.framed += 1;
                if self.framed < FRAME {
                    continue;
                }
                self.framed = 0;
                if self.tap.as_ref().is_some_and(|tap| !tap.offer(TapFrame::narrow(self.frames * 20, &self.frame))) {
                    self.tap = None;
                }
                self.frames += 1;
                if let Some(listener) = self.listener.as_mut().filter(|_| listens) {
                    let behind = (heard.len() - 1 - at) as u32 / 8;
                    listener.hear(
                        &Heard {
                            narrow: &self.frame,
                            wide: is_wide.then_some(&self.wide),
                            made_up,
                            said: self.outgoing.said(),
                            age_ms: behind + self.incoming.jitter().held_ms() as u32,
                        },
                        |event| out.event(event),
                    );
                }
                let frame = if is_wide { Carried::Wide(self.wide) } else { Carried::Narrow(self.frame) };
                if self.bridge.as_ref().is_some_and(|bridge| !bridge.give(frame)) {
                    self.bridge = None;
                }
            }
        }
        if let Some(recording) = &mut self.recording {
            if self.masked || self.mask_left > 0 {
                self.mask_left = self.mask_left.saturating_sub(said.len() as u32);
                heard.fill(0);
            }
            recording.push(heard, said);
        }
    }

    /// Nothing has come for too long, although it should.
    fn watch(&mut self, now: Duration, out: &mut impl Output) {
        let expected = self.plan.as_ref().is_some_and(|plan| plan.send && plan.receive);
        // Who has said that there is silence may say nothing more while it lasts; its reports tell that it is there.
        let heard_at = if self.pausing { self.heard_at.max(self.reports.heard_at()) } else { self.heard_at };
        if expected && !self.timed_out && now.saturating_sub(heard_at) >= self.media_timeout {
            self.timed_out = true;
            out.event(MediaEvent::MediaTimeout);
        }
    }

    /// Sends a report when it is time, or with BYE.
    fn report(&mut self, now: Duration, bye: bool, out: &mut impl Output) {
        let (Some(plan), Some(latch)) = (&self.plan, &self.latch) else { return };
        if !bye && !self.reports.due(now) {
            return;
        }
        let sent = &self.outgoing.sent;
        let sender = (sent.packets > 0).then_some(crate::rtcp::SenderFigures {
            rtp_timestamp: self.outgoing.timestamp,
            packets: sent.packets as u32,
            bytes: sent.bytes as u32,
        });
        let delay = self.delay_ms();
        let (packet, length) = self.reports.write(now, &self.identity, sender, &mut self.reception, delay, bye);
        let multiplexed = plan.remote == plan.remote_rtcp;
        let target = if multiplexed { latch.target() } else { self.reports.target(plan, latch) };
        if reachable(target) && reachable(plan.remote) && !self.withheld {
            out.rtcp(target, &packet[..length], multiplexed);
        }
    }

    /// How late we hear what the far end says: half the round trip, the buffer, and the packet itself.
    fn delay_ms(&self) -> f32 {
        self.reports.rtt_ms().unwrap_or_default() / 2.0 + self.incoming.jitter().held_ms() + 20.0
    }

    /// The figures at this moment.
    #[must_use]
    pub(crate) fn stats(&self) -> MediaStats {
        let (jitter, sent) = (self.incoming.jitter().stats(), &self.outgoing.sent);
        let expected = self.reception.expected().max(1) as f32;
        let unheard = (self.reception.lost() + jitter.late) as f32 * 100.0 / expected;
        MediaStats {
            codec: self.plan.as_ref().map(|plan| plan.codec),
            encryption: None,
            unauthentic: 0,
            replayed: 0,
            remote: self.latch.as_ref().and_then(Latch::locked),
            packets_sent: sent.packets,
            bytes_sent: sent.bytes,
            send_errors: sent.errors,
            packets_received: self.received.packets,
            bytes_received: self.received.bytes,
            lost: self.reception.lost(),
            late: jitter.late,
            duplicates: self.reception.duplicates(),
            rejected: self.received.rejected,
            resyncs: jitter.resyncs,
            concealed_ms: jitter.concealed / 8,
            digits_received: self.received.digits,
            jitter_ms: self.reception.jitter_ms(),
            loss_pct: self.reception.loss_pct(),
            remote_loss_pct: self.reports.remote_loss_pct(),
            remote_jitter_ms: self.reports.remote_jitter_ms(),
            remote_mos: self.reports.remote_mos(),
            rtt_ms: self.reports.rtt_ms(),
            history: Box::new(self.reports.history()),
            mos: quality::mos(unheard, self.delay_ms()),
            max_gap_ms: sent.max_gap.as_secs_f32() * 1_000.0,
            skipped: sent.skipped,
            events_dropped: 0,
            messages_dropped: 0,
        }
    }
}

/// What a packet carries, if it is one that was agreed on and of a sane size.
fn kind(plan: &MediaPlan, payload_type: u8, payload: &[u8]) -> Option<Kind> {
    if plan.dtmf == Some(payload_type) || plan.events.contains(&payload_type) {
        return (payload.len() >= Event::LENGTH).then_some(Kind::Event);
    }
    let agreed = plan.formats.iter().find(|(number, _)| *number == payload_type).map(|(_, codec)| *codec);
    let codec = match agreed {
        Some(codec) => codec,
        None if payload_type == plan.payload_type => plan.codec,
        None if payload_type == noise::PAYLOAD_TYPE || plan.comfort_noise == Some(payload_type) => {
            return (1..=LONGEST_NOISE).contains(&payload.len()).then_some(Kind::Noise);
        }
        None => Codec::G711.into_iter().find(|codec| codec.static_payload_type() == Some(payload_type))?,
    };
    if codec == Codec::G729 && payload.len() == 2 {
        // A frame of annex B that only says how silence sounds.
        return Some(Kind::Noise);
    }
    codec::length(codec, payload).map(|_| Kind::Audio(codec))
}

/// An address that packets can go to: not the 0.0.0.0 or port 0 of a hold.
const fn reachable(address: SocketAddr) -> bool {
    !address.ip().is_unspecified() && address.port() != 0
}

#[cfg(test)]
mod codecs;
#[cfg(test)]
mod opus;
#[cfg(test)]
mod tests;
