//! From RTP timestamps, which run on the clock of a codec, to places in a stream of samples.

/// The far end's clock in one stream. Places wrap like timestamps do; only differences mean something.
#[derive(Debug, Default)]
pub struct Timeline {
    anchor: Option<Anchor>,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    timestamp: u32,
    place: u32,
    clock: u32,
}

impl Anchor {
    /// The place of a timestamp of the same clock.
    fn place(self, timestamp: u32, rate: u32) -> u32 {
        let ahead = i64::from(timestamp.wrapping_sub(self.timestamp) as i32);
        let samples = (ahead * i64::from(rate)).div_euclid(i64::from(self.clock));
        // Beyond this it is a jump anyway, and more would wrap.
        self.place.wrapping_add(samples.clamp(-(1 << 30), 1 << 30) as i32 as u32)
    }
}

impl Timeline {
    /// The place of an audio packet. `end` is the place behind the newest audio: where the clock changes with the
    /// codec, timestamps of the two have nothing to do with each other (RFC 7160), and the audio goes on there.
    pub fn audio(&mut self, timestamp: u32, clock: u32, rate: u32, end: u32) -> u32 {
        let Some(anchor) = self.anchor.filter(|anchor| anchor.clock == clock) else {
            let place = if self.anchor.is_some() { end } else { timestamp };
            self.anchor = Some(Anchor { timestamp, place, clock });
            return place;
        };
        let place = anchor.place(timestamp, rate);
        // The anchor follows, long before the difference wraps, in steps of 1 ms: whole ones on every clock.
        let ahead = timestamp.wrapping_sub(anchor.timestamp) as i32;
        if ahead.unsigned_abs() > clock {
            let step = ahead / (clock / 1_000) as i32 * (clock / 1_000) as i32;
            let timestamp = anchor.timestamp.wrapping_add(step as u32);
            self.anchor = Some(Anchor { timestamp, place: anchor.place(timestamp, rate), clock });
        }
        place
    }

    /// The place of something beside the audio, an event or comfort noise, and the samples in `length` ticks of it;
    /// none before any audio. Both run on the clock of the audio.
    #[must_use]
    pub fn beside(&self, timestamp: u32, length: u32, rate: u32) -> Option<(u32, u32)> {
        let anchor = self.anchor?;
        let samples = u64::from(length) * u64::from(rate) / u64::from(anchor.clock);
        Some((anchor.place(timestamp, rate), u32::try_from(samples).unwrap_or(u32::MAX)))
    }

    /// The rate has doubled, and with it all places.
    pub fn widen(&mut self) {
        if let Some(anchor) = &mut self.anchor {
            anchor.place = anchor.place.wrapping_mul(2);
        }
    }

    /// Another stream follows.
    pub fn reset(&mut self) {
        self.anchor = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clock_comes_out_at_the_rate_across_the_wrap() {
        for (clock, rate, step, samples) in
            [(8_000, 8_000, 160, 160), (8_000, 16_000, 160, 320), (48_000, 16_000, 960, 320), (48_000, 8_000, 960, 160)]
        {
            let mut timeline = Timeline::default();
            let mut timestamp = u32::MAX - 300_000;
            let mut last = timeline.audio(timestamp, clock, rate, 0);
            for n in 0..100_000 {
                timestamp = timestamp.wrapping_add(step);
                let place = timeline.audio(timestamp, clock, rate, 0);
                assert_eq!(place.wrapping_sub(last), samples, "{clock} {rate} {n}");
                last = place;
                let (beside, length) = timeline.beside(timestamp, step, rate).expect("there was audio");
                assert_eq!((beside, length), (place, samples));
            }
        }
    }

    #[test]
    fn another_clock_goes_on_where_the_audio_ends() {
        let mut timeline = Timeline::default();
        let first = timeline.audio(1_000, 8_000, 16_000, 0);
        assert_eq!(timeline.audio(77_777_777, 48_000, 16_000, first + 320), first + 320);
        assert_eq!(timeline.audio(77_778_737, 48_000, 16_000, 9), first + 640);
    }

    #[test]
    fn a_pause_of_hours_and_any_jump_are_survived() {
        let mut timeline = Timeline::default();
        for timestamp in [0, u32::MAX / 2, u32::MAX, 5, 0x8000_0005, 7] {
            timeline.audio(timestamp, 48_000, 16_000, 0);
            timeline.audio(timestamp, 8_000, 16_000, 0);
        }
        timeline.widen();
        timeline.reset();
        assert_eq!(timeline.beside(1, 1, 8_000), None);
    }
}
