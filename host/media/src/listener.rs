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
