//! Prompts of one call: rendered by the synthesiser, fed to the media plane.
//!
//! Each prompt has a task that renders its segments in order and appends the
//! audio as it comes; stopping a prompt aborts its task. Nothing here decides
//! when a prompt plays: the engine does.

use crate::leg::LegSignal;
use callbox_dialogue::engine::without_tags;
use callbox_dialogue::leg::{LegEvent, PromptId, VoiceSettings, WordMark};
use callbox_dialogue::script::{HostError, Segment};
use callbox_dialogue::time::Millis;
use callbox_media::{MediaCommand, Session};
use callbox_script::Script;
use callbox_speech::Speech;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// More text of an open prompt, while it is being written.
const OPEN_PROMPT_QUEUE: usize = 256;

/// What the prompts of a call need.
pub(crate) struct Prompts {
    speech: Speech,
    media: Arc<Session>,
    script: Option<Arc<Script>>,
    signals: mpsc::Sender<LegSignal>,
    running: HashMap<PromptId, Rendering>,
}

struct Rendering {
    task: AbortHandle,
    /// Takes further segments, while the prompt is open.
    more: Option<mpsc::Sender<Vec<Segment>>>,
}

impl Prompts {
    pub(crate) fn new(
        speech: Speech,
        media: Arc<Session>,
        script: Option<Arc<Script>>,
        signals: mpsc::Sender<LegSignal>,
    ) -> Self {
        Self { speech, media, script, signals, running: HashMap::new() }
    }

    pub(crate) fn prepare(&mut self, prompt: PromptId, segments: Vec<Segment>, voice: VoiceSettings, open: bool) {
        let (more, rest) = mpsc::channel(OPEN_PROMPT_QUEUE);
        let render = Render {
            prompt,
            voice,
            speech: self.speech.clone(),
            media: self.media.clone(),
            script: self.script.clone(),
            signals: self.signals.clone(),
            text_bytes: 0,
            audio_ms: 0,
            marks: Vec::new(),
            prepared: false,
        };
        let task = tokio::spawn(render.run(segments, rest)).abort_handle();
        self.running.retain(|_, r| !r.task.is_finished());
        self.running.insert(prompt, Rendering { task, more: open.then_some(more) });
    }

    pub(crate) fn append(&mut self, prompt: PromptId, segments: Vec<Segment>) {
        let Some(more) = self.running.get(&prompt).and_then(|r| r.more.as_ref()) else { return };
        if more.try_send(segments).is_err() {
            // The engine holds a writer back at about 30 s of speech, so a full queue means that
            // the task is gone; it has said why.
            tracing::debug!(prompt = prompt.0, "text for a prompt that is over");
        }
    }

    pub(crate) fn complete(&mut self, prompt: PromptId) {
        if let Some(rendering) = self.running.get_mut(&prompt) {
            rendering.more = None;
        }
    }

    /// Ends the rendering. The caller stops the media plane.
    pub(crate) fn forget(&mut self, prompt: PromptId) {
        if let Some(rendering) = self.running.remove(&prompt) {
            rendering.task.abort();
        }
    }
}

impl Drop for Prompts {
    fn drop(&mut self) {
        for rendering in self.running.values() {
            rendering.task.abort();
        }
    }
}

/// The rendering of one prompt.
struct Render {
    prompt: PromptId,
    voice: VoiceSettings,
    speech: Speech,
    media: Arc<Session>,
    script: Option<Arc<Script>>,
    signals: mpsc::Sender<LegSignal>,
    /// Bytes of the prompt's text, SSML without its tags, before the present segment.
    text_bytes: u32,
    /// Length of the audio so far.
    audio_ms: Millis,
    marks: Vec<WordMark>,
    prepared: bool,
}

impl Render {
    async fn run(mut self, segments: Vec<Segment>, mut rest: mpsc::Receiver<Vec<Segment>>) {
        let prompt = self.prompt;
        let mut batch = Some(segments);
        while let Some(segments) = batch {
            for segment in &segments {
                if let Err(error) = self.segment(segment).await {
                    self.report(LegEvent::PrepareFailed { prompt, error }).await;
                    return;
                }
            }
            batch = rest.recv().await;
        }
        if let Err(error) = self.feed(MediaCommand::Complete { prompt }) {
            return self.report(LegEvent::PrepareFailed { prompt, error }).await;
        }
        let marks = std::mem::take(&mut self.marks);
        self.report(LegEvent::Words { prompt, marks, duration: Some(self.audio_ms) }).await;
        self.ready().await;
    }

    async fn segment(&mut self, segment: &Segment) -> Result<(), HostError> {
        let script = self.script.clone();
        let mut chunks = self.speech.render(segment, &self.voice, |path| script?.assets.get(path).cloned());
        let (text_base, audio_base) = (self.text_bytes, self.audio_ms);
        while let Some(chunk) = chunks.recv().await {
            let chunk = chunk.map_err(|e| e.to_host_error())?;
            self.marks.extend(chunk.words.iter().map(|word| WordMark {
                at: audio_base.saturating_add(word.at),
                text_end: text_base.saturating_add(word.text_end),
            }));
            // A chunk may tell of words only.
            if !chunk.clip.samples().is_empty() {
                self.audio_ms = self.audio_ms.saturating_add(chunk.clip.duration_ms());
                self.feed(MediaCommand::Append { prompt: self.prompt, clip: chunk.clip })?;
                if !self.prepared {
                    self.ready().await;
                }
            }
            let marks = self.marks.clone();
            self.report(LegEvent::Words { prompt: self.prompt, marks, duration: None }).await;
        }
        let bytes = match segment {
            Segment::Text(text) => text.len(),
            Segment::Ssml(ssml) => without_tags(ssml).len(),
            Segment::Asset(_) | Segment::Silence(_) => return Ok(()),
        };
        // Texts are joined by a space.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.text_bytes = self.text_bytes.saturating_add(bytes).saturating_add(1);
        Ok(())
    }

    async fn ready(&mut self) {
        if !std::mem::replace(&mut self.prepared, true) {
            self.report(LegEvent::Prepared { prompt: self.prompt }).await;
        }
    }

    /// A prompt that lacks a piece has failed: without its end it would be silent for ever.
    fn feed(&self, command: MediaCommand) -> Result<(), HostError> {
        self.media.send(command).map_err(|error| HostError::Unavailable(error.to_string()))
    }

    async fn report(&self, event: LegEvent) {
        // A closed channel means that the call is over: nobody wants to know.
        let _ = self.signals.send(LegSignal::Prompt(event)).await;
    }
}
