//! Synthesisers and recognisers behind streaming traits, text normalisation, the audio cache.
//!
//! [`Speech::render`] turns a segment of a prompt into chunks of audio:
//!
//! 1. [`normalise`] makes words of numbers, dates, money and the like, and
//!    remembers where they come from;
//! 2. [`sentences`] cuts the text, so that the first sentence is heard while
//!    the next are rendered, and the same sentence is rendered once for all;
//! 3. the cache has the audio, or one task renders it for all who wait;
//! 4. a [`Synthesiser`] speaks the words: [`Espeak`] and [`Flite`] as processes
//!    of this machine, or somebody's service ([`remote`]), in the operator's
//!    order ([`Speaker`]), where the next steps in for one that fails;
//! 5. the times of the words are found, and point into the text as the script
//!    wrote it.
//!
//! SSML is read by [`ssml`] and becomes plain text and pauses before any engine
//! sees it, audio assets are decoded once.
//!
//! [`Ears::listen`] turns what a caller says into words: see [`recogniser`].
//!
//! What this room never does: link an engine, give an engine text or markup it
//! obeys, wait for an engine without limit, cache half a render, or let a
//! failing engine harm more than the sentence it was given.

mod assets;
mod breaker;
mod cache;
mod chunks;
mod error;
pub mod espeak;
pub mod flite;
#[doc(hidden)]
pub mod fuzz;
mod marks;
pub mod normalise;
mod order;
pub mod pipe_wav;
mod process;
pub mod recogniser;
pub mod remote;
pub mod resample;
pub mod sentences;
pub mod sherpa;
mod speech;
pub mod ssml;
mod synthesiser;

pub use breaker::{Admission, Breaker, BreakerConfig, BreakerState, Resting};
pub use cache::{CacheConfig, CacheStats};
pub use error::SpeechError;
pub use espeak::{Espeak, EspeakConfig};
pub use flite::{Flite, FliteConfig};
pub use order::Speaker;
pub use recogniser::{Ears, Languages, Recogniser, RecogniserError};
pub use speech::{Speech, SpeechConfig};
pub use synthesiser::{Chunk, EngineInfo, Part, Pending, Synthesiser, Utterance};
