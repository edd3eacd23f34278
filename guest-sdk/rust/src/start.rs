//! Where the host enters a script, and how it leaves.

use crate::error::Error;
use crate::log::{Level, write};
use std::error::Error as StdError;

/// Makes a function the script: the one thing the host calls.
///
/// The function takes nothing and returns `()`, or a `Result<(), E>` with any
/// error – [`Error`](crate::Error), `String`, `Box<dyn Error>`, an error of your own.
/// It is called when the phone rings; when it returns, what is queued is played
/// and the call ends. An error plays the number's fallback, except
/// [`Error::Ended`](crate::Error::Ended): that the caller hung up is no failure.
/// A panic plays the fallback too; its message goes into the call's trace.
///
/// ```
/// use callbox_guest::{say, Result};
///
/// callbox_guest::script!(run);
///
/// fn run() -> Result<()> {
///     say("Hello, world.")?;
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! script {
    ($run:path) => {
        #[doc(hidden)]
        struct CallboxScript;

        impl $crate::bindings::exports::callbox::dialogue::script::Guest for CallboxScript {
            fn run() -> ::std::result::Result<(), ::std::string::String> {
                $crate::start::enter($run)
            }
        }

        $crate::bindings::export!(CallboxScript with_types_in $crate::bindings);
    };
}

/// What a script's function may return.
pub trait Ending {
    /// What the host is told.
    ///
    /// # Errors
    /// What went wrong, in words.
    fn told(self) -> Result<(), String>;
}

impl Ending for () {
    fn told(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Into<Box<dyn StdError>>> Ending for Result<(), E> {
    fn told(self) -> Result<(), String> {
        let Err(error) = self else { return Ok(()) };
        let error: Box<dyn StdError> = error.into();
        let mut next = Some(&*error);
        while let Some(cause) = next {
            if cause.downcast_ref::<Error>().is_some_and(Error::is_ended) {
                return Ok(());
            }
            next = cause.source();
        }
        Err(error.to_string())
    }
}

/// Runs the script's function; called by [`script!`](crate::script).
///
/// # Errors
/// What the function returned, in words.
#[doc(hidden)]
pub fn enter<R: Ending>(run: impl FnOnce() -> R) -> Result<(), String> {
    // A panic becomes a trap, which knows where but not why.
    std::panic::set_hook(Box::new(|panic| write(Level::Error, &panic.to_string().replace('\n', " "))));
    run().told()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::EndCause;
    use std::fmt;

    #[derive(Debug)]
    struct Wrapped(Error);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "while greeting: {}", self.0)
        }
    }

    impl StdError for Wrapped {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn errors_of_all_kinds_are_told_in_words() {
        assert_eq!(().told(), Ok(()));
        assert_eq!(Ok::<(), Error>(()).told(), Ok(()));
        assert_eq!(Err(Error::TimedOut).told(), Err("timed out".into()));
        assert_eq!(Err("no".to_owned()).told(), Err("no".into()));
        assert_eq!(Err(Wrapped(Error::TimedOut)).told(), Err("while greeting: timed out".into()));
    }

    #[test]
    fn a_hang_up_is_no_failure_however_deep() {
        let ended = Error::Ended(EndCause::RemoteHangup);
        assert_eq!(Err(ended.clone()).told(), Ok(()));
        assert_eq!(Err(Wrapped(ended.clone())).told(), Ok(()));
        assert_eq!(Err(Box::<dyn StdError>::from(ended)).told(), Ok(()));
    }
}
