//! Whether somebody speaks.
//!
//! A small neural network (`earshot`) says how much each 16 ms sound like a voice, in noise too. It takes steady tones and
//! music for voices and lets go late, so that levels have a say: a voice stands out from the background, and the
//! background is whatever was softest in the last three seconds, or has not changed for a third of one. A tone, a hum or
//! a noise is background soon after it begins; a pause in a voice is one within a few frames.
//!
//! What we say ourselves comes back as an echo from many lines. While a prompt plays, what is not clearly louder than
//! its echo could be is nobody's voice. How loud the echo is on this line is learnt as the call goes on.

use earshot::Detector;
use std::collections::VecDeque;

/// Samples of one judgement: 16 ms at 16 kHz.
pub(crate) const WINDOW: usize = 256;
/// The length of one, in milliseconds.
pub(crate) const WINDOW_MS: u32 = 16;

/// From this score on a window begins to be a voice, and while we speak ourselves.
const SOUNDS_LIKE: f32 = 0.5;
const SOUNDS_LIKE_OVER_PROMPT: f32 = 0.55;
/// A voice goes on down to this score.
const STILL_SOUNDS_LIKE: f32 = 0.35;
/// A voice begins so many decibels above the background, and goes on down to so many.
const STANDS_OUT: f32 = 6.0;
const STILL_STANDS_OUT: f32 = 4.0;
/// A voice goes on no further below its own loudest than this: what fades is an echo of the room, or the line.
const DEPTH: f32 = 36.0;
/// No background is softer, in dBov: a voice has to be louder than the rounding of a codec.
const SOFTEST: f32 = -60.0;
/// Windows that are a voice, of the last five, for one to have begun: 48 ms.
const BEGUN: u32 = 3;
/// Windows without a voice for it to have ended: 160 ms, longer than the pause before a p or a t.
const ENDED: u32 = 10;
/// Windows of one stretch of the background's memory, and how many there are: 3 s in all.
const STRETCH: u32 = 23;
const STRETCHES: usize = 8;
/// What has changed by less than [`STEADY_RANGE`] decibels for so many windows, a third of a second, is no voice.
const STEADY: usize = 20;
const STEADY_RANGE: f32 = 2.0;
/// Nobody speaks for so many windows, 20 s, without drawing breath: it is music.
const BREATHLESS: u32 = 1_250;
/// How much softer than what we say an echo is at least, until the line has shown that it is softer; in decibels.
const ECHO: f32 = 18.0;
/// The softest echo that is reckoned with.
const SOFTEST_ECHO: f32 = 40.0;
/// What the estimate of that moves up with each window that is softer, and down with each that is louder: it comes to
/// rest where one window in twenty is louder, and those by less than [`ECHO_MARGIN`].
const LEARN_UP: f32 = 0.02;
const LEARN_DOWN: f32 = 0.4;
/// A voice is louder than the echo by so much.
const ECHO_MARGIN: f32 = 3.0;
/// Windows for which an echo of what we say may come: 320 ms.
const ECHO_WINDOWS: usize = 20;
/// Windows at the beginning of a stream in which the network finds its way.
const SETTLING: u32 = 3;
/// What varies by less than this from window to window, in decibels, is a tone, or a vowel that will vary soon.
const TONE: f32 = 0.5;

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Somebody has begun to speak, that many milliseconds before the end of the window.
    Began(u32),
    /// And has ceased to.
    Ceased(u32),
}

/// The judge of one stream.
pub(crate) struct Voice {
    detector: Box<Detector>,
    speaking: bool,
    /// The last windows, newest in the lowest bit: set where it was a voice.
    recent: u32,
    /// Windows since the last one that was a voice.
    silent: u32,
    /// Windows for which somebody has been speaking.
    breathless: u32,
    /// What sounds is no voice after all, until there is a pause.
    is_music: bool,
    /// Windows judged since it was reset, as far as that matters.
    judged: u32,
    /// The loudest of the present voice, or of what has been heard lately.
    loudest: f32,
    background: Background,
    /// Of the last two windows.
    levels: [f32; 2],
    /// How loud what we say was, newest last.
    said: VecDeque<f32>,
    /// How much softer than that its echo is at least.
    softer: f32,
}

impl Default for Voice {
    fn default() -> Self {
        Self {
            detector: Detector::default_boxed(),
            speaking: false,
            recent: 0,
            silent: 0,
            breathless: 0,
            is_music: false,
            judged: 0,
            loudest: SOFTEST,
            background: Background::default(),
            levels: [0.0; 2],
            said: VecDeque::with_capacity(ECHO_WINDOWS),
            softer: ECHO,
        }
    }
}

impl Voice {
    /// Whether somebody speaks.
    pub(crate) const fn speaking(&self) -> bool {
        self.speaking
    }

    /// Listens anew, after a time that was not heard; what was learnt of the line stays. Tells how long ago the last of
    /// a voice was, where somebody was speaking.
    pub(crate) fn begin_anew(&mut self) -> Option<u32> {
        let ceased = self.speaking.then_some(self.silent * WINDOW_MS);
        self.detector.reset();
        self.speaking = false;
        self.is_music = false;
        (self.recent, self.silent, self.breathless, self.judged) = (0, 0, 0, 0);
        self.background.interrupted();
        self.said.clear();
        ceased
    }

