//! `voice`.

use super::{Failure, Outcome, State, answer, name, plain_answer, text};
use crate::bindings::callbox::dialogue::voice;
use crate::resources::{ListenOptionsBuilder, Listening, Playback, Pollable, SpeechWriter};
use callbox_dialogue::script::{ListenOptions, Prompt, Segment};
use callbox_dialogue::time::Millis;
use callbox_dialogue::{HostCall, HostError, HostReply};
use wasmtime::component::Resource;

/// Segments of one prompt.
const SEGMENTS: usize = 64;
/// Bytes of one text.
const TEXT: usize = 8 << 10;
/// The longest silence.
const SILENCE: Millis = 60_000;

fn prompt(what: Vec<voice::Segment>, barge_in: voice::BargeIn, queueing: voice::Queueing) -> Result<Prompt, HostError> {
    if what.len() > SEGMENTS {
        let found = what.len();
        return Err(HostError::InvalidArgument(format!(
            "a prompt of {found} segments; at most {SEGMENTS} are allowed"
        )));
    }
    for segment in &what {
        match segment {
            voice::Segment::Text(words) => text("a text to speak", words, TEXT)?,
            voice::Segment::Ssml(words) => text("an SSML to speak", words, TEXT)?,
            voice::Segment::Asset(path) => name("the path of an asset", path)?,
            voice::Segment::Silence(ms) if *ms > SILENCE => {
                return Err(HostError::InvalidArgument(format!("a silence of {ms} ms; at most {SILENCE} are allowed")));
            }
            voice::Segment::Silence(_) => {}
        }
    }
    let segments = what.into_iter().map(Segment::from).collect();
    Ok(Prompt { segments, barge_in: barge_in.into(), queueing: queueing.into() })
}

impl State {
    pub(super) fn listen_options(&self, options: &Resource<ListenOptionsBuilder>) -> Outcome<Box<ListenOptions>> {
        Ok(self.table.get(options).map_err(wasmtime::Error::from)?.options()?)
    }

    fn plain_options(&mut self, this: &Resource<ListenOptionsBuilder>) -> wasmtime::Result<&mut ListenOptions> {
        Ok(self.table.get_mut(this)?.plain())
    }
}

impl voice::Host for State {
    async fn set_default(&mut self, name: String, value: String) -> Outcome<()> {
        super::name("voice.set-default: the name", &name)?;
        super::name("voice.set-default: the value", &value)?;
        answer!(self, HostCall::SetDefault { name, value }, HostReply::Done => ())
    }

    async fn say(&mut self, what: Vec<voice::Segment>, barge_in: voice::BargeIn) -> Outcome<voice::Playout> {
        let prompt = prompt(what, barge_in, voice::Queueing::Append)?;
        answer!(self, HostCall::Say { prompt }, HostReply::Playout(playout) => playout.into())
    }

    async fn start_say(
        &mut self,
        what: Vec<voice::Segment>,
        barge_in: voice::BargeIn,
        queueing: voice::Queueing,
    ) -> Outcome<Resource<Playback>> {
        let prompt = prompt(what, barge_in, queueing)?;
        self.open(HostCall::StartSay { prompt }, Playback).await
    }

    async fn wait_until_quiet(&mut self) -> Outcome<()> {
        answer!(self, HostCall::AwaitQuiet, HostReply::Done => ())
    }

    async fn listen(&mut self, options: Resource<ListenOptionsBuilder>) -> Outcome<voice::Heard> {
        let options = self.listen_options(&options)?;
        answer!(self, HostCall::Listen { options }, HostReply::Heard(heard) => heard.into())
    }

    async fn ask(
        &mut self,
        what: Vec<voice::Segment>,
        barge_in: voice::BargeIn,
        options: Resource<ListenOptionsBuilder>,
    ) -> Outcome<voice::Answer> {
        let prompt = prompt(what, barge_in, voice::Queueing::Append)?;
        let options = self.listen_options(&options)?;
        answer!(self, HostCall::Ask { prompt, options }, HostReply::Answer { heard, prompt } => voice::Answer {
            heard: heard.into(),
            prompt: prompt.into(),
        })
    }

    async fn meaning(&mut self) -> wasmtime::Result<Option<String>> {
        let call = HostCall::Meaning { handle: None };
        plain_answer!(self, call, HostReply::MaybeJson(json) => json, or None)
    }

