//! Speaking.

use crate::bindings::callbox::dialogue::voice as raw;
use crate::error::Result;
use crate::wait::{Pollable, millis};
use std::time::Duration;

pub use raw::{Playout, PlayoutEnd, Segment};

/// What may cut off a prompt while it is being played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BargeIn {
    /// It is played to its end, whatever the caller does.
    #[default]
    Nothing,
    /// The caller's voice.
    Speech,
    /// A key.
    Digits,
    /// Either.
    Both,
}

impl BargeIn {
    pub(crate) const fn raw(self) -> raw::BargeIn {
        match self {
            Self::Nothing => raw::BargeIn::empty(),
            Self::Speech => raw::BargeIn::SPEECH,
            Self::Digits => raw::BargeIn::DIGITS,
            Self::Both => raw::BargeIn::all(),
        }
    }
}

/// What is to be heard: text, audio files of the script and pauses, in order.
///
/// A plain string is a prompt; the functions [`text`], [`asset`], [`ssml`] and
/// [`silence`] begin a longer one.
///
/// ```
/// use callbox_guest::{BargeIn, ms, voice};
///
/// let welcome = voice::asset("chime.wav").silence(ms(200)).text("Welcome.").barge_in(BargeIn::Digits);
/// assert_eq!(welcome.segments().len(), 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompt {
    segments: Vec<Segment>,
    pub(crate) barge_in: Option<BargeIn>,
}

impl Prompt {
    /// Then text, at most 8 KiB.
    #[must_use]
    ///
    /// ```no_run
    /// let hello = callbox_guest::voice::text("Hello.").asset("chime.wav");
    /// ```
    pub fn text(self, text: impl Into<String>) -> Self {
        self.with(Segment::Text(text.into()))
    }

    /// Then an audio file of the script, by its path in the assets folder.
    #[must_use]
    ///
    /// ```no_run
    /// callbox_guest::say(callbox_guest::voice::asset("chime.wav"))?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    pub fn asset(self, path: impl Into<String>) -> Self {
        self.with(Segment::Asset(path.into()))
    }

    /// Then SSML; not every synthesiser speaks it.
    #[must_use]
    ///
    /// ```no_run
    /// callbox_guest::say(callbox_guest::voice::ssml(r#"<speak>Hello <break time="1s"/> again.</speak>"#))?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    pub fn ssml(self, markup: impl Into<String>) -> Self {
        self.with(Segment::Ssml(markup.into()))
    }

    /// Then nothing for so long, at most a minute.
    #[must_use]
    ///
    /// ```no_run
    /// callbox_guest::say(callbox_guest::voice::silence(callbox_guest::ms(500)).text("Now."))?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    pub fn silence(self, span: Duration) -> Self {
        self.with(Segment::Silence(millis(span)))
    }

    /// Then all of another prompt. What may cut it off stays as it is here.
    #[must_use]
    pub fn then(mut self, other: impl Into<Self>) -> Self {
        self.segments.extend(other.into().segments);
        self
    }

    /// What may cut it off. Without a word, nothing cuts off what is
    /// [said](crate::say), and what the caller is asked for cuts off a
    /// [question](crate::ask).
    #[must_use]
    pub const fn barge_in(mut self, by: BargeIn) -> Self {
        self.barge_in = Some(by);
        self
    }

    /// Its pieces in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    fn with(mut self, segment: Segment) -> Self {
        self.segments.push(segment);
        self
    }

    fn flags(&self) -> raw::BargeIn {
        self.barge_in.unwrap_or_default().raw()
    }
}

impl From<&str> for Prompt {
    fn from(words: &str) -> Self {
        text(words)
    }
}

impl From<String> for Prompt {
    fn from(words: String) -> Self {
        text(words)
    }
}

impl From<&String> for Prompt {
    fn from(words: &String) -> Self {
        text(words)
    }
}

impl From<&Self> for Prompt {
    fn from(prompt: &Self) -> Self {
        prompt.clone()
    }
}

/// A prompt that begins with text.
#[must_use]
pub fn text(words: impl Into<String>) -> Prompt {
    Prompt::default().text(words)
}

/// A prompt that begins with an audio file of the script.
#[must_use]
pub fn asset(path: impl Into<String>) -> Prompt {
    Prompt::default().asset(path)
}

/// A prompt that begins with SSML.
#[must_use]
pub fn ssml(markup: impl Into<String>) -> Prompt {
    Prompt::default().ssml(markup)
}

/// A prompt that begins with a pause.
#[must_use]
pub fn silence(span: Duration) -> Prompt {
    Prompt::default().silence(span)
}

/// Speaks, and waits until it has been played or cut off. Picks up first where
/// that has not been done.
///
/// ```no_run
/// use callbox_guest::{say, voice, BargeIn, PlayoutEnd};
///
/// say("Good morning.")?;
/// let news = say(voice::text("Here is the news. …").barge_in(BargeIn::Digits))?;
/// if news.end == PlayoutEnd::CutByDigits {
///     callbox_guest::info!("had enough after: {}", news.heard_text);
/// }
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// The call is over, an asset is unknown, or the synthesiser failed.
pub fn say(prompt: impl Into<Prompt>) -> Result<Playout> {
    let prompt = prompt.into();
    let flags = prompt.flags();
    Ok(raw::say(&prompt.segments, flags)?)
}

