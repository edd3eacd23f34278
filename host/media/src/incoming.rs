//! What is heard: from packets that were accepted to samples at an even pace, whatever the codec.

use crate::codec::{self, Codec, Decoders, MOST};
use crate::halfband::Downsampler;
use crate::jitter::{Delay, Jitter};
use crate::rtp;
use crate::timeline::Timeline;
use crate::waiting::{Packet, Waiting};

/// Samples of the shortest stretch that Opus makes up, at 8 kHz: 10 ms.
const STRETCH: u32 = 80;
/// The longest gap that Opus makes something up for: 100 ms. Then the far end has paused, or the line is down.
const GAP: u32 = 800;
/// The longest that one packet can say of what went before it: 60 ms.
const REPEATED: u32 = 480;
/// Packets behind a loss in which a predictor that lost its way may still overshoot.
const LOST: u8 = 3;
/// What such a packet may reach in any case: -9 dB of the scale, so that a voice that sets in just then is heard.
const MODEST: u16 = 12_000;

/// The receiving side of one call, behind the latch and before whoever listens.
pub(crate) struct Incoming {
    timeline: Timeline,
    jitter: Jitter,
    decoders: Decoders,
    /// Made when the first packet comes that must wait.
    waiting: Option<Box<Waiting>>,
    /// The last packet that was decoded in its turn.
    last: Option<Last>,
    /// The codec of the newest packet.
    codec: Option<Codec>,
    down: Downsampler,
}

/// Where a decoder with a memory stands.
#[derive(Clone, Copy, Debug)]
struct Last {
    codec: Codec,
    sequence: u16,
    /// The place behind what it has put out.
    end: u32,
    /// Samples of that which it made up since the last packet.
    made_up: u32,
    /// The loudest sample of late; it falls by a sixteenth with each packet.
    peak: u16,
    /// Packets to come that are watched for overshoot.
    astray: u8,
}

impl Default for Incoming {
    fn default() -> Self {
        Self {
            timeline: Timeline::default(),
            jitter: Jitter::new(Delay::TELEPHONY),
            decoders: Decoders::default(),
            waiting: None,
            last: None,
            codec: None,
            down: Downsampler::default(),
        }
    }
}

impl Incoming {
    /// A codec of 16 kHz was agreed: from now on everything is heard at that rate. There is no way back, so that a far
    /// end that changes codecs is heard without a seam.
    pub(crate) fn widen(&mut self) {
        if !self.jitter.wide() {
            self.jitter.widen();
            self.timeline.widen();
            if let Some(waiting) = &mut self.waiting {
                waiting.widen();
            }
            if let Some(last) = &mut self.last {
                last.end = last.end.wrapping_mul(2);
                last.made_up *= 2;
            }
        }
    }

    /// The buffer, for its figures.
    pub(crate) const fn jitter(&self) -> &Jitter {
        &self.jitter
    }

    /// Another stream follows, or none.
    pub(crate) fn reset(&mut self) {
        self.jitter.reset();
        self.timeline.reset();
        self.forget();
    }

    fn forget(&mut self) {
        self.last = None;
        if let Some(waiting) = &mut self.waiting {
            waiting.clear();
        }
    }

    const fn rate(&self) -> u32 {
        8_000 * self.scale()
    }

    const fn scale(&self) -> u32 {
        if self.jitter.wide() { 2 } else { 1 }
    }

    /// A packet of audio.
    pub(crate) fn audio(&mut self, codec: Codec, packet: &rtp::Packet<'_>) {
        let Some(length) = codec::length(codec, packet.payload) else { return };
        let length = length * self.scale() as usize;
        let place = self.timeline.audio(packet.timestamp, codec.rtp_clock(), self.rate(), self.jitter.newest());
        let resyncs = self.jitter.stats().resyncs;
        let useful = self.jitter.arrive(place, length);
        if self.jitter.stats().resyncs != resyncs {
            self.forget();
        }
        if !useful {
            return;
        }
        if self.codec.replace(codec).is_some_and(|before| before != codec) {
            self.jitter.seam(place);
        }
        if codec.law().is_some() && !self.jitter.wide() {
            let mut samples = [0; MOST];
            let count = self.decoders.decode(codec, packet.payload, false, &mut samples);
            self.jitter.store(place, &samples[..count]);
            return;
        }
        let waiting = self.waiting.get_or_insert_default();
        waiting.push(place, length as u32, packet.sequence, codec, packet.payload);
        if codec == Codec::Opus && packet.payload.len() <= 2 {
            // A packet without audio: the far end pauses (DTX).
            self.jitter.noise(place.wrapping_add(length as u32), &[]);
        }
    }

    /// Nobody speaks from then on: comfort noise (RFC 3389), or like before with an empty description.
    pub(crate) fn noise(&mut self, timestamp: u32, description: &[u8]) {
        if let Some((place, _)) = self.timeline.beside(timestamp, 0, self.rate()) {
            self.jitter.noise(place, description);
        }
    }

    /// A stretch in which an event sounded.
    pub(crate) fn silence(&mut self, timestamp: u32, duration: u32) {
        if let Some((place, length)) = self.timeline.beside(timestamp, duration, self.rate()) {
            self.jitter.silence(place, length);
        }
    }

    /// The next samples, at 8 kHz, all of `narrow`. True where `wide`, twice as long, holds the same at 16 kHz.
    pub(crate) fn pop(&mut self, narrow: &mut [i16], wide: &mut [i16]) -> bool {
        if !self.jitter.wide() {
            self.decode(narrow.len());
            self.jitter.pop(narrow);
            return false;
        }
        self.decode(wide.len());
        self.jitter.pop(wide);
        self.down.push(wide, narrow);
        true
    }

