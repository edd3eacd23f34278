//! The process in which the C libraries of recognisers run.
//!
//! A library that crashes, hangs or eats memory takes a process of ours with
//! it, and not the host with its calls. The host starts this process by its own
//! binary ([`recogniser_worker`]) and hands it one connected socket for each
//! recognition (`SCM_RIGHTS`, by way of the standard input); what is spoken on
//! them is in [`frames`].
//!
//! * pocketsphinx keeps what it learns about a voice in its decoder, crashes
//!   take all of its process along, and making a decoder costs 10 ms. So the
//!   process makes one, and *forks* for each recognition: a fresh decoder within
//!   a millisecond, memory that all share, and limits of its own.
//! * sherpa-onnx has threads, which do not survive a fork, and a model of
//!   hundreds of megabytes. It serves each recognition, or each render of a
//!   voice, in a thread; when it dies all of them fail, and go to the next
//!   engine. One process has one model.

pub(crate) mod frames;
mod serve;

use crate::recogniser::pocketsphinx::decoder::Pocketsphinx;
use crate::sherpa::{EarEngine, EarModel, VoiceEngine, VoiceModel};
use frames::{Fault, Hello, Job, Kind, Said, SpeakJob};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

/// Which engine a process is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "engine", rename_all = "snake_case")]
pub(crate) enum Setting {
    /// pocketsphinx with an acoustic model.
    Pocketsphinx {
        /// The library; a bare name is looked for where the system has its libraries.
        library: PathBuf,
        /// The folder of the model.
        model: PathBuf,
    },
    /// sherpa-onnx with a model that hears.
    SherpaEar {
        /// The library.
        library: PathBuf,
        /// The files.
        model: EarModel,
        /// Threads of one recognition.
        threads: u16,
    },
    /// sherpa-onnx with a model that speaks.
    SherpaVoice {
        /// The library.
        library: PathBuf,
        /// The files.
        model: VoiceModel,
        /// Threads of one render.
        threads: u16,
    },
}

/// An engine, within this process.
pub(crate) trait Engine {
    /// What it has for one recognition.
    type Listener<'a>: Listener
    where
        Self: 'a;

    /// Its version and its model's.
    fn version(&self) -> String;

    /// Begins a recognition.
    fn listen(&self, job: &Job) -> Result<Self::Listener<'_>, Fault>;
}

/// One recognition, within this process.
pub(crate) trait Listener {
    /// Takes samples, at the rate of the job.
    fn hear(&mut self, samples: &[i16]) -> Result<(), Fault>;

    /// What it seems to be so far; none where that has not changed. Asked
    /// about every 100 ms of audio.
    fn partial(&mut self) -> Result<Option<Said>, Fault>;

    /// Whether the engine has found the end by itself.
    fn has_ended(&mut self) -> bool {
        false
    }

    /// What it was, the likeliest first.
    fn finish(&mut self) -> Result<Vec<Said>, Fault>;
}

/// A voice, within this process.
pub(crate) trait Voice {
    /// Its version and its model's.
    fn version(&self) -> String;

    /// How many speakers it has; at least one.
    fn speakers(&self) -> u32;

    /// Samples a second.
    fn rate(&self) -> u32;

    /// Speaks. `take` is given the samples, from -1 to 1, as they come, and
    /// says whether more are wanted.
    fn speak(&self, job: &SpeakJob, take: &mut dyn FnMut(&[f32]) -> bool) -> Result<(), Fault>;
}

/// The body of `callbox recogniser-worker`. To be called before anything else
/// is started: what it is comes by its standard input, a socket, and it ends
/// with that.
#[must_use]
pub fn recogniser_worker() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn work() -> io::Result<()> {
    let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut bytes = Vec::new();
    if frames::hear(&mut control, &mut bytes)? != Some(Kind::Setting) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    serve::confine()?;
    match frames::parse(&bytes)? {
        Setting::Pocketsphinx { library, model } => match Pocketsphinx::open(&library, &model) {
            Ok(engine) => {
                frames::say(&mut control, Kind::Hello, &Hello::Ready(engine.version()))?;
                serve::forking(&control, &engine)
            }
            Err(fault) => frames::say(&mut control, Kind::Hello, &Hello::Fault(fault)),
        },
        Setting::SherpaEar { library, model, threads } => match EarEngine::open(&library, &model, threads.into()) {
            Ok(engine) => {
                frames::say(&mut control, Kind::Hello, &Hello::Ready(engine.version()))?;
                serve::threading(&control, |socket, watch| serve::recognition(socket, &engine, watch))
            }
            Err(fault) => frames::say(&mut control, Kind::Hello, &Hello::Fault(fault)),
        },
        Setting::SherpaVoice { library, model, threads } => match VoiceEngine::open(&library, &model, threads.into()) {
            Ok(voice) => {
                let hello = Hello::Voice { version: voice.version(), speakers: voice.speakers() };
                frames::say(&mut control, Kind::Hello, &hello)?;
                serve::threading(&control, |socket, watch| serve::render(socket, &voice, watch))
            }
            Err(fault) => frames::say(&mut control, Kind::Hello, &Hello::Fault(fault)),
        },
    }
}
