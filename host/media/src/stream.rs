//! One call's media: packets, commands and time in; packets and events out. No socket, no thread, no clock.
//!
//! Whoever drives it calls [`Stream::tick`] once per packet time. A tick plays what was heard out of the jitter
//! buffer, says what is to be said, and looks after reports and timeouts. Times are since the start of the plane.

use crate::FRAME;
use crate::bridge::Bridge;
use crate::codec::{Codec, Law};
use crate::command::{MediaCommand, MediaEvent, MediaPlan, MediaStats};
use crate::dtmf::{self, Event, Step};
use crate::jitter::{Delay, Jitter};
use crate::latch::{self, Latch, Sighting};
use crate::playout::Playout;
use crate::quality;
use crate::reception::{self, Reception};
use crate::recorder::Recording;
use crate::report::Reports;
use crate::rtp::{self, HEADER};
use crate::tap::{TapFrame, TapSender};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc::OwnedPermit;

/// Samples in the longest packet we send: 60 ms.
const MOST: usize = 480;
/// Samples in the longest packet we take: 200 ms.
const LONGEST: usize = 1_600;
/// Comfort noise (RFC 3389), which is silence to us.
const COMFORT_NOISE: u8 = 13;

/// Where a stream's packets and events go.
pub(crate) trait Output {
    /// Sends RTP; false where the system did not take it.
    fn rtp(&mut self, to: SocketAddr, packet: &[u8]) -> bool;
    /// Sends RTCP, from the RTP port where both use one.
    fn rtcp(&mut self, to: SocketAddr, packet: &[u8], from_rtp_port: bool);
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

/// What is counted on the sending side.
#[derive(Debug, Default)]
struct Sent {
    packets: u64,
    bytes: u64,
    errors: u64,
    skipped: u64,
    max_gap: Duration,
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
    reports: Reports,

    sequence: u16,
    timestamp: u32,
    /// The next packet begins a talk spurt.
    marker: bool,
    last_sent: Option<Duration>,
    sent: Sent,
    playout: Playout,
    digits: dtmf::Sender,
    packet: [u8; HEADER + MOST],

    reception: Reception,
    jitter: Jitter,
    keys: dtmf::Receiver,
    received: Received,
    /// The last packet from the far end, or the beginning of waiting for one.
    heard_at: Duration,
    timed_out: bool,
    media_timeout: Duration,
    heard: [i16; MOST],