    async fn start_listen(&mut self, options: Resource<ListenOptionsBuilder>) -> Outcome<Resource<Listening>> {
        let options = self.listen_options(&options)?;
        self.open(HostCall::StartListen { options }, Listening).await
    }
}

impl voice::HostPlayback for State {
    fn subscribe(&mut self, this: Resource<Playback>) -> wasmtime::Result<Resource<Pollable>> {
        let handle = self.table.get(&this)?.0;
        self.view(handle)
    }

    async fn wait(&mut self, this: Resource<Playback>) -> Outcome<voice::Playout> {
        let handle = self.table.get(&this).map_err(wasmtime::Error::from)?.0;
        answer!(self, HostCall::AwaitPlayback { handle }, HostReply::Playout(playout) => playout.into())
    }

    async fn stop(&mut self, this: Resource<Playback>) -> Outcome<voice::Playout> {
        let handle = self.table.get(&this).map_err(wasmtime::Error::from)?.0;
        answer!(self, HostCall::StopPlayback { handle }, HostReply::Playout(playout) => playout.into())
    }

    async fn drop(&mut self, this: Resource<Playback>) -> wasmtime::Result<()> {
        let Playback(handle) = self.remove(this)?;
        self.release(handle).await
    }
}

impl voice::HostSpeechWriter for State {
    async fn open(&mut self, barge_in: voice::BargeIn) -> Outcome<Resource<SpeechWriter>> {
        Self::open(self, HostCall::OpenWriter { barge_in: barge_in.into() }, SpeechWriter).await
    }

    async fn write(&mut self, this: Resource<SpeechWriter>, words: String) -> Outcome<Option<voice::Playout>> {
        text("speech-writer.write: the text", &words, TEXT)?;
        let handle = self.table.get(&this).map_err(wasmtime::Error::from)?.0;
        let call = HostCall::Write { handle, text: words };
        answer!(self, call, HostReply::MaybePlayout(playout) => playout.map(Into::into))
    }

    async fn finish(&mut self, this: Resource<SpeechWriter>) -> Outcome<Resource<Playback>> {
        // The playback takes the writer's place in the table and in the call.
        let SpeechWriter(handle) = self.remove(this)?;
        let finished = Self::open(self, HostCall::FinishWriter { handle }, Playback).await;
        if let Err(Failure::Script(_)) = &finished {
            self.release(handle).await?;
        }
        finished
    }

    async fn drop(&mut self, this: Resource<SpeechWriter>) -> wasmtime::Result<()> {
        let SpeechWriter(handle) = self.remove(this)?;
        self.release(handle).await
    }
}

impl voice::HostListenOptions for State {
    fn new(&mut self) -> wasmtime::Result<Resource<ListenOptionsBuilder>> {
        self.push(ListenOptionsBuilder::default())
    }

    fn set_languages(&mut self, this: Resource<ListenOptionsBuilder>, tags: Vec<String>) -> wasmtime::Result<()> {
        self.table.get_mut(&this)?.set_languages(tags);
        Ok(())
    }

    fn set_hints(&mut self, this: Resource<ListenOptionsBuilder>, phrases: Vec<String>) -> wasmtime::Result<()> {
        self.table.get_mut(&this)?.set_hints(phrases);
        Ok(())
    }

    fn set_start_timeout(&mut self, this: Resource<ListenOptionsBuilder>, limit: Millis) -> wasmtime::Result<()> {
        self.plain_options(&this)?.start_timeout = limit;
        Ok(())
    }

    fn set_end_silence(&mut self, this: Resource<ListenOptionsBuilder>, limit: Millis) -> wasmtime::Result<()> {
        self.plain_options(&this)?.end_silence = limit;
        Ok(())
    }

    fn set_max_length(&mut self, this: Resource<ListenOptionsBuilder>, limit: Millis) -> wasmtime::Result<()> {
        self.plain_options(&this)?.max_length = limit;
        Ok(())
    }

    fn set_digits(
        &mut self,
        this: Resource<ListenOptionsBuilder>,
        min: u8,
        max: u8,
        terminator: Option<char>,
        digit_timeout: Millis,
    ) -> wasmtime::Result<()> {
        self.table.get_mut(&this)?.set_digits(min, max, terminator, digit_timeout);
        Ok(())
    }

    fn set_digits_only(&mut self, this: Resource<ListenOptionsBuilder>) -> wasmtime::Result<()> {
        self.plain_options(&this)?.speech = false;
        Ok(())
    }

