//! The prompt queue: what is said, in which order, and what cuts it.
//!
//! The head of the queue is what sounds or is to sound next. A prompt is made
//! ready ahead of its turn, played when its turn comes and the caller hears it, and
//! stays the head until the leg has reported its end: two voices never sound
//! at once.

use super::handles::Item;
use super::wording::Wording;
use super::{Engine, Timer, arguments};
use crate::leg::{LegCommand, PromptId, VoiceSettings, WordMark};
use crate::record::Role;
use crate::script::{BargeIn, Handle, HostError, Playout, PlayoutEnd, Queueing, Segment};
use crate::time::{Millis, Time};
use std::collections::VecDeque;

/// Prompts made ready at once.
const LOOK_AHEAD: usize = 3;
/// Longest time a prompt may take to get ready once its turn has come.
const PREPARE_LIMIT: u64 = 10_000;
/// Longest time a leg may take to report the end of a prompt it has stopped.
const STOP_LIMIT: u64 = 1_000;
/// Word times kept of one prompt.
const MARKS: usize = 16_384;

/// How far a prompt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The leg does not know it yet.
    Waiting,
    /// The leg makes it ready.
    Preparing,
    /// It can be played.
    Ready,
    /// The leg was told to play it.
    Playing { since: Time, started: Option<Time> },
    /// The leg was told to stop it, and has not reported its end yet.
    Stopping { since: Time, started: Option<Time>, end: PlayoutEnd },
}

/// One prompt.
#[derive(Debug)]
pub(super) struct Prompt {
    pub(super) id: PromptId,
    /// Who is told how it ended.
    item: Handle,
    pub(super) stage: Stage,
    pub(super) barge_in: BargeIn,
    pub(super) wording: Wording,
    voice: VoiceSettings,
    /// What the leg was not given yet.
    segments: Vec<Segment>,
    /// More text may follow.
    pub(super) open: bool,
    /// A language model writes it.
    pub(super) model: bool,
    /// Text of a writer that does not make a sentence yet.
    pub(super) unfinished: String,
    marks: Vec<WordMark>,
    duration: Option<Millis>,
    /// Since when it is its turn and it is not ready.
    late_since: Option<Time>,
    /// When there was something to say, and when it could be played.
    asked: Option<Time>,
    ready: Option<Time>,
    /// Since when it is paused; stays where it is stopped meanwhile.
    pub(super) paused: Option<Time>,
    /// What its pauses took so far.
    silent: u64,
    /// How many there were.
    pub(super) pauses: u8,
    node: Option<String>,
    turn: Option<usize>,
    /// It failed while it sounded.
    error: Option<HostError>,
}

impl Prompt {
    /// The leg was told to stop it.
    pub(super) const fn is_stopping(&self) -> bool {
        matches!(self.stage, Stage::Stopping { .. })
    }

    /// When its sound began, as far as known.
    pub(super) const fn sounding_since(&self) -> Option<Time> {
        match self.stage {
            Stage::Playing { since, started } | Stage::Stopping { since, started, .. } => match started {
                Some(started) => Some(started),
                None => Some(since),
            },
            Stage::Waiting | Stage::Preparing | Stage::Ready => None,
        }
    }

    /// It sounds, or would if it were not paused.
    pub(super) const fn is_playing(&self) -> bool {
        matches!(self.stage, Stage::Playing { .. })
    }

    /// How much of it has sounded by now, by the clock.
    fn sounded(&self, now: Time) -> u64 {
        let until = self.paused.unwrap_or(now);
        self.sounding_since().map_or(0, |since| until.since(since).saturating_sub(self.silent))
    }

