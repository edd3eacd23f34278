//! Telephone dialogues for Callbox, in a few clear lines.
//!
//! A script is a function. It runs when the phone rings, one instance for one
//! call, and when it returns the call ends. In between it says, asks, looks
//! things up and writes down what it found out; each of these waits until it is
//! done, so a dialogue reads from top to bottom.
//!
//! ```
//! use callbox_guest::{Outcome, Result, ask, results, say};
//!
//! callbox_guest::script!(run);
//!
//! fn run() -> Result<()> {
//!     say("Hello, this is the library.")?;
//!     let answer = ask("Press 1 to renew your books, or 2 to leave it.")
//!         .on_silence("I did not hear a key.")
//!         .choice(&[('1', true), ('2', false)])?;
//!     if answer == Outcome::Got(true) {
//!         results::disposition("renewed")?;
//!         say("They are yours for another month.")?;
//!     }
//!     say("Goodbye.")?;
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! `callbox script new NAME` makes a project, `callbox script build` compiles
//! it. What a script may ask for – sources, destinations, settings, SIP headers
//! – stands by name in its `callbox.toml`; whoever deploys it binds the names to
//! addresses and secrets, which a script never sees.
//!
//! | to | see |
//! |---|---|
//! | speak | [`say`], [`voice`] |
//! | ask, listen, collect digits, offer a menu | [`ask()`], [`listen`], [`Ask`] |
//! | be answered in words as well as by keys: choices, yes or no, numbers, money, days, times | [`Question`] |
//! | know who calls, pick up, transfer, hang up | [`call`] |
//! | look something up | [`context`], [`settings`] |
//! | let a language model talk | [`llm`] |
//! | write down what came of it | [`results`] |
//! | do two things at once | the `start_…` functions, [`wait::select`], [`events`] |
//! | tell the time, reckon with dates and opening hours | [`clock`], [`calendar`], [`hours`] |
//! | throw dice, leave a trace | [`random`], [`info!`], [`log`] |
//!
//! When the caller hangs up, whatever needs the caller returns
//! [`Error::Ended`]; `?` passes it on and the script ends in good order. To
//! write something down first, look for [`Error::is_ended`].

mod ask;
pub mod bindings;
pub mod calendar;
pub mod call;
pub mod clock;
pub mod context;
mod error;
pub mod events;
pub mod hours;
pub mod llm;
pub mod log;
mod question;
pub mod random;
pub mod results;
pub mod settings;
#[doc(hidden)]
pub mod start;
pub mod voice;
pub mod wait;

pub use ask::{Ask, Heard, Ladder, Listening, Outcome, Utterance, ask, listen};
pub use error::{EndCause, Error, Result};
pub use question::{Choice, Money, Question, choice};
pub use voice::{BargeIn, Playout, PlayoutEnd, Prompt, Segment, say};
pub use wait::{ms, secs};
