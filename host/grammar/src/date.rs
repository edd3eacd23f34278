//! Which day was meant.

use crate::Towards;
use crate::tag::{Tag, Which};
use jiff::ToSpan;
use jiff::civil::{Date, Weekday};

/// What was said about a day.
#[derive(Clone, Copy, Default)]
struct Said {
    day: Option<i8>,
    month: Option<i8>,
    year: Option<i16>,
    days: Option<i32>,
    months: Option<i32>,
    years: Option<i32>,
    weekday: Option<(Weekday, Which)>,
}

/// The day that `tags` mean; `None` where there is no such day.
pub(crate) fn meant(tags: &[Tag], today: Date, towards: Towards) -> Option<Date> {
    let mut said = Said::default();
    for tag in tags {
        match *tag {
            Tag::Day(day) => said.day = Some(i8::try_from(day).ok()?),
            Tag::Month(month) => said.month = Some(i8::try_from(month).ok()?),
            Tag::Year(year) => said.year = Some(i16::try_from(year).ok()?),
            Tag::Days(days) => said.days = Some(days),
            Tag::Months(months) => said.months = Some(months),
            Tag::Years(years) => said.years = Some(years),
            Tag::Weekday(day, which) => {
                said.weekday = Some((Weekday::from_monday_one_offset(day).ok()?, which));
            }
            _ => {}
        }
    }
    if let Some(years) = said.years {
        said.year = Some(i16::try_from(i32::from(today.year()) + years).ok()?);
    }
    let date = said.named(today, towards)?;
    // "Monday the third", when the third is a Tuesday, is nothing to build on.
    match said.weekday {
        Some((weekday, _)) if date.weekday() != weekday => None,
        _ => Some(date),
    }
}

impl Said {
    fn named(&self, today: Date, towards: Towards) -> Option<Date> {
        if let Some(days) = self.days {
            return today.checked_add(days.days()).ok();
        }
        match (self.day, self.month, self.year) {
            (Some(day), Some(month), Some(year)) => Date::new(year, month, day).ok(),
            (Some(day), Some(month), None) => {
                // Leap days are eight years apart at most.
                let years = (0..=8).filter_map(|step| {
                    let year = i16::try_from(i32::from(today.year()) + towards.sign() * step).ok()?;
                    Date::new(year, month, day).ok()
                });
                towards.first(years, today)
            }
            (Some(day), None, _) => {
                let first = today.first_of_month();
                let in_month = |months: i32| {
                    let month = first.checked_add(months.months()).ok()?;
                    Date::new(month.year(), month.month(), day).ok()
                };
                match self.months {
                    Some(months) => in_month(months),
                    // No two months that follow each other are both too short for a day.
                    None => towards.first((0..=2).filter_map(|step| in_month(towards.sign() * step)), today),
                }
            }
            (None, ..) => {
                let (weekday, which) = self.weekday?;
                Some(match which {
                    Which::Plain if towards == Towards::Past => back(today, weekday)?,
                    Which::Plain => {
                        today.checked_add(i64::from(ahead(today.tomorrow().ok()?, weekday) + 1).days()).ok()?
                    }
                    Which::This => today.checked_add(i64::from(ahead(today, weekday)).days()).ok()?,
                    Which::Last => back(today, weekday)?,
                    Which::Week(week) => {
                        let monday =
                            today.checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days()).ok()?;
                        let days = i64::from(weekday.to_monday_zero_offset()) + 7 * i64::from(week);
                        monday.checked_add(days.days()).ok()?
                    }
                })
            }
        }
    }
}

/// Days from `from` to the next such weekday, none where it is one.
fn ahead(from: Date, weekday: Weekday) -> i8 {
    (weekday.to_monday_zero_offset() - from.weekday().to_monday_zero_offset()).rem_euclid(7)
}

/// The last such weekday before `today`.
fn back(today: Date, weekday: Weekday) -> Option<Date> {
    let days = 7 - ahead(today, weekday);
    today.checked_sub(i64::from(days).days()).ok()
}

impl Towards {
    const fn sign(self) -> i32 {
        match self {
            Self::Future => 1,
            Self::Past => -1,
        }
    }

    /// The first of these days that is on that side of today, or today.
    fn first(self, mut days: impl Iterator<Item = Date>, today: Date) -> Option<Date> {
        days.find(|day| match self {
            Self::Future => *day >= today,
            Self::Past => *day <= today,
        })
    }
}
