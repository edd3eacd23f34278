//! What the caller says, in words: one recognition at a time.
//!
//! The media plane tells when somebody speaks and hands over what is said, from a little before. So a recogniser is
//! asked when there is something to recognise and not before: silence costs nothing, and nothing is made of it. A task
//! carries the audio there and the words back; the leg turns them into reports, whose times count from when the
//! listening began.
//!
//! What a caller says may be secret: neither audio nor words are logged here, kept, or part of an error.

use crate::leg::LegSignal;
use callbox_dialogue::leg::{LegEvent, PromptId, RecognitionId};
use callbox_dialogue::script::{ListenOptions, Utterance};
use callbox_dialogue::time::Millis;
use callbox_media::{MediaCommand, Session, Tap, TapFrame};
use callbox_speech::recogniser::{Heard, Hypothesis, Listening, Run, Sound};
use callbox_speech::{Ears, RecogniserError};
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// Frames that wait for the task: 10 s. A machine that is busy for a moment makes no holes in what was said.
const FRAMES: usize = 500;
/// Milliseconds of one.
const FRAME_MS: i64 = 20;
/// Frames of silence put in the place of those that were dropped, at most.
const MOST_SILENCE: i64 = 100;

/// Whether there is a recogniser for a language, at least for closed answers.
pub(crate) fn serves(ears: &Ears, language: &str) -> bool {
    let what = Listening { languages: vec![language.to_owned()], ..Listening::default() };
    !matches!(ears.can(&what), Err(RecogniserError::UnknownLanguage { .. }))
}

/// The ears of one leg.
pub(crate) struct Hearing {
    ears: Ears,
    /// The call's, for who asks for no other.
    language: String,
    media: Arc<Session>,
    signals: mpsc::Sender<LegSignal>,
    run: Option<Recognition>,
    /// There is a recogniser for that.
    hears: bool,
    /// Prompts that sound or will, and that speech may cut.
    playing: Vec<PromptId>,
    /// The media plane tells of speech.
    attends: bool,
}

/// A recognition under way.
struct Recognition {
    id: RecognitionId,
    began: Instant,
    /// When the caller first spoke and last ceased to, since it began.
    spoke: Option<Millis>,
    ceased: Option<Millis>,
    /// Tells the task that the caller is done.
    done: Option<oneshot::Sender<()>>,
    _task: AbortOnDropHandle<()>,
}

/// What a task tells its leg.
pub(crate) struct Words {
    recognition: RecognitionId,
    /// When the first sample that the recogniser got was heard, in milliseconds since the listening began.
    from: i64,
    heard: Result<Heard, RecogniserError>,
}

impl Hearing {
    pub(crate) fn new(ears: Ears, language: String, media: Arc<Session>, signals: mpsc::Sender<LegSignal>) -> Self {
        let hears = serves(&ears, &language);
        Self { ears, language, media, signals, run: None, hears, playing: Vec::new(), attends: false }
    }

    /// Starts a recognition; what there is to report at once.
    pub(crate) fn recognise(&mut self, id: RecognitionId, options: ListenOptions) -> Option<LegEvent> {
        self.run = None;
        let what = self.listening(options);
        let begun = self.ears.can(&what).map_err(|error| error.to_host_error()).and_then(|()| {
            let (sender, tap) = Tap::new(FRAMES);
            let listen = self.media.send(MediaCommand::Listen { tap: Some(sender) });
            listen.map_err(|error| callbox_dialogue::script::HostError::Unavailable(error.to_string()))?;
            Ok(tap)
        });
        match begun {
            Ok(tap) => {
                self.attends = true;
                let (done, is_done) = oneshot::channel();
                let carrying = carry(id, what, self.ears.clone(), tap, is_done, self.signals.clone());
                self.run = Some(Recognition {
                    id,
                    began: Instant::now(),
                    spoke: None,
                    ceased: None,
                    done: Some(done),
                    _task: AbortOnDropHandle::new(tokio::spawn(carrying)),
                });
                None
            }
            Err(error) => {
                self.attend();
                Some(LegEvent::RecogniseFailed { recognition: id, error })
            }
        }
    }

    fn listening(&self, options: ListenOptions) -> Listening {
        let ListenOptions { mut languages, hints, grammar, extra, .. } = options;
        if languages.is_empty() {
            languages.push(self.language.clone());
        }
        // The engine counts words to know whether the caller interrupts, and sees in them whether an answer is whole.
        let partials = true;
        Listening { languages, hints, grammar: grammar.map(Arc::new), partials, extra, ..Listening::default() }
    }

    /// The caller is done: the result is wanted.
    pub(crate) fn end_utterance(&mut self, id: RecognitionId) {
        if let Some(done) = self.run.as_mut().filter(|run| run.id == id).and_then(|run| run.done.take()) {
            // Where the task is gone its last word is on its way.
            let _ = done.send(());
        }
    }

    /// The result is not wanted any more.
    pub(crate) fn stop(&mut self, id: RecognitionId) {
        if self.run.as_ref().is_some_and(|run| run.id == id) {
            self.run = None;
            self.attend();
        }
    }

    /// A prompt is to sound that speech may cut.
    pub(crate) fn plays(&mut self, prompt: PromptId) {
        if !self.playing.contains(&prompt) {
            self.playing.push(prompt);
        }
        self.attend();
    }

    /// A prompt does not sound any more.
    pub(crate) fn played(&mut self, prompt: PromptId) {
        self.playing.retain(|playing| *playing != prompt);
        self.attend();
    }

