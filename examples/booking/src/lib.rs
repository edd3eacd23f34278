//! A booking desk. The caller talks with a language model, which looks for free
//! visits and books one through two tools; it books nothing that the caller has
//! not confirmed to the script itself. When the model is away, when nobody can
//! be understood, or when the caller presses 0, a menu by keys does the same.

mod keys;
mod slots;
mod talk;

use callbox_guest::{Result, call, results, settings};
use serde::Serialize;
use slots::Slot;

callbox_guest::script!(run);

/// A visit that the caller has confirmed.
#[derive(Serialize)]
struct Booking {
    slot: Slot,
    /// None by keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// `words` or `keys`.
    by: &'static str,
    caller: Option<String>,
}

/// How the conversation with the model came to its end.
enum Talked {
    /// The caller has what they wanted, or wants nothing more.
    Over,
    /// It cannot go on: keys are to.
    NeedsKeys,
}

fn run() -> Result<()> {
    let practice = settings::get("practice").unwrap_or_default();
    let mut booked = None;
    let outcome = match converse(&practice, &mut booked) {
        Ok(outcome) => outcome,
        Err(error) if error.is_ended() && booked.is_some() => "booked",
        Err(error) if error.is_ended() => "hung_up",
        Err(error) => return Err(error),
    };
    results::disposition(outcome)
}

/// The dialogue from hello to goodbye; returns what came of it.
fn converse(practice: &str, booked: &mut Option<String>) -> Result<&'static str> {
    call::answer()?;
    let outcome = match talk::with_model(practice, booked)? {
        Talked::NeedsKeys if booked.is_none() => keys::menu(booked)?,
        Talked::Over | Talked::NeedsKeys if booked.is_some() => "booked",
        Talked::Over | Talked::NeedsKeys => "nothing_booked",
    };
    Ok(outcome)
}

/// Books what the caller has confirmed: from here on it is theirs, whatever becomes of the call.
fn book(slot: Slot, name: Option<String>, by: &'static str, booked: &mut Option<String>) -> Result<()> {
    let booking = Booking { slot, name, by, caller: call::info().caller.number };
    results::push("bookings", &booking)?;
    results::set("booking", &booking)?;
    results::node("booked")?;
    *booked = Some(booking.slot.in_words());
    Ok(())
}
