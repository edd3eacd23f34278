//! Opening hours, calling hours, hours of any kind: a week, and the days that
//! are not as the week says.
//!
//! ```
//! use callbox_guest::hours::{Day, Hours};
//!
//! let mut hours: Hours = "mon-fri 09:00-12:30 13:30-17:00; sat 10:00-14:00".parse()?;
//! hours.except("12-25".parse()?, Day::CLOSED);
//! hours.except("2026-12-24".parse()?, "09:00-12:00".parse()?);
//! # Ok::<(), callbox_guest::Error>(())
//! ```
//!
//! Everything is said of the clock on the wall, as an office says it: an office
//! that opens at nine opens at nine on the day after the clocks were changed, too.
//! A minute that comes twice that night counts both times; what would begin at a
//! minute that is left out begins with the next one there is.

use crate::calendar::{Date, TimeOfDay, Weekday};
use crate::clock::LocalTime;
use crate::error::Error;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// How far ahead an opening is looked for: hours that open on one day of a year
/// only, and not on this one any more, are found.
const DAYS_AHEAD: i32 = 366;

/// The hours of one day: `09:00-12:30 13:30-17:00`, or `closed`. What ends at or
/// before its beginning goes on past midnight: `22:00-06:00`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Day(Vec<Span>);

/// From a minute to the one before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: TimeOfDay,
    to: TimeOfDay,
}

impl Span {
    fn is_past_midnight(self) -> bool {
        self.to <= self.from
    }

    /// Whether it is this time, on the day it begins.
    fn has(self, time: TimeOfDay) -> bool {
        time >= self.from && (time < self.to || self.is_past_midnight())
    }

    /// Whether it is this time, on the day after.
    fn lasts_until(self, time: TimeOfDay) -> bool {
        self.is_past_midnight() && time < self.to
    }
}

impl Day {
    /// No hours at all.
    pub const CLOSED: Self = Self(Vec::new());

    /// From midnight to midnight.
    #[must_use]
    pub fn whole() -> Self {
        Self(vec![Span { from: TimeOfDay::MIDNIGHT, to: TimeOfDay::END_OF_DAY }])
    }
}

impl FromStr for Day {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.trim().eq_ignore_ascii_case("closed") {
            return Ok(Self::CLOSED);
        }
        let span = |text: &str| {
            let (from, to) = text.split_once('-').ok_or_else(|| {
                Error::InvalidArgument(format!("{text:?} are no hours: write them as 09:00-17:00, or closed"))
            })?;
            let (from, to): (TimeOfDay, TimeOfDay) = (from.parse()?, to.parse()?);
            if from == to || from == TimeOfDay::END_OF_DAY {
                return Err(Error::InvalidArgument(format!(
                    "{text:?} begins where it ends: a whole day is 00:00-24:00"
                )));
            }
            Ok(Span { from, to })
        };
        let spans = text.split([' ', ',']).filter(|part| !part.is_empty()).map(span).collect::<Result<Vec<_>, _>>()?;
        if spans.is_empty() {
            return Err(Error::InvalidArgument("no hours: write them as 09:00-17:00, or closed".into()));
        }
        Ok(Self(spans))
    }
}

impl TryFrom<String> for Day {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

/// A day that is not as its week says: of one year, `2026-04-03`, or of every
/// year, `12-25`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub enum Holiday {
    /// That day.
    On(Date),
    /// That month and day of the month, every year.
    Every(u8, u8),
}

impl From<Date> for Holiday {
    fn from(date: Date) -> Self {
        Self::On(date)
    }
}

impl FromStr for Holiday {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Ok(date) = text.parse() {
            return Ok(Self::On(date));
        }
        // Any leap year has every day there is.
        let every = format!("2000-{text}").parse::<Date>().map(|date| Self::Every(date.month(), date.day()));
        every.map_err(|_| {
            Error::InvalidArgument(format!("{text:?} is no day: write 2026-04-03, or 12-25 for every year"))
        })
    }
}

impl TryFrom<String> for Holiday {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl fmt::Display for Holiday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On(date) => date.fmt(f),
            Self::Every(month, day) => write!(f, "{month:02}-{day:02}"),
        }
    }
}

/// The hours of a week with its exceptions. Reads as
/// `mon-fri 09:00-17:00; sat 10:00-14:00`; a day that is not named is closed, one
/// that is named twice is as the last one says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Hours {
    week: [Day; 7],
    exceptions: BTreeMap<Holiday, Day>,
}

impl Hours {
    /// On that day it is otherwise. A day of one year counts more than the same of
    /// every year, and what is said last more than what was said before.
    pub fn except(&mut self, day: Holiday, hours: Day) {
        self.exceptions.insert(day, hours);
    }

