//! The seam between the engine and a leg (SIP, WebRTC, simulated).
//!
//! The engine tells a leg what to do with [`LegCommand`]s and learns what
//! happened from [`LegEvent`]s. A leg carries them out in order; it holds no
//! rule of the dialogue: which prompt is next, what cuts it, and when a wait is
//! over are decided by the engine alone. One prompt sounds at a time.

use crate::call::{EndCause, Evidence};
use crate::script::{ListenOptions, Segment, TransferMode, Utterance};
use crate::time::Millis;
use serde::{Deserialize, Serialize};

/// The name of a prompt within its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PromptId(pub u32);

/// The name of a transfer within its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransferId(pub u32);

/// The name of a run of the recogniser within its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecognitionId(pub u32);

/// Who speaks, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VoiceSettings {
    /// A voice of the synthesiser; none for the language's default.
    pub voice: Option<String>,
    /// BCP 47 tag.
    pub language: String,
    /// Words a minute, 80 to 400; none for the voice's own.
    pub rate: Option<u16>,
}

/// What the engine tells a leg.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum LegCommand {
    /// Let the caller hear ringing (180).
    Ring,
    /// Open the audio of an inbound call without answering it (183). The leg reports [`LegEvent::EarlyMedia`] or
    /// [`LegEvent::EarlyMediaFailed`].
    EarlyMedia,
    /// Accept the call. The leg reports [`LegEvent::Answered`]. What is playing as early media goes on.
    Answer,
    /// Decline the call. The leg reports [`LegEvent::Ended`].
    Reject {
        /// SIP status, 400 to 699.
        status: u16,
        /// Reason phrase.
        reason: Option<String>,
    },
    /// End the call, whatever its state. The leg reports [`LegEvent::Ended`].
    Hangup,
    /// Make a prompt ready. The leg reports [`LegEvent::Prepared`] or
    /// [`LegEvent::PrepareFailed`], possibly before all of its audio exists.
    Prepare {
        /// The prompt.
        prompt: PromptId,
        /// What is to be heard. Empty for a prompt that is fed by `Append`.
        segments: Vec<Segment>,
        /// Who speaks.
        voice: VoiceSettings,
        /// More segments follow with `Append`, until `Complete`.
        open: bool,
    },
    /// More text for an open prompt.
    Append {
        /// The prompt.
        prompt: PromptId,
        /// What comes next.
        segments: Vec<Segment>,
    },
    /// An open prompt has all its text.
    Complete {
        /// The prompt.
        prompt: PromptId,
    },
    /// Play a prepared prompt now; nothing else is playing. The leg reports
    /// [`LegEvent::PromptEnded`] once, also when it is stopped.
    Play {
        /// The prompt.
        prompt: PromptId,
        /// The caller's voice may cut it off: sounds are reported while it plays, whether anybody listens or not.
        #[serde(default)]
        by_speech: bool,
    },
    /// Stop the prompt that plays, within one 20 ms frame, or forget one that
    /// has not been played. The leg reports [`LegEvent::PromptEnded`] only for
    /// one that was playing.
    Stop {
        /// The prompt.
        prompt: PromptId,
    },
    /// Let the prompt that plays fall silent, within one 20 ms frame, and keep its place. More text may come for it
    /// meanwhile; it may be stopped. Not asked for a prompt that is paused.
    Pause {
        /// The prompt.
        prompt: PromptId,
    },
    /// Let a paused prompt go on where it fell silent, within one 20 ms frame. What the pause took counts neither as
    /// played nor for its word times.
    Resume {
        /// The prompt.
        prompt: PromptId,
    },
    /// Send DTMF; `,` pauses 500 ms. The leg reports [`LegEvent::DigitsSent`].
    SendDigits {
        /// `0`-`9`, `*`, `#`, `A`-`D`, `,`.
        digits: String,
    },
    /// Start the recogniser.
    Recognise {
        /// The run.
        recognition: RecognitionId,
        /// Languages, hints. When the caller is done is decided by the engine, which says so with `EndUtterance`; a
        /// recogniser that knows better may give its result before.
        options: Box<ListenOptions>,
    },
    /// The caller is done: give the result for what was heard so far. The leg reports [`LegEvent::Recognised`], with no
    /// hypothesis where nothing was made out, or [`LegEvent::RecogniseFailed`]; what comes later is not waited for.
    EndUtterance {
        /// The run.
        recognition: RecognitionId,
    },
    /// Stop the recogniser; its result is not wanted any more.
    StopRecognising {
        /// The run.
        recognition: RecognitionId,
    },
    /// What the caller says and presses from now on is secret: silence it in
    /// the recording, mask it in logs and captures.
    Mask {
        /// Whether it is secret.
        on: bool,
    },
    /// Give the call away. The leg reports [`LegEvent::TransferEnded`].
    Transfer {
        /// The transfer.
        transfer: TransferId,
        /// SIP URI or number.
        target: String,
        /// REFER or bridge.
        mode: TransferMode,
        /// Give up when not answered by then.
        ring_timeout: Millis,
        /// What the target sees as the caller.
        caller_id: Option<String>,
        /// Extra headers of the new leg.
        headers: Vec<(String, String)>,
    },
    /// Take the caller back. The leg reports [`LegEvent::TransferEnded`].
    CancelTransfer {
        /// The transfer.
        transfer: TransferId,
    },
}

