//! Hearing between a real media plane and a recogniser that answers by the second.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use super::*;
use callbox_dialogue::CallId;
use callbox_media::{Clip, Codec, MediaConfig, MediaEvent, MediaPlan, MediaPlane, wav};
use callbox_speech::recogniser::{Abilities, Ear, EarLimits, Languages, Recogniser, Word, Work};
use callbox_speech::{EngineInfo, Pending};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);
const ID: RecognitionId = RecognitionId(1);
const PROMPT: PromptId = PromptId(7);

/// Answers with what it was made for when the utterance is over, or as soon as it has heard so many frames.
#[derive(Clone, Default)]
struct Stub {
    result: Option<Result<Hypothesis, RecogniserError>>,
    at_once: bool,
    heard: Arc<Mutex<(Option<Listening>, Vec<i16>)>>,
}

impl Recogniser for Stub {
    fn name(&self) -> &'static str {
        "stub"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            languages: Languages::Some(vec!["en".into()]),
            dictation: true,
            grammars: true,
            partials: true,
            alternatives: true,
            word_times: true,
            own_end_pointing: true,
            confidence: None,
        }
    }

    fn start(&self, what: Listening) -> Run {
        let (run, Work { mut sound, heard }) = Run::new();
        let stub = self.clone();
        stub.heard.lock().unwrap().0 = Some(what);
        tokio::spawn(async move {
            while let Some(Sound::Frame(frame)) = sound.recv().await {
                stub.heard.lock().unwrap().1.extend_from_slice(&frame);
                let partial = Hypothesis { text: "table".into(), ..Hypothesis::default() };
                let _ = heard.send(Ok(Heard::Partial(partial))).await;
                if stub.at_once {
                    break;
                }
            }
            let last = stub.result.map(|result| result.map(|best| Heard::Final(vec![best])));
            let _ = heard.send(last.unwrap_or_else(|| Ok(Heard::Final(Vec::new())))).await;
        });
        run
    }

    fn describe(&self) -> Pending<'_, Result<EngineInfo, RecogniserError>> {
        Box::pin(async { Ok(EngineInfo { version: "1".into(), voices: 0 }) })
    }
}

/// A caller, and our ears on the other side of the line.
struct Line {
    hearing: Hearing,
    events: mpsc::Receiver<MediaEvent>,
    signals: mpsc::Receiver<LegSignal>,
    caller: Session,
    _caller_events: mpsc::Receiver<MediaEvent>,
    _plane: MediaPlane,
    reports: Vec<LegEvent>,
}

impl Line {
    fn new(stub: &Stub) -> Self {
        let plane = MediaPlane::start(MediaConfig { ports: 0..=0, workers: 1, ..MediaConfig::default() }).unwrap();
        let id = CallId("call_test".into());
        let ((ours, events), (caller, caller_events)) = (plane.open(&id).unwrap(), plane.open(&id).unwrap());
        for (one, other) in [(&ours, &caller), (&caller, &ours)] {
            one.send(MediaCommand::Configure(MediaPlan::new(Codec::Pcmu, 0, other.local_rtp()))).unwrap();
        }
        let ears = Ears::new([Ear {
            engine: Arc::new(stub.clone()),
            languages: Languages::All,
            limits: EarLimits::default(),
        }]);
        let (sender, signals) = mpsc::channel(64);
        let hearing = Hearing::new(ears, "en".into(), Arc::new(ours), sender);
        Self { hearing, events, signals, caller, _caller_events: caller_events, _plane: plane, reports: Vec::new() }
    }

    /// The caller says this, and falls silent.
    fn says(&self, text: &str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let done = Command::new("flite").args(["-voice", "rms", "-t", text, "-o"]).arg(file.path()).status();
        assert!(done.expect("flite is installed, see tools/setup").success());
        let samples = wav::read_samples(&std::fs::read(file.path()).unwrap()).unwrap();
        let prompt = PromptId(0);
        self.caller.send(MediaCommand::Append { prompt, clip: Clip::from_pcm(samples) }).unwrap();
        self.caller.send(MediaCommand::Complete { prompt }).unwrap();
        self.caller.send(MediaCommand::Play { prompt }).unwrap();
    }

    /// Waits for a report that is like that.
    async fn until(&mut self, like: impl Fn(&LegEvent) -> bool) -> LegEvent {
        let found = async {
            loop {
                let event = tokio::select! {
                    Some(event) = self.events.recv() => match event {
                        MediaEvent::SpeechStarted { ago_ms } => Some(self.hearing.spoke(ago_ms)),
                        MediaEvent::SpeechEnded { ago_ms } => Some(self.hearing.ceased(ago_ms)),
                        _ => None,
                    },
                    Some(LegSignal::Words(words)) = self.signals.recv() => self.hearing.heard(*words),
                };
                if let Some(event) = event {
                    self.reports.push(event.clone());
                    if like(&event) {
                        return event;
                    }
                }
            }
        };
        timeout(SOON, found).await.expect("it comes in time")
    }

    fn recognise(&mut self, options: ListenOptions) -> Option<LegEvent> {
        self.hearing.recognise(ID, options)
    }
}

fn ceased(event: &LegEvent) -> bool {
    matches!(event, LegEvent::SpeechEnded { .. })
}

