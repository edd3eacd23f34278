//! Dates, times of day and days of the week, as they stand on the wall of an
//! office: what due dates, holidays and opening hours are made of.
//!
//! Which date and time it *is* comes from [`clock::local`](crate::clock::local),
//! for the zone that is meant; the reckoning here knows no zones, and so nothing
//! of it goes wrong where a zone changes its clocks.
//!
//! ```
//! use callbox_guest::calendar::{Date, Weekday};
//!
//! let today: Date = "2026-12-30".parse()?;
//! assert_eq!(today.plus_days(3).weekday(), Weekday::Saturday);
//! assert_eq!(today.coming(1, 15).map(|date| date.to_string()).as_deref(), Some("2027-01-15"));
//! # Ok::<(), callbox_guest::Error>(())
//! ```

use crate::clock::LocalTime;
use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Days in 400 years of the Gregorian calendar, after which it repeats.
const DAYS_OF_400_YEARS: i32 = 146_097;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say all there is")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Weekday {
    /// All seven, Monday first (ISO 8601).
    pub const ALL: [Self; 7] =
        [Self::Monday, Self::Tuesday, Self::Wednesday, Self::Thursday, Self::Friday, Self::Saturday, Self::Sunday];

    /// Whether it is Saturday or Sunday.
    #[must_use]
    pub const fn is_weekend(self) -> bool {
        matches!(self, Self::Saturday | Self::Sunday)
    }

    /// Its English name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Monday => "Monday",
            Self::Tuesday => "Tuesday",
            Self::Wednesday => "Wednesday",
            Self::Thursday => "Thursday",
            Self::Friday => "Friday",
            Self::Saturday => "Saturday",
            Self::Sunday => "Sunday",
        }
    }

    /// Its place in the week: 0 Monday to 6 Sunday.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Weekday {
    type Err = Error;

    /// Reads an English name, whole or its first three letters, in any case.
    fn from_str(text: &str) -> Result<Self, Error> {
        let named = |day: &Self| {
            let name = day.name();
            name.eq_ignore_ascii_case(text) || name[..3].eq_ignore_ascii_case(text)
        };
        Self::ALL.into_iter().find(named).ok_or_else(|| {
            Error::InvalidArgument(format!("{text:?} is not a day of the week: write mon to sun, or their whole names"))
        })
    }
}

/// A day of the Gregorian calendar, of the years 1 to 9999. Reads and writes as
/// `2026-12-01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date {
    year: i16,
    month: u8,
    day: u8,
}

impl Date {
    /// The first day there is.
    pub const MIN: Self = Self { year: 1, month: 1, day: 1 };
    /// The last day there is.
    pub const MAX: Self = Self { year: 9_999, month: 12, day: 31 };

    /// That day, where there is one: 31 April is none.
    ///
    /// ```
    /// use callbox_guest::calendar::Date;
    ///
    /// assert!(Date::new(2028, 2, 29).is_some());
    /// assert!(Date::new(2026, 2, 29).is_none());
    /// ```
    #[must_use]
    pub const fn new(year: i16, month: u8, day: u8) -> Option<Self> {
        if year < 1 || year > 9_999 || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month) {
            return None;
        }
        Some(Self { year, month, day })
    }

    /// The year, 1 to 9999.
    #[must_use]
    pub const fn year(self) -> i16 {
        self.year
    }

    /// The month, 1 to 12.
    #[must_use]
    pub const fn month(self) -> u8 {
        self.month
    }

    /// The day of the month, 1 to 31.
    #[must_use]
    pub const fn day(self) -> u8 {
        self.day
    }

    /// The day of the week.
    #[must_use]
    pub const fn weekday(self) -> Weekday {
        // Day 0 of the count was a Tuesday.
        Weekday::ALL[((self.number() + 1) % 7) as usize]
    }

    /// The English name of the month, to be said.
    ///
    /// ```
    /// # use callbox_guest::calendar::Date;
    /// let date: Date = "2026-12-01".parse()?;
    /// let spoken = format!("{}, {} {}", date.weekday(), date.day(), date.month_name());
    /// assert_eq!(spoken, "Tuesday, 1 December");
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    #[must_use]
    pub const fn month_name(self) -> &'static str {
        MONTHS[self.month as usize - 1]
    }

    /// So many days later, or earlier where the number is negative. Stops at the
    /// ends of the calendar.
    #[must_use]
    pub const fn plus_days(self, days: i32) -> Self {
        let number = self.number().saturating_add(days);
        if number < Self::MIN.number() {
            Self::MIN
        } else if number > Self::MAX.number() {
            Self::MAX
        } else {
            Self::numbered(number)
        }
    }

    /// Days from this one to `other`; negative where that one was before.
    ///
    /// ```
    /// # use callbox_guest::calendar::Date;
    /// let (today, due): (Date, Date) = ("2026-11-21".parse()?, "2026-11-01".parse()?);
    /// assert_eq!(due.days_until(today), 20);
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    #[must_use]
    pub const fn days_until(self, other: Self) -> i32 {
        other.number() - self.number()
    }

    /// The first day with this month and day of the month, from this one on. A
    /// caller who enters `0301` at the end of the year means the next one.
    /// `None` where no year has such a day.
    #[must_use]
    pub fn coming(self, month: u8, day: u8) -> Option<Self> {
        // Eight years from one leap year to the next, around 1900 and 2100.
        (0..=8).filter_map(|years| Self::new(self.year + years, month, day)).find(|date| *date >= self)
    }

    /// Days since the last day of February of the year 0 (a Tuesday, by today's
    /// calendar): a year that begins in March ends with its leap day.
    const fn number(self) -> i32 {
        let (month, year) = (self.month as i32, self.year as i32);
        let (month, year) = if month > 2 { (month - 3, year) } else { (month + 9, year - 1) };
        year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + self.day as i32
    }

    /// The day with that number; it must be one of the calendar's.
    const fn numbered(number: i32) -> Self {
        let (number, era) = ((number - 1) % DAYS_OF_400_YEARS, (number - 1) / DAYS_OF_400_YEARS);
        // Takes out the leap days, of 4, 100 and 400 years, then counts years.
        let year = (number - number / 1_460 + number / 36_524 - number / (DAYS_OF_400_YEARS - 1)) / 365;
        let day = number - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, year) = if month < 10 { (month + 3, year) } else { (month - 9, year + 1) };
        Self { year: (year + era * 400) as i16, month: month as u8, day: day as u8 }
    }
}

