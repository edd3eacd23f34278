//! From what a caller says to its words.
//!
//! A [`Recogniser`] is an engine: one on this machine, one behind a network.
//! [`Ears`] has those of a deployment in their order, and does what every one
//! of them needs: it bounds how many recognitions run at once, gives up on one
//! that stalls, keeps away from one that fails ([`crate::Breaker`]), hands the audio
//! heard so far to the next, and lets nothing through that is no hypothesis
//! ([`checked`]).
//!
//! Who ends an utterance is not decided here: the engine of the dialogue says
//! [`Sound::EndOfUtterance`], unless an engine with an end-pointing of its own
//! was faster.

pub mod checked;
mod ears;
mod error;
mod pocketsphinx;
pub(crate) mod process;
mod relay;
pub(crate) mod worker;

pub use ears::{Ear, EarLimits, EarState, Ears};
pub use error::RecogniserError;
pub use pocketsphinx::{Pocketsphinx, PocketsphinxConfig};
pub use worker::recogniser_worker;

use crate::synthesiser::{EngineInfo, Pending};
use callbox_dialogue::time::Millis;
use callbox_grammar::{Answer, Grammar};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Frames of 20 ms that wait for an engine: a little more than a second. Who
/// lags behind further is waited for, and given up in the end.
const FRAMES_WAITING: usize = 64;
/// Hypotheses that wait for their reader.
const HYPOTHESES_WAITING: usize = 16;

/// What is to be recognised.
#[derive(Clone, Debug, PartialEq)]
pub struct Listening {
    /// BCP 47 tags, the likeliest first; at least one.
    pub languages: Vec<String>,
    /// Words and phrases to expect. They make some likelier and exclude none.
    pub hints: Vec<String>,
    /// What answers there are. An engine that knows grammars hears nothing
    /// else; what any other heard is to be matched by [`Grammar::understand`].
    pub grammar: Option<Arc<Grammar>>,
    /// Samples a second: 8 000 or 16 000.
    pub rate_hz: u32,
    /// Whether somebody wants [`Heard::Partial`].
    pub partials: bool,
    /// Settings of single engines, JSON text each, as the script gave them. An
    /// engine reads those it knows and ignores the others.
    pub extra: Vec<(String, String)>,
}

impl Default for Listening {
    /// English, on the telephone, without a grammar.
    fn default() -> Self {
        Self {
            languages: vec!["en".to_owned()],
            hints: Vec::new(),
            grammar: None,
            rate_hz: 8_000,
            partials: true,
            extra: Vec::new(),
        }
    }
}

/// What goes into a recogniser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sound {
    /// The next 20 ms, mono. Frames follow each other without gaps: times are
    /// counted in samples from the first of them.
    Frame(Arc<[i16]>),
    /// The caller is done: the final result is wanted for what was heard.
    /// Nothing follows.
    EndOfUtterance,
}

/// What comes out of a recogniser.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// What it seems to be so far; each replaces the one before.
    Partial(Hypothesis),
    /// What it was, the likeliest first; none for speech that could not be
    /// made out, and for silence. Nothing follows. It comes unasked where the
    /// engine has an end-pointing of its own.
    Final(Vec<Hypothesis>),
}

/// What somebody may have said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hypothesis {
    /// The words, with a space between them where the language writes one.
    pub text: String,
    /// 0 to 1 where the engine measures it ([`Abilities::confidence`]).
    pub confidence: Option<f32>,
    /// BCP 47 tag.
    pub language: String,
    /// The single words, ascending; empty where the engine does not tell.
    pub words: Vec<Word>,
}

/// A word and its time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Word {
    /// As it is in the text.
    pub text: String,
    /// Begin, since the first sample of the run.
    pub start: Millis,
    /// End, since the first sample of the run.
    pub end: Millis,
    /// 0 to 1 where the engine measures it.
    pub confidence: Option<f32>,
}

