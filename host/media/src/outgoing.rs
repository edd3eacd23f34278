//! What is said: prompts, digits, the other side of a bridge or silence, encoded and numbered.

use crate::FRAME;
use crate::bridge::Bridge;
use crate::codec::{Codec, Encoder, MAX_PAYLOAD, OpusSettings};
use crate::command::{MediaEvent, MediaPlan};
use crate::dtmf::{self, Step};
use crate::halfband::{Downsampler, Upsampler};
use crate::noise::SILENCE_LEVEL;
use crate::playout::Playout;
use crate::rtp::{self, HEADER};
use crate::stream::Output;
use std::net::SocketAddr;
use std::time::Duration;

/// Samples at 8 kHz in the longest packet we send: 60 ms.
pub(crate) const MOST: usize = 480;
/// The time between two descriptions of our silence (RFC 3389 §4.1 leaves it to us).
const NOISE_EVERY: Duration = Duration::from_millis(200);
/// The time between two packets in a pause of Opus, as its own encoders do it.
const OPUS_EVERY: Duration = Duration::from_millis(400);

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) errors: u64,
    pub(crate) skipped: u64,
    pub(crate) max_gap: Duration,
}

/// The sending side of one call.
pub(crate) struct Outgoing {
    ssrc: u32,
    sequence: u16,
    /// Of the next packet, on the clock of the codec.
    pub(crate) timestamp: u32,
    /// The next packet begins a talk spurt.
    marker: bool,
    last_sent: Option<Duration>,
    /// When something was last sent in the pause that is on.
    paused: Option<Duration>,
    pub(crate) sent: Sent,
    pub(crate) playout: Playout,
    pub(crate) digits: dtmf::Sender,
    /// When the key that is sent as an event began: all its packets say so, also after a time in which none could be
    /// sent. Another timestamp is another key.
    event_began: u32,
    encoder: Option<(Codec, OpusSettings, Encoder)>,
    up: Upsampler,
    down: Downsampler,
    /// The end of what was said last, at 8 kHz.
    before: [i16; FRAME],
    /// That was in the present packet time.
    speaks: bool,
    packet: [u8; HEADER + MAX_PAYLOAD],
}

/// One packet time.
pub(crate) struct Turn<'a> {
    pub(crate) now: Duration,
    pub(crate) plan: &'a MediaPlan,
    /// Where to; none while held.
    pub(crate) target: Option<SocketAddr>,
    pub(crate) bridge: Option<&'a mut Bridge>,
    /// Somebody wants to know what was said, but not digits while they are secret.
    pub(crate) recorded: bool,
    pub(crate) masked: bool,
}