const fn days_of_month(year: i16, month: u8) -> u8 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Date {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let mut parts = text.split('-');
            let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
            let plain = [year, month, day].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
            let plain = plain && year.len() == 4 && month.len() == 2 && day.len() == 2 && parts.next().is_none();
            Self::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).filter(|_| plain)
        };
        read().ok_or_else(|| Error::InvalidArgument(format!("{text:?} is not a date: write it as 2026-12-01")))
    }
}

impl TryFrom<String> for Date {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> Self {
        date.to_string()
    }
}

/// A time of day to the minute, 00:00 to 24:00, which is the end of the day.
/// Reads and writes as `09:30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay {
    /// Minutes since midnight, 1,440 at most.
    minutes: u16,
}

impl TimeOfDay {
    /// 00:00.
    pub const MIDNIGHT: Self = Self { minutes: 0 };
    /// 24:00.
    pub const END_OF_DAY: Self = Self { minutes: 24 * 60 };

    /// That time, where there is one.
    #[must_use]
    pub const fn new(hour: u8, minute: u8) -> Option<Self> {
        if minute > 59 || hour > 24 || (hour == 24 && minute > 0) {
            return None;
        }
        Some(Self { minutes: hour as u16 * 60 + minute as u16 })
    }

    /// The hour, 0 to 24.
    #[must_use]
    pub const fn hour(self) -> u8 {
        (self.minutes / 60) as u8
    }

    /// The minute, 0 to 59.
    #[must_use]
    pub const fn minute(self) -> u8 {
        (self.minutes % 60) as u8
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour(), self.minute())
    }
}

impl FromStr for TimeOfDay {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let (hour, minute) = text.split_once(':')?;
            let plain = [hour, minute].iter().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()));
            Self::new(hour.parse().ok()?, minute.parse().ok()?).filter(|_| plain)
        };
        read().ok_or_else(|| {
            Error::InvalidArgument(format!("{text:?} is not a time of day: write it as 09:30, 00:00 to 24:00"))
        })
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

impl LocalTime {
    /// The date on this clock.
    ///
    /// ```no_run
    /// let today = callbox_guest::clock::local("Europe/Berlin")?.date();
    /// callbox_guest::say(format!("Today is {}.", today.weekday()))?;
    /// # Ok::<(), callbox_guest::Error>(())
    /// ```
    #[must_use]
    pub fn date(&self) -> Date {
        // The host's calendar is the same, and its years are these.
        Date::new(self.year, self.month, self.day).unwrap_or(Date::MIN)
    }