/// A word of a prompt and when it sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordMark {
    /// Since the prompt's first audio, the moment at which the word is over.
    pub at: Millis,
    /// Bytes of the prompt's plain text (its text segments joined by a space)
    /// that have been spoken by then.
    pub text_end: u32,
}

/// How a transfer ended, as the leg saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum TransferResult {
    /// REFER accepted and answered, or bridged and ended by the caller or by
    /// the target while the caller's leg is gone too: the caller is not ours
    /// any more.
    Connected,
    /// Not answered.
    Failed {
        /// SIP status; 487 for one that was cancelled, 408 for the ring timeout.
        status: u16,
        /// Reason phrase.
        reason: String,
    },
    /// Bridged, and the target hung up while the caller stayed.
    Returned,
}

/// What a leg reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum LegEvent {
    /// An outbound call is ringing.
    Ringing,
    /// An inbound call that is not answered has its audio: the caller hears what is played; whether we hear the caller
    /// depends on the networks in between.
    EarlyMedia,
    /// There is no audio before the answer. The call goes on as if it had not been asked for.
    EarlyMediaFailed {
        /// Why, for the script.
        error: crate::script::HostError,
    },
    /// The call is up: audio may flow both ways.
    Answered,
    /// The call is over or never came about. Nothing follows.
    Ended {
        /// Who or what ended it.
        cause: EndCause,
        /// What the network said.
        evidence: Evidence,
        /// The reason for the record where the leg knows better than the
        /// engine, for example `media_timeout`.
        reason: Option<crate::call::EndReason>,
    },
    /// A prompt is ready to play.
    Prepared {
        /// The prompt.
        prompt: PromptId,
    },
    /// A prompt cannot be played: the synthesiser failed, the asset is broken.
    /// The engine stops a prompt that was playing; where its `PromptEnded` does
    /// not follow, the engine goes on without it after a second.
    PrepareFailed {
        /// The prompt.
        prompt: PromptId,
        /// What failed, for the script and the record.
        error: crate::script::HostError,
    },
    /// Word times of a prompt, when they become known. Later reports replace
    /// earlier ones.
    Words {
        /// The prompt.
        prompt: PromptId,
        /// Ascending.
        marks: Vec<WordMark>,
        /// Length of all audio, once known.
        duration: Option<Millis>,
    },
    /// The first packet of a prompt left.
    PromptStarted {
        /// The prompt.
        prompt: PromptId,
    },
    /// A prompt is over: played to its end, or stopped.
    PromptEnded {
        /// The prompt.
        prompt: PromptId,
        /// Audio that reached the line.
        played: Millis,
        /// All of it.
        complete: bool,
    },
    /// The caller pressed a key. Reported once, when it begins.
    Digit {
        /// `0`-`9`, `*`, `#`, `A`-`D`.
        digit: char,
    },
    /// [`LegCommand::SendDigits`] is done.
    DigitsSent,
    /// The caller began to speak, as far as can be told from the sound.
    SpeechStarted {
        /// How long ago the sound itself began, by the time of the audio.
        #[serde(default)]
        ago: Millis,
    },
    /// The caller stopped.
    SpeechEnded {
        /// How long ago the sound itself was over, by the time of the audio.
        #[serde(default)]
        ago: Millis,
    },
    /// An interim hypothesis.
    Partial {
        /// The run.
        recognition: RecognitionId,
        /// What it is so far.
        utterance: Utterance,
    },
    /// The recogniser is done, because it was told to or by itself: hypotheses, the best first; none for speech it
    /// could not make out. Its run is over.
    Recognised {
        /// The run.
        recognition: RecognitionId,
        /// The best first.
        alternatives: Vec<Utterance>,
    },
    /// The recogniser failed.
    RecogniseFailed {
        /// The run.
        recognition: RecognitionId,
        /// What failed.
        error: crate::script::HostError,
    },
    /// A transfer is over.
    TransferEnded {
        /// The transfer.
        transfer: TransferId,
        /// How.
        result: TransferResult,
    },
}

/// Whether a leg may show this as the caller of a transfer: a number or a plain name, which cannot be mistaken for
/// anything else in a SIP message. What it may not show fails with 403.
#[must_use]
pub fn is_caller_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'_' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}
