//! From packets that come when they come to samples at an even pace.
//!
//! Audio of 8 kHz G.711 is a line of samples named by RTP timestamps, so the buffer is a ring of decoded samples
//! under those names: any packet length, any order, any repetition falls into its place. What is missing when its
//! turn comes is concealed.
//!
//! The buffer is as long as the network needs. For each packet it notes its *slack*: how long before its turn it came.
//! The best packets have the most slack, and that is the delay the buffer adds; the worst 5 % decide how much is
//! needed. The difference is taken away or added where nobody hears it, in silence and in gaps, and at once only
//! where the delay would exceed the maximum.

use crate::conceal::Concealer;
use std::ops::Range;

/// Samples in the ring: 512 ms.
const RING: usize = 4_096;
/// Packets whose slack is remembered: about 2.5 s.
const WINDOW: usize = 128;
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

/// Bounds of the delay, in samples.
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
    /// Samples made up.
    pub concealed: u64,
}

/// The buffer of one stream.
#[derive(Debug)]
pub struct Jitter {
    ring: Box<[i16; RING]>,
    /// One bit a sample: there is audio for it.
    filled: [u64; RING / 64],
    concealer: Concealer,
    bounds: Delay,
    /// The timestamp whose turn is next; none while nothing has come.
    next: Option<u32>,
    /// The timestamp of the first audio of the stream: what is missing before it is not lost.
    first: u32,
    /// The timestamp behind the newest audio.
    newest: u32,
    /// Slack of the last packets, in the reference frame of `shift`.
    slack: [i32; WINDOW],
    slacks: usize,
    /// What `next` has been moved beyond the passing of time.
    shift: i32,
    /// Samples to be taken away (positive) or added (negative) when nobody hears it.
    correction: i32,
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
            ring: Box::new([0; RING]),
            filled: [0; RING / 64],
            concealer: Concealer::default(),
            bounds,
            next: None,
            first: 0,
            newest: 0,
            slack: [0; WINDOW],
            slacks: 0,
            shift: 0,
            correction: 0,
            loud: 0,
            late_in_a_row: 0,
            stats: JitterStats::default(),
        }
    }

    /// What was counted.
    #[must_use]
    pub const fn stats(&self) -> JitterStats {
        self.stats
    }

    /// Samples between the turn that is next and the newest audio: the delay of what came last.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.next.map_or(0, |next| (self.newest.wrapping_sub(next) as i32).max(0) as u32)
    }

    /// Forgets the stream: the next packet begins another.
    pub fn reset(&mut self) {
        self.filled = [0; RING / 64];
        self.next = None;
        self.slacks = 0;
        self.correction = 0;
        self.late_in_a_row = 0;
    }

    /// Takes the audio of a packet.
    pub fn insert(&mut self, timestamp: u32, samples: &[i16]) {
        if samples.is_empty() || samples.len() > RING / 2 {
            return;
        }
        let Some(next) = self.next else {
            self.begin(timestamp);
            self.store(timestamp, samples);
            return;
        };
        let slack = timestamp.wrapping_sub(next) as i32;
        let end = slack.saturating_add(samples.len() as i32);
        if !(-JUMP..=JUMP).contains(&slack) {
            self.stats.resyncs += 1;
            self.reset();
            self.begin(timestamp);
        } else if end <= 0 {
            self.late_in_a_row += 1;
            let goes_on = timestamp.wrapping_sub(self.newest) as i32 >= 0 && slack <= -PAUSE;
            if self.late_in_a_row < STALL && !goes_on {
                self.stats.late += 1;
                self.note(slack);
                return;
            }
            self.stats.resyncs += 1;
            self.slacks = 0;
            self.correction = 0;
            self.late_in_a_row = 0;
            self.move_to(timestamp.wrapping_sub(self.bounds.start));
        } else if end > RING as i32 {
            // More than the ring holds has piled up: go on near its end.
            self.stats.resyncs += 1;
            self.slacks = 0;
            self.correction = 0;
            self.move_to(timestamp.wrapping_sub(self.bounds.start));
        } else {
            self.late_in_a_row = 0;
            self.note(slack);
        }
        self.store(timestamp, samples);
    }

    /// Makes a stretch silent, whatever audio came or will come for it: a telephone-event sounded then.
    pub fn silence(&mut self, timestamp: u32, length: u32) {
        let Some(next) = self.next else { return };
        let from = (timestamp.wrapping_sub(next) as i32).clamp(0, RING as i32) as u32;
        let to = (timestamp.wrapping_add(length).wrapping_sub(next) as i32).clamp(0, RING as i32) as u32;
        if to > from {
            let (start, length) = (next.wrapping_add(from), (to - from) as usize);
            for (place, _) in parts(start, length) {
                self.ring[place].fill(0);
            }
            self.mark(start, length);
            self.grow(next.wrapping_add(to));
        }
    }

    /// The next samples, all of `out`.
    pub fn pop(&mut self, out: &mut [i16]) {
        let Some(mut next) = self.next else {
            out.fill(0);
            return;
        };
        if next.wrapping_sub(self.newest) as i32 > IDLE as i32 {
            self.reset();
            out.fill(0);
            return;
        }
        if self.correction > 0 && self.is_quiet(next, out.len()) {
            let step = self.correction.min(STEP);
            self.correction -= step;
            self.move_to(next.wrapping_add(step as u32));
            next = next.wrapping_add(step as u32);
        }
        let mut at = 0;
        if self.correction < 0 && (self.is_quiet(next, out.len()) || !self.has(next)) {
            let step = self.correction.max(-STEP).max(-(out.len() as i32));
            self.correction -= step;
            self.shift += step;
            at = step.unsigned_abs() as usize;
            self.stats.concealed += self.concealer.missing(&mut out[..at]) as u64;
        }
        while at < out.len() {
            let run = self.run(next, out.len() - at);
            let target = &mut out[at..at + run];
            if self.has(next) {
                for (place, part) in parts(next, run) {
                    target[part].copy_from_slice(&self.ring[place]);
                }
                self.clear(next, run);
                next = next.wrapping_add(run as u32);
                self.concealer.real(target);
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

    /// The first packet of a stream has its turn after the starting delay.
    fn begin(&mut self, timestamp: u32) {
        self.next = Some(timestamp.wrapping_sub(self.bounds.start));
        self.first = timestamp;
        self.newest = timestamp;
        self.concealer = Concealer::default();
        self.shift = 0;
        self.slacks = 0;
        self.note(self.bounds.start as i32);
    }

    /// Sets another turn; what is left out is gone.
    fn move_to(&mut self, next: u32) {
        let Some(before) = self.next.replace(next) else { return };
        let moved = next.wrapping_sub(before) as i32;
        self.shift = self.shift.wrapping_add(moved);
        if moved.unsigned_abs() as usize >= RING {
            self.filled = [0; RING / 64];
        } else {
            // Forwards these have been skipped; backwards their places may hold samples that are a ring ahead.
            self.clear(if moved > 0 { before } else { next }, moved.unsigned_abs() as usize);
        }
        if self.held() as usize > RING {
            self.newest = next.wrapping_add(RING as u32);
        }
    }

    /// Puts samples whose turn is still to come into the ring. What is there already stays.
    fn store(&mut self, timestamp: u32, samples: &[i16]) {
        let Some(next) = self.next else { return };
        let ahead = timestamp.wrapping_sub(next) as i32;
        let from = (-ahead).clamp(0, samples.len() as i32) as usize;
        let to = (RING as i32 - ahead).clamp(from as i32, samples.len() as i32) as usize;
        let (start, seen) = (timestamp.wrapping_add(from as u32), &samples[from..to]);
        if self.count(start, seen.len()) == 0 {
            for (place, part) in parts(start, seen.len()) {
                self.ring[place].copy_from_slice(&seen[part]);
            }
        } else {
            for (n, sample) in seen.iter().enumerate() {
                let at = start.wrapping_add(n as u32);
                if !self.has(at) {
                    self.ring[index(at)] = *sample;
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
    fn note(&mut self, slack: i32) {
        self.slack[self.slacks % WINDOW] = slack.wrapping_add(self.shift);
        self.slacks += 1;
        if !self.slacks.is_multiple_of(LOOK) || self.bounds.min == self.bounds.max {
            return;
        }
        let mut sorted = self.slack;
        let sorted = &mut sorted[..self.slacks.min(WINDOW)];
        sorted.sort_unstable();
        let (worst, best) = (sorted[sorted.len() / 20], sorted[sorted.len() - 1]);
        let needed = best.wrapping_sub(worst).saturating_add(MARGIN);
        let target = needed.clamp(self.bounds.min as i32, self.bounds.max as i32);
        let surplus = best.wrapping_sub(self.shift).wrapping_sub(target);
        if surplus.wrapping_add(target) > self.bounds.max as i32 + STEP {
            // Beyond the maximum: at once, heard or not.
            self.correction = 0;
            if let Some(next) = self.next {
                self.move_to(next.wrapping_add(surplus as u32));
            }
        } else if !(-STEP..=STEP).contains(&surplus) {
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
            !self.has(at) || i32::from(self.ring[index(at)]).abs() < limit
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

    fn has(&self, timestamp: u32) -> bool {
        self.filled[index(timestamp) / 64] >> (index(timestamp) % 64) & 1 == 1
    }

    /// How many samples of a stretch are there.
    fn count(&self, timestamp: u32, length: usize) -> usize {
        words(timestamp, length).map(|(word, mask)| (self.filled[word] & mask).count_ones() as usize).sum()
    }

    fn mark(&mut self, timestamp: u32, length: usize) {
        for (word, mask) in words(timestamp, length) {
            self.filled[word] |= mask;
        }
    }

    fn clear(&mut self, timestamp: u32, length: usize) {
        for (word, mask) in words(timestamp, length) {
            self.filled[word] &= !mask;
        }
    }
}

const fn index(timestamp: u32) -> usize {
    timestamp as usize % RING
}

/// Where a stretch lies in the ring, and which part of it: two where it wraps.
fn parts(timestamp: u32, length: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let start = index(timestamp);
    let first = length.min(RING - start);
    [(start..start + first, 0..first), (0..length - first, first..length)].into_iter()
}

/// The words of the bit map that a stretch covers, each with the mask of its bits.
fn words(timestamp: u32, length: usize) -> impl Iterator<Item = (usize, u64)> {
    let (mut at, mut left) = (index(timestamp), length);
    std::iter::from_fn(move || {
        let (word, bit) = (at / 64, at % 64);
        let count = left.min(64 - bit);
        left -= count;
        at = (at + count) % RING;
        // A shift by 64 would be none at all.
        (count > 0).then(|| (word, u64::MAX >> (64 - count) << bit))
    })
}

fn peak(samples: &[i16]) -> i32 {
    samples.iter().map(|sample| i32::from(*sample).abs()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A sample that names its timestamp; never 0, and quiet enough not to matter.
    fn mark(timestamp: u32) -> i16 {
        (timestamp % 20_000) as i16 + 400
    }

    fn packet(timestamp: u32, length: u32) -> Vec<i16> {
        (0..length).map(|n| mark(timestamp.wrapping_add(n))).collect()
    }

    fn pop(jitter: &mut Jitter) -> Vec<i16> {
        let mut out = vec![0; 160];
        jitter.pop(&mut out);
        out
    }

    #[test]
    fn an_even_stream_comes_out_as_it_went_in_after_40_ms() {
        for length in [80, 160, 240, 320, 480] {
            let mut jitter = Jitter::new(Delay::fixed(320));
            let (mut sent, mut out) = (0, Vec::new());
            for tick in 1..=100 {
                while sent + length <= tick * 160 {
                    jitter.insert(sent, &packet(sent, length));
                    sent += length;
                }
                out.extend(pop(&mut jitter));
            }
            let first = out.iter().position(|sample| *sample == mark(0)).expect("it comes");
            assert!(first <= 320 + 480);
            for (n, sample) in out[first..].iter().enumerate().take(12_000) {
                assert_eq!(*sample, mark(n as u32), "{length}: {n}");
            }
            assert_eq!(jitter.stats(), JitterStats::default());
        }
    }

    #[test]
    fn order_and_repetition_do_not_matter() {
        let mut jitter = Jitter::new(Delay::TELEPHONY);
        jitter.insert(0, &packet(0, 160));
        for timestamp in [480, 160, 320, 160, 480] {
            jitter.insert(timestamp, &packet(timestamp, 160));
        }
        let out: Vec<i16> = (0..6).flat_map(|_| pop(&mut jitter)).collect();
        assert_eq!(out[320..960], packet(0, 640)[..]);
    }

    #[test]
    fn a_missing_packet_is_concealed_and_a_late_one_counted() {
        let mut jitter = Jitter::new(Delay::TELEPHONY);
        for timestamp in [0, 160, 480] {
            jitter.insert(timestamp, &packet(timestamp, 160));
        }
        for _ in 0..5 {
            pop(&mut jitter);
        }
        assert_eq!(jitter.stats().concealed, 160);
        jitter.insert(320, &packet(320, 160));
        assert_eq!(jitter.stats().late, 1);
        assert_ne!(pop(&mut jitter), vec![0; 160]);
    }

    #[test]
    fn a_jump_in_time_begins_anew() {
        let mut jitter = Jitter::new(Delay::TELEPHONY);
        jitter.insert(0, &packet(0, 160));
        pop(&mut jitter);
        jitter.insert(1_000_000, &packet(1_000_000, 160));
        assert_eq!(jitter.stats().resyncs, 1);
        let out: Vec<i16> = (0..4).flat_map(|_| pop(&mut jitter)).collect();
        assert_eq!(out[320..480], packet(1_000_000, 160)[..]);
    }

    #[test]
    fn a_network_that_slows_down_for_good_is_followed() {
        let mut jitter = Jitter::new(Delay::TELEPHONY);
        let mut silent = 0;
        for tick in 0..100_u32 {
            // From tick 50 on everything comes 300 ms later.
            let timestamp = if tick < 50 { Some(tick) } else { tick.checked_sub(15).filter(|t| *t >= 50) };
            if let Some(timestamp) = timestamp.map(|packet| packet * 160) {
                jitter.insert(timestamp, &packet(timestamp, 160));
            }
            let out = pop(&mut jitter);
            silent += usize::from(tick > 80 && out.contains(&0));
        }
        assert_eq!(silent, 0, "audio is back");
        assert!(jitter.stats().resyncs <= 2);
    }

    #[test]
    fn a_far_end_that_stops_its_clock_in_silence_loses_nothing() {
        let mut jitter = Jitter::new(Delay::TELEPHONY);
        let (mut timestamp, mut out) = (0, Vec::new());
        for tick in 0..100 {
            // Talks for ten packets, is silent for ten, and goes on where it was.
            if tick % 20 < 10 {
                jitter.insert(timestamp, &packet(timestamp, 160));
                timestamp += 160;
            }
            out.extend(pop(&mut jitter));
        }
        for n in 0..50 {
            // Behind the cross-fade all of every packet is heard.
            let wanted = &packet(n * 160, 160)[40..];
            assert!(out.windows(120).any(|window| window == wanted), "packet {n}");
        }
        assert_eq!(jitter.stats().late, 0);
    }

    #[test]
    fn a_pile_of_old_audio_does_not_delay_the_call() {
        let mut jitter = Jitter::new(Delay::TELEPHONY);
        for n in 0..50 {
            jitter.insert(n * 160, &packet(n * 160, 160));
        }
        assert!(jitter.held() <= 4_096);
        for n in 50..200 {
            jitter.insert(n * 160, &packet(n * 160, 160));
            pop(&mut jitter);
        }
        assert!(jitter.held() <= 1_600 + 160, "{} samples", jitter.held());
    }

    #[test]
    fn the_delay_follows_the_network_in_silence() {
        let mut jitter = Jitter::new(Delay::TELEPHONY);
        // Quiet packets, 0 to 80 ms late in turns; then in time.
        for tick in 0..1_000_u32 {
            for packet in 0..=tick {
                let lateness = if packet < 500 { [0, 1, 4, 2, 3][packet as usize % 5] } else { 0 };
                if packet + lateness == tick {
                    jitter.insert(packet * 160, &[10; 160]);
                }
            }
            if tick == 499 {
                let late = jitter.stats().late;
                assert!((1..=80).contains(&late), "{late} late until it had learnt");
            }
            let mut out = [0; 160];
            jitter.pop(&mut out);
            if tick == 990 {
                assert!(jitter.held() <= 400, "{} samples when all are in time", jitter.held());
            }
        }
        let late = jitter.stats().late;
        assert!(late <= 80, "{late} late in all");
    }

    #[test]
    fn a_clock_that_drifts_is_followed() {
        for drift in [-1_i64, 1] {
            let mut jitter = Jitter::new(Delay::TELEPHONY);
            let mut sent = 0_u32;
            // 1000 ppm, ten times what a bad telephone has: a packet more or less in 1000.
            for tick in 0..20_000_i64 {
                let due = tick + drift * (tick / 1_000);
                while i64::from(sent) <= due {
                    jitter.insert(sent * 160, &[10; 160]);
                    sent += 1;
                }
                pop(&mut jitter);
                assert!(jitter.held() <= 1_000, "{drift}: {} samples at {tick}", jitter.held());
            }
            assert!(jitter.stats().resyncs == 0, "{drift}: {:?}", jitter.stats());
            assert!(jitter.stats().late <= 40, "{drift}: {:?}", jitter.stats());
        }
    }

    #[test]
    fn an_event_is_silence_whichever_comes_first() {
        let mut jitter = Jitter::new(Delay::TELEPHONY);
        jitter.insert(0, &packet(0, 160));
        jitter.insert(320, &packet(320, 160));
        jitter.silence(160, 320);
        jitter.insert(160, &packet(160, 160));
        let out: Vec<i16> = (0..5).flat_map(|_| pop(&mut jitter)).collect();
        // 5 ms of the way out of the gap, in which nothing was made up, are the same as without one.
        assert_eq!(out[320..480], packet(0, 160)[..]);
        assert_eq!(out[480..], [0; 320]);
        assert_eq!(jitter.stats().concealed, 0);
    }

    #[test]
    fn after_a_long_silence_the_delay_is_that_of_the_beginning() {
        let mut jitter = Jitter::new(Delay::TELEPHONY);
        jitter.insert(0, &packet(0, 160));
        for _ in 0..100 {
            pop(&mut jitter);
        }
        jitter.insert(16_000, &packet(16_000, 160));
        assert_eq!(jitter.held(), 480);
        assert_eq!(jitter.stats().resyncs, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        /// Any network: what comes out is in order, each sample at most once, and never older than the ring.
        #[test]
        fn order_is_kept_and_delay_is_bounded(
            start: u32,
            delays in prop::collection::vec((0_u32..40, 0_u8..10, 0_u8..10), 20..400),
        ) {
            let mut jitter = Jitter::new(Delay::TELEPHONY);
            let count = delays.len() as u32;
            let (mut last, mut ended) = (None::<u32>, 0);
            for tick in 0..count + 40 {
                for (n, (delay, lost, again)) in delays.iter().enumerate() {
                    let n = n as u32;
                    let due = n + if *delay < 5 { *delay * 8 } else { *delay % 4 };
                    if (due == tick && *lost != 0) || (*again == 0 && due + 3 == tick) {
                        let timestamp = start.wrapping_add(n * 160);
                        // Loud and unique within the run: 16 bits of the sample's place.
                        let samples: Vec<i16> = (0..160).map(|at| name(n * 160 + at)).collect();
                        jitter.insert(timestamp, &samples);
                        ended = ended.max(n + 1);
                    }
                }
                prop_assert!(jitter.held() as usize <= RING);
                let before = jitter.stats().concealed;
                let out = pop(&mut jitter);
                if jitter.stats().concealed != before || out.contains(&0) {
                    last = None;
                    continue;
                }
                // Behind the cross-fade out of a gap the names are whole.
                for place in out[40..].iter().map(|sample| place(*sample)) {
                    if let Some(last) = last.filter(|_| jitter.stats().resyncs == 0) {
                        // Names repeat every 30000 samples; in between they only rise.
                        prop_assert!((place + 30_000 - last) % 30_000 < 15_000, "{} after {}", place, last);
                    }
                    last = Some(place);
                }
            }
        }

        #[test]
        fn any_input_is_survived(steps in prop::collection::vec((any::<u32>(), 0_usize..3_000, 0_u8..4), 0..300)) {
            let mut jitter = Jitter::new(Delay::TELEPHONY);
            let mut out = [0; 480];
            for (timestamp, length, what) in steps {
                match what {
                    0 => jitter.silence(timestamp, length as u32 * 20),
                    1 => jitter.insert(timestamp, &vec![1; length]),
                    2 => jitter.insert(timestamp % 8_000, &vec![1; length % 500]),
                    _ => jitter.pop(&mut out[..length % 481]),
                }
                prop_assert!(jitter.held() as usize <= RING);
            }
        }
    }

    fn name(place: u32) -> i16 {
        (place % 30_000) as i16 + 1_000
    }

    fn place(name: i16) -> u32 {
        (name as u32).wrapping_sub(1_000)
    }
}