    /// The time of day on this clock; seconds are left out.
    #[must_use]
    pub fn time_of_day(&self) -> TimeOfDay {
        TimeOfDay::new(self.hour, self.minute).unwrap_or(TimeOfDay::MIDNIGHT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        text.parse().expect("a date")
    }

    #[test]
    fn every_day_of_the_calendar_has_its_number_and_its_place_in_the_week() {
        let (mut day, mut number, mut weekday) = (Date::MIN, Date::MIN.number(), Date::MIN.weekday().index());
        loop {
            assert_eq!((day.number(), day.weekday().index()), (number, weekday), "{day}");
            assert_eq!(Date::numbered(number), day);
            let next = Date::new(day.year, day.month, day.day + 1)
                .or_else(|| Date::new(day.year, day.month + 1, 1))
                .or_else(|| Date::new(day.year + 1, 1, 1));
            let Some(next) = next else { break };
            (day, number, weekday) = (next, number + 1, (weekday + 1) % 7);
        }
        assert_eq!(day, Date::MAX);
    }

    #[test]
    fn known_days_of_the_week() {
        for (day, weekday) in [
            ("1970-01-01", Weekday::Thursday),
            ("2000-02-29", Weekday::Tuesday),
            ("2026-03-29", Weekday::Sunday),
            ("2026-12-01", Weekday::Tuesday),
            ("1900-03-01", Weekday::Thursday),
        ] {
            assert_eq!(date(day).weekday(), weekday, "{day}");
        }
    }

    #[test]
    fn days_are_added_across_months_years_and_leap_days() {
        assert_eq!(date("2026-12-31").plus_days(1), date("2027-01-01"));
        assert_eq!(date("2028-02-28").plus_days(1), date("2028-02-29"));
        assert_eq!(date("2026-03-01").plus_days(-1), date("2026-02-28"));
        assert_eq!(date("2026-11-21").days_until(date("2026-12-01")), 10);
        assert_eq!(date("9999-12-31").plus_days(1), Date::MAX);
        assert_eq!(date("0001-01-01").plus_days(i32::MIN), Date::MIN);
    }

    #[test]
    fn a_day_without_its_year_is_the_next_one() {
        let coming = |from: &str, month, day| date(from).coming(month, day).map(|date| date.to_string());
        assert_eq!(coming("2026-12-30", 12, 30).as_deref(), Some("2026-12-30"), "today counts");
        assert_eq!(coming("2026-12-30", 1, 2).as_deref(), Some("2027-01-02"));
        assert_eq!(coming("2026-03-01", 2, 29).as_deref(), Some("2028-02-29"));
        assert_eq!(coming("2096-03-01", 2, 29).as_deref(), Some("2104-02-29"), "2100 is no leap year");
        assert_eq!(coming("2026-03-01", 2, 30), None);
        assert_eq!(coming("9999-12-31", 1, 1), None, "there is no year 10000");
    }

    #[test]
    fn only_what_is_written_out_is_read() {
        for wrong in ["", "2026-2-3", "2026-02-30", "2026-13-01", "26-01-01", "2026-01-01-", "+026-01-01", "2026/01/01"]
        {
            assert!(wrong.parse::<Date>().is_err(), "{wrong}");
        }
        for wrong in ["", "9:00", "09:0", "24:01", "25:00", "09:60", "0900", "+9:00", "09:00:00"] {
            assert!(wrong.parse::<TimeOfDay>().is_err(), "{wrong}");
        }
        assert_eq!("24:00".parse(), Ok(TimeOfDay::END_OF_DAY));
        assert_eq!("00:00".parse(), Ok(TimeOfDay::MIDNIGHT));
        assert_eq!("TUE".parse(), Ok(Weekday::Tuesday));
        assert_eq!("sunday".parse(), Ok(Weekday::Sunday));
        assert!("tues".parse::<Weekday>().is_err());
    }

    #[test]
    fn dates_and_times_travel_as_text() {
        let json = serde_json::to_string(&(date("2026-12-01"), TimeOfDay::new(9, 5))).expect("it is text");
        assert_eq!(json, r#"["2026-12-01","09:05"]"#);
        assert_eq!(
            serde_json::from_str::<(Date, TimeOfDay)>(&json).ok(),
            Some(date("2026-12-01")).zip(TimeOfDay::new(9, 5))
        );
        assert!(serde_json::from_str::<Date>(r#""tomorrow""#).is_err());
    }

    #[test]
    fn a_clock_on_the_wall_has_a_date_and_a_time() {
        let wall =
            LocalTime { year: 2026, month: 3, day: 29, weekday: 7, hour: 3, minute: 0, second: 59, utc_offset: 120 };
        assert_eq!(wall.date(), date("2026-03-29"));
        assert_eq!(wall.time_of_day().to_string(), "03:00");
    }
}
