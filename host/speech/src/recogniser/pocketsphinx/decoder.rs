//! pocketsphinx, as far as we use it, behind safe types. It runs in the process
//! of [`crate::recogniser::worker`] only.

#![allow(unsafe_code, reason = "calls into a C library; each has its proof")]

use super::clean::Voices;
use super::confidence;
use super::features::Cepstra;
use super::ffi::{Functions, LoadError, RawDecoder, RawSegment};
use super::passage::{self, Passage};
use crate::recogniser::worker::frames::{Fault, Job, Said, SaidWord};
use crate::recogniser::worker::{Engine, Listener};
use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::Path;
use std::ptr::{NonNull, null_mut};
use std::rc::Rc;

/// What Debian calls library and model.
const REMEDY: &str = "`apt-get install libpocketsphinx3 pocketsphinx-en-us`";
/// A frame of the model.
const FRAME_MS: u32 = 10;

/// The name of a grammar within its decoder.
const GRAMMAR: &CStr = c"answer";

/// The library with its model.
pub(crate) struct Pocketsphinx {
    functions: Rc<Functions>,
    model: String,
    voices: Rc<Voices>,
    /// A decoder that nothing was heard with yet. A forked copy finds it ready.
    ready: RefCell<Option<Decoder>>,
}

impl Pocketsphinx {
    /// Loads the library and the model.
    pub(crate) fn open(library: &Path, model: &Path) -> Result<Self, Fault> {
        let missing = |what: String| Fault::Missing { what, remedy: REMEDY.to_owned() };
        let functions = Functions::load(library.as_os_str()).map_err(|error| match error {
            LoadError::Missing(what) => missing(what),
            LoadError::Other(what) => Fault::Broken { what: format!("`{}`: {what}", library.display()) },
        })?;
        let path = model.join("en-us/mdef");
        if !path.is_file() {
            return Err(missing(format!("no model at `{}`", path.display())));
        }
        let voices = Voices::read(&model.join("en-us")).map_err(missing)?;
        let model = model.to_str().ok_or_else(|| missing("the path of the model is not UTF-8".to_owned()))?.to_owned();
        // SAFETY: null is documented as "no messages"; no decoder is at work.
        unsafe { (functions.err_set_logfp)(null_mut()) };
        let opened = Self { functions: Rc::new(functions), model, voices: Rc::new(voices), ready: RefCell::new(None) };
        let ready = opened.decoder()?;
        opened.ready.replace(Some(ready));
        Ok(opened)
    }

    fn decoder(&self) -> Result<Decoder, Fault> {
        let acoustics = format!("{}/en-us", self.model);
        Decoder::new(&self.functions, &["-hmm", &acoustics])
    }
}

impl Engine for Pocketsphinx {
    type Listener<'a> = Recognition;

    fn version(&self) -> String {
        "5prealpha, en-us".to_owned()
    }

    fn listen(&self, job: &Job) -> Result<Recognition, Fault> {
        let jsgf = job.jsgf.as_deref().ok_or_else(|| Fault::BadGrammar { what: "there is none".to_owned() })?;
        let decoder = self.ready.take().map_or_else(|| self.decoder(), Ok)?;
        for (word, ways) in &job.words {
            for (way, pronunciation) in ways.iter().enumerate() {
                // The second way to say a word is an entry of its own.
                let name = if way == 0 { word.clone() } else { format!("{word}({})", way + 1) };
                decoder.add_word(&name, pronunciation)?;
            }
        }
        decoder.listen_for(jsgf)?;
        Ok(Recognition {
            decoder,
            words: job.words.iter().map(|(word, _)| word.clone()).collect(),
            passage: Passage::new(job.rate_hz),
            voices: self.voices.clone(),
            rate_hz: job.rate_hz,
            whole: None,
        })
    }
}

/// One recognition.
pub(crate) struct Recognition {
    decoder: Decoder,
    /// What of a result is a word, and no silence or noise.
    words: HashSet<String>,
    passage: Passage,
    voices: Rc<Voices>,
    rate_hz: u32,
    /// The result, should nothing more be said.
    whole: Option<Said>,
}

impl Listener for Recognition {
    fn hear(&mut self, samples: &[i16]) -> Result<(), Fault> {
        self.passage.push(samples);
        Ok(())
    }

    fn partial(&mut self) -> Result<Option<Said>, Fault> {
        if !self.passage.is_due() {
            return Ok(None);
        }
        let begun = self.decode()?;
        Ok(self.whole.clone().or(begun))
    }