/// Which languages an engine hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Languages {
    /// Every one, or those that a server we cannot ask has.
    All,
    /// These BCP 47 tags. One without a region stands for all its regions.
    Some(Vec<String>),
}

impl Languages {
    /// Whether this language is one of them: `en` has `en-GB`, and `en-GB`
    /// serves who asks for `en` or `en-GB` but not `en-US`.
    #[must_use]
    pub fn has(&self, tag: &str) -> bool {
        let Self::Some(tags) = self else { return true };
        tags.iter().any(|ours| begins(tag, ours) || begins(ours, tag))
    }
}

/// Whether the parts of a tag begin with those of another: `zh-CN` with `zh`,
/// but not with `z`.
fn begins(tag: &str, with: &str) -> bool {
    let mut parts = tag.split(['-', '_']);
    with.split(['-', '_']).all(|ours| parts.next().is_some_and(|part| part.eq_ignore_ascii_case(ours)))
}

/// What the confidence of an engine means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// Fitted to how often the engine was right on recordings it was not made
    /// with.
    Measured,
    /// Whatever the engine or its server says. Useful to compare hypotheses of
    /// one engine.
    Claimed,
}

/// What an engine can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Languages it hears.
    pub languages: Languages,
    /// It hears any words, and not only those of a grammar.
    pub dictation: bool,
    /// It listens for the answers of a grammar and for nothing else, which
    /// makes it better at them.
    pub grammars: bool,
    /// It gives [`Heard::Partial`].
    pub partials: bool,
    /// It may give more than one hypothesis.
    pub alternatives: bool,
    /// Its hypotheses have [`Hypothesis::words`].
    pub word_times: bool,
    /// It may give [`Heard::Final`] before it is asked.
    pub own_end_pointing: bool,
    /// What its confidence means; none where it has none.
    pub confidence: Option<Confidence>,
}

/// Turns speech into text.
pub trait Recogniser: Send + Sync + 'static {
    /// A short name for logs and figures, for example `pocketsphinx`; for one
    /// that is configured, the name given there.
    fn name(&self) -> &str;

    /// What it can do. Cheap, and the same for as long as the host runs.
    fn abilities(&self) -> Abilities;

    /// Starts to listen and returns at once; to be called within a tokio
    /// runtime. The run ends after [`Heard::Final`] or one error. Dropping it
    /// ends the recognition and frees what it took.
    ///
    /// An engine takes audio as it comes, or it is believed to have stalled:
    /// what cannot be sent yet, it keeps.
    fn start(&self, what: Listening) -> Run;

    /// Finds out whether it works, and its version. Asked again after a
    /// failure, so that an engine that has been installed meanwhile is found.
    fn describe(&self) -> Pending<'_, Result<EngineInfo, RecogniserError>>;

    /// Whether it can recognise this at all. What only shows when it is tried,
    /// for example a word that it cannot pronounce, fails the run.
    ///
    /// # Errors
    /// `UnknownLanguage`, `Unable`.
    fn can(&self, what: &Listening) -> Result<(), RecogniserError> {
        let abilities = self.abilities();
        if !what.languages.iter().any(|tag| abilities.languages.has(tag)) {
            return Err(RecogniserError::UnknownLanguage { languages: what.languages.join(", ") });
        }
        let closed = what.grammar.as_ref().is_some_and(|grammar| !matches!(grammar.answer, Answer::Text));
        if !(abilities.dictation || abilities.grammars && closed) {
            let wanted = if what.grammar.is_some() { "free text" } else { "free speech, without a grammar" };
            return Err(RecogniserError::Unable { engine: self.name().to_owned(), wanted });
        }
        Ok(())
    }
}

/// A recognition that runs, for whoever listens. Dropping it cancels it.
#[derive(Debug)]
pub struct Run {
    /// Takes the caller's audio. Where it is full the engine lags behind by
    /// more than a second; where it is closed the run is over, and why is said
    /// by `heard`.
    pub sound: mpsc::Sender<Sound>,
    /// Gives what was heard. It ends after [`Heard::Final`] or one error;
    /// without either, the engine died ([`Run::next`] says so).
    pub heard: mpsc::Receiver<Result<Heard, RecogniserError>>,
}

