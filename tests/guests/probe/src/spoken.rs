//! Questions that are answered by voice, as the option `questions` has them.

use crate::{Result, option};
use callbox_guest::bindings::callbox::dialogue::voice as raw;
use callbox_guest::results;
use serde_json::{Value, json};

/// Asks each question of the list `questions` once: the field `answers` has
/// what was heard, what it means, and what the caller got of the question.
///
/// A question is an object: `ask` (nothing is said without it), `by` (`speech`
/// by default, `digits`, `both`, `nothing`: what cuts it off), `grammar`,
/// `digits` (`[min, max]`), `start` (milliseconds), `secret`.
pub fn spoken() -> Result {
    let questions: Vec<Value> = serde_json::from_str(&option("questions").unwrap_or_default())?;
    let mut answers = Vec::new();
    for question in &questions {
        answers.push(ask(question));
        results::set("answers", &answers)?;
    }
    Ok(())
}

fn ask(question: &Value) -> Value {
    let options = raw::ListenOptions::new();
    if question["grammar"].is_object() {
        options.set_grammar(&question["grammar"].to_string());
    }
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    if let (Some(min), Some(max)) = (number(&question["digits"][0]), number(&question["digits"][1])) {
        options.set_digits(min as u8, max as u8, None, 3_000);
    }
    if let Some(limit) = number(&question["start"]) {
        options.set_start_timeout(limit);
    }
    options.set_sensitive(question["secret"] == true);
    let by = match question["by"].as_str() {
        Some("nothing") => raw::BargeIn::empty(),
        Some("digits") => raw::BargeIn::DIGITS,
        Some("both") => raw::BargeIn::all(),
        _ => raw::BargeIn::SPEECH,
    };
    let answer = match question["ask"].as_str() {
        Some(text) => raw::ask(&[raw::Segment::Text(text.to_owned())], by, &options)
            .map(|answer| (answer.heard, Some(answer.prompt))),
        None => raw::listen(&options).map(|heard| (heard, None)),
    };
    let (heard, prompt) = match answer {
        Ok(answer) => answer,
        Err(error) => return json!({"error": format!("{error:?}")}),
    };
    let heard = match heard {
        raw::Heard::Speech(said) if question["secret"] == true => json!({"speech": said.text.len()}),
        raw::Heard::Speech(said) => json!({"speech": said.text, "start": said.start, "end": said.end}),
        raw::Heard::Digits(digits) => json!({"digits": digits}),
        raw::Heard::Nothing => json!("nothing"),
        raw::Heard::NoMatch(text) => json!({"no_match": text}),
    };
    let meaning = raw::meaning().filter(|_| question["secret"] != true);
    let meaning: Option<Value> = meaning.and_then(|json| serde_json::from_str(&json).ok());
    json!({"heard": heard, "meaning": meaning, "prompt": prompt.map(|playout| crate::good::told(&playout))})
}