/// Starts to speak, behind what is queued, and returns at once.
///
/// ```no_run
/// use callbox_guest::{context, voice};
///
/// let bridging = voice::start_say("One moment, I am looking that up.")?;
/// let order: String = context::fetch("order")?;
/// bridging.wait()?;
/// callbox_guest::say(order)?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// As [`say`].
pub fn start_say(prompt: impl Into<Prompt>) -> Result<Playback> {
    start(&prompt.into(), raw::Queueing::Append)
}

/// Starts to speak in place of what is playing and queued, and returns at once.
///
/// ```no_run
/// use callbox_guest::{voice, wait, secs};
///
/// let music = voice::start_say(voice::asset("hold.wav"))?;
/// wait::sleep(secs(3));
/// voice::say_instead("Here I am again.")?.wait()?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// As [`say`].
pub fn say_instead(prompt: impl Into<Prompt>) -> Result<Playback> {
    start(&prompt.into(), raw::Queueing::Replace)
}

fn start(prompt: &Prompt, queueing: raw::Queueing) -> Result<Playback> {
    Ok(Playback(raw::start_say(&prompt.segments, prompt.flags(), queueing)?))
}

/// Waits until everything queued has been played.
///
/// ```no_run
/// use callbox_guest::voice;
///
/// voice::start_say("One.")?;
/// voice::start_say("Two.")?;
/// voice::wait_until_quiet()?; // both have been heard
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// The call is over.
pub fn wait_until_quiet() -> Result<()> {
    Ok(raw::wait_until_quiet()?)
}

/// A prompt that is queued, playing or over.
#[derive(Debug)]
pub struct Playback(raw::Playback);

impl Playback {
    /// Ready when [`wait`](Self::wait) would return at once.
    #[must_use]
    pub fn subscribe(&self) -> Pollable {
        self.0.subscribe()
    }

    /// Waits until it has been played or cut off.
    ///
    /// # Errors
    /// The call is over, or the synthesiser failed.
    pub fn wait(&self) -> Result<Playout> {
        Ok(self.0.wait()?)
    }

    /// Stops it, or takes it out of the queue, and tells how far it got.
    ///
    /// # Errors
    /// The call is over.
    pub fn stop(&self) -> Result<Playout> {
        Ok(self.0.stop()?)
    }
}

/// Speaks with another voice of the synthesiser from now on.
///
/// ```no_run
/// callbox_guest::voice::set_voice("en-us+f3")?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// [`Error::NotFound`](crate::Error::NotFound) when it has no such voice.
pub fn set_voice(name: &str) -> Result<()> {
    Ok(raw::set_default("voice", name)?)
}

/// Speaks and listens in another language (a BCP 47 tag) from now on.
///
/// ```no_run
/// callbox_guest::voice::set_language("zh-CN")?;
/// callbox_guest::say("您好。")?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// [`Error::NotFound`](crate::Error::NotFound) when the synthesiser does not speak it.
pub fn set_language(tag: &str) -> Result<()> {
    Ok(raw::set_default("language", tag)?)
}

/// Speaks at another pace from now on, 80 to 400 words a minute.
///
/// ```no_run
/// callbox_guest::voice::set_rate(140)?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidArgument`](crate::Error::InvalidArgument) outside that range.
pub fn set_rate(words_per_minute: u16) -> Result<()> {
    Ok(raw::set_default("rate", &words_per_minute.to_string())?)
}

/// Speaks text as it is being written, for language models that stream.
///
/// ```no_run
/// use callbox_guest::{voice::Writer, BargeIn};
///
/// let writer = Writer::open(BargeIn::Speech)?;
/// for sentence in ["Your parcel is on its way. ", "It arrives tomorrow."] {
///     if let Some(cut) = writer.write(sentence)? {
///         callbox_guest::info!("interrupted after: {}", cut.heard_text);
///         break;
///     }
/// }
/// writer.finish()?.wait()?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
#[derive(Debug)]
pub struct Writer(raw::SpeechWriter);

impl Writer {
    /// Starts a prompt that has no text yet.
    ///
    /// # Errors
    /// The call is over.
    pub fn open(interruptible_by: BargeIn) -> Result<Self> {
        Ok(Self(raw::SpeechWriter::open(interruptible_by.raw())?))
    }

    /// Adds text; it is spoken sentence by sentence. Waits only while more than
    /// about 30 s of speech are ahead. Returns the playout as soon as the caller
    /// has interrupted: stop writing then.
    ///
    /// # Errors
    /// The call is over, or the synthesiser failed.
    pub fn write(&self, text: &str) -> Result<Option<Playout>> {
        Ok(self.0.write(text)?)
    }

    /// No more text: returns the playback to wait for.
    ///
    /// # Errors
    /// The call is over.
    pub fn finish(self) -> Result<Playback> {
        Ok(Playback(raw::SpeechWriter::finish(self.0)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_keeps_its_pieces_in_order() {
        let prompt =
            asset("chime.wav").silence(Duration::from_millis(200)).then(text("Hello.").barge_in(BargeIn::Both));
        assert_eq!(
            prompt.segments(),
            [Segment::Asset("chime.wav".into()), Segment::Silence(200), Segment::Text("Hello.".into())]
        );
        assert_eq!(prompt.barge_in, None, "what is appended does not change what may cut the whole");
        assert_eq!(Prompt::from("Hello."), Prompt::from(String::from("Hello.")));
    }

    #[test]
    fn barge_in_has_the_contract_s_flags() {
        assert!(BargeIn::Nothing.raw().is_empty());
        assert!(BargeIn::Both.raw().contains(BargeIn::Speech.raw() | BargeIn::Digits.raw()));
        assert!(!BargeIn::Digits.raw().intersects(BargeIn::Speech.raw()));
    }
}
