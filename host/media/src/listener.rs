//! Who listens to a call: the judge of whether somebody speaks, and the tap that what is said goes to.

use crate::FRAME;
use crate::command::MediaEvent;
use crate::halfband::Upsampler;
use crate::tap::{TapFrame, TapSender};
use crate::voice::{Turn, Voice, WINDOW};
use std::collections::VecDeque;

/// The length of a frame, in milliseconds.
const FRAME_MS: i64 = 20;
/// Frames that are kept for a reader who wants to hear how somebody began: half a second.
const KEPT: usize = 25;
/// Frames before the beginning of a voice that a reader gets, since what begins softly is told late: 300 ms.
const LEAD: u64 = 15;

/// One frame of a call, and what was known of it.
pub(crate) struct Heard<'a> {
    /// At 8 kHz.
    pub(crate) narrow: &'a [i16; FRAME],
    /// The same at 16 kHz, of a wideband call.
    pub(crate) wide: Option<&'a [i16; 2 * FRAME]>,
    /// Most of it was made up for packets that are missing.
    pub(crate) made_up: bool,
    /// What we were saying meanwhile, at 8 kHz; empty where that was nothing.
    pub(crate) said: &'a [i16],
    /// How long ago the end of the frame reached us.
    pub(crate) age_ms: u32,
}

/// The listener of one call. It is made when somebody listens for the first time, and kept.
pub(crate) struct Listener {
    voice: Voice,
    /// Somebody wants to know.
    listening: bool,
    /// Frames since the first of all.
    count: u64,
    tap: Option<TapSender>,
    /// The tap gets frames at 16 kHz.
    wide: bool,
    /// The frame at whose beginning the tap was asked for.
    asked_at: u64,
    /// What is heard goes to the tap from now on.
    open: bool,
    /// The last frames that went to no tap, with their numbers.
    kept: VecDeque<(u64, TapFrame)>,
    up: Upsampler,
    /// What waits to be judged, at 16 kHz.
    window: [i16; WINDOW],
    filled: usize,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            voice: Voice::default(),
            listening: false,
            count: 0,
            tap: None,
            wide: false,
            asked_at: 0,
            open: false,
            kept: VecDeque::with_capacity(KEPT),
            up: Upsampler::default(),
            window: [0; WINDOW],
            filled: 0,
        }
    }
}

impl Listener {
    /// Whether it wants frames.
    pub(crate) const fn listening(&self) -> bool {
        self.listening
    }

    /// Listens from now on, for this reader where there is one; `wide`: the call is heard at 16 kHz.
    pub(crate) fn listen(&mut self, tap: Option<TapSender>, wide: bool) {
        self.listening = true;
        self.tap = tap;
        self.wide = wide;
        self.asked_at = self.count;
        self.open = false;
        if self.kept.front().is_some_and(|(_, frame)| (frame.rate_hz() == 16_000) != wide) {
            self.kept.clear();
        }
        if self.voice.speaking() {
            self.hand_over();
        } else {
            // What was said before anybody listened was said to nobody.
            self.kept.clear();
        }
    }

    /// Listens no more; tells of the end of what somebody is saying.
    pub(crate) fn deafen(&mut self, event: impl FnOnce(MediaEvent)) {
        self.listening = false;
        self.open = false;
        self.tap = None;
        self.kept.clear();
        self.filled = 0;
        if let Some(ago_ms) = self.voice.begin_anew() {
            event(MediaEvent::SpeechEnded { ago_ms });
        }
    }

