//! A day on which the customer will pay: said or entered, checked, said back and
//! confirmed.

use crate::case::Case;
use callbox_guest::calendar::Date;
use callbox_guest::{Result, ask, clock, secs};

/// How often a day is asked for.
const TRIES: u8 = 4;

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
    let day = ask(format!(
        "Until {} at the latest, on which day will you pay? Say the day, or enter two keys for the day and two for the \
         month. For the fifth of December, that is 0 5 1 2.",
        spoken(last)
    ))
    .digits(4..=4)
    .start_timeout(secs(8))
    .in_zone(&case.zone)
    .tries(TRIES)
    .on_silence("I did not hear you.")
    .on_no_match("That is no day that I know.")
    .for_date()
    .check(|day| check(*day, today, last))
    .confirm(|day| {
        let amount = case.amount();
        format!("You will pay {amount} on {}. If this is right press 1. For another day press 2.", spoken(*day))
    })
    .answer()?;
    Ok(day.got())
}

/// Whether that day is soon enough.
fn check(day: Date, today: Date, last: Date) -> std::result::Result<(), String> {
    if day < today {
        return Err("That day is over.".into());
    }
    if day > last {
        return Err(format!("{} is too far away. It can be {} at the latest.", spoken(day), spoken(last)));
    }
    Ok(())
}