    /// The caller began to speak, so long ago.
    pub(crate) fn spoke(&mut self, ago: Millis) -> LegEvent {
        if let Some(run) = &mut self.run {
            run.spoke = run.spoke.or(Some(run.now().saturating_sub(ago)));
            run.ceased = None;
        }
        LegEvent::SpeechStarted { ago }
    }

    /// The caller ceased to speak, so long ago.
    pub(crate) fn ceased(&mut self, ago: Millis) -> LegEvent {
        if let Some(run) = &mut self.run {
            run.ceased = Some(run.now().saturating_sub(ago));
        }
        LegEvent::SpeechEnded { ago }
    }

    /// What the task of a recognition says; nothing of one that is over.
    pub(crate) fn heard(&mut self, words: Words) -> Option<LegEvent> {
        let Words { recognition, from, heard } = words;
        let run = self.run.as_ref().filter(|run| run.id == recognition)?;
        let utterance = |hypothesis: Hypothesis| run.utterance(from, hypothesis);
        let event = match heard {
            Ok(Heard::Partial(partial)) => {
                return Some(LegEvent::Partial { recognition, utterance: utterance(partial) });
            }
            Ok(Heard::Final(all)) => {
                LegEvent::Recognised { recognition, alternatives: all.into_iter().map(utterance).collect() }
            }
            Err(error) => LegEvent::RecogniseFailed { recognition, error: error.to_host_error() },
        };
        self.run = None;
        self.attend();
        Some(event)
    }

    /// Has the media plane listen while that is of use. It is while words are wanted, and while a prompt sounds that
    /// they may cut.
    fn attend(&mut self) {
        let wanted = self.run.is_some() || (self.hears && !self.playing.is_empty());
        // Of a recognition that is over the reader is gone, so that there is nothing to take away.
        if std::mem::replace(&mut self.attends, wanted) == wanted {
            return;
        }
        let command = if wanted { MediaCommand::Listen { tap: None } } else { MediaCommand::Deafen };
        if let Err(error) = self.media.send(command) {
            // A prompt that speech does not cut is no reason to end a call.
            tracing::debug!(session = %self.media.id(), %error, "the media plane is not told whether to listen");
        }
    }
}

impl Recognition {
    /// Milliseconds since it began.
    fn now(&self) -> Millis {
        Millis::try_from(self.began.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    /// A hypothesis with its times: those of its words, else those of the voice.
    fn utterance(&self, from: i64, hypothesis: Hypothesis) -> Utterance {
        let Hypothesis { text, confidence, language, words } = hypothesis;
        let at = |ms: Millis| Millis::try_from(from.saturating_add(i64::from(ms)).max(0)).unwrap_or(Millis::MAX);
        let first = words.first().map(|word| at(word.start)).or(self.spoke);
        let last = words.last().map(|word| at(word.end)).or(self.ceased);
        let end = last.unwrap_or_else(|| self.now());
        Utterance { text, confidence, language, start: first.unwrap_or(end).min(end), end }
    }
}

/// Carries what is heard to a recogniser and what it makes of that to the leg, until there is a result.
async fn carry(
    recognition: RecognitionId,
    mut what: Listening,
    ears: Ears,
    mut tap: Tap,
    mut done: oneshot::Receiver<()>,
    signals: mpsc::Sender<LegSignal>,
) {
    let report = async |from: i64, heard| {
        // A closed channel means that the call is over.
        let _ = signals.send(LegSignal::Words(Box::new(Words { recognition, from, heard }))).await;
    };
    let first = tokio::select! {
        biased;
        first = tap.next() => first,
        Ok(()) = &mut done => None,
    };
    let Some(first) = first else {
        // Nobody has spoken, or the session is over and with it the call.
        return report(0, Ok(Heard::Final(Vec::new()))).await;
    };
    what.rate_hz = first.rate_hz();
    let from = first.at_ms();
    let Run { sound, mut heard } = ears.listen(what);
    let give = async {
        give(first, &mut tap, &mut done, &sound).await;
        pending::<()>().await;
    };
    let read = async {
        loop {
            let news = heard.recv().await.unwrap_or_else(|| Err(RecogniserError::cut_short("recogniser")));
            let last = !matches!(news, Ok(Heard::Partial(_)));
            report(from, news).await;
            if last {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = give => {}
    }
}

/// Gives a recogniser what is heard, without gaps, until the caller is done, and says so.
async fn give(first: TapFrame, tap: &mut Tap, done: &mut oneshot::Receiver<()>, sound: &mpsc::Sender<Sound>) {
    let mut next = Some(first);
    let mut at = first.at_ms();
    let mut done = pin!(async { done.await.is_ok() });
    loop {
        while let Some(frame) = next.take().or_else(|| tap.try_next()) {
            let missing = ((frame.at_ms() - at) / FRAME_MS).clamp(0, MOST_SILENCE);
            let silence = std::iter::repeat_n(Sound::Frame(vec![0; frame.samples().len()].into()), missing as usize);
            at = frame.at_ms() + FRAME_MS;
            for sounds in silence.chain([Sound::Frame(frame.samples().into())]) {
                if sound.send(sounds).await.is_err() {
                    // The recogniser takes no more; why, it says itself.
                    return;
                }
            }
        }
        tokio::select! {
            biased;
            frame = tap.next() => match frame {
                Some(frame) => next = Some(frame),
                None if (&mut done).await => break,
                None => return,
            },
            true = &mut done => break,
            else => return,
        }
    }
    let _ = sound.send(Sound::EndOfUtterance).await;
}

#[cfg(test)]
mod tests;
