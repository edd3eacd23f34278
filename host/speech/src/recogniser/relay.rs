//! One recognition: its audio goes to an engine, and to the next where that one
//! fails.

use super::ears::{Post, Turn};
use super::{Heard, Listening, RecogniserError, Run, Sound, Work, checked};
use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Frames of one recognition that are kept for the next engine, and the most
/// that wait for a slow one: 60 s.
const MAX_FRAMES: usize = 3_000;

/// The audio of one recognition.
#[derive(Default)]
struct Tape {
    sounds: VecDeque<Sound>,
    /// Sounds that are kept no more.
    gone: usize,
    /// The end of the utterance is on it.
    ended: bool,
}

impl Tape {
    fn push(&mut self, sound: Sound) {
        if self.ended {
            return;
        }
        self.ended = sound == Sound::EndOfUtterance;
        self.sounds.push_back(sound);
        if self.sounds.len() > MAX_FRAMES {
            self.sounds.pop_front();
            self.gone += 1;
        }
    }

    /// The sound with this number; none where it has not come yet.
    fn get(&self, number: usize) -> Option<&Sound> {
        self.sounds.get(number.checked_sub(self.gone)?)
    }

    /// Whether this number is kept no more.
    const fn has_lost(&self, number: usize) -> bool {
        number < self.gone
    }
}

/// How one engine's part ended.
enum Outcome {
    /// The result is with whoever wanted it.
    Done,
    /// Nobody wants it any more.
    Gone,
    Failed(RecogniserError),
}

/// Takes a recognition to its end, through these recognisers.
pub(super) async fn relay(posts: Vec<Arc<Post>>, what: Listening, mut work: Work) {
    let mut tape = Tape::default();
    let mut refusal = None;
    for post in posts {
        if tape.has_lost(0) {
            // The next engine would hear the end of a sentence.
            break;
        }
        match attempt(&post, &what, &mut tape, &mut work).await {
            Outcome::Done | Outcome::Gone => return,
            Outcome::Failed(error) => {
                tracing::info!(engine = post.engine.name(), code = error.code(), %error, "a recognition failed");
                // What is wrong with the question is said before what is wrong with an engine.
                if error.is_fault() || refusal.is_none() {
                    refusal = Some(refusal.filter(|first: &RecogniserError| !first.is_fault()).unwrap_or(error));
                }
            }
        }
    }
    let error = refusal.unwrap_or_else(|| RecogniserError::UnknownLanguage { languages: what.languages.join(", ") });
    let _ = work.heard.send(Err(error)).await;
}

/// Has one recogniser recognise, from the beginning of the tape.
async fn attempt(post: &Arc<Post>, what: &Listening, tape: &mut Tape, work: &mut Work) -> Outcome {
    let turn = match enter(post, tape, work).await {
        Ok(Some(turn)) => turn,
        Ok(None) => return Outcome::Gone,
        Err(error) => return Outcome::Failed(error),
    };
    let mut listener = Listener { post, what, tape, work, sent: 0, progress: Instant::now() };
    match listener.listen(post.engine.start(what.clone())).await {
        Outcome::Failed(error) => {
            turn.failed(&error);
            Outcome::Failed(error)
        }
        Outcome::Done => {
            turn.succeeded();
            Outcome::Done
        }
        Outcome::Gone => Outcome::Gone,
    }
}

/// Waits for a place while the caller goes on; none where nobody listens any
/// more.
async fn enter(post: &Arc<Post>, tape: &mut Tape, work: &mut Work) -> Result<Option<Turn>, RecogniserError> {
    let mut entering = std::pin::pin!(post.enter());
    loop {
        tokio::select! {
            biased;
            () = work.heard.closed() => return Ok(None),
            turn = &mut entering => return turn.map(Some),
            sound = work.sound.recv(), if !tape.ended => match sound {
                Some(sound) => tape.push(sound),
                None => return Ok(None),
            },
        }
    }
}

