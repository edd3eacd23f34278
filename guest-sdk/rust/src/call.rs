//! The call this script serves: who calls, picking up, hanging up, handing over.

use crate::bindings::callbox::dialogue::call as raw;
use crate::error::Result;
use crate::wait::{Pollable, millis};
use serde::de::DeserializeOwned;
use std::time::Duration;

pub use raw::{Direction, Info, Party, Transport};

/// What is known about the call.
///
/// ```no_run
/// let info = callbox_guest::call::info();
/// let from = info.caller.number.as_deref().unwrap_or("an unknown number");
/// callbox_guest::info!("{from} calls about {:?}", info.header("X-Call-Relation-Id"));
/// ```
#[must_use]
pub fn info() -> Info {
    raw::get_info()
}

impl Info {
    /// The first SIP header of that name, in any case, as far as the manifest
    /// lists it. Chosen by the caller: never trust it.
    ///
    /// ```no_run
    /// let campaign = callbox_guest::call::info().header("X-Campaign").map(str::to_owned);
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The JSON given by whoever placed the call through the API; `None` when
    /// nothing was given.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) when it does not have that shape.
    ///
    /// ```no_run
    /// #[derive(serde::Deserialize)]
    /// struct Row { name: String }
    ///
    /// if let Some(row) = callbox_guest::call::info().parameters_as::<Row>()? {
    ///     callbox_guest::say(format!("Hello {}.", row.name))?;
    /// }
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    pub fn parameters_as<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        Ok(self.parameters.as_deref().map(serde_json::from_str).transpose()?)
    }
}

/// Lets the caller hear ringing. The host rings by itself when the script takes
/// longer than a moment, so few scripts need it.
///
/// ```no_run
/// use callbox_guest::{call, secs, wait};
///
/// call::ring()?;
/// wait::sleep(secs(4)); // lets it ring twice
/// call::answer()?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// The call is over.
pub fn ring() -> Result<()> {
    Ok(raw::ring()?)
}

/// Speaks before picking up: what is said and asked from now on is early media,
/// which costs the caller nothing. [`answer`] picks up for good; [`reject`], or
/// returning from the script, ends the call unanswered.
///
/// Many networks do not pass what the caller says and presses before the answer,
/// and a call may not go on for long in this state: about as long as it may ring.
/// On an outbound call and on an answered one it does nothing.
///
/// ```no_run
/// use callbox_guest::{call, say};
///
/// call::early_media()?;
/// say("Our office is closed. We are here again tomorrow from nine o'clock.")?;
/// call::reject(480, None)?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// The call is over. [`Error::Unavailable`](crate::Error::Unavailable) where the
/// caller's side takes no audio before the answer: the call is as it was then.
pub fn early_media() -> Result<()> {
    Ok(raw::early_media()?)
}

/// Picks up, or waits until the other side does when we called. The first
/// [`say`](crate::say) or [`ask`](crate::ask) does it too, unless
/// [`early_media`] lets them speak before.
///
/// ```no_run
/// callbox_guest::call::answer()?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// The call is over: not answered, refused, given up.
pub fn answer() -> Result<()> {
    Ok(raw::answer()?)
}

/// Declines a call that has not been answered, with a SIP status of 400 to 699.
///
/// ```no_run
/// callbox_guest::call::reject(486, Some("Busy Here"))?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// The call has been answered or is over, or the status is out of range.
pub fn reject(status: u16, reason: Option<&str>) -> Result<()> {
    Ok(raw::reject(status, reason)?)
}

/// Ends the call and cuts off what is being said. Returning from the script
/// lets it finish speaking first.
///
/// ```no_run
/// let _goodbye = callbox_guest::voice::start_say("Goodbye.")?;
/// callbox_guest::voice::wait_until_quiet()?;
/// callbox_guest::call::hangup()?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// The call is over already.
pub fn hangup() -> Result<()> {
    Ok(raw::hangup()?)
}

/// Presses keys (`0`-`9`, `*`, `#`, `A`-`D`; `,` pauses half a second) and waits
/// until they are sent.
///
/// ```no_run
/// callbox_guest::call::send_digits("1,,4711#")?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// The call is over, or there are other characters or more than 64.
pub fn send_digits(digits: &str) -> Result<()> {
    Ok(raw::send_digits(digits)?)
}

/// Gives the call to `target`: a SIP URI, or a number for the configured trunk.
/// Asks the caller's side to call there (SIP REFER) unless told to
/// [`bridge`](Transfer::bridge).
///
/// ```no_run
/// use callbox_guest::{call::{self, Transferred}, say, secs};
///
/// match call::transfer("sip:desk@example.com").bridge().ring_timeout(secs(20)).connect()? {
///     Transferred::Connected => {}
///     Transferred::Returned => say("You are back with me.").map(drop)?,
///     Transferred::Failed { status, .. } => {
///         callbox_guest::warn!("the desk did not answer: {status}");
///         say("Nobody is there just now. Please try again tomorrow.")?;
///     }
/// }
/// # Ok::<(), callbox_guest::Error>(())
/// ```
pub fn transfer(target: impl Into<String>) -> Transfer {
    Transfer {
        target: target.into(),
        mode: raw::TransferMode::Refer,
        ring_timeout: None,
        caller_id: None,
        headers: Vec::new(),
    }
}

