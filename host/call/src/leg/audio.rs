//! What every leg does with its audio, however its signalling goes: prompts, words, recording, and the last words of its
//! media session.

use super::{Closing, Giving, LegSignal, Redialled};
use crate::hearing::Hearing;
use crate::prompts::Prompts;
use crate::webrtc::{self, Channel, Wish};
use callbox_dialogue::CallRecord;
use callbox_dialogue::leg::{LegCommand, LegEvent, PromptId};
use callbox_dialogue::script::HostError;
use callbox_media::{MediaCommand, MediaEvent, Session};
use callbox_script::Script;
use callbox_speech::{Ears, Speech};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long the media plane may take to finish a recording and its statistics.
const CLOSING: Duration = Duration::from_secs(5);

/// Messages of a page that wait for the script's engine, which takes them at once.
const MESSAGES: usize = 32;

/// What a leg speaks and hears with.
pub(crate) struct Senses {
    /// The voice.
    pub(crate) speech: Speech,
    /// The recognisers.
    pub(crate) ears: Ears,
    /// The call's, for who asks for no other: BCP 47.
    pub(crate) language: String,
}

/// The audio of one leg.
pub(crate) struct Audio {
    pub(crate) media: Arc<Session>,
    events: mpsc::Receiver<MediaEvent>,
    pub(super) prompts: Prompts,
    hearing: Hearing,
    /// Where the call is recorded, where it is.
    recording: Option<PathBuf>,
    /// The media session has said its last word.
    pub(super) over: bool,
    /// Why the call cannot go on as it should.
    fault: Option<String>,
    pub(crate) closing: Closing,
    /// The data channel, which telephones have none of.
    pub(crate) channel: Channel,
    /// What the page says to the script: JSON.
    pub(crate) messages: VecDeque<String>,
    /// What the engine has not been told yet.
    pub(crate) reports: VecDeque<LegEvent>,
}

impl Audio {
    pub(crate) fn new(
        (media, events): (Session, mpsc::Receiver<MediaEvent>),
        Senses { speech, ears, language }: Senses,
        script: Option<Arc<Script>>,
        recording: Option<PathBuf>,
        signals: mpsc::Sender<LegSignal>,
    ) -> Self {
        let media = Arc::new(media);
        Self {
            hearing: Hearing::new(ears, language, media.clone(), signals.clone()),
            prompts: Prompts::new(speech, media.clone(), script, signals),
            media,
            events,
            recording,
            over: false,
            fault: None,
            closing: Closing::default(),
            channel: Channel::default(),
            messages: VecDeque::new(),
            reports: VecDeque::new(),
        }
    }

