//! What a chat shows: the call as it goes on, line by line, above the line that is being typed.

use super::super::transcript::{Label, Paper};
use super::input::Above;
use callbox_dialogue::script::LogLevel;
use callbox_dialogue::{HostCall, Time};
use callbox_sim::scenario::{Speaker, Teller};
use callbox_sim::trace::{Renderer, span};
use callbox_sim::{Sight, spoken};
use std::collections::VecDeque;
use std::io::Write;

/// Shows a call.
pub(super) struct Screen {
    above: Option<Above>,
    pub(super) paper: Paper,
    /// Whether host calls are shown as they happen.
    pub(super) trace: bool,
    /// What is seen is not shown: it was, when it first happened.
    pub(super) muted: bool,
    /// Whether what the caller does is shown; on a terminal it stands there already.
    echo: bool,
    /// The robot's words are shown as they are heard, not when they begin.
    pub(super) spoken: bool,
    renderer: Renderer,
    pending: Option<(Time, HostCall)>,
    /// Knows what is secret.
    teller: Teller,
    /// Words that are being spoken.
    speaking: Option<Speaking>,
}

/// A prompt that is shown piece by piece.
struct Speaking {
    /// When each begins, and its words.
    pieces: VecDeque<(Time, String)>,
    /// When the last of them will have been said.
    until: Time,
}

impl Screen {
    pub(super) fn new(above: Option<Above>, trace: bool, spoken: bool) -> Self {
        Self {
            echo: above.is_none(),
            above,
            paper: Paper::of_stdout(),
            trace,
            muted: false,
            spoken,
            renderer: Renderer::default(),
            pending: None,
            teller: Teller::default(),
            speaking: None,
        }
    }

    /// A new call begins.
    pub(super) fn begin(&mut self) {
        (self.renderer, self.pending, self.teller, self.speaking) =
            (Renderer::default(), None, Teller::default(), None);
    }

    /// A line, whatever is muted.
    pub(super) fn say(&mut self, line: &str) {
        let line = format!("{line}\n");
        let shown = match &mut self.above {
            Some(above) => above.print(line).is_ok(),
            None => std::io::stdout().write_all(line.as_bytes()).is_ok(),
        };
        // Nobody looks any more; the next line that is asked for will say so.
        if !shown {
            self.above = None;
        }
    }

    /// What the robot said last, once more.
    pub(super) fn again(&mut self, at: Time, words: &str) {
        self.show(at, Label::Robot, "robot", words);
    }

    /// What the script asks, without what the caller gave in confidence.
    pub(super) fn asked(&self, call: &HostCall) -> String {
        self.renderer.asked(call)
    }

    fn show(&mut self, at: Time, label: Label, word: &str, text: &str) {
        if !self.muted {
            let line = self.paper.line(at, label, word, &self.teller.clean(text));
            self.say(&line);
        }
    }

    /// Shows what was seen.
    pub(super) fn saw(&mut self, at: Time, sight: &Sight, words_a_minute: u16) {
        let line = self.teller.line(at, sight);
        match sight {
            Sight::Asked { call } => self.pending = Some((at, call.clone())),
            Sight::Replied { reply, sensitive } => {
                if let Some((asked, call)) = self.pending.take() {
                    // Always written, so that it knows the secrets.
                    let line = self.renderer.line(asked, at, &call, reply, *sensitive);
                    // These stand there already.
                    if self.trace && !self.muted && !matches!(call, HostCall::Log { .. } | HostCall::EnterNode { .. }) {
                        let line = self.paper.trace(&line);
                        self.say(&line);
                    }
                }
            }
            Sight::Masked { on } => {
                if *on {
                    self.show(at, Label::Call, "", "(what the caller gives now is secret)");
                }
            }
            Sight::PromptStarted { text, .. } => {
                self.speaking = None;
                self.speaks(at, text, words_a_minute);
            }
            Sight::PromptGrew { text, .. } => self.speaks(at, text, words_a_minute),
            Sight::PromptEnded { heard_text, complete, played, .. } => {
                self.prompt_ended(at, heard_text, *played, *complete);
            }
            // What was typed stands there already.
            Sight::Did { .. } if !self.echo => {}
            Sight::Heard { .. } | Sight::Fetch { .. } | Sight::Fetched { .. } => {}
            _ => {
                if let Some(line) = line {
                    let label = match (line.speaker, sight) {
                        (_, Sight::Hint { .. } | Sight::ScriptEnded { .. }) => Label::Trouble,
                        (_, Sight::Logged(log)) if log.level >= LogLevel::Warn => Label::Trouble,
                        (Speaker::Robot, _) => Label::Robot,
                        (Speaker::Caller, _) => Label::Caller,
                        (Speaker::Script | Speaker::Log, _) => Label::Script,
                        (Speaker::Call, _) => Label::Call,
                    };
                    self.show(at, label, line.speaker.word(), &line.text);
                }
            }
        }
    }

    /// The robot says this, behind what it is saying.
    fn speaks(&mut self, at: Time, text: &str, words_a_minute: u16) {
        if text.is_empty() {
            return;
        }
        if !self.spoken {
            return self.show(at, Label::Robot, "robot", text);
        }
        let speaking = self.speaking.get_or_insert_with(|| Speaking { pieces: VecDeque::new(), until: at });
        let mut begins = speaking.until.max(at);
        for piece in text.split_inclusive(['.', '!', '?', '。', '！', '？']) {
            speaking.pieces.push_back((begins, piece.trim().to_owned()));
            begins = begins + u64::from(spoken(piece, words_a_minute));
        }
        speaking.until = begins;
        self.spoken_until(at);
    }

    /// Shows what of a prompt has begun by now. Returns when the next piece does.
    pub(super) fn spoken_until(&mut self, now: Time) -> Option<Time> {
        loop {
            let pieces = &mut self.speaking.as_mut()?.pieces;
            let begins = pieces.front()?.0;
            if begins > now {
                return Some(begins);
            }
            if let Some((begins, piece)) = pieces.pop_front() {
                self.show(begins, Label::Robot, "robot", &piece);
            }
        }
    }

    fn prompt_ended(&mut self, at: Time, heard: &str, played: u32, complete: bool) {
        let speaking = self.speaking.take();
        if complete {
            for (_, piece) in speaking.into_iter().flat_map(|speaking| speaking.pieces) {
                self.show(at, Label::Robot, "robot", &piece);
            }
            return;
        }
        let after = span(u64::from(played));
        let heard = if heard.is_empty() { "nothing".into() } else { format!("\"{heard}\"") };
        self.show(at, Label::Robot, "", &format!("(cut off after {after}, heard {heard})"));
    }
}
