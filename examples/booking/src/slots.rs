//! Free visits.

use callbox_guest::calendar::{Date, TimeOfDay};
use callbox_guest::{Result, context};
use serde::{Deserialize, Serialize};

/// Visits that a caller is told of at once.
const MOST: usize = 4;

/// A free visit, as the source `slots` has it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Slot {
    pub id: String,
    date: Date,
    time: TimeOfDay,
    with: String,
}

#[derive(Deserialize)]
struct Answer {
    slots: Vec<Slot>,
}

impl Slot {
    /// As one says it: `Tuesday the 1st of December at 14:30, with Doctor Hopper`.
    pub fn in_words(&self) -> String {
        let day = self.date.day();
        let ending = match day {
            1 | 21 | 31 => "st",
            2 | 22 => "nd",
            3 | 23 => "rd",
            _ => "th",
        };
        let (weekday, month) = (self.date.weekday().name(), self.date.month_name());
        format!("{weekday} the {day}{ending} of {month} at {}, with {}", self.time, self.with)
    }
}

/// The next free visits, of one day where it is given.
pub fn free(day: Option<Date>) -> Result<Vec<Slot>> {
    let Answer { mut slots } = match day {
        Some(day) => context::fetch_with("slots", &[("day", &day.to_string())])?,
        None => context::fetch("slots")?,
    };
    slots.truncate(MOST);
    Ok(slots)
}