/// The other side of a [`Run`], for an engine.
#[derive(Debug)]
pub struct Work {
    /// The caller's audio. It ends without [`Sound::EndOfUtterance`] where
    /// nobody listens any more.
    pub sound: mpsc::Receiver<Sound>,
    /// Where hypotheses go. It is closed where nobody wants them any more.
    pub heard: mpsc::Sender<Result<Heard, RecogniserError>>,
}

impl Run {
    /// A run and its other side.
    #[must_use]
    pub fn new() -> (Self, Work) {
        let (sound, sounds) = mpsc::channel(FRAMES_WAITING);
        let (hear, heard) = mpsc::channel(HYPOTHESES_WAITING);
        (Self { sound, heard }, Work { sound: sounds, heard: hear })
    }

    /// Has a task of its own recognise, which ends when nobody waits for it any more; with it goes what it holds: a
    /// process, a connexion.
    pub(crate) fn spawn<F>(recognise: impl FnOnce(Work) -> F) -> Self
    where
        F: Future<Output = Result<Heard, RecogniserError>> + Send + 'static,
    {
        let (run, work) = Self::new();
        let heard = work.heard.clone();
        let recognise = recognise(work);
        tokio::spawn(async move {
            tokio::select! {
                () = heard.closed() => {}
                end = recognise => {
                    let _ = heard.send(end).await;
                }
            }
        });
        run
    }

    /// A run that has failed already.
    #[must_use]
    pub fn failed(error: RecogniserError) -> Self {
        let (run, work) = Self::new();
        // There is room for more than one.
        let _ = work.heard.try_send(Err(error));
        run
    }

    /// What is heard next; none after the end.
    ///
    /// # Errors
    /// Why the recognition failed; it is over with that.
    pub async fn next(&mut self) -> Result<Option<Heard>, RecogniserError> {
        self.heard.recv().await.transpose()
    }

    /// Gives all of `samples` and waits for the result: for tests, benchmarks
    /// and the report of accuracy. What is not a whole frame is filled with
    /// silence.
    ///
    /// # Errors
    /// Why the recognition failed; `Crashed` where it ended without a result.
    pub async fn whole(self, samples: &[i16], rate_hz: u32) -> Result<Vec<Hypothesis>, RecogniserError> {
        let Self { sound, mut heard } = self;
        let frame = (rate_hz / 50).max(1) as usize;
        let give = async {
            for samples in samples.chunks(frame) {
                let mut samples = samples.to_vec();
                samples.resize(frame, 0);
                // Where it takes no more, it is over: the reason is on its way.
                let _ = sound.send(Sound::Frame(samples.into())).await;
            }
            let _ = sound.send(Sound::EndOfUtterance).await;
            std::future::pending::<Infallible>().await
        };
        let read = async {
            loop {
                match heard.recv().await {
                    Some(Ok(Heard::Partial(_))) => {}
                    Some(Ok(Heard::Final(hypotheses))) => return Ok(hypotheses),
                    Some(Err(error)) => return Err(error),
                    None => return Err(RecogniserError::cut_short("recogniser")),
                }
            }
        };
        tokio::select! {
            done = read => done,
            never = give => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_stands_for_its_regions() {
        let some = |tags: &[&str]| Languages::Some(tags.iter().map(|&tag| tag.to_owned()).collect());
        for (ours, asked, has) in [
            (&["en"][..], "en-GB", true),
            (&["en"], "EN_us", true),
            (&["en-US"], "en", true),
            (&["en-US"], "en-GB", false),
            (&["en"], "eng", false),
            (&["en", "zh-CN"], "zh", true),
            (&[], "en", false),
        ] {
            assert_eq!(some(ours).has(asked), has, "{ours:?} {asked}");
        }
        assert!(Languages::All.has("tlh"));
    }
}
