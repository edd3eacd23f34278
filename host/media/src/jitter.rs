//! From packets that come when they come to samples at an even pace.
//!
//! Audio is a line of samples named by their places, which follow from RTP timestamps ([`crate::timeline`]). The buffer
//! is a ring of decoded samples under those names: any packet length, any order, any repetition falls into its place.
//! G.711 is decoded when it comes. Packets of codecs with a memory announce themselves ([`Jitter::arrive`]) and are
//! decoded in order shortly before their turn ([`Jitter::due`], [`Jitter::store`]). What is missing when its turn comes
//! is comfort noise where the far end says that nobody speaks, and concealed otherwise.
//!
//! The buffer is as long as the network needs. For each packet it notes its *slack*: how long before its turn it came.
//! The best packets have the most slack, and that is the delay the buffer adds; the worst 5 % decide how much is
//! needed. The difference is taken away or added where nobody hears it, in silence and in gaps; where there is none
//! for a second, by whole periods of the voice with a cross-fade; and at once only where the delay would exceed the
//! maximum.
//!
//! All lengths below are in samples at 8 kHz; a wide buffer, at 16 kHz, has twice as many.

use crate::conceal::{Concealer, PERIOD};
use crate::noise::Noise;
use std::ops::Range;

/// Samples in the ring: 512 ms.
const RING: usize = 4_096;
/// Time for which slack is remembered: 2.5 s.
const MEMORY: usize = 20_000;
/// Packets in it at most: of 10 ms each.
const WINDOW: usize = 256;
/// Packets that tell something at least, however long they are.
const FEWEST: usize = 40;
/// Packets between two looks at the slack.
const LOOK: usize = 32;
/// A jump of the timestamps by more than this is another stream: 3 s.
const JUMP: i32 = 24_000;
/// Late packets in a row that mean that the network has become slower for good.
const STALL: u8 = 5;
/// A pause, after which the next audio of the stream is taken however late it is: 60 ms, when nothing is made up any
/// more. The network stood still, or the far end stopped its clock while it had nothing to say.
const PAUSE: i32 = 480;
/// Silence of the far end after which the next packet begins anew: 1 s.
const IDLE: u32 = 8_000;
/// Room above what 95 % of the packets need: 10 ms.
const MARGIN: i32 = 80;
/// The most that is taken away or added in one frame: 10 ms.
const STEP: i32 = 80;
/// Time for which silence is waited for before a voice is shortened: 1 s.
const PATIENCE: u32 = 8_000;

/// Bounds of the delay, in samples at 8 kHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// Never less.
    pub min: u32,
    /// In the beginning.
    pub start: u32,
    /// Never more for long.
    pub max: u32,
}

impl Delay {
    /// 20, 40 and 200 ms: what telephony needs.
    pub const TELEPHONY: Self = Self { min: 160, start: 320, max: 1_600 };

    /// Always the same.
    #[must_use]
    pub const fn fixed(samples: u32) -> Self {
        Self { min: samples, start: samples, max: samples }
    }
}

/// What the buffer counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterStats {
    /// Packets that came after their turn.
    pub late: u64,
    /// Times the stream was begun anew.
    pub resyncs: u64,
    /// Samples made up, at 8 kHz.
    pub concealed: u64,
}

/// The buffer of one stream.
#[derive(Debug)]
pub struct Jitter {
    ring: Box<[i16]>,
    /// One bit a sample: there is audio for it.
    filled: [u64; 2 * RING / 64],
    /// Samples for one at 8 kHz: 2 where the buffer is wide.
    scale: u32,
    concealer: Concealer,
    noise: Noise,
    /// Where another codec begins, whose samples do not continue those before.
    seam: Option<u32>,
    /// From this place on nobody speaks.
    noise_from: Option<u32>,
    bounds: Delay,
    /// The place whose turn is next; none while nothing has come.
    next: Option<u32>,
    /// The place of the first audio of the stream: what is missing before it is not lost.
    first: u32,
    /// The place behind the newest audio.
    newest: u32,
    /// Slack of the last packets, in the reference frame of `shift`.
    slack: [i32; WINDOW],
    slacks: usize,
    /// What `next` has been moved beyond the passing of time.
    shift: i32,
    /// Samples to be taken away (positive) or added (negative) when nobody hears it.
    correction: i32,
    /// Samples for which silence has been waited for to take them away.
    waited: u32,
    /// How loud it has been lately.
    loud: i32,
    late_in_a_row: u8,
    stats: JitterStats,
}

