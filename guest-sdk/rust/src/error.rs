//! Why something did not work.

use crate::bindings::callbox::dialogue::types as raw;
use std::fmt;

/// Why the call is over.
pub use raw::EndCause;

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a function did not do what it was asked to.
///
/// Most scripts pass it on with `?`. When the caller hangs up, everything that
/// needs the caller returns [`Error::Ended`]; a script that lets it pass ends
/// in good order, it is not counted as a failure (see [`script!`](crate::script)).
///
/// ```no_run
/// use callbox_guest::{context, Error};
///
/// match context::fetch::<String>("greeting") {
///     Ok(greeting) => callbox_guest::info!("{greeting}"),
///     Err(Error::TimedOut | Error::Unavailable(_)) => callbox_guest::warn!("no greeting today"),
///     Err(other) => callbox_guest::error!("{other}"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The call is over. Results, context, settings, clock and log still work
    /// for a few seconds.
    Ended(EndCause),
    /// An argument the host cannot work with; the text names it.
    InvalidArgument(String),
    /// The manifest does not declare what was asked for; the text names the
    /// missing line.
    Denied(String),
    /// Unknown name: a source, an asset, a voice, a zone.
    NotFound(String),
    /// A limit of the deployment or of the platform is reached.
    LimitExceeded(String),
    /// The operation's own time limit passed.
    TimedOut,
    /// A provider or a back end failed; trying again may help.
    Unavailable(String),
    /// JSON that does not have the expected shape; the text says where.
    Data(String),
    /// Anything else, in words.
    Other(String),
}

impl Error {
    /// Whether the call is over: the moment to write down what is known.
    ///
    /// ```no_run
    /// use callbox_guest::{results, say};
    ///
    /// if let Err(error) = say("One moment, please.") {
    ///     if error.is_ended() {
    ///         results::disposition("abandoned")?;
    ///     }
    ///     return Err(error);
    /// }
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(cause) => write!(f, "the call is over: {}", in_words(cause)),
            Self::InvalidArgument(what) => write!(f, "invalid argument: {what}"),
            Self::Denied(what) => write!(f, "denied: {what}"),
            Self::NotFound(what) => write!(f, "not found: {what}"),
            Self::LimitExceeded(what) => write!(f, "limit exceeded: {what}"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Unavailable(what) => write!(f, "unavailable: {what}"),
            Self::Data(what) => write!(f, "unexpected data: {what}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

fn in_words(cause: &EndCause) -> &str {
    match cause {
        EndCause::RemoteHangup => "the caller hung up",
        EndCause::LocalHangup => "the script hung up",
        EndCause::Transferred => "transferred",
        EndCause::NetworkFailure => "network failure",
        EndCause::Operator(why) | EndCause::Other(why) => why,
    }
}

impl From<raw::Error> for Error {
    fn from(error: raw::Error) -> Self {
        match error {
            raw::Error::Ended(cause) => Self::Ended(cause),
            raw::Error::InvalidArgument(what) => Self::InvalidArgument(what),
            raw::Error::Denied(what) => Self::Denied(what),
            raw::Error::NotFound(what) => Self::NotFound(what),
            raw::Error::LimitExceeded(what) => Self::LimitExceeded(what),
            raw::Error::TimedOut => Self::TimedOut,
            raw::Error::Unavailable(what) => Self::Unavailable(what),
            raw::Error::Other(what) => Self::Other(what),
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Data(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_a_sentence() {
        assert_eq!(Error::Ended(EndCause::RemoteHangup).to_string(), "the call is over: the caller hung up");
        assert_eq!(
            Error::Ended(EndCause::Operator("longest call".into())).to_string(),
            "the call is over: longest call"
        );
        assert_eq!(Error::Denied("sources.crm".into()).to_string(), "denied: sources.crm");
        let broken = serde_json::from_str::<u8>("[").map_err(Error::from);
        assert!(matches!(broken, Err(Error::Data(ref what)) if what.contains("line 1")), "{broken:?}");
    }

    #[test]
    fn only_the_end_of_the_call_is_an_end() {
        assert!(Error::from(raw::Error::Ended(EndCause::Transferred)).is_ended());
        assert!(!Error::from(raw::Error::TimedOut).is_ended());
    }
}
