//! A day on which the customer will pay: entered by keys, checked, said back and
//! confirmed.

use crate::case::Case;
use callbox_guest::calendar::Date;
use callbox_guest::{Outcome, Result, ask, clock, secs};

/// How often another day may be entered after one that was not confirmed.
const ROUNDS: u8 = 3;

/// `Tuesday, 1 December`.
pub fn spoken(date: Date) -> String {
    format!("{}, {}", date.weekday(), day_and_month(date))
}

/// `1 December`.
pub fn day_and_month(date: Date) -> String {
    format!("{} {}", date.day(), date.month_name())
}

/// Asks for the day until one is confirmed; none where that does not come about.
pub fn ask_for_day(case: &Case, within_days: i32) -> Result<Option<Date>> {
    let today = clock::local(&case.zone)?.date();
    let last = today.plus_days(within_days);
    for _ in 0..ROUNDS {
        let day = ask(format!(
            "Until {} at the latest, on which day will you pay? Enter two keys for the day and two for the month. For \
             the fifth of December, that is 0 5 1 2.",
            spoken(last)
        ))
        .digits(4..=4)
        .start_timeout(secs(8))
        .on_silence("I did not hear a key.")
        .on_no_match("That was not four keys.")
        .check(|keys| chosen(keys, today, last))?;
        let Outcome::Got(day) = day else { return Ok(None) };

        let right = ask(format!(
            "You will pay {} on {}. If this is right press 1. For another day press 2.",
            case.amount(),
            spoken(day)
        ))
        .start_timeout(secs(6))
        .on_silence("I did not hear a key.")
        .on_no_match("That key has no meaning here.")
        .yes_no()?;
        match right {
            Outcome::Got(true) => return Ok(Some(day)),
            Outcome::Got(false) => {}
            Outcome::Silence | Outcome::NoMatch(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// The day that was entered as DDMM: the next one of that name, and not after `last`.
fn chosen(keys: &str, today: Date, last: Date) -> std::result::Result<Date, String> {
    let (day, month) = keys.split_at_checked(2).unwrap_or_default();
    let (Ok(day), Ok(month)) = (day.parse(), month.parse()) else { return Err("Digits only, please.".into()) };
    match today.coming(month, day) {
        None => Err("There is no such day.".into()),
        Some(date) if date > last => {
            Err(format!("{} is too far away. It can be {} at the latest.", spoken(date), spoken(last)))
        }
        Some(date) => Ok(date),
    }
}
