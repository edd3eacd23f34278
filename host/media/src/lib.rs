//! The RTP plane: packets, jitter buffer, codecs, digits, recording, on threads of its own.
//!
//! A [`MediaPlane`] owns a few worker threads. [`MediaPlane::open`] binds a port pair and pins a session to one of
//! them; [`MediaCommand`]s go in through the [`Session`], [`MediaEvent`]s come out of a bounded channel. The last
//! event of a session is always [`MediaEvent::Closed`] with its [`MediaStats`].
//!
//! The parts are pure, with time as a parameter, and are put together from the inside out:
//!
//! * [`codec`], `halfband`, [`clip`], [`resample`], [`wav`] – samples: G.711, G.722, Opus, G.729; prompts, files
//! * [`rtp`], [`rtcp`], [`reception`], [`quality`] – packets and what they say about the network (RFC 3550)
//! * [`dtmf`] – keys as telephone-events (RFC 4733) and as tones in the audio, both ways
//! * [`timeline`], `waiting`, [`jitter`], [`conceal`], [`noise`] – from packets back to an even stream of samples
//! * [`latch`] – whom to listen to, whom to answer (symmetric RTP)
//! * [`playout`], [`bridge`], [`tap`] – what is said: prompts, or another call; and who listens beside us
//! * `voice`, `listener` – whether the caller speaks, and who wants to know what
//! * `incoming`, `outgoing` – the two directions of one call: decoded in order, encoded live where no other call has done it
//! * `stream`, `report` – all of the above for one call: packets, commands and time in; packets and events out
//! * [`security`], [`srtp`], `dtls`, `shield` – what protects packets, and the guard between the sockets and a stream
//! * `capture` – what passes, as pcap files, on a thread of its own
//! * `recorder` – two-channel WAV files, on a thread of its own
//! * [`webrtc`] – calls by browsers: one port for all of them, whose each datagram is, TCP for whom UDP does not reach
//! * [`wheel`], `ports`, `worker`, [`plane`] – threads, sockets and the clock
//!
//! What this room never does: play anything it was not told to, send to an address that signalling or the locked
//! source did not give, send or hear anything in the clear where protection was agreed on, allocate, lock or format per
//! packet, or block a worker on a file or on a slow reader of events.

#[doc(hidden)]
pub mod bench;
pub mod bridge;
mod capture;
pub mod clip;
pub mod codec;
pub mod command;
pub mod conceal;
mod dtls;
pub mod dtmf;
pub mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod halfband;
mod histogram;
mod incoming;
pub mod jitter;
pub mod latch;
mod listener;
pub mod noise;
mod outgoing;
pub mod pcap;
pub mod plane;
pub mod playout;
mod ports;
pub mod quality;
pub mod reception;
mod recorder;
mod report;
pub mod resample;
pub mod rtcp;
pub mod rtp;
pub mod security;
mod shield;
pub mod srtp;
mod stream;
pub mod tap;
pub mod timeline;
mod voice;
mod waiting;
pub mod wav;
pub mod webrtc;
pub mod wheel;
mod worker;

pub use clip::Clip;
pub use codec::{Codec, Law};
pub use command::{MediaCommand, MediaEvent, MediaPlan, MediaStats, SessionId};
pub use error::MediaError;
pub use histogram::Percentiles;
pub use plane::{MediaConfig, MediaPlane, OtherFamily, PlaneStats, Session};
pub use quality::{History, Spread};
pub use security::{DtlsRole, Fingerprint, FingerprintError, Security};
pub use srtp::{SrtpKeyError, SrtpKeys, SrtpSuite};
pub use tap::{Tap, TapFrame, TapSender};

/// Samples a second of everything in this room.
pub const SAMPLE_RATE: u32 = 8_000;
/// Samples in 20 ms, the frame in which taps, bridges and recordings count.
pub const FRAME: usize = 160;
