//! What the dialogue found out: kept with the call's record and delivered to the
//! tenant at least once. All of it still works for a few seconds after the
//! caller has hung up.

use crate::bindings::callbox::dialogue::results as raw;
use crate::error::Result;
use serde::Serialize;

/// Sets a field of the call's record; the last value counts.
///
/// ```no_run
/// callbox_guest::results::set("party_size", &4)?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// More than 128 fields, or a value of more than 64 KiB as JSON.
pub fn set(field: &str, value: &(impl Serialize + ?Sized)) -> Result<()> {
    Ok(raw::set(field, &serde_json::to_string(value)?)?)
}

/// Sends a message to a destination that the manifest declares, without waiting
/// for its delivery. Returns the id it carries on every attempt.
///
/// ```no_run
/// #[derive(serde::Serialize)]
/// struct Booking { day: String, people: u8 }
///
/// callbox_guest::results::push("bookings", &Booking { day: "2026-11-21".into(), people: 4 })?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// [`Error::Denied`](crate::Error::Denied) when the manifest does not declare the
/// destination; more than 64 KiB as JSON.
pub fn push(destination: &str, body: &(impl Serialize + ?Sized)) -> Result<String> {
    Ok(raw::push(destination, &serde_json::to_string(body)?)?)
}

/// How the matter ended, in the tenant's words, for example `confirmed`.
///
/// ```no_run
/// callbox_guest::results::disposition("confirmed")?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// The text is too long.
pub fn disposition(how: &str) -> Result<()> {
    Ok(raw::set_disposition(how)?)
}

/// What the caller wants, and how strongly: `A` the strongest to `F`.
///
/// ```no_run
/// callbox_guest::results::intent("buy", Some('B'))?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// Another grade than `A` to `F`.
pub fn intent(name: &str, grade: Option<char>) -> Result<()> {
    Ok(raw::set_intent(name, grade)?)
}

/// Adds a tag, 64 at most.
///
/// ```no_run
/// callbox_guest::results::tag("call_back")?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// Too many tags.
pub fn tag(tag: &str) -> Result<()> {
    Ok(raw::add_tag(tag)?)
}

/// The caller asked not to be called again.
///
/// ```no_run
/// callbox_guest::results::opt_out()?;
/// callbox_guest::say("We will not call you again. Goodbye.")?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// None in normal life.
pub fn opt_out() -> Result<()> {
    Ok(raw::set_opt_out()?)
}

/// The dialogue has come to this point: what is said and heard from now on
/// carries the name in the transcript.
///
/// ```no_run
/// callbox_guest::results::node("menu")?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// The text is too long.
pub fn node(name: &str) -> Result<()> {
    Ok(raw::enter_node(name)?)
}