    /// Hears a frame.
    pub(crate) fn hear(&mut self, heard: &Heard<'_>, mut event: impl FnMut(MediaEvent)) {
        let frame = match heard.wide {
            Some(wide) if self.wide => TapFrame::wide(0, *wide),
            _ => TapFrame::narrow(0, heard.narrow),
        };
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((self.count, frame));
        self.count += 1;
        let mut doubled = [0; 2 * FRAME];
        let mut rest: &[i16] = match heard.wide {
            Some(wide) => wide,
            None => {
                self.up.push(heard.narrow, &mut doubled);
                &doubled
            }
        };
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(WINDOW - self.filled));
            self.window[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.filled += now.len();
            rest = later;
            if self.filled < WINDOW {
                break;
            }
            self.filled = 0;
            let age_ms = heard.age_ms + (rest.len() / 16) as u32;
            match self.voice.judge(&self.window, heard.made_up, heard.said) {
                Some(Turn::Began(ago)) => {
                    let frames = u64::from(ago / FRAME_MS as u32) + LEAD;
                    let from = self.count.saturating_sub(frames);
                    while self.kept.front().is_some_and(|(number, _)| *number < from) {
                        self.kept.pop_front();
                    }
                    self.open = true;
                    event(MediaEvent::SpeechStarted { ago_ms: ago + age_ms });
                }
                Some(Turn::Ceased(ago)) => event(MediaEvent::SpeechEnded { ago_ms: ago + age_ms }),
                None => {}
            }
        }
        if self.open {
            self.hand_over();
        }
    }

    /// Gives the reader all that is kept for it, and from now on what is heard.
    fn hand_over(&mut self) {
        let Some(tap) = &self.tap else { return };
        self.open = true;
        let asked_at = self.asked_at as i64;
        let gone =
            self.kept.drain(..).any(|(number, frame)| !tap.offer(frame.at((number as i64 - asked_at) * FRAME_MS)));
        if gone {
            self.tap = None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::tap::Tap;
    use crate::voice::tests::says;
    use std::sync::LazyLock;

    static WORD: LazyLock<Vec<i16>> = LazyLock::new(|| says("rms", "a table for two"));

    /// Hears 8 kHz; returns what is told, and at the end of which frame.
    fn hear(listener: &mut Listener, samples: &[i16]) -> Vec<(usize, MediaEvent)> {
        let mut told = Vec::new();
        for (n, narrow) in samples.as_chunks::<FRAME>().0.iter().enumerate() {
            let heard = Heard { narrow, wide: None, made_up: false, said: &[], age_ms: 40 };
            listener.hear(&heard, |event| told.push((n + 1, event)));
        }
        told
    }

    fn silence(frames: usize) -> Vec<i16> {
        vec![0; frames * FRAME]
    }

    /// All that waits in a tap: the time of the first frame, and the samples.
    fn tapped(tap: &mut Tap) -> Option<(i64, Vec<i16>)> {
        let frames: Vec<_> = std::iter::from_fn(|| tap.try_next()).collect();
        assert!(frames.windows(2).all(|pair| pair[1].at_ms() == pair[0].at_ms() + 20), "without a gap");
        Some((frames.first()?.at_ms(), frames.iter().flat_map(|frame| frame.samples().to_vec()).collect()))
    }

    #[test]
    fn a_reader_gets_what_was_said_and_a_little_before_but_no_silence() {
        let (mut listener, (sender, mut tap)) = (Listener::default(), Tap::new(1_000));
        listener.listen(Some(sender), false);
        assert_eq!(hear(&mut listener, &silence(200)), []);
        assert_eq!(tapped(&mut tap), None);
        let line = [&WORD[..], &silence(20)].concat();
        let told = hear(&mut listener, &line);
        let [(began, MediaEvent::SpeechStarted { ago_ms }), (ended, MediaEvent::SpeechEnded { ago_ms: past })] =
            told[..]
        else {
            panic!("{told:?}")
        };
        // Both count from when the sound reached us, which was 40 ms before it was heard.
        let from = (began * 20 + 40) as i64 - i64::from(ago_ms);
        let to = (ended * 20 + 40) as i64 - i64::from(past);
        let spoken = (WORD.len() / 8) as i64;
        assert!((-40..150).contains(&from) && (spoken - 100..spoken + 60).contains(&to), "{from} to {to} of {spoken}");
        let (at, samples) = tapped(&mut tap).unwrap();
        assert!((3_500..4_000).contains(&at), "{at}");
        let before = (4_000 - at) as usize * 8;
        assert!(samples[..before].iter().all(|sample| *sample == 0));
        assert_eq!(samples[before..], line[..line.len() / FRAME * FRAME], "and all of it, to what follows");
    }

    #[test]
    fn a_reader_who_comes_while_somebody_speaks_gets_the_beginning_and_nothing_twice() {
        let mut listener = Listener::default();
        listener.listen(None, false);
        let line = [&silence(50)[..], &WORD].concat();
        let (begun, rest) = line.split_at(60 * FRAME);
        assert!(matches!(hear(&mut listener, begun)[..], [(_, MediaEvent::SpeechStarted { .. })]));
        let (sender, mut tap) = Tap::new(1_000);
        listener.listen(Some(sender), false);
        let (at, samples) = tapped(&mut tap).unwrap();
        assert!((-500..-200).contains(&at), "{at}");
        assert_eq!(samples, begun[begun.len() - samples.len()..]);
        hear(&mut listener, &rest[..FRAME * 5]);
        assert_eq!(tapped(&mut tap), Some((0, rest[..FRAME * 5].to_vec())));
        let (sender, mut tap) = Tap::new(1_000);
        listener.listen(Some(sender), false);
        assert_eq!(tapped(&mut tap), None, "another has it");
        hear(&mut listener, &rest[FRAME * 5..FRAME * 6]);
        assert_eq!(tapped(&mut tap), Some((0, rest[FRAME * 5..FRAME * 6].to_vec())));
    }

    #[test]
    fn what_was_said_to_nobody_is_not_handed_over() {
        let mut listener = Listener::default();
        listener.listen(None, false);
        hear(&mut listener, &[&silence(50)[..], &WORD, &silence(15)].concat());
        let (sender, mut tap) = Tap::new(1_000);
        listener.listen(Some(sender), false);
        hear(&mut listener, &silence(100));
        assert_eq!(tapped(&mut tap), None);
        hear(&mut listener, &WORD);
        let (at, samples) = tapped(&mut tap).unwrap();
        assert!((1_500..2_000).contains(&at) && samples.len() > FRAME * 10, "{at}");
    }

    #[test]
    fn who_listens_no_more_is_told_that_nobody_speaks() {
        let (mut listener, (sender, mut tap)) = (Listener::default(), Tap::new(1_000));
        listener.listen(Some(sender), false);
        hear(&mut listener, &[&silence(50)[..], &WORD[..WORD.len() / 2]].concat());
        let mut told = Vec::new();
        listener.deafen(|event| told.push(event));
        assert!(matches!(told[..], [MediaEvent::SpeechEnded { .. }]), "{told:?}");
        assert!(tapped(&mut tap).is_some() && !listener.listening());
        listener.deafen(|event| panic!("{event:?}"));
    }

    #[test]
    fn a_wideband_call_is_tapped_at_its_rate() {
        let (mut listener, (sender, mut tap)) = (Listener::default(), Tap::new(1_000));
        listener.listen(Some(sender), true);
        let line = [&silence(50)[..], &WORD].concat();
        let mut up = Upsampler::default();
        for narrow in line.as_chunks::<FRAME>().0 {
            let mut wide = [0; 2 * FRAME];
            up.push(narrow, &mut wide);
            let heard = Heard { narrow, wide: Some(&wide), made_up: false, said: &[], age_ms: 0 };
            listener.hear(&heard, |_| {});
        }
        let frame = tap.try_next().unwrap();
        assert_eq!((frame.rate_hz(), frame.samples().len()), (16_000, 320));
    }
}