impl Jitter {
    /// An empty buffer.
    #[must_use]
    pub fn new(bounds: Delay) -> Self {
        Self {
            ring: vec![0; RING].into_boxed_slice(),
            filled: [0; 2 * RING / 64],
            scale: 1,
            concealer: Concealer::default(),
            noise: Noise::default(),
            seam: None,
            noise_from: None,
            bounds,
            next: None,
            first: 0,
            newest: 0,
            slack: [0; WINDOW],
            slacks: 0,
            shift: 0,
            correction: 0,
            waited: 0,
            loud: 0,
            late_in_a_row: 0,
            stats: JitterStats::default(),
        }
    }

    /// What was counted.
    #[must_use]
    pub const fn stats(&self) -> JitterStats {
        JitterStats { concealed: self.stats.concealed / self.scale as u64, ..self.stats }
    }

    /// Whether it works at 16 kHz.
    #[must_use]
    pub const fn wide(&self) -> bool {
        self.scale == 2
    }

    /// From now on it works at 16 kHz: all places double, and what it holds becomes twice as many samples.
    pub fn widen(&mut self) {
        if self.wide() {
            return;
        }
        let (ring, filled, from) = (std::mem::take(&mut self.ring), self.filled, self.next.unwrap_or_default());
        let has = |place: u32| filled[place as usize % RING / 64] >> (place as usize % RING % 64) & 1 == 1;
        self.scale = 2;
        self.ring = vec![0; 2 * RING].into_boxed_slice();
        self.filled = [0; 2 * RING / 64];
        for ahead in 0..RING as u32 {
            let place = from.wrapping_add(ahead);
            if !has(place) {
                continue;
            }
            let sample = ring[place as usize % RING];
            let next = place.wrapping_add(1);
            let behind = if has(next) { ring[next as usize % RING] } else { sample };
            let wide = place.wrapping_mul(2);
            let at = self.index(wide);
            self.ring[at] = sample;
            self.ring[at + 1] = ((i32::from(sample) + i32::from(behind)) / 2) as i16;
            self.mark(wide, 2);
        }
        self.next = self.next.map(|next| next.wrapping_mul(2));
        self.noise_from = self.noise_from.map(|from| from.wrapping_mul(2));
        self.seam = self.seam.map(|seam| seam.wrapping_mul(2));
        self.first = self.first.wrapping_mul(2);
        self.newest = self.newest.wrapping_mul(2);
        for slack in &mut self.slack {
            *slack = slack.wrapping_mul(2);
        }
        self.shift = self.shift.wrapping_mul(2);
        self.correction *= 2;
        self.waited *= 2;
        self.stats.concealed *= 2;
        self.concealer.widen();
    }