    /// The hours of a day.
    #[must_use]
    pub fn on(&self, date: Date) -> &Day {
        let exception = || {
            let every = Holiday::Every(date.month(), date.day());
            self.exceptions.get(&Holiday::On(date)).or_else(|| self.exceptions.get(&every))
        };
        exception().unwrap_or(&self.week[date.weekday().index()])
    }

    /// Whether it is open by that clock.
    ///
    /// ```no_run
    /// use callbox_guest::{clock, hours::Hours};
    ///
    /// let hours: Hours = "mon-sat 08:00-20:00".parse()?;
    /// if !hours.is_open(&clock::local("Europe/Berlin")?) {
    ///     callbox_guest::say("We are closed.")?;
    /// }
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    #[must_use]
    pub fn is_open(&self, now: &LocalTime) -> bool {
        self.is_open_at(now.date(), now.time_of_day())
    }

    /// When it opens next by that clock, and on which day; `None` where that is
    /// not within a year. What is open now is looked over: it is the opening after
    /// that.
    #[must_use]
    pub fn next_opening(&self, now: &LocalTime) -> Option<(Date, TimeOfDay)> {
        let (today, time) = (now.date(), now.time_of_day());
        (0..=DAYS_AHEAD).map(|days| today.plus_days(days)).find_map(|date| {
            let later = self.on(date).0.iter().map(|span| span.from).filter(|from| date > today || *from > time);
            Some((date, later.min()?))
        })
    }

    fn is_open_at(&self, date: Date, time: TimeOfDay) -> bool {
        let today = self.on(date).0.iter().any(|span| span.has(time));
        today || (date > Date::MIN && self.on(date.plus_days(-1)).0.iter().any(|span| span.lasts_until(time)))
    }
}

impl FromStr for Hours {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut hours = Self::default();
        for rule in text.split(';').map(str::trim).filter(|rule| !rule.is_empty()) {
            let (days, times) = rule.split_once(' ').ok_or_else(|| {
                Error::InvalidArgument(format!("{rule:?} lacks days or hours: write it as mon-fri 09:00-17:00"))
            })?;
            let day: Day = times.parse()?;
            for weekday in days_of(days)? {
                hours.week[weekday.index()] = day.clone();
            }
        }
        Ok(hours)
    }
}

