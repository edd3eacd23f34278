//! What can go wrong between a caller's words and their text.

use callbox_dialogue::script::HostError;
use callbox_dialogue::time::Millis;

/// Why nothing can be recognised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecogniserError {
    /// The deployment has no recogniser for any of these languages.
    #[error("no recogniser hears {languages}")]
    UnknownLanguage {
        /// As asked for, with commas.
        languages: String,
    },
    /// The engine hears the language, but not so.
    #[error("the recogniser {engine} cannot hear {wanted}; it needs a grammar of closed answers")]
    Unable {
        /// Its name.
        engine: String,
        /// For example `free text`.
        wanted: &'static str,
    },
    /// The grammar cannot be listened for.
    #[error("the recogniser {engine} cannot work with the grammar: {what}")]
    BadGrammar {
        /// Its name.
        engine: String,
        /// What is wrong, and where.
        what: String,
    },
    /// Nobody knows how a word of the grammar sounds.
    #[error(
        "the recogniser {engine} does not know how `{word}` is pronounced: give a pronunciation with the choice, or write the word as it is spoken"
    )]
    Unpronounceable {
        /// Its name.
        engine: String,
        /// The word.
        word: String,
    },
    /// A setting of the script that the engine reads is wrong.
    #[error("the recogniser {engine} cannot use {what}")]
    InvalidSetting {
        /// Its name.
        engine: String,
        /// Which, and why.
        what: String,
    },
    /// More than one recognition may have.
    #[error("too much for a recogniser: {what} over the limit of {limit}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
    /// The engine, its library or its model is not installed.
    #[error("the recogniser {engine} is not installed: {what}; {remedy}")]
    Missing {
        /// Its name.
        engine: String,
        /// What was looked for, and where.
        what: String,
        /// What to do, for example `apt-get install libpocketsphinx3`.
        remedy: String,
    },
    /// It is there and does not work.
    #[error("the recogniser {engine} does not work: {what}")]
    Broken {
        /// Its name.
        engine: String,
        /// What happened.
        what: String,
    },
    /// It died, or a server closed the connexion, before there was a result.
    #[error("the recogniser {engine} ended before it had a result{}{what}", if what.is_empty() { "" } else { ": " })]
    Crashed {
        /// Its name.
        engine: String,
        /// What is known, shortened.
        what: String,
    },
    /// It took too long.
    #[error("the recogniser {engine} was given up: {what} took longer than {limit_ms} ms")]
    TimedOut {
        /// Its name.
        engine: String,
        /// For example `its result`.
        what: &'static str,
        /// What it was allowed.
        limit_ms: u64,
    },
    /// It gave something that is no hypothesis.
    #[error("the recogniser {engine} gave no usable result: {what}")]
    Rubbish {
        /// Its name.
        engine: String,
        /// What is wrong with it.
        what: String,
    },
    /// A server said no: credentials, quota, an unknown model.
    #[error("the recogniser {engine} refused: {what}")]
    Refused {
        /// Its name.
        engine: String,
        /// What it said, shortened, without secrets.
        what: String,
    },
    /// Too many recognitions run already.
    #[error("the recogniser {engine} is overloaded: {running} recognitions run, {waiting} wait")]
    Overloaded {
        /// Its name.
        engine: String,
        /// How many run.
        running: usize,
        /// How many wait.
        waiting: usize,
    },
    /// It failed again and again and is left alone for a while.
    #[error("the recogniser {engine} failed {failures} times and is tried again in {retry_ms} ms")]
    Resting {
        /// Its name.
        engine: String,
        /// One after the other.
        failures: u32,
        /// Until then it is left alone.
        retry_ms: Millis,
    },
}

impl RecogniserError {
    /// The channel of a run ended without a result.
    #[must_use]
    pub fn cut_short(engine: &str) -> Self {
        Self::Crashed { engine: engine.to_owned(), what: String::new() }
    }

    /// A stable word for logs, figures and the API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownLanguage { .. } => "recogniser_unknown_language",
            Self::Unable { .. } => "recogniser_unable",
            Self::BadGrammar { .. } => "recogniser_bad_grammar",
            Self::Unpronounceable { .. } => "recogniser_unpronounceable",
            Self::InvalidSetting { .. } => "recogniser_invalid_setting",
            Self::TooMuch { .. } => "recogniser_too_much",
            Self::Missing { .. } => "recogniser_missing",
            Self::Broken { .. } => "recogniser_broken",
            Self::Crashed { .. } => "recogniser_crashed",
            Self::TimedOut { .. } => "recogniser_timed_out",
            Self::Rubbish { .. } => "recogniser_rubbish",
            Self::Refused { .. } => "recogniser_refused",
            Self::Overloaded { .. } => "recogniser_overloaded",
            Self::Resting { .. } => "recogniser_resting",
        }
    }

    /// Whether it is the engine that failed, and not what was asked of it: such
    /// errors open its circuit breaker.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        match self {
            Self::UnknownLanguage { .. }
            | Self::Unable { .. }
            | Self::BadGrammar { .. }
            | Self::Unpronounceable { .. }
            | Self::InvalidSetting { .. }
            | Self::TooMuch { .. }
            | Self::Overloaded { .. }
            | Self::Resting { .. } => false,
            Self::Missing { .. }
            | Self::Broken { .. }
            | Self::Crashed { .. }
            | Self::TimedOut { .. }
            | Self::Rubbish { .. }
            | Self::Refused { .. } => true,
        }
    }

    /// What the script is told. A failing engine is `unavailable`: the wait's
    /// own time limit (`timed-out`) is another matter.
    #[must_use]
    pub fn to_host_error(&self) -> HostError {
        let words = self.to_string();
        match self {
            Self::BadGrammar { .. } | Self::Unpronounceable { .. } | Self::InvalidSetting { .. } => {
                HostError::InvalidArgument(words)
            }
            Self::TooMuch { .. } | Self::Overloaded { .. } => HostError::LimitExceeded(words),
            Self::UnknownLanguage { .. }
            | Self::Unable { .. }
            | Self::Missing { .. }
            | Self::Broken { .. }
            | Self::Crashed { .. }
            | Self::TimedOut { .. }
            | Self::Rubbish { .. }
            | Self::Refused { .. }
            | Self::Resting { .. } => HostError::Unavailable(words),
        }
    }
}

impl From<RecogniserError> for HostError {
    fn from(error: RecogniserError) -> Self {
        error.to_host_error()
    }
}
