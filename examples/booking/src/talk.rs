//! The conversation with the model, and what it may do.

use crate::slots::{self, Slot};
use crate::{Talked, book};
use callbox_guest::calendar::Date;
use callbox_guest::llm::{self, ToolCall};
use callbox_guest::{Ask, Error, Heard, Outcome, Result, ask, clock, listen, results, say, secs, settings, warn};
use serde::Deserialize;
use serde_json::json;

/// Turns of one conversation: nobody books a visit in more.
const TURNS: usize = 20;
/// Times that the caller says nothing before it is over.
const SILENCES: usize = 2;

/// What the model calls `find_slots` with.
#[derive(Deserialize)]
struct Day {
    #[serde(default)]
    day: Option<Date>,
}

/// What it calls `book` with.
#[derive(Deserialize)]
struct Wish {
    slot: String,
    name: String,
}

/// What it calls `goodbye` with.
#[derive(Deserialize)]
struct Farewell {
    words: String,
}

/// Lets the model lead the conversation.
pub fn with_model(practice: &str, booked: &mut Option<String>) -> Result<Talked> {
    results::node("talk")?;
    if !anybody_listens()? {
        say(format!("Welcome to {practice}."))?;
        return Ok(Talked::NeedsKeys);
    }
    say(format!("Welcome to {practice}. You can talk to me, or press 0 for a menu."))?;

    let today = clock::local(&settings::get("zone").unwrap_or_default())?.date();
    let talk = llm::with("assistant")
        .system(format!(
            "You answer the telephone of {practice} and book visits. Today is {}, {today}. Everything you write is \
             spoken: write one or two short, plain sentences and no lists. Offer only visits that find_slots returned. \
             Ask for the caller's name before you book. When the caller wants nothing more, call goodbye.",
            today.weekday().name()
        ))
        .tool("find_slots", "Free visits. Without a day: the next ones.", &json!({
            "type": "object",
            "properties": {"day": {"type": "string", "description": "For example 2026-12-01."}},
        }))
        .tool("book", "Books a visit. The caller is asked to confirm it.", &json!({
            "type": "object",
            "properties": {"slot": {"type": "string", "description": "Its id."}, "name": {"type": "string"}},
            "required": ["slot", "name"],
        }))
        .tool("goodbye", "Ends the call.", &json!({
            "type": "object",
            "properties": {"words": {"type": "string", "description": "What is said to the caller at last."}},
            "required": ["words"],
        }))
        .temperature(0.3)
        .open()?;
    talk.user("(The caller has been welcomed.)")?;

    let mut found: Vec<Slot> = Vec::new();
    let mut over = false;
    let mut silences = 0;
    for _ in 0..TURNS {
        let turn = talk.ask(words_or_zero(), |call| tool(call, &mut found, &mut over, booked));
        let turn = match turn {
            Ok(turn) => turn,
            Err(_) if over => return Ok(Talked::Over),
            Err(error @ (Error::Unavailable(_) | Error::TimedOut | Error::LimitExceeded(_))) => {
                warn!("the model is away: {error}");
                return without_model(booked.as_deref());
            }
            Err(other) => return Err(other),
        };
        match turn.heard {
            Heard::Speech(words) => talk.user(&words.text)?,
            Heard::Digits(_) => return Ok(Talked::NeedsKeys),
            Heard::NoMatch(_) => talk.user("(The caller said something that could not be understood.)")?,
            Heard::Nothing if silences == SILENCES => break,
            Heard::Nothing => {
                silences += 1;
                talk.user("(The caller says nothing.)")?;
            }
        }
    }
    say("I think we have lost each other. Goodbye.")?;
    Ok(Talked::Over)
}

/// What the caller may answer the model with.
fn words_or_zero() -> Ask {
    listen().speech().digits(1..=1).start_timeout(secs(6))
}

/// Whether speech can be understood on this call at all.
fn anybody_listens() -> Result<bool> {
    match listen().speech().start() {
        Ok(_) => Ok(true),
        Err(Error::Unavailable(_)) => Ok(false),
        Err(other) => Err(other),
    }
}

/// The model is away: a caller who has their visit is told so, others go on by keys.
fn without_model(booked: Option<&str>) -> Result<Talked> {
    match booked {
        Some(words) => {
            say(format!("Your visit is booked: {words}. Goodbye."))?;
            Ok(Talked::Over)
        }
        None => {
            say("I am sorry, let us go on with keys.")?;
            Ok(Talked::NeedsKeys)
        }
    }
}

/// Does what the model asks for; what it is told comes back as words.
fn tool(call: &ToolCall, found: &mut Vec<Slot>, over: &mut bool, booked: &mut Option<String>) -> Result<String> {
    match call.name.as_str() {
        "find_slots" => {
            let Day { day } = call.arguments()?;
            match slots::free(day) {
                Ok(slots) if slots.is_empty() => Ok("There is nothing free then.".into()),
                Ok(slots) => {
                    let lines: Vec<_> = slots.iter().map(|slot| format!("{}: {}", slot.id, slot.in_words())).collect();
                    *found = slots;
                    Ok(lines.join("\n"))
                }
                Err(error) if error.is_ended() => Err(error),
                Err(error) => Ok(format!("The calendar cannot be reached: {error}")),
            }
        }
        "book" => {
            let Wish { slot, name } = call.arguments()?;
            let Some(slot) = found.iter().find(|free| free.id == slot).cloned() else {
                return Ok(format!("There is no free visit {slot}; call find_slots first."));
            };
            if booked.is_some() {
                return Ok("This caller has a visit already.".into());
            }
            confirm(slot, name, booked)
        }
        "goodbye" => {
            let Farewell { words } = call.arguments()?;
            say(words)?;
            *over = true;
            Err(Error::Other("the conversation is over".into()))
        }
        other => Ok(format!("There is no tool {other}.")),
    }
}

/// Asks the caller, in the script's own words: what a model takes for a yes is not one.
fn confirm(slot: Slot, name: String, booked: &mut Option<String>) -> Result<String> {
    results::node("confirm")?;
    let words = slot.in_words();
    let right = ask(format!("Shall I book {words}? Press 1 for yes, or 2 for no."))
        .on_silence("I did not hear a key.")
        .start_timeout(secs(6))
        .yes_no()?;
    results::node("talk")?;
    match right {
        Outcome::Got(true) => {
            book(slot, Some(name), "words", booked)?;
            Ok(format!("Booked: {words}."))
        }
        Outcome::Got(false) => Ok("The caller does not want it.".into()),
        Outcome::Silence | Outcome::NoMatch(_) | Outcome::Operator => Ok("The caller did not confirm it.".into()),
    }
}
