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

pub(crate) mod frames;
mod serve;

use crate::recogniser::pocketsphinx::decoder::Pocketsphinx;
use frames::{Fault, Hello, Job, Kind, Said};
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
}

/// An engine, within this process.
pub(crate) trait Engine {
    /// What it has for one recognition.
    type Listener: Listener;

    /// Its version and its model's.
    fn version(&self) -> String;

    /// Begins a recognition.
    fn listen(&self, job: &Job) -> Result<Self::Listener, Fault>;
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
    }
}