    fn set_type_ahead(&mut self, this: Resource<ListenOptionsBuilder>, on: bool) -> wasmtime::Result<()> {
        self.plain_options(&this)?.type_ahead = on;
        Ok(())
    }

    fn set_sensitive(&mut self, this: Resource<ListenOptionsBuilder>, on: bool) -> wasmtime::Result<()> {
        self.plain_options(&this)?.sensitive = on;
        Ok(())
    }

    fn set_interruption(
        &mut self,
        this: Resource<ListenOptionsBuilder>,
        min_speech: Millis,
        min_words: u8,
    ) -> wasmtime::Result<()> {
        let options = self.plain_options(&this)?;
        options.min_speech = min_speech;
        options.min_words = min_words;
        Ok(())
    }

    fn set_partials(&mut self, this: Resource<ListenOptionsBuilder>, on: bool) -> wasmtime::Result<()> {
        self.plain_options(&this)?.partials = on;
        Ok(())
    }

    fn set_extra(&mut self, this: Resource<ListenOptionsBuilder>, name: String, value: String) -> wasmtime::Result<()> {
        self.table.get_mut(&this)?.set_extra(name, value);
        Ok(())
    }

    fn set_grammar(&mut self, this: Resource<ListenOptionsBuilder>, grammar: String) -> wasmtime::Result<()> {
        self.table.get_mut(&this)?.set_grammar(&grammar);
        Ok(())
    }

    fn set_zone(&mut self, this: Resource<ListenOptionsBuilder>, zone: String) -> wasmtime::Result<()> {
        self.table.get_mut(&this)?.set_zone(zone);
        Ok(())
    }

    fn set_complete_silence(&mut self, this: Resource<ListenOptionsBuilder>, limit: Millis) -> wasmtime::Result<()> {
        self.plain_options(&this)?.complete_silence = limit;
        Ok(())
    }

    fn set_resume_after(&mut self, this: Resource<ListenOptionsBuilder>, limit: Millis) -> wasmtime::Result<()> {
        self.plain_options(&this)?.resume_after = limit;
        Ok(())
    }

    async fn drop(&mut self, this: Resource<ListenOptionsBuilder>) -> wasmtime::Result<()> {
        self.remove(this).map(drop)
    }
}

impl voice::HostListening for State {
    fn subscribe(&mut self, this: Resource<Listening>) -> wasmtime::Result<Resource<Pollable>> {
        let handle = self.table.get(&this)?.0;
        self.view(handle)
    }

    async fn wait(&mut self, this: Resource<Listening>) -> Outcome<voice::Heard> {
        let handle = self.table.get(&this).map_err(wasmtime::Error::from)?.0;
        answer!(self, HostCall::AwaitListening { handle }, HostReply::Heard(heard) => heard.into())
    }

    async fn next_partial(&mut self, this: Resource<Listening>) -> Outcome<Option<voice::Utterance>> {
        let handle = self.table.get(&this).map_err(wasmtime::Error::from)?.0;
        let call = HostCall::NextPartial { handle };
        answer!(self, call, HostReply::MaybeUtterance(utterance) => utterance.map(Into::into))
    }

    async fn alternatives(&mut self, this: Resource<Listening>) -> wasmtime::Result<Vec<voice::Utterance>> {
        let handle = self.table.get(&this)?.0;
        let call = HostCall::Alternatives { handle };
        plain_answer!(self, call, HostReply::Utterances(all) => all.into_iter().map(Into::into).collect(), or Vec::new())
    }

    async fn meaning(&mut self, this: Resource<Listening>) -> wasmtime::Result<Option<String>> {
        let handle = self.table.get(&this)?.0;
        let call = HostCall::Meaning { handle: Some(handle) };
        plain_answer!(self, call, HostReply::MaybeJson(json) => json, or None)
    }

    async fn stop(&mut self, this: Resource<Listening>) -> Outcome<voice::Heard> {
        let handle = self.table.get(&this).map_err(wasmtime::Error::from)?.0;
        answer!(self, HostCall::StopListening { handle }, HostReply::Heard(heard) => heard.into())
    }

    async fn drop(&mut self, this: Resource<Listening>) -> wasmtime::Result<()> {
        let Listening(handle) = self.remove(this)?;
        self.release(handle).await
    }
}
