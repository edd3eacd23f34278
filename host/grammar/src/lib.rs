//! What a caller may answer, and what the words mean.
//!
//! A [`Grammar`] says what is asked for: one of several choices, a yes or no, digits, a number, an amount of money, a
//! date, a time, a telephone number, or anything at all; and which words always count, such as "repeat". It comes
//! from a script as JSON (see [`Grammar`]).
//!
//! * [`Grammar::understand`] – from the words a recogniser heard to what they mean, and whether more may come, which is
//!   what decides how long to wait for it
//! * [`Grammar::understand_keys`] – the same for keys of the telephone
//! * [`Grammar::jsgf`] – the sentences of the grammar, for a recogniser that must be told them beforehand
//! * [`Grammar::sentence`] – a sentence that somebody might answer
//! * [`Grammar::check`] – what is wrong with a grammar, and where
//!
//! One table of rules per language drives all of them, so that what a recogniser is told to listen for is what is
//! understood afterwards.
//!
//! What this room never does: read a clock (today is a parameter), do I/O, panic on what anybody said or wrote, or work
//! without bounds on it. It knows nothing of calls.

mod answer;
mod check;
mod date;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod grammar;
mod jsgf;
mod lex;
mod matching;
mod meaning;
mod money;
mod phone;
mod rule;
mod sentences;
mod tag;
mod time;
mod tongue;
mod written;

pub use error::GrammarError;
pub use grammar::{Answer, Choice, Grammar, Towards, Universal};
pub use jsgf::Jsgf;
pub use meaning::Understanding;