    /// When so much of it will have sounded; none while it does not.
    pub(super) fn will_have_sounded(&self, ms: u64) -> Option<Time> {
        self.sounding_since().filter(|_| self.paused.is_none()).map(|since| since + self.silent + ms)
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Prompts {
    queue: VecDeque<Prompt>,
    next: u32,
    /// When the queue became empty.
    pub(super) quiet_since: Time,
}

impl Prompts {
    pub(super) fn head(&self) -> Option<&Prompt> {
        self.queue.front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether some prompt still waits for text of the script.
    pub(super) fn has_open(&self) -> bool {
        self.queue.iter().any(|prompt| prompt.open && !prompt.model)
    }

    /// The one that was queued last.
    pub(super) fn last(&self) -> Option<&Prompt> {
        self.queue.back()
    }

    pub(super) fn get_mut(&mut self, id: PromptId) -> Option<&mut Prompt> {
        self.queue.iter_mut().find(|prompt| prompt.id == id)
    }

    /// The name given last.
    pub(super) const fn last_id(&self) -> u32 {
        self.next
    }

    fn position(&self, id: PromptId) -> Option<usize> {
        self.queue.iter().position(|prompt| prompt.id == id)
    }
}

impl Engine {
    /// Queues a prompt and returns the handle of its playback. The arguments
    /// are checked before anything happens.
    pub(super) fn queue_prompt(
        &mut self,
        segments: Vec<Segment>,
        barge_in: BargeIn,
        queueing: Queueing,
        kind: Kind,
    ) -> Result<Handle, HostError> {
        let wording = arguments::segments(&segments, &self.setup.assets)?;
        if kind.held() {
            self.handles.room(self.setup.limits.max_handles)?;
        }
        let most = self.setup.limits.max_queued_prompts;
        if queueing == Queueing::Append && self.prompts.queue.len() >= usize::from(most) {
            return Err(HostError::LimitExceeded(format!("prompts: {most} are queued; wait for one")));
        }
        if queueing == Queueing::Replace {
            self.clear_prompts(PlayoutEnd::Stopped);
        }
        Ok(self.push_prompt(segments, wording, barge_in, self.voice.clone(), kind))
    }

    /// Queues what was checked before.
    pub(super) fn push_prompt(
        &mut self,
        segments: Vec<Segment>,
        wording: Wording,
        barge_in: BargeIn,
        voice: VoiceSettings,
        kind: Kind,
    ) -> Handle {
        self.prompts.next = self.prompts.next.wrapping_add(1);
        let id = PromptId(self.prompts.next);
        let (writer, model) = (kind == Kind::Writer, kind == Kind::Model);
        let item = match kind {
            Kind::Model => Item::ModelVoice { result: None },
            _ => Item::Playback { prompt: id, writer, result: None },
        };
        let item = self.handles.add(item, kind.held());
        let asked = wording.is_audible().then_some(self.now);
        self.prompts.queue.push_back(Prompt {
            id,
            item,
            stage: Stage::Waiting,
            barge_in,
            wording,
            voice,
            segments,
            open: writer || model,
            model,
            unfinished: String::new(),
            marks: Vec::new(),
            duration: None,
            late_since: None,
            asked,
            ready: None,
            paused: None,
            silent: 0,
            pauses: 0,
            node: self.journal.node.clone(),
            turn: None,
            error: None,
        });
        item
    }

    /// More for an open prompt. Nothing happens where it is over or being cut off.
    pub(super) fn append(&mut self, id: PromptId, segments: Vec<Segment>) {
        let now = self.now;
        let Some(prompt) = self.prompts.get_mut(id).filter(|prompt| !prompt.is_stopping()) else { return };
        prompt.wording.add(&segments);
        if prompt.wording.is_audible() {
            prompt.asked.get_or_insert(now);
        }
        if prompt.stage == Stage::Waiting {
            prompt.segments.extend(segments);
            return;
        }
        if let Some(turn) = prompt.turn {
            self.journal.reword(Some(turn), prompt.wording.shown());
        }
        self.leg(LegCommand::Append { prompt: id, segments });
    }

    /// An open prompt has all its text.
    pub(super) fn complete(&mut self, id: PromptId) {
        let Some(prompt) = self.prompts.get_mut(id).filter(|prompt| prompt.open) else { return };
        prompt.open = false;
        if prompt.stage != Stage::Waiting && !prompt.is_stopping() {
            self.leg(LegCommand::Complete { prompt: id });
        }
    }

    /// All writers are gone: what they wrote so far is all there is.
    pub(super) fn complete_all(&mut self) {
        let open: Vec<PromptId> =
            self.prompts.queue.iter().filter(|prompt| prompt.open).map(|prompt| prompt.id).collect();
        for id in open {
            self.flush_writer(id);
            self.complete(id);
        }
    }

    /// Moves the queue on as far as it goes. True where something changed that
    /// a listening has to know.
    pub(super) fn advance_prompts(&mut self) -> bool {
        if self.ended.is_some() {
            return false;
        }
        self.prepare_ahead();
        self.timers.clear(Timer::Prepare);
        let audible = self.line.has_audio();
        let Some(head) = self.prompts.queue.front_mut() else { return false };
        match head.stage {
            Stage::Playing { .. } | Stage::Stopping { .. } => false,
            _ if !audible => false,
            Stage::Waiting | Stage::Preparing | Stage::Ready if !head.wording.is_audible() => {
                if head.open {
                    return false;
                }
                // Nothing to play: a prompt without segments, a writer closed without a word.
                self.drop_prompt(0, PlayoutEnd::Finished);
                true
            }
            Stage::Waiting | Stage::Preparing => {
                let since = *head.late_since.get_or_insert(self.now);
                self.timers.set(Timer::Prepare, since + PREPARE_LIMIT);
                false
            }
            Stage::Ready => {
                let (id, by_speech) = (head.id, head.barge_in.speech);
                if let Some(end) = self.already_interrupted(self.prompts.queue[0].barge_in) {
                    self.drop_prompt(0, end);
                    return true;
                }
                self.prompts.queue[0].stage = Stage::Playing { since: self.now, started: None };
                self.leg(LegCommand::Play { prompt: id, by_speech });
                true
            }
        }
    }

    /// Tells the leg about the next few prompts.
    fn prepare_ahead(&mut self) {
        for index in 0..LOOK_AHEAD.min(self.prompts.queue.len()) {
            let prompt = &mut self.prompts.queue[index];
            if prompt.stage != Stage::Waiting || !(prompt.open || prompt.wording.is_audible()) {
                continue;
            }
            prompt.stage = Stage::Preparing;
            let (id, voice, open) = (prompt.id, prompt.voice.clone(), prompt.open);
            let segments = std::mem::take(&mut prompt.segments);
            let (now, later) = if open { (Vec::new(), segments) } else { (segments, Vec::new()) };
            self.leg(LegCommand::Prepare { prompt: id, segments: now, voice, open });
            if !later.is_empty() {
                self.leg(LegCommand::Append { prompt: id, segments: later });
            }
        }
    }

    /// Cuts the head off, or takes it out of the queue where it does not sound
    /// yet. Its end is known once the leg has reported it.
    pub(super) fn cut(&mut self, end: PlayoutEnd) {
        let Some(head) = self.prompts.queue.front_mut() else { return };
        match head.stage {
            Stage::Playing { since, started } => {
                head.stage = Stage::Stopping { since, started, end };
                let id = head.id;
                self.timers.set(Timer::Stopping, self.now + STOP_LIMIT);
                self.leg(LegCommand::Stop { prompt: id });
            }
            Stage::Stopping { .. } => {}
            Stage::Waiting | Stage::Preparing | Stage::Ready => self.drop_prompt(0, end),
        }
    }

    /// Lets what sounds fall silent, until it is told to go on or stopped.
    pub(super) fn pause(&mut self) {
        let Some(head) = self.prompts.queue.front_mut().filter(|head| head.is_playing() && head.paused.is_none())
        else {
            return;
        };
        let id = head.id;
        head.paused = Some(self.now);
        head.pauses = head.pauses.saturating_add(1);
        self.journal.note(self.now, "prompt_paused", format!("prompt {}: the caller may want to speak", id.0));
        self.leg(LegCommand::Pause { prompt: id });
    }

    /// Lets it go on where it fell silent.
    pub(super) fn resume(&mut self, why: &str) {
        let Some(head) = self.prompts.queue.front_mut().filter(|head| head.is_playing()) else { return };
        let (id, Some(paused)) = (head.id, head.paused.take()) else { return };
        let lasted = self.now.since(paused);
        head.silent += lasted;
        self.journal.note(self.now, "prompt_resumed", format!("prompt {}: {why}, after {lasted} ms", id.0));
        self.leg(LegCommand::Resume { prompt: id });
    }

    /// Stops a prompt, wherever it is in the queue.
    pub(super) fn stop_prompt(&mut self, id: PromptId, end: PlayoutEnd) {
        match self.prompts.position(id) {
            Some(0) => self.cut(end),
            Some(index) => self.drop_prompt(index, end),
            None => {}
        }
    }

    /// Stops everything that sounds and is queued.
    pub(super) fn clear_prompts(&mut self, end: PlayoutEnd) {
        while self.prompts.queue.len() > 1 {
            self.drop_prompt(self.prompts.queue.len() - 1, end);
        }
        self.cut(end);
    }

    /// Takes a prompt that has not sounded out of the queue.
    fn drop_prompt(&mut self, index: usize, end: PlayoutEnd) {
        if let Some(prompt) = self.take_prompt(index) {
            if matches!(prompt.stage, Stage::Preparing | Stage::Ready) {
                self.leg(LegCommand::Stop { prompt: prompt.id });
            }
            self.handles.played(prompt.item, Ok(Playout { end, played: 0, heard_text: String::new() }));
        }
    }

    fn take_prompt(&mut self, index: usize) -> Option<Prompt> {
        let prompt = self.prompts.queue.remove(index)?;
        if index == 0 {
            self.timers.clear(Timer::Stopping);
            self.timers.clear(Timer::Prepare);
        }
        if self.prompts.queue.is_empty() {
            self.prompts.quiet_since = self.now;
            self.active();
        }
        Some(prompt)
    }

    /// The head is over: its turn is written, its wait ends.
    fn end_head(&mut self, played: Millis, complete: bool) {
        let Some(prompt) = self.take_prompt(0) else { return };
        let (end, started) = match prompt.stage {
            Stage::Stopping { end, started, .. } if !complete => (end, started),
            Stage::Stopping { started, .. } | Stage::Playing { started, .. } if complete => {
                (PlayoutEnd::Finished, started)
            }
            Stage::Playing { started, .. } => (PlayoutEnd::Stopped, started),
            _ => (PlayoutEnd::Stopped, None),
        };
        let heard =
            if complete { prompt.wording.all() } else { prompt.wording.heard(played, &prompt.marks, prompt.duration) };
        let turn = match prompt.turn {
            None if played > 0 => self.robot_turn(&prompt, started.unwrap_or(self.now - u64::from(played))),
            turn => turn,
        };
        let now = self.now;
        self.journal.reword(turn, prompt.wording.shown());
        if let Some(turn) = self.journal.turn_mut(turn) {
            turn.end_ms = now.0;
            turn.heard_text = Some(heard.to_owned());
            turn.interrupted_by = match end {
                PlayoutEnd::CutBySpeech => Some("speech".to_owned()),
                PlayoutEnd::CutByDigits => Some("digits".to_owned()),
                PlayoutEnd::Finished | PlayoutEnd::Stopped => None,
            };
        }
        let what = match end {
            PlayoutEnd::Finished => "finished",
            PlayoutEnd::CutBySpeech => "cut by speech",
            PlayoutEnd::CutByDigits => "cut by digits",
            PlayoutEnd::Stopped => "stopped",
        };
        self.journal.note(now, "prompt_ended", format!("prompt {}: {what} after {played} ms", prompt.id.0));
        let outcome = match prompt.error {
            Some(error) => Err(error),
            None => Ok(Playout { end, played, heard_text: heard.to_owned() }),
        };
        self.handles.played(prompt.item, outcome);
    }

    fn robot_turn(&mut self, prompt: &Prompt, start: Time) -> Option<usize> {
        self.journal.turn(Role::Robot, prompt.wording.shown(), start, prompt.node.clone())
    }

    /// The leg is gone: what sounded is over, by the clock.
    pub(super) fn silence_prompts(&mut self) {
        self.prompts.queue.truncate(1);
        match self.prompts.queue.front() {
            Some(head) if head.sounding_since().is_some() => {
                let played = self.played_by_clock();
                self.end_head(played, false);
            }
            Some(_) => {
                self.take_prompt(0);
            }
            None => {}
        }
    }

    /// How much of the head was played, as far as the clock tells.
    fn played_by_clock(&self) -> Millis {
        let Some(head) = self.prompts.head() else { return 0 };
        let played = u32::try_from(head.sounded(self.now)).unwrap_or(u32::MAX);
        head.duration.map_or(played, |duration| played.min(duration))
    }

    /// Whether the prompt with this name sounds, and is the head.
    fn sounds(&self, id: PromptId) -> bool {
        self.prompts.head().is_some_and(|head| head.id == id && head.sounding_since().is_some())
    }

    pub(super) fn on_prepared(&mut self, id: PromptId) {
        let now = self.now;
        if let Some(prompt) = self.prompts.get_mut(id).filter(|prompt| prompt.stage == Stage::Preparing) {
            prompt.stage = Stage::Ready;
            prompt.ready = Some(now);
        }
    }

    pub(super) fn on_prepare_failed(&mut self, id: PromptId, error: HostError) {
        if !self.prompts.position(id).is_some_and(|index| self.prompts.queue[index].stage != Stage::Waiting) {
            return;
        }
        self.journal.note(self.now, "prompt_failed", format!("prompt {}: {error}", id.0));
        self.fail_prompt(id, error);
    }

    fn fail_prompt(&mut self, id: PromptId, error: HostError) {
        if let Some(head) = self.prompts.queue.front_mut().filter(|head| head.id == id)
            && head.sounding_since().is_some()
        {
            // What of it is there already must not go on sounding: it ends as one that is stopped.
            if !head.is_stopping() {
                head.error = Some(error);
                self.cut(PlayoutEnd::Stopped);
            }
        } else if let Some(prompt) = self.prompts.position(id).and_then(|index| self.take_prompt(index)) {
            self.handles.played(prompt.item, Err(error));
        }
    }

    pub(super) fn on_words(&mut self, id: PromptId, mut marks: Vec<WordMark>, duration: Option<Millis>) {
        if let Some(prompt) = self.prompts.get_mut(id) {
            marks.truncate(MARKS);
            prompt.marks = marks;
            prompt.duration = duration.or(prompt.duration);
        }
    }

    pub(super) fn on_prompt_started(&mut self, id: PromptId) {
        let now = self.now;
        let Some(head) = self.prompts.queue.front_mut().filter(|head| head.id == id) else { return };
        let (Stage::Playing { started, .. } | Stage::Stopping { started, .. }) = &mut head.stage else { return };
        if started.is_some() {
            return;
        }
        *started = Some(now);
        let turn = self.journal.turn(Role::Robot, head.wording.shown(), now, head.node.clone());
        head.turn = turn;
        let (asked, ready) = (head.asked, head.ready);
        self.journal.note(now, "prompt_started", format!("prompt {}", id.0));
        let latency = self.turn_answered(id, asked, ready);
        if let Some(turn) = self.journal.turn_mut(turn) {
            turn.latency = latency;
        }
    }

    pub(super) fn on_prompt_ended(&mut self, id: PromptId, played: Millis, complete: bool) {
        if self.sounds(id) {
            self.end_head(played, complete);
        }
    }

    /// A prompt did not get ready in time; the queue goes on.
    pub(super) fn on_prepare_limit(&mut self) {
        let Some(head) = self.prompts.head() else { return };
        let (id, stage) = (head.id, head.stage);
        if stage == Stage::Preparing {
            self.leg(LegCommand::Stop { prompt: id });
        }
        let error =
            HostError::Unavailable(format!("the prompt was not ready to play within {} s", PREPARE_LIMIT / 1_000));
        self.journal.note(self.now, "prompt_failed", format!("prompt {}: {error}", id.0));
        self.fail_prompt(id, error);
    }

    /// The leg owes the end of a prompt; it is over by the clock.
    pub(super) fn on_stop_limit(&mut self) {
        if let Some(Stage::Stopping { .. }) = self.prompts.head().map(|head| head.stage) {
            let played = self.played_by_clock();
            self.end_head(played, false);
        }
    }
}

/// Who asks for a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A blocking call, or the host itself.
    Blocking,
    /// The script holds its playback.
    Handle,
    /// The script writes its text.
    Writer,
    /// A language model writes its text.
    Model,
}

impl Kind {
    /// Whether the script gets a handle.
    const fn held(self) -> bool {
        matches!(self, Self::Handle | Self::Writer)
    }
}