impl Outgoing {
    pub(crate) fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Self {
            ssrc,
            sequence,
            timestamp,
            marker: true,
            last_sent: None,
            paused: None,
            sent: Sent::default(),
            playout: Playout::default(),
            digits: dtmf::Sender::default(),
            event_began: timestamp,
            encoder: None,
            up: Upsampler::default(),
            down: Downsampler::default(),
            before: [0; FRAME],
            speaks: false,
            packet: [0; HEADER + MAX_PAYLOAD],
        }
    }

    /// A plan. The encoder stays as long as its codec and its settings do.
    pub(crate) fn configure(&mut self, plan: &MediaPlan, opus_complexity: u8) {
        let opus = match plan.codec {
            Codec::Opus => OpusSettings { complexity: opus_complexity, fec: plan.fec, packet_ms: plan.ptime_ms },
            _ => OpusSettings::default(),
        };
        if self.encoder.as_ref().is_none_or(|(codec, settings, _)| (*codec, *settings) != (plan.codec, opus)) {
            self.encoder = Encoder::new(plan.codec, opus).map(|encoder| (plan.codec, opus, encoder));
            if let Some((Codec::Opus, _, encoder)) = &mut self.encoder {
                // It looks ahead, and would begin with silence and a step: it is given what was said before, and what
                // it makes of that is not sent. (G.722 looks ahead for less than a period of the voice, and its
                // decoder must see all that its encoder has seen.)
                let mut voice = [0; 2 * MOST];
                let samples = 16 * usize::from(plan.ptime_ms);
                let length = samples.min(2 * FRAME);
                self.up.push(&self.before[FRAME - length / 2..], &mut voice[samples - length..samples]);
                encoder.encode(&voice[..samples], &mut self.packet[HEADER..]);
            }
        }
    }

    /// The last of what is said in the present packet time, at 8 kHz, 20 ms at most; empty where nothing is sent.
    pub(crate) fn said(&self) -> &[i16] {
        if self.speaks { &self.before } else { &[] }
    }

    /// Packet times of so many samples at 8 kHz pass in which nothing is said.
    pub(crate) fn skip(&mut self, skipped: u32, samples: usize, codec: Codec) {
        self.sent.skipped += u64::from(skipped);
        let ticks = skipped.wrapping_mul(samples as u32).wrapping_mul(codec.rtp_clock() / 8_000);
        self.timestamp = self.timestamp.wrapping_add(ticks);
        self.marker = true;
    }

    /// Sends one packet and puts what it says into `said`, at 8 kHz, whose length is the packet's. Returns the time
    /// since the packet before.
    pub(crate) fn say(&mut self, turn: Turn<'_>, said: &mut [i16], out: &mut impl Output) -> Option<Duration> {
        let Turn { now, plan, target, bridge, recorded, masked } = turn;
        let samples = said.len();
        let ticks = plan.codec.rtp_clock() / 8_000;
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(samples as u32 * ticks);
        said.fill(0);
        self.speaks = false;
        let (Some(target), Some((codec, _, encoder))) = (target, &mut self.encoder) else {
            self.marker = true;
            self.last_sent = None;
            return None;
        };
        let wide = codec.sample_rate() == 16_000;
        let mut voice = [0; 2 * MOST];
        let voice = &mut voice[..samples * if wide { 2 } else { 1 }];
        let (header, payload) = self.packet.split_at_mut(HEADER);
        let step = self.digits.step(samples as u32, plan.dtmf.is_some(), || out.event(MediaEvent::DigitsSent));
        let mut starts = false;
        let source = match step {
            Step::Packet { .. } => Source::Event,
            Step::Tone { code, at } => {
                for (n, sample) in said.iter_mut().enumerate() {
                    *sample = dtmf::tone(code, at + n as u32);
                }
                Source::Narrow
            }
            Step::Silence => Source::Silence,
            Step::Idle if self.playout.busy() => {
                starts = self.playout.starts();
                match encoder {
                    Encoder::G711(law) => {
                        let (law, bytes) = (*law, &mut payload[..samples]);
                        let copy = |clip: &crate::Clip, from: usize, to: std::ops::Range<usize>| {
                            let (target, samples) = (&mut bytes[to.clone()], from..from + to.len());
                            match clip.already_encoded(law) {
                                Some(ready) => target.copy_from_slice(&ready[samples]),
                                None => law.encode(&clip.samples()[samples], target),
                            }
                        };
                        let filled = self.playout.fill(samples, copy, |event| out.event(event));
                        payload[filled..samples].fill(law.silence());
                        if filled > 0 { Source::Bytes } else { Source::Silence }
                    }
                    _ => {
                        let copy = |clip: &crate::Clip, from: usize, to: std::ops::Range<usize>| {
                            let length = to.len();
                            said[to].copy_from_slice(&clip.samples()[from..from + length]);
                        };
                        let filled = self.playout.fill(samples, copy, |event| out.event(event));
                        if filled > 0 { Source::Narrow } else { Source::Silence }
                    }
                }
            }
            Step::Idle => {
                let heard = bridge.is_some_and(|bridge| bridge.say(voice, wide));
                if heard { Source::Voice } else { Source::Silence }
            }
        };
        // While nobody speaks, the far end may be told so instead of being sent silence.
        let noise = plan.comfort_noise.filter(|_| *codec != Codec::Opus);
        if source == Source::Silence && plan.dtx && (noise.is_some() || *codec == Codec::Opus) {
            let every = if noise.is_some() { NOISE_EVERY } else { OPUS_EVERY };
            if self.paused.is_some_and(|at| now.saturating_sub(at) < every) {
                self.marker = true;
                self.last_sent = None;
                return None;
            }
            self.paused = Some(now);
        } else {
            self.paused = None;
        }
        let mut written = (plan.payload_type, self.marker | (starts && source != Source::Silence), timestamp);
        let length = match (source, step) {
            (Source::Event, Step::Packet { mut event, first }) => {
                if first {
                    self.event_began = timestamp;
                }
                event.duration = u16::try_from(u32::from(event.duration) * ticks).unwrap_or(u16::MAX);
                payload[..4].copy_from_slice(&event.write());
                written = (plan.dtmf.unwrap_or_default(), first, self.event_began);
                4
            }
            (Source::Silence, _) if self.paused.is_some() && noise.is_some() => {
                payload[0] = SILENCE_LEVEL;
                written = (noise.unwrap_or_default(), false, timestamp);
                1
            }
            (Source::Bytes, _) => samples,
            (Source::Voice, _) => encoder.encode(voice, payload),
            (_, _) if wide => {
                self.up.push(said, voice);
                encoder.encode(voice, payload)
            }
            (_, _) => encoder.encode(said, payload),
        };
        let (payload_type, marker, timestamp) = written;
        // Only audio begins a talk spurt of audio.
        self.marker &= payload_type != plan.payload_type;
        if let Some(header) = header.first_chunk_mut() {
            rtp::write_header(header, marker, payload_type, self.sequence, timestamp, self.ssrc);
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
        if let Encoder::G711(law) = encoder
            && payload_type == plan.payload_type
        {
            // What the far end hears of it.
            law.decode(&self.packet[HEADER..HEADER + length], said);
        } else if source == Source::Voice {
            if wide {
                self.down.push(voice, said);
            } else {
                said.copy_from_slice(voice);
            }
        }
        self.speaks = true;
        let tail = said.len().min(FRAME);
        self.before.copy_within(tail.., 0);
        self.before[FRAME - tail..].copy_from_slice(&said[said.len() - tail..]);
        if !recorded || (masked && matches!(step, Step::Tone { .. })) {
            said.fill(0);
        }
        gap
    }
}

/// Where a packet's payload comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// A telephone-event.
    Event,
    /// Samples at 8 kHz.
    Narrow,
    /// Samples at the rate of the codec.
    Voice,
    /// Bytes that are ready.
    Bytes,
    /// Nothing.
    Silence,
}