    /// Samples between the turn that is next and the newest audio: the delay of what came last. Of a wide buffer, at
    /// 16 kHz.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.next.map_or(0, |next| (self.newest.wrapping_sub(next) as i32).max(0) as u32)
    }

    /// The same in milliseconds.
    #[must_use]
    pub fn held_ms(&self) -> f32 {
        self.held() as f32 / (8 * self.scale) as f32
    }

    /// The place behind the newest audio.
    #[must_use]
    pub const fn newest(&self) -> u32 {
        self.newest
    }

    /// The place whose turn is next, and the one before which audio must be stored for the next [`Self::pop`] of so
    /// many samples. None while nothing has come.
    #[must_use]
    pub fn due(&self, samples: usize) -> Option<(u32, u32)> {
        let next = self.next?;
        // It may leave some out on the way. Otherwise nothing is decoded before it must be: what is late may still come.
        let ahead = if self.correction > 0 { (PERIOD as u32).max(STEP as u32) * self.scale } else { 0 };
        Some((next, next.wrapping_add(samples as u32 + ahead)))
    }

    /// Forgets the stream: the next packet begins another.
    pub fn reset(&mut self) {
        self.filled = [0; 2 * RING / 64];
        self.next = None;
        self.noise_from = None;
        self.seam = None;
        self.waited = 0;
        self.slacks = 0;
        self.correction = 0;
        self.late_in_a_row = 0;
    }

    /// Takes the audio of a packet.
    pub fn insert(&mut self, timestamp: u32, samples: &[i16]) {
        if self.arrive(timestamp, samples.len()) {
            self.store(timestamp, samples);
        }
    }

    /// Notes that a packet of so many samples has come. False where it is of no use any more; otherwise its samples
    /// are to be stored before their turn.
    pub fn arrive(&mut self, timestamp: u32, length: usize) -> bool {
        let scale = self.scale as i32;
        if length == 0 || length > self.ring.len() / 2 {
            return false;
        }
        let place_behind = timestamp.wrapping_add(length as u32);
        let Some(next) = self.next else {
            self.begin(timestamp);
            self.grow(place_behind);
            return true;
        };
        let slack = timestamp.wrapping_sub(next) as i32;
        let end = slack.saturating_add(length as i32);
        if !(-JUMP * scale..=JUMP * scale).contains(&slack) {
            self.stats.resyncs += 1;
            self.reset();
            self.begin(timestamp);
        } else if end <= 0 {
            self.late_in_a_row += 1;
            let goes_on = timestamp.wrapping_sub(self.newest) as i32 >= 0 && slack <= -PAUSE * scale;
            if self.late_in_a_row < STALL && !goes_on {
                self.stats.late += 1;
                self.note(slack, length);
                return false;
            }
            self.stats.resyncs += 1;
            self.slacks = 0;
            self.correction = 0;
            self.late_in_a_row = 0;
            self.move_to(timestamp.wrapping_sub(self.bounds.start * self.scale));
        } else if end > self.ring.len() as i32 {
            // More than the ring holds has piled up: go on near its end.
            self.stats.resyncs += 1;
            self.slacks = 0;
            self.correction = 0;
            self.move_to(timestamp.wrapping_sub(self.bounds.start * self.scale));
        } else {
            self.late_in_a_row = 0;
            self.note(slack, length);
        }
        self.grow(place_behind);
        true
    }

    /// Nobody speaks from this place on until audio comes: instead of concealment there is noise, as the payload of
    /// RFC 3389 describes it. An empty one means: like what was heard last.
    pub fn noise(&mut self, timestamp: u32, description: &[u8]) {
        if description.is_empty() {
            self.noise.like(self.concealer.background());
        } else {
            self.noise.describe(description);
        }
        let known = self.noise_from.is_some_and(|from| timestamp.wrapping_sub(from) as i32 >= 0);
        if !known {
            self.noise_from = Some(timestamp);
        }
    }

    /// Whether more delay is needed, which a gap is the occasion to add.
    #[must_use]
    pub const fn wants_more(&self) -> bool {
        self.correction < 0
    }

    /// Another codec begins at this place: its audio is faded in over what would have been before.
    pub const fn seam(&mut self, place: u32) {
        self.seam = Some(place);
    }

    /// Samples that were made up were none that should have come: the far end had paused.
    pub const fn forgive(&mut self, samples: u64) {
        self.stats.concealed = self.stats.concealed.saturating_sub(samples);
    }

    /// Counts samples of those stored as made up by their decoder.
    pub const fn made_up(&mut self, samples: u64) {
        self.stats.concealed += samples;
    }

    /// Makes a stretch silent, whatever audio came or will come for it: a telephone-event sounded then.
    pub fn silence(&mut self, timestamp: u32, length: u32) {
        let Some(next) = self.next else { return };
        let most = self.ring.len() as i32;
        let from = (timestamp.wrapping_sub(next) as i32).clamp(0, most) as u32;
        let to = (timestamp.wrapping_add(length).wrapping_sub(next) as i32).clamp(0, most) as u32;
        if to > from {
            let (start, length) = (next.wrapping_add(from), (to - from) as usize);
            for (place, _) in self.parts(start, length) {
                self.ring[place].fill(0);
            }
            self.mark(start, length);
            self.grow(next.wrapping_add(to));
        }
    }

    /// The next samples, all of `out`.
    pub fn pop(&mut self, out: &mut [i16]) {
        let Some(mut next) = self.next else {
            self.nothing(out);
            return;
        };
        if next.wrapping_sub(self.newest) as i32 > (IDLE * self.scale) as i32 {
            let noise = self.noise_from;
            self.reset();
            self.noise_from = noise;
            self.nothing(out);
            return;
        }
        let most = STEP * self.scale as i32;
        if self.correction > 0 {
            let step = self.surplus(next, out.len());
            self.correction -= step;
            self.move_to(next.wrapping_add(step as u32));
            next = next.wrapping_add(step as u32);
        }
        let mut at = 0;
        if self.correction < 0 && (self.is_quiet(next, out.len()) || !self.has(next)) {
            let step = self.correction.max(-most).max(-(out.len() as i32));
            self.correction -= step;
            self.shift += step;
            at = step.unsigned_abs() as usize;
            if self.silent(next) {
                self.noise.fill(&mut out[..at]);
            } else {
                self.stats.concealed += self.concealer.missing(&mut out[..at]) as u64;
            }
        }
        while at < out.len() {
            let mut run = self.run(next, out.len() - at);
            if let Some(ahead) = self.seam.map(|seam| seam.wrapping_sub(next) as i32) {
                if ahead <= 0 {
                    let period = self.concealer.period();
                    self.concealer.cut(period);
                    self.seam = None;
                } else {
                    run = run.min(ahead as usize);
                }
            }
            let target = &mut out[at..at + run];
            if self.has(next) {
                for (place, part) in self.parts(next, run) {
                    target[part].copy_from_slice(&self.ring[place]);
                }
                self.clear(next, run);
                if self.silent(next) {
                    self.noise_from = None;
                }
                next = next.wrapping_add(run as u32);
                self.concealer.real(target);
            } else if self.silent(next) {
                self.noise.fill(target);
                next = next.wrapping_add(run as u32);
            } else {
                self.stats.concealed += match self.first.wrapping_sub(next) as i32 {
                    1.. => {
                        target.fill(0);
                        0
                    }
                    _ => self.concealer.missing(target) as u64,
                };
                next = next.wrapping_add(run as u32);
            }
            at += run;
        }
        self.next = Some(next);
        let peak = peak(out);
        self.loud = (self.loud - self.loud / 64).max(peak);
    }

    /// What is heard while there is no stream.
    fn nothing(&mut self, out: &mut [i16]) {
        match self.noise_from {
            Some(_) => self.noise.fill(out),
            None => out.fill(0),
        }
    }

    /// Whether the far end has said that nobody speaks then.
    fn silent(&self, place: u32) -> bool {
        self.noise_from.is_some_and(|from| place.wrapping_sub(from) as i32 >= 0)
    }

    /// How many samples to leave out now.
    fn surplus(&mut self, next: u32, samples: usize) -> i32 {
        if self.is_quiet(next, samples) {
            self.waited = 0;
            return self.correction.min(STEP * self.scale as i32);
        }
        self.waited += samples as u32;
        if self.waited < PATIENCE * self.scale || !self.has(next) {
            return 0;
        }
        // A voice that does not pause, music: a period is left out where it hides, and the cross-fade that ends a gap
        // joins what was to what follows.
        let period = self.concealer.period();
        if period as i32 > self.correction + STEP * self.scale as i32 / 2 {
            return 0;
        }
        self.concealer.cut(period);
        period as i32
    }

    /// The first packet of a stream has its turn after the starting delay.
    fn begin(&mut self, timestamp: u32) {
        self.next = Some(timestamp.wrapping_sub(self.bounds.start * self.scale));
        self.first = timestamp;
        self.newest = timestamp;
        self.concealer.forget();
        self.shift = 0;
        self.slacks = 0;
        self.slack[0] = (self.bounds.start * self.scale) as i32;
        self.slacks = 1;
    }

    /// Sets another turn; what is left out is gone.
    fn move_to(&mut self, next: u32) {
        let Some(before) = self.next.replace(next) else { return };
        let moved = next.wrapping_sub(before) as i32;
        self.shift = self.shift.wrapping_add(moved);
        if moved.unsigned_abs() as usize >= self.ring.len() {
            self.filled = [0; 2 * RING / 64];
        } else {
            // Forwards these have been skipped; backwards their places may hold samples that are a ring ahead.
            self.clear(if moved > 0 { before } else { next }, moved.unsigned_abs() as usize);
        }
        if self.held() as usize > self.ring.len() {
            self.newest = next.wrapping_add(self.ring.len() as u32);
        }
    }

    /// Puts samples whose turn is still to come into the ring. What is there already stays.
    pub fn store(&mut self, timestamp: u32, samples: &[i16]) {
        let Some(next) = self.next else { return };
        let ahead = timestamp.wrapping_sub(next) as i32;
        let from = ahead.saturating_neg().clamp(0, samples.len() as i32) as usize;
        let to = (self.ring.len() as i32).saturating_sub(ahead).clamp(from as i32, samples.len() as i32) as usize;
        let (start, seen) = (timestamp.wrapping_add(from as u32), &samples[from..to]);
        if self.count(start, seen.len()) == 0 {
            for (place, part) in self.parts(start, seen.len()) {
                self.ring[place].copy_from_slice(&seen[part]);
            }
        } else {
            for (n, sample) in seen.iter().enumerate() {
                let at = start.wrapping_add(n as u32);
                if !self.has(at) {
                    let at = self.index(at);
                    self.ring[at] = *sample;
                }
            }
        }
        self.mark(start, seen.len());
        self.grow(timestamp.wrapping_add(samples.len() as u32));
    }

    const fn grow(&mut self, end: u32) {
        if end.wrapping_sub(self.newest) as i32 > 0 {
            self.newest = end;
        }
    }

    /// Notes the slack of a packet, and now and then what follows from it.
    fn note(&mut self, slack: i32, length: usize) {
        self.slack[self.slacks % WINDOW] = slack.wrapping_add(self.shift);
        self.slacks += 1;
        if !self.slacks.is_multiple_of(LOOK) || self.bounds.min == self.bounds.max {
            return;
        }
        // The last ones, as many as were sent in the time that counts.
        let count = (MEMORY * self.scale as usize / length.max(1)).clamp(FEWEST, WINDOW).min(self.slacks);
        let mut sorted = [0; WINDOW];
        for (n, place) in sorted[..count].iter_mut().enumerate() {
            *place = self.slack[(self.slacks - 1 - n) % WINDOW];
        }
        let sorted = &mut sorted[..count];
        sorted.sort_unstable();
        let (worst, best) = (sorted[sorted.len() / 20], sorted[sorted.len() - 1]);
        let (scale, step) = (self.scale as i32, STEP * self.scale as i32);
        let needed = best.wrapping_sub(worst).saturating_add(MARGIN * scale);
        let target = needed.clamp(self.bounds.min as i32 * scale, self.bounds.max as i32 * scale);
        let surplus = best.wrapping_sub(self.shift).wrapping_sub(target);
        if surplus.wrapping_add(target) > self.bounds.max as i32 * scale + step {
            // Beyond the maximum: at once, heard or not.
            self.correction = 0;
            if let Some(next) = self.next {
                self.move_to(next.wrapping_add(surplus as u32));
            }
        } else if !(-step..=step).contains(&surplus) {
            self.correction = surplus;
        } else {
            self.correction = 0;
        }
    }

    /// Whether the next samples are all there and so soft, against what was, that nobody misses some.
    fn is_quiet(&self, next: u32, length: usize) -> bool {
        let limit = (self.loud / 16).max(300);
        (0..length as u32).all(|at| {
            let at = next.wrapping_add(at);
            !self.has(at) || i32::from(self.ring[self.index(at)]).abs() < limit
        })
    }

    /// Samples from here that are all there or all missing.
    fn run(&self, next: u32, most: usize) -> usize {
        let count = self.count(next, most);
        if count == 0 || count == most {
            return most;
        }
        let there = self.has(next);
        (1..most).find(|at| self.has(next.wrapping_add(*at as u32)) != there).unwrap_or(most)
    }

    const fn index(&self, timestamp: u32) -> usize {
        timestamp as usize % self.ring.len()
    }

    /// Where a stretch lies in the ring, and which part of it: two where it wraps.
    fn parts(&self, timestamp: u32, length: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + use<> {
        let start = self.index(timestamp);
        let first = length.min(self.ring.len() - start);
        [(start..start + first, 0..first), (0..length - first, first..length)].into_iter()
    }

    fn has(&self, timestamp: u32) -> bool {
        let at = self.index(timestamp);
        self.filled[at / 64] >> (at % 64) & 1 == 1
    }

    /// How many samples of a stretch are there.
    fn count(&self, timestamp: u32, length: usize) -> usize {
        words(self.ring.len(), timestamp, length)
            .map(|(word, mask)| (self.filled[word] & mask).count_ones() as usize)
            .sum()
    }

    fn mark(&mut self, timestamp: u32, length: usize) {
        for (word, mask) in words(self.ring.len(), timestamp, length) {
            self.filled[word] |= mask;
        }
    }

    fn clear(&mut self, timestamp: u32, length: usize) {
        for (word, mask) in words(self.ring.len(), timestamp, length) {
            self.filled[word] &= !mask;
        }
    }
}

/// The words of the bit map that a stretch covers, each with the mask of its bits.
fn words(ring: usize, timestamp: u32, length: usize) -> impl Iterator<Item = (usize, u64)> {
    let (mut at, mut left) = (timestamp as usize % ring, length);
    std::iter::from_fn(move || {
        let (word, bit) = (at / 64, at % 64);
        let count = left.min(64 - bit);
        left -= count;
        at = (at + count) % ring;
        // A shift by 64 would be none at all.
        (count > 0).then(|| (word, u64::MAX >> (64 - count) << bit))
    })
}

fn peak(samples: &[i16]) -> i32 {
    samples.iter().map(|sample| i32::from(*sample).abs()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