    fn finish(&mut self) -> Result<Vec<Said>, Fault> {
        if self.passage.has_more() {
            self.decode()?;
        }
        Ok(self.whole.take().into_iter().collect())
    }
}

impl Recognition {
    /// Decodes what was said so far: a sentence of the grammar goes to `whole`, and what may be the beginning of one is
    /// returned.
    fn decode(&mut self) -> Result<Option<Said>, Fault> {
        self.whole = None;
        let Some((audio, before)) = self.passage.decode() else { return Ok(None) };
        let before_ms = u32::try_from(before * 1_000 / passage::RATE).unwrap_or(u32::MAX);
        let frames = self.voices.alone(audio, self.rate_hz);
        if frames.is_empty() {
            return Ok(None);
        }
        self.decoder.take(frames)?;
        // Before the end of an utterance, its hypothesis need not be a whole sentence.
        let begun = self.decoder.hypothesis().map(|text| (text, self.decoder.segments()));
        self.decoder.end()?;
        let whole = self.decoder.hypothesis().map(|text| (text, self.decoder.segments()));
        let judge = |heard: Option<(String, Vec<Segment>)>, enough: f32| {
            heard.and_then(|(text, heard)| judged(&self.words, text, heard, enough, before_ms))
        };
        let begun = judge(begun, confidence::ENOUGH_TO_GO_ON);
        self.whole = judge(whole, confidence::ENOUGH);
        Ok(begun)
    }
}

/// What was said, unless it sounds less like it than that.
fn judged(known: &HashSet<String>, text: String, heard: Vec<Segment>, enough: f32, before_ms: u32) -> Option<Said> {
    let words: Vec<(String, Segment)> = (heard.into_iter())
        .filter_map(|segment| Some((base(&segment.word), segment)).filter(|(word, _)| known.contains(word)))
        .collect();
    let confidence = confidence::of(words.iter().map(|(_, word)| word));
    if confidence < enough {
        return None;
    }
    let time = |frame: u32| before_ms.saturating_add(frame.saturating_mul(FRAME_MS));
    let words = words.into_iter().map(|(text, word)| SaidWord {
        text,
        start: time(word.first),
        end: time(word.last + 1),
        confidence: Some(confidence::of([&word])),
    });
    Some(Said { text, confidence: Some(confidence), words: words.collect(), language: None })
}

/// The word of a dictionary's entry: `read` of `read(2)`.
fn base(entry: &str) -> String {
    entry.split_once('(').filter(|(word, _)| !word.is_empty()).map_or(entry, |(word, _)| word).to_owned()
}

/// A piece of a result: a word, a silence, a noise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) word: String,
    /// Its first and last frame.
    pub(super) first: u32,
    pub(super) last: u32,
    /// How well it fits the sound, as a logarithm; over all of its frames.
    pub(super) acoustic: i32,
}

/// A decoder. Not to be shared between threads; the library does not lock.
struct Decoder {
    functions: Rc<Functions>,
    raw: NonNull<RawDecoder>,
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: `raw` is the one reference that `ps_init` gave.
        unsafe { (self.functions.ps_free)(self.raw.as_ptr()) };
    }
}

impl Decoder {
    fn new(functions: &Rc<Functions>, options: &[&str]) -> Result<Self, Fault> {
        let mut owned = vec![c("pocketsphinx")?];
        for option in options {
            owned.push(c(option)?);
        }
        let mut arguments: Vec<*mut c_char> = owned.iter().map(|text| text.as_ptr().cast_mut()).collect();
        let count = i32::try_from(arguments.len()).map_err(|_| broken("too many options"))?;
        // SAFETY: the definitions are a static table of the library; the arguments are valid strings that are copied
        // and not changed; not strict, so that an option it does not know is no error.
        let config =
            unsafe { (functions.cmd_ln_parse_r)(null_mut(), (functions.ps_args)(), count, arguments.as_mut_ptr(), 0) };
        if config.is_null() {
            return Err(broken("it does not take its options"));
        }
        // SAFETY: the options are valid; the decoder takes a reference of its own, so that ours is given back.
        let raw = unsafe {
            let raw = (functions.ps_init)(config);
            (functions.cmd_ln_free_r)(config);
            raw
        };
        let raw = NonNull::new(raw).ok_or_else(|| broken("the model cannot be loaded"))?;
        Ok(Self { functions: functions.clone(), raw })
    }