    /// What was heard, waiting to be a whole frame.
    frame: [i16; FRAME],
    framed: usize,
    frames: u64,
    tap: Option<TapSender>,
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
    Silence,
}

impl Stream {
    /// A stream that discards what comes until it is configured.
    #[must_use]
    pub(crate) fn new(identity: Identity, media_timeout: Duration, ntp_start: u64) -> Self {
        Self {
            sequence: identity.sequence,
            timestamp: identity.timestamp,
            reports: Reports::new(ntp_start),
            identity,
            plan: None,
            latch: None,
            marker: true,
            last_sent: None,
            sent: Sent::default(),
            playout: Playout::default(),
            digits: dtmf::Sender::default(),
            packet: [0; HEADER + MOST],
            reception: Reception::default(),
            jitter: Jitter::new(Delay::TELEPHONY),
            keys: dtmf::Receiver::default(),
            received: Received::default(),
            heard_at: Duration::ZERO,
            timed_out: false,
            media_timeout,
            heard: [0; MOST],
            frame: [0; FRAME],
            framed: 0,
            frames: 0,
            tap: None,
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
            MediaCommand::Append { prompt, clip } => self.playout.append(prompt, clip),
            MediaCommand::Complete { prompt } => self.playout.complete(prompt),
            MediaCommand::Play { prompt } => self.playout.play(prompt),
            MediaCommand::Stop { prompt } => {
                if let Some(ended) = self.playout.stop(prompt) {
                    out.event(ended);
                }
            }
            MediaCommand::SendDigits { digits } => self.digits.queue(digits.chars(), true),
            MediaCommand::Mask(on) => {
                self.mask_left = if self.masked && !on { self.jitter.held() + FRAME as u32 } else { 0 };
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
            | MediaCommand::StopCapture => {}
        }
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
        plan.ptime_ms = match plan.ptime_ms {
            0 => 20,
            wished => (wished / 10).clamp(1, 6) * 10,
        };
        match &mut self.latch {
            Some(latch) => latch.renew(plan.remote, plan.signalling_ip, now),
            None => {
                self.latch = Some(Latch::new(plan.remote, plan.signalling_ip, now));
                self.reports.begin(now, self.identity.ssrc);
            }
        }
        if !plan.receive {
            self.jitter.reset();
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
        let Some(kind) = kind(plan, packet.payload_type, packet.payload.len()) else {
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
            self.jitter.reset();
        }
        if !listening {
            return;
        }
        match (kind, verdict) {
            (Kind::Event, _) => self.event(&packet, out),
            (Kind::Audio(codec), reception::Verdict::Accept | reception::Verdict::Restart) => {
                self.reception.arrived(packet.timestamp, now);
                let mut samples = [0; LONGEST];
                let samples = &mut samples[..packet.payload.len()];
                codec.law().unwrap_or(Law::Mu).decode(packet.payload, samples);
                self.jitter.insert(packet.timestamp, samples);
            }
            (Kind::Audio(_) | Kind::Silence, _) => {}
        }
    }

    fn event(&mut self, packet: &rtp::Packet<'_>, out: &mut impl Output) {
        let Self { keys, bridge, received, jitter, .. } = self;
        keys.packet(packet.ssrc, packet.timestamp, packet.marker, packet.payload, |digit| {
            received.digits += 1;
            if let Some(bridge) = bridge {
                bridge.give_digit(digit);
            }
            out.event(MediaEvent::Digit { digit });
        });
        // While a key is held there is no audio; what some gateways send nevertheless is the tone of the key.
        let length = packet.payload.chunks_exact(4).map(|event| u32::from(u16::from_be_bytes([event[2], event[3]])));
        if self.reception.ssrc() == Some(packet.ssrc) {
            jitter.silence(packet.timestamp, length.sum());
        }
    }

    /// Takes a datagram of the RTCP port.
    pub(crate) fn rtcp(&mut self, now: Duration, source: SocketAddr, datagram: &[u8]) {
        let known = self.latch.as_ref().is_some_and(|latch| latch.knows_host(source.ip()));
        if !known || self.reports.take(now, source, datagram, self.identity.ssrc).is_err() {
            self.received.rejected += 1;
        }
    }

    /// One packet time. `skipped` are packet times that the machine was too late for: they are heard but nothing is
    /// said in them, and the timestamp moves on. Returns the time since the packet before, where one was sent.
    pub(crate) fn tick(&mut self, now: Duration, skipped: u32, out: &mut impl Output) -> Option<Duration> {
        let samples = usize::from(self.plan.as_ref()?.ptime_ms) * 8;
        // What lies further back than the jitter buffer reaches is gone anyway.
        for _ in 0..skipped.min(50) {
            self.hear(samples, &[0; MOST][..samples]);
        }
        if skipped > 0 {
            self.sent.skipped += u64::from(skipped);
            self.timestamp = self.timestamp.wrapping_add(skipped.wrapping_mul(samples as u32));
            self.marker = true;
        }
        let mut said = [0; MOST];
        let gap = self.say(now, &mut said[..samples], out);
        self.hear(samples, &said[..samples]);
        self.watch(now, out);
        self.report(now, false, out);
        gap
    }

    /// Says BYE and ends. Where there is a recording, the recorder reports its end and then `last`.
    pub(crate) fn close(
        mut self,
        now: Duration,
        out: &mut impl Output,
        last: OwnedPermit<MediaEvent>,
        events_dropped: u64,
    ) {
        self.report(now, true, out);
        let stats = MediaStats { events_dropped, ..self.stats() };
        match self.recording.take() {
            Some(recording) => recording.end(Some((last, stats))),
            None => {
                last.send(MediaEvent::Closed(stats));
            }
        }
    }

    /// Where to send; none while held, or where the far end gave no address.
    fn target(&self) -> Option<SocketAddr> {
        let plan = self.plan.as_ref().filter(|plan| plan.send && reachable(plan.remote))?;
        Some(self.latch.as_ref().map_or(plan.remote, Latch::target)).filter(|target| reachable(*target))
    }

    /// Sends one packet and puts what it says into `said`.
    fn say(&mut self, now: Duration, said: &mut [i16], out: &mut impl Output) -> Option<Duration> {
        if let Some(bridge) = &mut self.bridge {
            let digits = &mut self.digits;
            if !bridge.collect(|digit| digits.queue(std::iter::once(digit), false)) {
                self.bridge = None;
            }
        }
        let samples = said.len();
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(samples as u32);
        let (Some(target), Some(plan)) = (self.target(), &self.plan) else {
            self.marker = true;
            self.last_sent = None;
            return None;
        };
        let codec = plan.codec.law().unwrap_or(Law::Mu);
        let (header, payload) = self.packet.split_at_mut(HEADER);
        let payload = &mut payload[..samples];
        let step = self.digits.step(samples as u32, plan.dtmf.is_some(), || out.event(MediaEvent::DigitsSent));
        let mut written = (plan.payload_type, self.marker, timestamp, samples);
        let mut secret = false;
        match step {
            Step::Packet { event, first, offset } => {
                payload[..4].copy_from_slice(&event.write());
                written = (plan.dtmf.unwrap_or_default(), first, timestamp.wrapping_sub(offset), 4);
            }
            Step::Tone { code, at } => {
                for (n, byte) in payload.iter_mut().enumerate() {
                    *byte = codec.encode_sample(dtmf::tone(code, at + n as u32));
                }
                secret = self.masked;
            }
            Step::Silence => payload.fill(codec.silence()),
            Step::Idle if self.playout.busy() => {
                let starts = self.playout.starts();
                let filled = self.playout.fill(codec, payload, |event| out.event(event));
                written.1 |= starts && filled > 0;
            }
            Step::Idle => match &mut self.bridge {
                Some(bridge) => {
                    // `said` is free until the packet is decoded into it.
                    bridge.say(said);
                    codec.encode(said, payload);
                }
                None => payload.fill(codec.silence()),
            },
        }
        let (payload_type, marker, timestamp, length) = written;
        // Only audio begins a talk spurt of audio.
        self.marker &= matches!(step, Step::Packet { .. });
        if let Some(header) = header.first_chunk_mut() {
            rtp::write_header(header, marker, payload_type, self.sequence, timestamp, self.identity.ssrc);
        }
        self.sequence = self.sequence.wrapping_add(1);
        if out.rtp(target, &self.packet[..HEADER + length]) {
            self.sent.packets += 1;
            self.sent.bytes += length as u64;
        } else {
            self.sent.errors += 1;
        }
        let gap = self.last_sent.replace(now).map(|before| now.saturating_sub(before));
        self.sent.max_gap = self.sent.max_gap.max(gap.unwrap_or_default());
        if self.recording.is_some() && length == samples && !secret {
            codec.decode(&self.packet[HEADER..HEADER + samples], said);
        } else {
            said.fill(0);
        }
        gap
    }

    /// Plays what was heard to whoever wants it, beside what was said.
    fn hear(&mut self, samples: usize, said: &[i16]) {
        let heard = &mut self.heard[..samples];
        self.jitter.pop(heard);
        if self.tap.is_some() || self.bridge.is_some() {
            for sample in heard.iter() {
                self.frame[self.framed] = *sample;
                self.framed += 1;
                if self.framed < FRAME {
                    continue;
                }
                self.framed = 0;
                if self.tap.as_ref().is_some_and(|tap| !tap.offer(TapFrame { index: self.frames, samples: self.frame }))
                {
                    self.tap = None;
                }
                self.frames += 1;
                if self.bridge.as_ref().is_some_and(|bridge| !bridge.give(self.frame)) {
                    self.bridge = None;
                }
            }
        }
        if let Some(recording) = &mut self.recording {
            if self.masked || self.mask_left > 0 {
                self.mask_left = self.mask_left.saturating_sub(samples as u32);
                heard.fill(0);
            }
            recording.push(heard, said);
        }
    }

    /// Nothing has come for too long, although it should.
    fn watch(&mut self, now: Duration, out: &mut impl Output) {
        let expected = self.plan.as_ref().is_some_and(|plan| plan.send && plan.receive);
        if expected && !self.timed_out && now.saturating_sub(self.heard_at) >= self.media_timeout {
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
        let sender = (self.sent.packets > 0).then_some(crate::rtcp::SenderFigures {
            rtp_timestamp: self.timestamp,
            packets: self.sent.packets as u32,
            bytes: self.sent.bytes as u32,
        });
        let mut packet = [0; crate::rtcp::MAX_REPORT];
        let length = self.reports.write(now, &self.identity, sender, &mut self.reception, bye, &mut packet);
        let multiplexed = plan.remote == plan.remote_rtcp;
        let target = if multiplexed { latch.target() } else { self.reports.target(plan, latch) };
        if reachable(target) && reachable(plan.remote) {
            out.rtcp(target, &packet[..length], multiplexed);
        }
    }

    /// The figures at this moment.
    #[must_use]
    pub(crate) fn stats(&self) -> MediaStats {
        let jitter = self.jitter.stats();
        let expected = self.reception.expected().max(1) as f32;
        let unheard = (self.reception.lost() + jitter.late) as f32 * 100.0 / expected;
        // Half the round trip, the buffer, and the packet itself.
        let delay = self.reports.rtt_ms().unwrap_or_default() / 2.0 + self.jitter.held() as f32 / 8.0 + 20.0;
        MediaStats {
            codec: self.plan.as_ref().map(|plan| plan.codec),
            encryption: None,
            remote: self.latch.as_ref().and_then(Latch::locked),
            packets_sent: self.sent.packets,
            bytes_sent: self.sent.bytes,
            send_errors: self.sent.errors,
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
            rtt_ms: self.reports.rtt_ms(),
            mos: quality::mos(unheard, delay),
            max_gap_ms: self.sent.max_gap.as_secs_f32() * 1_000.0,
            skipped: self.sent.skipped,
            events_dropped: 0,
        }
    }
}

/// What a packet carries, if it is one that was agreed on and of a sane size.
fn kind(plan: &MediaPlan, payload_type: u8, length: usize) -> Option<Kind> {
    if plan.dtmf == Some(payload_type) {
        return (length >= Event { code: 0, end: false, volume: 0, duration: 0 }.write().len()).then_some(Kind::Event);
    }
    let codec = if payload_type == plan.payload_type {
        plan.codec
    } else {
        match payload_type {
            0 => Codec::Pcmu,
            8 => Codec::Pcma,
            COMFORT_NOISE => return (1..=LONGEST).contains(&length).then_some(Kind::Silence),
            _ => return None,
        }
    };
    (1..=LONGEST).contains(&length).then_some(Kind::Audio(codec))
}

/// An address that packets can go to: not the 0.0.0.0 or port 0 of a hold.
const fn reachable(address: SocketAddr) -> bool {
    !address.ip().is_unspecified() && address.port() != 0
}

#[cfg(test)]
mod tests;