    /// The next event of the session, none where it was dropped without a last word; pending for ever once it is over.
    /// Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<MediaEvent> {
        if self.over {
            return std::future::pending().await;
        }
        self.events.recv().await
    }

    pub(crate) fn tell(&mut self, command: MediaCommand) {
        if let Err(error) = self.media.send(command) {
            self.fault = Some(error.to_string());
        }
    }

    /// Tells the page at the far end what it does not know of its call yet, where there is one.
    pub(crate) fn tell_page(&mut self, record: &CallRecord) {
        if !self.channel.is_open() {
            return;
        }
        for message in self.channel.catch_up(record) {
            // A page that is told less is no reason to end a call.
            if let Err(error) = self.media.send(MediaCommand::Message(message)) {
                tracing::debug!(session = %self.media.id(), %error, "a page is not told");
            }
        }
    }

    /// Why the media does not do what it is told, where it does not.
    pub(crate) fn take_fault(&mut self) -> Option<String> {
        self.fault.take()
    }

    /// The session is over.
    pub(crate) fn ended(&mut self) {
        self.over = true;
        self.fault = Some("the media session ended before the call".into());
    }

    /// Audio flows both ways: it is recorded from now on, where it is to be.
    pub(crate) fn is_up(&mut self) {
        if let Some(path) = self.recording.clone() {
            self.tell(MediaCommand::Record { path });
        }
    }

    /// Carries out what is about audio alone; gives back anything else.
    pub(crate) fn command(&mut self, command: LegCommand) -> Option<LegCommand> {
        match command {
            LegCommand::Prepare { prompt, segments, voice, open } => {
                self.prompts.prepare(prompt, segments, voice, open);
            }
            LegCommand::Append { prompt, segments } => self.prompts.append(prompt, segments),
            LegCommand::Complete { prompt } => self.prompts.complete(prompt),
            LegCommand::Play { prompt, by_speech } => self.play(prompt, by_speech),
            LegCommand::Stop { prompt } => {
                self.tell(MediaCommand::Stop { prompt });
                self.prompts.forget(prompt);
                self.hearing.played(prompt);
            }
            LegCommand::Pause { prompt } => self.tell(MediaCommand::Pause { prompt }),
            LegCommand::Resume { prompt } => self.tell(MediaCommand::Resume { prompt }),
            LegCommand::SendDigits { digits } => {
                // The engine has a limit for digits that are never sent.
                if let Err(error) = self.media.send(MediaCommand::SendDigits { digits }) {
                    tracing::warn!(session = %self.media.id(), %error, "digits are not sent");
                }
            }
            LegCommand::Recognise { recognition, options } => {
                let failed = self.hearing.recognise(recognition, *options);
                self.reports.extend(failed);
            }
            LegCommand::EndUtterance { recognition } => self.hearing.end_utterance(recognition),
            LegCommand::StopRecognising { recognition } => self.hearing.stop(recognition),
            LegCommand::Mask { on } => self.tell(MediaCommand::Mask(on)),
            other => return Some(other),
        }
        None
    }

    fn play(&mut self, prompt: PromptId, by_speech: bool) {
        if let Err(error) = self.media.send(MediaCommand::Play { prompt }) {
            // Without a word the engine would wait for its end.
            let error = HostError::Unavailable(error.to_string());
            self.reports.push_back(LegEvent::PrepareFailed { prompt, error });
        } else if by_speech {
            self.hearing.plays(prompt);
        }
    }

    /// Takes what a task of the leg has to tell; gives back what is about another way to the callee.
    pub(crate) fn signal(&mut self, signal: LegSignal, giving: &mut Giving) -> Option<Box<Redialled>> {
        match signal {
            LegSignal::Prompt(event) => self.reports.push_back(event),
            LegSignal::Words(words) => self.reports.extend(self.hearing.heard(*words)),
            LegSignal::DigitsSent => self.reports.push_back(LegEvent::DigitsSent),
            LegSignal::Bridge(id, end) => self.reports.extend(giving.bridge_over(id, end)),
            LegSignal::Redialled(redialled) => return Some(redialled),
        }
        None
    }

    /// Takes what the page at the far end says on its data channel; true where it hangs up.
    pub(crate) fn page_says(&mut self, text: &str, giving: &Giving) -> bool {
        match webrtc::read(text) {
            // They are in no audio that a bridge could carry.
            Some(Wish::Digits(digits)) => digits.chars().for_each(|digit| {
                giving.key(digit);
                self.reports.push_back(LegEvent::Digit { digit });
            }),
            Some(Wish::Message(json)) if self.messages.len() < MESSAGES => self.messages.push_back(json),
            Some(Wish::Hangup) => return true,
            // Not for the log, which strangers must not fill.
            Some(Wish::Message(_)) | None => {}
        }
        false
    }

    /// Takes what is about audio alone; gives back anything else.
    pub(crate) fn event(&mut self, event: MediaEvent) -> Option<MediaEvent> {
        match event {
            MediaEvent::PromptStarted { prompt } => self.reports.push_back(LegEvent::PromptStarted { prompt }),
            MediaEvent::PromptEnded { prompt, played, complete } => {
                self.hearing.played(prompt);
                self.reports.push_back(LegEvent::PromptEnded { prompt, played, complete });
            }
            MediaEvent::SpeechStarted { ago_ms } => self.reports.push_back(self.hearing.spoke(ago_ms)),
            MediaEvent::SpeechEnded { ago_ms } => self.reports.push_back(self.hearing.ceased(ago_ms)),
            MediaEvent::DigitsSent => self.reports.push_back(LegEvent::DigitsSent),
            MediaEvent::RecordingDone { path, .. } => self.closing.recording = Some(path),
            MediaEvent::RecordingFailed { path, error } => {
                tracing::error!(path = %path.display(), error, "a recording failed");
                self.closing.recording_error = Some(error);
            }
            MediaEvent::CaptureDone { path, packets, dropped } => {
                tracing::debug!(path = %path.display(), packets, dropped, "a capture of media is complete");
            }
            MediaEvent::CaptureFailed { path, error } => {
                tracing::error!(path = %path.display(), error, "a capture of media failed");
            }
            MediaEvent::Closed(stats) => {
                self.closing.stats = Some(stats);
                self.ended();
            }
            other => return Some(other),
        }
        None
    }

    /// Waits for the recording and the statistics; `recorded` where the call came as far as being recorded.
    pub(crate) async fn close(self, recorded: bool) -> Closing {
        let Self { media, mut events, prompts, hearing, recording, mut closing, .. } = self;
        drop((prompts, hearing));
        let expect_recording = recording.is_some() && recorded;
        // Dropping the session closes it: the recording is finished first, then the statistics come.
        let _ = media.send(MediaCommand::StopRecording);
        drop(media);
        let last_words = async {
            while let Some(event) = events.recv().await {
                match event {
                    MediaEvent::RecordingDone { path, .. } => closing.recording = Some(path),
                    MediaEvent::RecordingFailed { error, .. } => closing.recording_error = Some(error),
                    MediaEvent::Closed(stats) => closing.stats = Some(stats),
                    _ => {}
                }
            }
        };
        if timeout(CLOSING, last_words).await.is_err() {
            tracing::warn!("the media plane did not say its last words in time");
        }
        if expect_recording && closing.recording.is_none() && closing.recording_error.is_none() {
            closing.recording_error = Some("the recording was not finished in time".into());
        }
        closing
    }
}