impl TryFrom<String> for Hours {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

/// `mon`, `mon-fri`, `sat,sun`, `fri-mon`.
fn days_of(text: &str) -> Result<Vec<Weekday>, Error> {
    let mut days = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (Weekday, Weekday) = (first.parse()?, last.parse()?);
        let count = (last.index() + 7 - first.index()) % 7;
        days.extend((0..=count).map(|day| Weekday::ALL[(first.index() + day) % 7]));
    }
    Ok(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(text: &str) -> Hours {
        text.parse().expect("hours")
    }

    /// `2026-12-01 09:30` on the wall.
    fn wall(text: &str) -> LocalTime {
        let (date, time) = text.split_once(' ').expect("a date and a time");
        let (date, time): (Date, TimeOfDay) = (date.parse().expect("a date"), time.parse().expect("a time"));
        LocalTime {
            year: date.year(),
            month: date.month(),
            day: date.day(),
            weekday: date.weekday().index() as u8 + 1,
            hour: time.hour(),
            minute: time.minute(),
            second: 59,
            utc_offset: 0,
        }
    }

    fn next(hours: &Hours, now: &str) -> Option<String> {
        hours.next_opening(&wall(now)).map(|(date, time)| format!("{date} {time}"))
    }

    #[test]
    fn open_from_the_first_minute_to_the_one_before_the_last() {
        let office = hours("mon-fri 09:00-12:30 13:30-17:00; sat 10:00-14:00");
        for (now, open) in [
            ("2026-12-01 08:59", false),
            ("2026-12-01 09:00", true),
            ("2026-12-01 12:29", true),
            ("2026-12-01 12:30", false),
            ("2026-12-01 13:30", true),
            ("2026-12-01 16:59", true),
            ("2026-12-01 17:00", false),
            ("2026-12-05 09:30", false),
            ("2026-12-05 10:00", true),
            ("2026-12-06 10:00", false),
        ] {
            assert_eq!(office.is_open(&wall(now)), open, "{now}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let mut bar = hours("fri,sat 22:00-04:00");
        for (now, open) in [
            ("2026-12-04 21:59", false),
            ("2026-12-04 23:59", true),
            ("2026-12-05 00:00", true),
            ("2026-12-05 03:59", true),
            ("2026-12-05 04:00", false),
            ("2026-12-06 03:59", true),
            ("2026-12-07 03:59", false),
        ] {
            assert_eq!(bar.is_open(&wall(now)), open, "{now}");
        }
        bar.except("2026-12-05".parse().expect("a day"), Day::CLOSED);
        assert!(bar.is_open(&wall("2026-12-05 03:59")), "the night from Friday goes on");
        assert!(!bar.is_open(&wall("2026-12-06 01:00")), "there is none from Saturday");
        assert_eq!(next(&bar, "2026-12-05 05:00").as_deref(), Some("2026-12-11 22:00"));
    }

    #[test]
    fn a_whole_day_ends_at_midnight() {
        let day = hours("mon 00:00-24:00");
        assert!(!day.is_open(&wall("2026-11-29 23:59")));
        assert!(day.is_open(&wall("2026-11-30 00:00")));
        assert!(day.is_open(&wall("2026-11-30 23:59")));
        assert!(!day.is_open(&wall("2026-12-01 00:00")));
        assert_eq!(hours("mon-sun 00:00-24:00").week, std::array::from_fn(|_| Day::whole()));
    }

    #[test]
    fn the_day_of_one_year_counts_more_than_that_of_every_year() {
        let mut office = hours("mon-fri 09:00-17:00");
        office.except("12-25".parse().expect("a day"), Day::CLOSED);
        assert!(!office.is_open(&wall("2026-12-25 10:00")));
        assert!(!office.is_open(&wall("2028-12-25 10:00")));
        office.except("2026-12-25".parse().expect("a day"), "10:00-11:00".parse().expect("hours"));
        assert!(office.is_open(&wall("2026-12-25 10:59")));
        assert!(!office.is_open(&wall("2026-12-25 11:00")));
        assert!(!office.is_open(&wall("2028-12-25 10:00")));
    }

    #[test]
    fn the_next_opening_is_found_over_nights_weekends_and_holidays() {
        let mut office = hours("mon-fri 09:00-12:30 13:30-17:00");
        office.except("12-25".parse().expect("a day"), Day::CLOSED);
        assert_eq!(next(&office, "2026-12-01 08:00").as_deref(), Some("2026-12-01 09:00"));
        assert_eq!(next(&office, "2026-12-01 09:00").as_deref(), Some("2026-12-01 13:30"), "not the one that is now");
        assert_eq!(next(&office, "2026-12-01 17:00").as_deref(), Some("2026-12-02 09:00"));
        assert_eq!(next(&office, "2026-12-24 18:00").as_deref(), Some("2026-12-28 09:00"));
        assert_eq!(next(&hours(""), "2026-12-24 18:00"), None);
        let mut once = hours("");
        once.except("12-24".parse().expect("a day"), "09:00-12:00".parse().expect("hours"));
        assert_eq!(next(&once, "2026-12-24 13:00").as_deref(), Some("2027-12-24 09:00"));
    }

    #[test]
    fn days_of_the_week_are_named_in_all_the_usual_ways() {
        assert_eq!(hours("fri-mon 09:00-10:00").week.iter().filter(|day| **day == Day::CLOSED).count(), 3);
        assert_eq!(hours("mon 09:00-10:00; mon closed"), hours(""));
        assert_eq!(hours("Saturday,SUN 09:00-10:00"), hours("sat-sun 09:00-10:00"));
        assert_eq!(hours("mon 09:00-10:00, 11:00-12:00"), hours("mon 09:00-10:00 11:00-12:00"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        for wrong in ["mon", "mon 9-17", "mon 09:00", "mon 09:00-09:00", "mon 24:00-01:00", "mo 09:00-10:00", "mon ,"] {
            let error = wrong.parse::<Hours>().expect_err(wrong);
            assert!(matches!(error, Error::InvalidArgument(_)), "{wrong}: {error}");
        }
        for wrong in ["", "02-30", "2026-02-29", "1-1", "12/25"] {
            assert!(wrong.parse::<Holiday>().is_err(), "{wrong}");
        }
        assert_eq!("02-29".parse(), Ok(Holiday::Every(2, 29)));
    }

    #[test]
    fn hours_come_out_of_json() {
        #[derive(Deserialize)]
        struct Settings {
            hours: Hours,
            days: BTreeMap<Holiday, Day>,
        }
        let json = r#"{"hours": "mon-fri 09:00-17:00", "days": {"12-25": "closed", "2026-12-24": "09:00-12:00"}}"#;
        let settings: Settings = serde_json::from_str(json).expect("settings");
        assert_eq!(settings.hours, hours("mon-fri 09:00-17:00"));
        assert_eq!(settings.days.get(&Holiday::Every(12, 25)), Some(&Day::CLOSED));
        assert!(serde_json::from_str::<Settings>(r#"{"hours": "always", "days": {}}"#).is_err());
    }
}