fn is_final(event: &LegEvent) -> bool {
    matches!(event, LegEvent::Recognised { .. } | LegEvent::RecogniseFailed { .. })
}

fn said(text: &str, words: Vec<Word>) -> Stub {
    let best = Hypothesis { text: text.into(), language: "en".into(), words, ..Hypothesis::default() };
    Stub { result: Some(Ok(best)), ..Stub::default() }
}

#[tokio::test]
async fn what_is_said_reaches_the_recogniser_and_its_words_the_engine() {
    let word = |text: &str, start, end| Word { text: text.into(), start, end, confidence: None };
    let stub = said("a table", vec![word("a", 300, 350), word("table", 350, 900)]);
    let mut line = Line::new(&stub);
    let hints = vec!["table".into()];
    assert_eq!(line.recognise(ListenOptions { hints, ..ListenOptions::default() }), None);
    line.says("a table for two");
    line.until(ceased).await;
    line.hearing.end_utterance(ID);
    let LegEvent::Recognised { recognition: ID, alternatives } = line.until(is_final).await else {
        panic!("{:?}", line.reports)
    };
    let [Utterance { text, start, end, .. }] = &alternatives[..] else { panic!("{alternatives:?}") };
    assert_eq!((text.as_str(), end - start), ("a table", 600), "times as the recogniser gave them, moved");
    assert!(matches!(line.reports[..], [LegEvent::SpeechStarted { .. }, ..]), "{:?}", line.reports);
    assert!(
        line.reports
            .iter()
            .any(|event| matches!(event, LegEvent::Partial { utterance, .. } if utterance.text == "table"))
    );
    let heard = stub.heard.lock().unwrap();
    let what = heard.0.as_ref().unwrap();
    assert_eq!(
        (what.rate_hz, &what.languages[..], &what.hints[..]),
        (8_000, &["en".into()][..], &["table".into()][..])
    );
    assert!(heard.1.iter().any(|sample| *sample > 2_000) && heard.1.len().is_multiple_of(160));
    assert!(!line.hearing.attends, "nobody listens any more");
}

#[tokio::test]
async fn times_without_words_are_those_of_the_voice() {
    let mut line = Line::new(&said("a table for two", Vec::new()));
    line.recognise(ListenOptions::default());
    line.says("a table for two");
    line.until(ceased).await;
    line.hearing.end_utterance(ID);
    let LegEvent::Recognised { alternatives, .. } = line.until(is_final).await else { panic!("{:?}", line.reports) };
    let (start, end) = (alternatives[0].start, alternatives[0].end);
    assert!((600..3_000).contains(&(end - start)), "{start} to {end}");
}

#[tokio::test]
async fn silence_is_recognised_by_nobody() {
    let stub = said("anything", Vec::new());
    let mut line = Line::new(&stub);
    line.recognise(ListenOptions::default());
    line.hearing.end_utterance(ID);
    let event = line.until(is_final).await;
    assert_eq!(event, LegEvent::Recognised { recognition: ID, alternatives: Vec::new() });
    assert!(stub.heard.lock().unwrap().0.is_none());
}

#[tokio::test]
async fn a_recogniser_with_an_end_of_its_own_is_not_waited_for() {
    let mut line = Line::new(&Stub { at_once: true, ..said("table", Vec::new()) });
    line.recognise(ListenOptions::default());
    line.says("a table for two");
    assert!(matches!(line.until(is_final).await, LegEvent::Recognised { alternatives, .. } if alternatives.len() == 1));
}

#[tokio::test]
async fn failures_are_told_and_typed() {
    let error = RecogniserError::Broken { engine: "stub".into(), what: "it is one".into() };
    let mut line = Line::new(&Stub { result: Some(Err(error)), at_once: true, ..Stub::default() });
    let german = ListenOptions { languages: vec!["de".into()], ..ListenOptions::default() };
    let refused = line.recognise(german);
    assert!(matches!(refused, Some(LegEvent::RecogniseFailed { recognition: ID, .. })), "{refused:?}");
    assert!(!line.hearing.attends);
    line.recognise(ListenOptions::default());
    line.says("a table for two");
    let failed = line.until(is_final).await;
    assert!(matches!(failed, LegEvent::RecogniseFailed { recognition: ID, .. }), "{failed:?}");
}

#[tokio::test]
async fn what_was_stopped_says_no_more_and_a_prompt_keeps_the_ears_open() {
    let mut line = Line::new(&said("a table", Vec::new()));
    line.hearing.plays(PROMPT);
    assert!(line.hearing.attends);
    line.recognise(ListenOptions::default());
    line.hearing.stop(ID);
    assert!(line.hearing.attends, "speech may cut the prompt");
    let stale = Words { recognition: ID, from: 0, heard: Ok(Heard::Final(Vec::new())) };
    assert!(line.hearing.heard(stale).is_none());
    line.says("hello there");
    line.until(ceased).await;
    line.hearing.played(PROMPT);
    assert!(!line.hearing.attends);
}

#[tokio::test]
async fn without_a_recogniser_nobody_listens_to_prompts() {
    let mut line = Line::new(&Stub::default());
    line.hearing = Hearing::new(Ears::new([]), "en".into(), line.hearing.media.clone(), line.hearing.signals.clone());
    line.hearing.plays(PROMPT);
    assert!(!line.hearing.attends && !serves(&Ears::new([]), "en"));
}
