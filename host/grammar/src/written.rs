//! Figures as recognisers write them.

use crate::rule::Written;
use crate::tag::Tag;

/// What figures mean where `what` is expected; `None` where they do not fit.
pub(crate) fn read(what: Written, figures: &str) -> Option<Vec<Tag>> {
    match what {
        Written::Digits => digits(figures),
        Written::Whole(min, max) => Some(vec![Tag::Add(whole(figures).filter(|n| (min..=max).contains(n))?)]),
        Written::As(min, max, how) => {
            let number = whole(figures).filter(|n| (min..=max).contains(n))?;
            Some(vec![how(&[Tag::Add(number)])?])
        }
        Written::Money => money(figures),
        Written::Clock => clock(figures),
        Written::Date { month_first } => date(figures, month_first),
        Written::Sign(_) => None,
    }
}

fn digits(figures: &str) -> Option<Vec<Tag>> {
    let known = |c: char| c.is_ascii_digit() || matches!(c, '-' | '/' | '.' | ',');
    if !figures.chars().all(known) {
        return None;
    }
    Some(figures.chars().filter_map(|c| c.to_digit(10)).map(|digit| Tag::Digit(digit as u8)).collect())
}

/// `1234`, `1,234`, `1.234`, `1'234`.
fn whole(figures: &str) -> Option<u32> {
    let mut groups = figures.split([',', '.', '\'']);
    let first = groups.next()?;
    let mut digits = first.to_owned();
    for group in groups {
        if first.len() > 3 || group.len() != 3 {
            return None;
        }
        digits.push_str(group);
    }
    // A colon, a slash or a dash is left in, and is no number.
    if digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// `12`, `12.50`, `12,50`, `1,234.50`.
fn money(figures: &str) -> Option<Vec<Tag>> {
    let cut = figures.rfind([',', '.']).filter(|at| matches!(figures.len() - at, 2 | 3));
    let (units, cents) = match cut {
        Some(at) => (&figures[..at], Some(&figures[at + 1..])),
        None => (figures, None),
    };
    let mut tags = vec![Tag::Units(whole(units)?)];
    if let Some(cents) = cents {
        let number: u32 = cents.parse().ok()?;
        tags.push(Tag::Cents(if cents.len() == 1 { number * 10 } else { number }));
    }
    Some(tags)
}

/// `14:30`, `14.30`, `1430`, `9`.
fn clock(figures: &str) -> Option<Vec<Tag>> {
    let (hour, minute) = match figures.split_once([':', '.']) {
        Some((hour, minute)) if minute.len() == 2 => (hour, minute),
        Some(_) => return None,
        None if matches!(figures.len(), 3 | 4) => figures.split_at(figures.len() - 2),
        None => return None,
    };
    let number = |part: &str| part.parse::<u32>().ok().filter(|_| part.len() <= 2);
    let (h, m) = (number(hour)?, number(minute)?);
    if h > 24 || m > 59 {
        return None;
    }
    let mut tags = vec![Tag::Hour(h), Tag::Minute(m)];
    if hour.len() == 2 && h < 10 {
        tags.push(Tag::Exact);
    }
    Some(tags)
}

fn date(figures: &str, month_first: bool) -> Option<Vec<Tag>> {
    let parts: Vec<&str> = figures.split(['-', '/', '.']).collect();
    let numbers: Vec<u32> = parts.iter().map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let full = |part: &str, year: u32| match part.len() {
        4 => Some(year),
        // A century is about to have two ends; the one we live in is meant, unless that would be far ahead.
        2 => Some(if year < 50 { 2_000 + year } else { 1_900 + year }),
        _ => None,
    };
    let (year, month, day) = match (numbers[..].iter().as_slice(), month_first) {
        ([year, month, day], _) if parts[0].len() == 4 => (Some(*year), month, day),
        ([month, day, year], true) | ([day, month, year], false) => (Some(full(parts[2], *year)?), month, day),
        ([month, day], true) | ([day, month], false) => (None, month, day),
        _ => return None,
    };
    let mut tags = vec![Tag::Day(*day), Tag::Month(*month)];
    tags.extend(year.map(Tag::Year));
    Some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_their_groups() {
        assert_eq!(whole("1234"), Some(1_234));
        assert_eq!(whole("1,234,567"), Some(1_234_567));
        assert_eq!(whole("1'234"), Some(1_234));
        for no in ["1,23", "12:30", "1234,567", "9999999999", "1-2"] {
            assert_eq!(whole(no), None, "{no}");
        }
    }

    #[test]
    fn money_has_two_places_at_most() {
        assert_eq!(money("12.50"), Some(vec![Tag::Units(12), Tag::Cents(50)]));
        assert_eq!(money("1.234,5"), Some(vec![Tag::Units(1_234), Tag::Cents(50)]));
        assert_eq!(money("1,234"), Some(vec![Tag::Units(1_234)]));
        assert_eq!(money("12:50"), None);
    }

    #[test]
    fn a_clock_has_hours_and_minutes() {
        assert_eq!(clock("14:30"), Some(vec![Tag::Hour(14), Tag::Minute(30)]));
        assert_eq!(clock("0930"), Some(vec![Tag::Hour(9), Tag::Minute(30), Tag::Exact]));
        for no in ["25:00", "12:60", "12:3", "9", "12345", "12:30:10"] {
            assert_eq!(clock(no), None, "{no}");
        }
    }

    #[test]
    fn a_date_is_written_in_several_ways() {
        let first_of_december = vec![Tag::Day(1), Tag::Month(12), Tag::Year(2026)];
        assert_eq!(date("2026-12-01", false), Some(first_of_december.clone()));
        assert_eq!(date("1.12.2026", false), Some(first_of_december.clone()));
        assert_eq!(date("12/1/26", true), Some(first_of_december));
        assert_eq!(date("12/1", false), Some(vec![Tag::Day(12), Tag::Month(1)]));
        for no in ["1", "1/2/3/4", "1/2/345", "99999999999-1-1", "1:2"] {
            assert_eq!(date(no, false), None, "{no}");
        }
    }
}
