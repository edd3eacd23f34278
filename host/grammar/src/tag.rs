//! What words mean, piece by piece, before it is put together.

use crate::Universal;

/// The meaning of a word or a few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// The choice at this place of the list, by one of its phrases.
    Choice(usize),
    /// The same, by its place or its key.
    Place(usize),
    Yes(bool),
    Digit(u8),
    /// In front of a telephone number: it begins with the code of a country.
    Plus,
    /// Adds to the number.
    Add(u32),
    /// Whole units of a currency.
    Units(u32),
    Cents(u32),
    Currency(&'static str),
    Day(u32),
    Month(u32),
    Year(u32),
    /// Days from today.
    Days(i32),
    /// Months from this one.
    Months(i32),
    /// Years from this one.
    Years(i32),
    /// 1 is Monday.
    Weekday(i8, Which),
    Hour(u32),
    Minute(u32),
    /// Minutes before the hour.
    Before(u32),
    Part(Part),
    /// The hour is of twenty-four.
    Exact,
    Universal(Universal),
}

/// Which Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The nearest, not today.
    Plain,
    /// The nearest, and be it today.
    This,
    /// The nearest behind.
    Last,
    /// That of a week: this one is 0.
    Week(i8),
}

/// A part of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Am,
    Pm,
    Morning,
    Noon,
    Afternoon,
    Evening,
    Night,
}

/// What the numbers in `tags` add up to.
pub(crate) fn sum(tags: &[Tag]) -> u32 {
    tags.iter().fold(0u32, |sum, tag| if let Tag::Add(n) = tag { sum.saturating_add(*n) } else { sum })
}

/// A century, and the two digits of the year in it.
pub(crate) fn digits_as_year(tags: &[Tag]) -> Option<Tag> {
    let digits = tags.iter().filter_map(|tag| if let Tag::Digit(digit) = tag { Some(u32::from(*digit)) } else { None });
    Some(Tag::Year(sum(tags) + digits.fold(0, |year, digit| 10 * year + digit)))
}

macro_rules! totals {
    ($($name:ident => $tag:expr),* $(,)?) => {
        $(pub(crate) fn $name(tags: &[Tag]) -> Option<Tag> {
            let total = sum(tags);
            #[allow(clippy::redundant_closure_call, reason = "one macro for plain and for scaled totals")]
            ($tag)(total)
        })*
    };
}

totals! {
    as_thousands => |n: u32| n.checked_mul(1_000).map(Tag::Add),
    as_myriads => |n: u32| n.checked_mul(10_000).map(Tag::Add),
    as_millions => |n: u32| n.checked_mul(1_000_000).map(Tag::Add),
    as_units => |n| Some(Tag::Units(n)),
    as_cents => |n| Some(Tag::Cents(n)),
    as_tens_of_cents => |n: u32| n.checked_mul(10).map(Tag::Cents),
    as_hundred_millions => |n: u32| n.checked_mul(100_000_000).map(Tag::Add),
    as_day => |n| Some(Tag::Day(n)),
    as_month => |n| Some(Tag::Month(n)),
    as_year => |n| Some(Tag::Year(n)),
    as_days => |n: u32| i32::try_from(n).ok().map(Tag::Days),
    as_days_ago => |n: u32| i32::try_from(n).ok().map(|n| Tag::Days(-n)),
    as_weeks => |n: u32| i32::try_from(n).ok()?.checked_mul(7).map(Tag::Days),
    as_weeks_ago => |n: u32| i32::try_from(n).ok()?.checked_mul(-7).map(Tag::Days),
    as_hour => |n| Some(Tag::Hour(n)),
    as_minute => |n| Some(Tag::Minute(n)),
    as_minutes_before => |n| Some(Tag::Before(n)),
}