    /// Judges a window. `made_up`: it is what the jitter buffer put in the place of packets that are missing. `said` is
    /// what we were saying in the same time.
    pub(crate) fn judge(&mut self, window: &[i16; WINDOW], made_up: bool, said: &[i16]) -> Option<Turn> {
        let score = self.detector.predict_i16(window);
        let level = decibels(window);
        let echo = self.echo(level, decibels(said));
        self.judged = self.judged.saturating_add(1);
        if made_up {
            // Neither begins a voice nor tells of the background; one that speaks is given the time it takes.
            self.recent = self.recent << 1 & 0b11111;
            return self.rests();
        }
        let background = self.background.hears(level).max(SOFTEST);
        let [a, b] = self.levels;
        self.levels = [b, level];
        let is_tone = a.max(b).max(level) - a.min(b).min(level) < TONE;
        let least = echo.map_or(SOFTEST, |echo| echo + ECHO_MARGIN);
        let is_voice = if self.speaking || self.is_music {
            score >= STILL_SOUNDS_LIKE
                && level >= background + STILL_STANDS_OUT
                && level >= self.loudest - DEPTH
                && level >= least
        } else {
            let wanted = if echo.is_some() { SOUNDS_LIKE_OVER_PROMPT } else { SOUNDS_LIKE };
            self.judged > SETTLING && score >= wanted && level >= background + STANDS_OUT && level >= least
        };
        // Of a voice that is over, 6 dB in a second.
        let fading = if self.speaking { self.loudest } else { self.loudest - 0.1 };
        self.loudest = fading.max(level).max(SOFTEST);
        self.recent = (self.recent << 1 | u32::from(is_voice)) & 0b11111;
        if is_voice && (self.speaking || self.is_music) {
            self.silent = 0;
            return self.goes_on();
        }
        if is_voice && !is_tone && self.recent.count_ones() >= BEGUN {
            self.speaking = true;
            self.silent = 0;
            self.breathless = 0;
            self.loudest = level;
            // The network tells a window late, and the first of the last five may be no voice.
            let windows = u32::BITS - self.recent.leading_zeros() + 1;
            return Some(Turn::Began(windows * WINDOW_MS));
        }
        self.rests()
    }

    /// A window more of a voice.
    fn goes_on(&mut self) -> Option<Turn> {
        self.breathless = self.breathless.saturating_add(1);
        self.is_music = self.breathless >= BREATHLESS;
        if self.is_music { self.ceases() } else { None }
    }

    /// A window without a voice.
    fn rests(&mut self) -> Option<Turn> {
        if !(self.speaking || self.is_music) {
            return None;
        }
        self.silent += 1;
        self.breathless = self.breathless.saturating_add(1);
        if self.silent < ENDED {
            return None;
        }
        self.is_music = false;
        self.ceases()
    }

    fn ceases(&mut self) -> Option<Turn> {
        let silent = self.silent;
        self.recent = 0;
        self.silent = 0;
        std::mem::take(&mut self.speaking).then_some(Turn::Ceased(silent * WINDOW_MS))
    }

    /// How loud an echo may be in what is heard now, where a prompt plays; learns from it.
    fn echo(&mut self, heard: f32, said: f32) -> Option<f32> {
        if self.said.len() == ECHO_WINDOWS {
            self.said.pop_front();
        }
        self.said.push_back(said);
        let loudest = self.said.iter().copied().fold(f32::MIN, f32::max);
        if loudest < SOFTEST + 20.0 {
            return None;
        }
        let echo = loudest - self.softer;
        if !self.speaking {
            let step = if heard < echo { LEARN_UP } else { -LEARN_DOWN };
            self.softer = (self.softer + step).clamp(ECHO, SOFTEST_ECHO);
        }
        Some(echo)
    }
}

/// What a line sounds like on which nobody speaks.
struct Background {
    /// The softest of each stretch of time, the present one last.
    stretches: VecDeque<f32>,
    windows: u32,
    /// The last windows, two by two.
    recent: VecDeque<f32>,
    before: f32,
    /// The level of what has not changed for a while.
    steady: f32,
}

impl Default for Background {
    fn default() -> Self {
        Self {
            stretches: VecDeque::with_capacity(STRETCHES),
            windows: 0,
            recent: VecDeque::with_capacity(STEADY),
            before: 0.0,
            steady: f32::MIN,
        }
    }
}

impl Background {
    /// Something was not heard.
    fn interrupted(&mut self) {
        self.recent.clear();
        self.windows = STRETCH;
    }

    /// Takes the level of a window; returns that of the background.
    fn hears(&mut self, level: f32) -> f32 {
        // Two windows together vary less.
        let before = std::mem::replace(&mut self.before, level);
        let smooth = if self.recent.is_empty() { level } else { f32::midpoint(level, before) };
        if self.recent.len() == STEADY {
            self.recent.pop_front();
        }
        self.recent.push_back(smooth);
        let (least, most) = self.recent.iter().fold((f32::MAX, f32::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
        if self.recent.len() == STEADY && most - least < STEADY_RANGE {
            self.steady = f32::midpoint(least, most);
        } else if smooth < self.steady - STEADY_RANGE {
            // It is over.
            self.steady = f32::MIN;
        }
        if self.windows >= STRETCH || self.stretches.is_empty() {
            if self.stretches.len() == STRETCHES {
                self.stretches.pop_front();
            }
            self.stretches.push_back(smooth);
            self.windows = 0;
        }
        self.windows += 1;
        if let Some(present) = self.stretches.back_mut() {
            *present = present.min(smooth);
        }
        let softest = self.stretches.iter().copied().fold(f32::MAX, f32::min);
        softest.max(self.steady)
    }
}

/// How loud it is, in dBov: 0 for the loudest square wave.
fn decibels(samples: &[i16]) -> f32 {
    let energy = samples.iter().map(|sample| f32::from(*sample) * f32::from(*sample)).sum::<f32>();
    10.0 * (energy / samples.len().max(1) as f32 / (32_768.0 * 32_768.0) + 1e-10).log10()
}

#[cfg(test)]
pub(crate) mod tests;