struct Listener<'a> {
    post: &'a Post,
    what: &'a Listening,
    tape: &'a mut Tape,
    work: &'a mut Work,
    /// Sounds that the engine has.
    sent: usize,
    /// When it last took one, or there was none to take.
    progress: Instant,
}

impl Listener<'_> {
    async fn listen(&mut self, run: Run) -> Outcome {
        let Run { sound: to_engine, mut heard } = run;
        // An engine that takes no more is about to say why.
        let mut takes = true;
        loop {
            let waits = self.tape.get(self.sent).cloned();
            let idle = waits.is_none();
            let limit = self.limit(!idle, takes);
            // In no order of preference: an engine that never stops talking is not to keep its own time limit away.
            tokio::select! {
                () = self.work.heard.closed() => return Outcome::Gone,
                news = heard.recv() => {
                    if let Some(outcome) = self.on_news(news).await {
                        return outcome;
                    }
                }
                sound = self.work.sound.recv(), if !self.tape.ended => match sound {
                    Some(sound) => {
                        if idle {
                            self.progress = Instant::now();
                        }
                        self.tape.push(sound);
                        if self.tape.has_lost(self.sent) {
                            return self.overdue("taking the audio", self.post.limits.stall);
                        }
                    }
                    None => return Outcome::Gone,
                },
                sent = give(&to_engine, waits), if takes => {
                    takes = sent;
                    self.sent += usize::from(sent);
                    self.progress = Instant::now();
                }
                (what, limit) = at(limit, self.progress) => return self.overdue(what, limit),
            }
        }
    }

    /// What has to happen next, and within which time; none while the caller speaks and the engine keeps up.
    const fn limit(&self, waits: bool, takes: bool) -> Option<(&'static str, Duration)> {
        let limits = &self.post.limits;
        match (takes, waits, self.tape.ended) {
            (false, ..) | (true, false, true) => Some(("its result", limits.result)),
            (true, true, _) => Some(("taking the audio", limits.stall)),
            (true, false, false) => None,
        }
    }

    /// Judges what the engine says; none where it is to say more.
    async fn on_news(&self, news: Option<Result<Heard, RecogniserError>>) -> Option<Outcome> {
        let name = self.post.engine.name();
        let asked = self.what.languages.first().map_or("", String::as_str);
        let checked = match news {
            None => Err(RecogniserError::cut_short(name)),
            Some(Err(error)) => Err(error),
            Some(Ok(Heard::Partial(raw))) => match checked::hypothesis(name, raw, asked) {
                Ok(partial) => {
                    if let Some(partial) = partial.filter(|_| self.what.partials) {
                        // A reader that is slow gets the later ones.
                        let _ = self.work.heard.try_send(Ok(Heard::Partial(partial)));
                    }
                    return None;
                }
                Err(error) => Err(error),
            },
            Some(Ok(Heard::Final(raw))) => checked::result(name, raw, asked),
        };
        Some(match checked {
            Ok(hypotheses) => match self.work.heard.send(Ok(Heard::Final(hypotheses))).await {
                Ok(()) => Outcome::Done,
                Err(_) => Outcome::Gone,
            },
            Err(error) => Outcome::Failed(error),
        })
    }

    fn overdue(&self, what: &'static str, limit: Duration) -> Outcome {
        let engine = self.post.engine.name().to_owned();
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Outcome::Failed(RecogniserError::TimedOut { engine, what, limit_ms })
    }
}

/// Gives the engine what waits, as soon as it has room; whether it takes any
/// more. Never done where nothing waits.
async fn give(to_engine: &mpsc::Sender<Sound>, waits: Option<Sound>) -> bool {
    match waits {
        Some(sound) => to_engine.send(sound).await.is_ok(),
        None => pending().await,
    }
}

/// Done when the limit is over; never without one.
async fn at(limit: Option<(&'static str, Duration)>, since: Instant) -> (&'static str, Duration) {
    match limit {
        Some((what, limit)) => {
            sleep_until(since + limit).await;
            (what, limit)
        }
        None => pending().await,
    }
}