    fn add_word(&self, word: &str, phones: &str) -> Result<(), Fault> {
        let (name, phones) = (c(word)?, c(phones)?);
        // SAFETY: a valid decoder and strings, which are copied. 0: the grammar is compiled afterwards.
        let done = unsafe { (self.functions.ps_add_word)(self.raw.as_ptr(), name.as_ptr(), phones.as_ptr(), 0) };
        if done < 0 {
            return Err(Fault::BadGrammar { what: format!("the word `{word}` is refused") });
        }
        Ok(())
    }

    fn listen_for(&self, jsgf: &str) -> Result<(), Fault> {
        let jsgf = c(jsgf)?;
        // SAFETY: a valid decoder and strings, which are copied.
        let set = unsafe { (self.functions.ps_set_jsgf_string)(self.raw.as_ptr(), GRAMMAR.as_ptr(), jsgf.as_ptr()) };
        if set < 0 {
            return Err(Fault::BadGrammar { what: "it cannot be compiled".to_owned() });
        }
        // SAFETY: a valid decoder, and a name that was just given.
        self.check(unsafe { (self.functions.ps_set_search)(self.raw.as_ptr(), GRAMMAR.as_ptr()) }, "choose a grammar")
    }

    /// Begins an utterance and gives it all of its frames.
    fn take(&self, mut frames: Vec<Cepstra>) -> Result<(), Fault> {
        let mut rows: Vec<*mut f32> = frames.iter_mut().map(|frame| frame.as_mut_ptr()).collect();
        let count = c_int::try_from(rows.len()).map_err(|_| broken("too much audio"))?;
        // SAFETY: a valid decoder, with no utterance begun: every one is ended.
        self.check(unsafe { (self.functions.ps_start_utt)(self.raw.as_ptr()) }, "begin")?;
        // SAFETY: a valid decoder with an utterance begun, of a model with as many cepstra in a frame, as
        // `Voices::read` has seen; as many frames as are told are there, each a piece of `frames`, which lives longer
        // than the call and is ours alone. 0, 1: search at once; this is all of the utterance.
        let done = unsafe { (self.functions.ps_process_cep)(self.raw.as_ptr(), rows.as_mut_ptr(), count, 0, 1) };
        self.check(done, "take frames")
    }

    fn end(&self) -> Result<(), Fault> {
        // SAFETY: a valid decoder with an utterance begun.
        self.check(unsafe { (self.functions.ps_end_utt)(self.raw.as_ptr()) }, "end")
    }

    fn check(&self, done: c_int, what: &str) -> Result<(), Fault> {
        if done < 0 { Err(broken(&format!("it does not {what}"))) } else { Ok(()) }
    }

    /// The words so far; at the end, those of a whole sentence of the grammar.
    fn hypothesis(&self) -> Option<String> {
        let mut score = 0;
        // SAFETY: a valid decoder; the text is its own until its next call, and copied before.
        unsafe {
            let text = (self.functions.ps_get_hyp)(self.raw.as_ptr(), &raw mut score);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    }

    fn segments(&self) -> Vec<Segment> {
        let functions = &self.functions;
        let mut segments = Vec::new();
        // SAFETY: a valid decoder. The iterator is valid until `ps_seg_next` returns null, which frees it, and is given
        // to nobody else; words are the decoder's and copied at once; the other functions write to our integers only.
        unsafe {
            let mut at: *mut RawSegment = (functions.ps_seg_iter)(self.raw.as_ptr());
            while !at.is_null() {
                let word = (functions.ps_seg_word)(at);
                let (mut first, mut last) = (0, 0);
                (functions.ps_seg_frames)(at, &raw mut first, &raw mut last);
                let (mut acoustic, mut language, mut back_off) = (0, 0, 0);
                (functions.ps_seg_prob)(at, &raw mut acoustic, &raw mut language, &raw mut back_off);
                // What takes no time, as the beginning of a grammar, has frames below zero.
                if let (false, Ok(first), Ok(last)) = (word.is_null(), u32::try_from(first), u32::try_from(last))
                    && first <= last
                {
                    let word = CStr::from_ptr(word).to_string_lossy().into_owned();
                    segments.push(Segment { word, first, last, acoustic });
                }
                at = (functions.ps_seg_next)(at);
            }
        }
        segments
    }
}

fn c(text: &str) -> Result<CString, Fault> {
    CString::new(text).map_err(|_| Fault::BadGrammar { what: "a zero byte".to_owned() })
}

fn broken(what: &str) -> Fault {
    Fault::Broken { what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_the_dictionary_is_a_way_to_say_a_word() {
        for (entry, word) in [("read(2)", "read"), ("read", "read"), ("(NULL)", "(NULL)"), ("<sil>", "<sil>")] {
            assert_eq!(base(entry), word);
        }
    }
}