    /// Decodes what has its turn in the next so many samples.
    fn decode(&mut self, samples: usize) {
        let Some(waiting) = &mut self.waiting else { return };
        let Some((next, until)) = self.jitter.due(samples) else { return };
        let mut out = [0; MOST];
        while let Some(packet) = waiting.first().filter(|packet| before(packet.place, until)) {
            waiting.remove(packet);
            let end = packet.place.wrapping_add(packet.length);
            let old = self.last.is_some_and(|last| before(packet.sequence_of(last), 1) || !before(last.end, end));
            if old || !before(next, end) {
                // Its successor has been decoded, there is audio for all of it, or its turn has passed.
                continue;
            }
            let payload = waiting.payload(packet);
            repair(&mut self.jitter, &mut self.decoders, self.last, packet, payload, &mut out);
            if self.last.is_some_and(|last| last.codec != packet.codec) {
                self.decoders.forget(packet.codec);
            }
            let wide = self.jitter.wide();
            let count = self.decoders.decode(packet.codec, payload, wide, &mut out);
            let (peak, astray) = restrain(self.last, packet, &mut out[..count]);
            self.jitter.store(packet.place, &out[..count]);
            self.last = Some(Last { codec: packet.codec, sequence: packet.sequence, end, made_up: 0, peak, astray });
        }
        self.bridge_gap(next, next.wrapping_add(samples as u32), &mut out);
    }

    /// Has Opus make up what is missing before `until`, as long as that makes sense.
    fn bridge_gap(&mut self, next: u32, until: u32, out: &mut [i16; MOST]) {
        let (scale, wide) = (self.scale(), self.jitter.wide());
        let Some(last) = self.last.as_mut().filter(|last| last.codec == Codec::Opus) else { return };
        if before(last.end, next) {
            last.end = next;
        }
        if self.jitter.wants_more() {
            // The buffer makes up something of its own, and what is missing may come in the time that wins.
            return;
        }
        while before(last.end, until) && last.made_up < GAP * scale {
            // What follows may be there already, and say something of it.
            let following = self.waiting.as_ref().and_then(|waiting| Some((waiting, waiting.first()?)));
            if let Some((waiting, packet)) = following
                && repair(&mut self.jitter, &mut self.decoders, Some(*last), packet, waiting.payload(packet), out)
            {
                last.end = packet.place;
                return;
            }
            let count = self.decoders.conceal(STRETCH as usize, None, wide, out);
            self.jitter.store(last.end, &out[..count]);
            self.jitter.made_up(count as u64);
            last.end = last.end.wrapping_add(STRETCH * scale);
            last.made_up += STRETCH * scale;
            if last.made_up >= GAP * scale {
                self.jitter.noise(last.end, &[]);
            }
        }
    }
}

impl Packet {
    /// How many packets behind the one decoded last this was sent; wraps below 0.
    const fn sequence_of(self, last: Last) -> u32 {
        self.sequence.wrapping_sub(last.sequence) as i16 as i32 as u32
    }
}

/// Where Opus packets are lost before this one, lets it say what it knows of them. False where there is nothing to
/// repair, or it lies too far back.
fn repair(
    jitter: &mut Jitter,
    decoders: &mut Decoders,
    last: Option<Last>,
    packet: Packet,
    payload: &[u8],
    out: &mut [i16; MOST],
) -> bool {
    let Some(last) = last.filter(|last| last.codec == Codec::Opus && packet.codec == Codec::Opus) else {
        return false;
    };
    let scale = if jitter.wide() { 2 } else { 1 };
    let gap = packet.place.wrapping_sub(last.end);
    if packet.sequence_of(last) == 1 {
        // None was lost: the far end paused.
        jitter.forgive(u64::from(last.made_up));
        return false;
    }
    // Opus counts in steps of 2.5 ms.
    let length = gap / (20 * scale) * 20;
    if !(20..=REPEATED).contains(&length) {
        return false;
    }
    let count = decoders.conceal(length as usize, Some(payload), jitter.wide(), out);
    jitter.store(last.end, &out[..count]);
    jitter.made_up(count as u64);
    true
}

/// Keeps a codec that predicts, and does not know of losses, from being louder behind one than it was before: its
/// decoder goes on from where the encoder has not been, and may reach full scale. Returns what the next packet needs to
/// know: the peak, and for how many packets more to watch.
fn restrain(last: Option<Last>, packet: Packet, samples: &mut [i16]) -> (u16, u8) {
    let peak = |samples: &[i16]| samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    let loudest = peak(samples);
    let Some(last) = last.filter(|last| last.codec == packet.codec) else { return (loudest, 0) };
    let astray = if packet.sequence_of(last) == 1 { last.astray } else { LOST };
    let most = last.peak.saturating_add(last.peak / 2).max(MODEST);
    if astray == 0 || loudest <= most || packet.codec == Codec::Opus {
        return (loudest.max(last.peak - last.peak / 16), astray.saturating_sub(1));
    }
    for sample in samples {
        // `most` is less than `loudest`: it stays a sample.
        *sample = (i32::from(*sample) * i32::from(most) / i32::from(loudest)) as i16;
    }
    (last.peak, astray - 1)
}

/// Whether one place lies before another.
const fn before(place: u32, other: u32) -> bool {
    (place.wrapping_sub(other) as i32) < 0
}
