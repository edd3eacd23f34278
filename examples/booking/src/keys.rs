//! The same by keys, for whenever nobody can talk.

use crate::{book, slots};
use callbox_guest::{Outcome, Result, ask, results, say, secs, warn};

/// Offers what is free, a key for each; returns what came of it.
pub fn menu(booked: &mut Option<String>) -> Result<&'static str> {
    results::node("keys")?;
    let free = match slots::free(None) {
        Ok(free) => free,
        Err(error) if error.is_ended() => return Err(error),
        Err(error) => {
            warn!("no slots: {error}");
            Vec::new()
        }
    };
    if free.is_empty() {
        say("I am sorry, I have no free visit at hand. Please call again later. Goodbye.")?;
        return Ok("no_slots");
    }
    let mut question = String::new();
    let mut choices = Vec::new();
    for (key, slot) in ('1'..).zip(&free) {
        question += &format!("For {}, press {key}. ", slot.in_words());
        choices.push((key, Some(slot.clone())));
    }
    question += "If none of these suits you, press 9.";
    choices.push(('9', None));
    let chosen = ask(question)
        .on_silence("I did not hear a key.")
        .on_no_match("That key has no meaning here.")
        .start_timeout(secs(6))
        .choice(&choices)?;
    let Outcome::Got(Some(slot)) = chosen else {
        say("Then I have booked nothing. Goodbye.")?;
        return Ok("nothing_booked");
    };

    results::node("confirm")?;
    let words = slot.in_words();
    let right = ask(format!("{words}. If this is right press 1, if not press 2.")).start_timeout(secs(6)).yes_no()?;
    if right != Outcome::Got(true) {
        say("Then I have booked nothing. Goodbye.")?;
        return Ok("nothing_booked");
    }
    book(slot, None, "keys", booked)?;
    say(format!("It is booked: {words}. Goodbye."))?;
    Ok("booked")
}
