//! What is said: prompts, digits, the other side of a bridge or silence, encoded and numbered.

use crate::FRAME;
use crate::bridge::Bridge;
use crate::clip::Clip;
use crate::codec::{Before, Codec, Encoder, MAX_PAYLOAD, OpusSettings, Packets};
use crate::command::{MediaEvent, MediaPlan};
use crate::dtmf::{self, Step};
use crate::halfband::{Downsampler, Upsampler};
use crate::noise::SILENCE_LEVEL;
use crate::playout::Playout;
use crate::rtp::{self, HEADER};
use crate::stream::Output;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Samples at 8 kHz in the longest packet we send: 60 ms.
pub(crate) const MOST: usize = 480;
/// The time between two descriptions of our silence (RFC 3389 §4.1 leaves it to us).
const NOISE_EVERY: Duration = Duration::from_millis(200);
/// The time between two packets in a pause of Opus, as its own encoders do it.
const OPUS_EVERY: Duration = Duration::from_millis(400);

/// Packets of silence after which those of Opus are all alike: 200 ms in packets of 10 ms.
const SETTLED: u32 = 20;

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
    before: [i16; 2 * FRAME],
    /// Where in a clip that was, as far as other calls say the same.
    said: Before,
    /// The encoder has not seen that: a packet that another call had made was sent, or a key.
    behind: bool,
    /// Packets of silence that the encoder of Opus has made one after another; the last one is still in `packet`.
    silent: u32,
    /// The length of the last payload.
    length: usize,
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
            before: [0; 2 * FRAME],
            said: Before::Silence,
            behind: false,
            silent: 0,
            length: 0,
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
            // Opus looks ahead, and would begin with silence and a step. (G.722 looks ahead for less than a period of the
            // voice, and its decoder must see all that its encoder has seen.)
            self.behind = plan.codec == Codec::Opus;
            self.silent = 0;
        }
    }

    /// The last of what is said in the present packet time, at 8 kHz, 20 ms at most; empty where nothing is sent.
    pub(crate) fn said(&self) -> &[i16] {
        if self.speaks { &self.before[FRAME..] } else { &[] }
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
        // Packets that other calls have made, or will send, are of 20 ms.
        let shareable = *codec == Codec::Opus && samples == FRAME;
        let (mut made, mut frame, mut to_keep) = (None, None, None::<(Arc<Clip>, usize)>);
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
                        let copy = |clip: &Arc<Clip>, from: usize, to: Range<usize>| {
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
                        let copy = |clip: &Arc<Clip>, from: usize, to: Range<usize>| {
                            let (number, whole) = (from / FRAME, to.len() == samples && from.is_multiple_of(FRAME));
                            said[to.clone()].copy_from_slice(&clip.samples()[from..from + to.len()]);
                            let Some(packets) = clip.opus().filter(|_| shareable && whole) else { return };
                            frame = Some(packets.frame(number));
                            match packets.place(number, self.said, plan.fec).map(|place| place.read(payload)) {
                                Some(Some(length)) => made = Some(length),
                                Some(None) => to_keep = Some((Arc::clone(clip), number)),
                                None => {}
                            }
                        };
                        let filled = self.playout.fill(samples, copy, |event| out.event(event));
                        match made {
                            Some(_) => Source::Bytes,
                            None if filled > 0 => Source::Narrow,
                            None => Source::Silence,
                        }
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
        let silent = *codec == Codec::Opus
            && matches!(source, Source::Silence | Source::Narrow)
            && said.iter().all(|sample| *sample == 0);
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
            (Source::Bytes, _) => made.unwrap_or(samples),
            (Source::Silence | Source::Narrow, _) if silent && self.silent >= SETTLED => self.length,
            _ => {
                if std::mem::take(&mut self.behind) && *codec == Codec::Opus {
                    // It is shown what was said last; what it makes of that is not sent.
                    let mut shown = [0; 2 * MOST];
                    let least = samples.min(2 * FRAME);
                    for part in self.before.chunks_exact(least) {
                        self.up.push(part, &mut shown[2 * (samples - least)..2 * samples]);
                        encoder.encode(&shown[..2 * samples], payload);
                    }
                }
                if source == Source::Voice {
                    encoder.encode(voice, payload)
                } else if wide {
                    self.up.push(said, voice);
                    encoder.encode(voice, payload)
                } else {
                    encoder.encode(said, payload)
                }
            }
        };
        if let Some((clip, number)) = &to_keep
            && let Some(place) = clip.opus().and_then(|packets: &Packets| packets.place(*number, self.said, plan.fec))
        {
            place.keep(&payload[..length]);
        }
        self.behind |= matches!(source, Source::Bytes | Source::Event);
        self.silent = if silent { self.silent.saturating_add(1) } else { 0 };
        self.length = length;
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
        let tail = said.len().min(2 * FRAME);
        self.before.copy_within(tail.., 0);
        self.before[2 * FRAME - tail..].copy_from_slice(&said[said.len() - tail..]);
        self.said = match frame {
            Some(frame) => frame,
            None if self.before[FRAME..].iter().all(|sample| *sample == 0) => Before::Silence,
            None => Before::Unique,
        };
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