/// A transfer that is being described; see [`transfer`].
#[derive(Debug)]
#[must_use = "nothing happens before `connect` or `start`"]
pub struct Transfer {
    target: String,
    mode: raw::TransferMode,
    ring_timeout: Option<Duration>,
    caller_id: Option<String>,
    headers: Vec<(String, String)>,
}

impl Transfer {
    /// The host dials the target and joins the two legs. The caller comes back
    /// to the script when the target hangs up.
    pub const fn bridge(mut self) -> Self {
        self.mode = raw::TransferMode::Bridge;
        self
    }

    /// The caller's side is asked to call the target (the default).
    pub const fn refer(mut self) -> Self {
        self.mode = raw::TransferMode::Refer;
        self
    }

    /// Gives up when the target has not answered by then (30 s by default).
    pub const fn ring_timeout(mut self, limit: Duration) -> Self {
        self.ring_timeout = Some(limit);
        self
    }

    /// What the target sees as the caller; the deployment limits the choice.
    pub fn caller_id(mut self, number: impl Into<String>) -> Self {
        self.caller_id = Some(number.into());
        self
    }

    /// An extra SIP header for the new leg: `X-…` or `User-to-User`.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Transfers and waits for the outcome; of a bridge that is the end of the
    /// conversation.
    ///
    /// # Errors
    /// The call is over, or the target is not one. A target that does not take
    /// the call is [`Transferred::Failed`], not an error.
    pub fn connect(self) -> Result<Transferred> {
        Ok(raw::transfer(&self.target, &self.options())?.into())
    }

    /// Transfers without waiting.
    ///
    /// ```no_run
    /// use callbox_guest::{call, secs, wait};
    ///
    /// let ringing = call::transfer("sip:desk@example.com").bridge().start()?;
    /// if wait::select(&[&ringing.subscribe()], Some(secs(8))).is_empty() {
    ///     ringing.cancel()?;
    /// }
    /// let outcome = ringing.wait()?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn start(self) -> Result<Transferring> {
        Ok(Transferring(raw::start_transfer(&self.target, &self.options())?))
    }

    fn options(&self) -> raw::TransferOptions {
        let options = raw::TransferOptions::new(self.mode);
        if let Some(limit) = self.ring_timeout {
            options.set_ring_timeout(millis(limit));
        }
        if let Some(number) = &self.caller_id {
            options.set_caller_id(number);
        }
        for (name, value) in &self.headers {
            options.set_header(name, value);
        }
        options
    }
}

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transferred {
    /// The target took the call; the script's part is over, and what needs the
    /// caller returns [`Error::Ended`](crate::Error::Ended).
    Connected,
    /// Not answered; the script has the caller back.
    Failed {
        /// SIP status, for example 486 busy or 480 nobody there.
        status: u16,
        /// Its words.
        reason: String,
    },
    /// Bridged, and the target hung up while the caller stayed.
    Returned,
}

impl From<raw::TransferOutcome> for Transferred {
    fn from(outcome: raw::TransferOutcome) -> Self {
        match outcome {
            raw::TransferOutcome::Connected => Self::Connected,
            raw::TransferOutcome::Failed((status, reason)) => Self::Failed { status, reason },
            raw::TransferOutcome::Returned => Self::Returned,
        }
    }
}

/// A transfer under way; see [`Transfer::start`].
#[derive(Debug)]
pub struct Transferring(raw::Transferring);

impl Transferring {
    /// Ready when [`wait`](Self::wait) would return at once.
    #[must_use]
    pub fn subscribe(&self) -> Pollable {
        self.0.subscribe()
    }

    /// Waits for the outcome.
    ///
    /// # Errors
    /// The call is over.
    pub fn wait(&self) -> Result<Transferred> {
        Ok(self.0.wait()?.into())
    }

    /// Takes the caller back while the target has not answered.
    ///
    /// # Errors
    /// The call is over, or the target has answered.
    pub fn cancel(&self) -> Result<()> {
        Ok(self.0.cancel()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> Info {
        let party = |uri: &str| Party { uri: uri.into(), number: None, display_name: None };
        Info {
            id: "call_1".into(),
            direction: Direction::Inbound,
            transport: Transport::Sip,
            caller: party("sip:a@example.com"),
            callee: party("sip:b@example.com"),
            language: "en".into(),
            headers: vec![("x-relation".into(), "7".into()), ("x-relation".into(), "8".into())],
            parameters: Some(r#"{"name":"Ada"}"#.into()),
        }
    }

    #[test]
    fn headers_are_found_in_any_case_the_first_wins() {
        assert_eq!(info().header("X-Relation"), Some("7"));
        assert_eq!(info().header("X-Other"), None);
    }

    #[test]
    fn parameters_take_the_shape_asked_for_or_say_why_not() {
        #[derive(serde::Deserialize)]
        struct Row {
            name: String,
        }
        assert!(matches!(info().parameters_as::<Row>(), Ok(Some(row)) if row.name == "Ada"));
        assert!(info().parameters_as::<Vec<u8>>().is_err());
        assert!(matches!(Info { parameters: None, ..info() }.parameters_as::<Row>(), Ok(None)));
    }
}
