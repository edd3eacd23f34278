//! Dates and times of the day in English.

use super::Reading;
use super::english::English;
use super::english_names::MONTHS;
use super::english_numbers::{below_hundred, ordinal, year};
use super::scan::{Clock, Date};

impl English<'_> {
    pub(super) fn date(&self, at: usize) -> Option<Reading> {
        let date = self.s.iso_date(at).or_else(|| self.s.short_date(at, self.american))?;
        let Date { year: y, month, day, mut end } = date;
        let mut words = if self.american {
            format!("{} {}, {}", month_name(month), self.ordinal(day), self.year(y))
        } else {
            let the = if self.after_word(at, "the") { "" } else { "the " };
            format!("{the}{} of {}, {}", self.ordinal(day), month_name(month), self.year(y))
        };
        // 2026-11-21T14:30Z
        if self.s.at(end) == 'T'
            && let Some(clock) = self.s.clock(end + 1).or_else(|| self.zulu(end + 1))
        {
            words = format!("{words}, {}", self.clock_words(&clock));
            end = clock.end;
            if self.s.at(end) == 'Z' && !self.s.is_latin(end + 1) {
                words.push_str(" U T C");
                end += 1;
            }
        }
        (!self.s.is_latin(end)).then_some(Reading { end, words })
    }

    /// `14:30Z`: the letter stands too close for a time of the day.
    fn zulu(&self, at: usize) -> Option<Clock> {
        let (hour, end) = self.s.number(at, 2..=2)?;
        let (minute, end) = self.s.number(end + 1, 2..=2).filter(|_| self.s.at(end) == ':')?;
        let (second, end) = match self.s.number(end + 1, 2..=2).filter(|_| self.s.at(end) == ':') {
            Some((second, end)) => (Some(second), end),
            None => (None, end),
        };
        let real = hour < 24 && minute < 60 && second.unwrap_or(0) < 60 && self.s.at(end) == 'Z';
        real.then_some(Clock { hour, minute, second, afternoon: None, end })
    }

    /// `21 November 2026`, `21st of November`.
    pub(super) fn day_and_month(&self, at: usize) -> Option<Reading> {
        let (day, end) = self.day(at)?;
        if self.s.at(end) != ' ' {
            return None;
        }
        let name = if self.s.has(end + 1, "of ") { end + 4 } else { end + 1 };
        let (month, end) = self.month(name)?;
        let the = if self.after_word(at, "the") { "" } else { "the " };
        let words = format!("{the}{} of {}", self.ordinal(day), month_name(month));
        Some(self.and_year(end, words))
    }

    /// `November 21, 2026`, `Nov. 21-23`, `November 2026`.
    pub(super) fn month_and_day(&self, at: usize) -> Option<Reading> {
        let (month, end) = self.month(at)?;
        let next = self.s.past_space(end);
        if next == end {
            return None;
        }
        if let Some((y, end)) = self.written_year(next) {
            return self.rewrite(end, format!("{} {}", month_name(month), self.year(y)));
        }
        let (day, mut end) = self.day(next)?;
        let the = if self.american { "" } else { "the " };
        let mut words = format!("{} {the}{}", month_name(month), self.ordinal(day));
        if let Some((other, stop)) = self.s.range(end).and_then(|next| self.day(next)) {
            words = format!("{words} to {the}{}", self.ordinal(other));
            end = stop;
        }
        Some(self.and_year(end, words))
    }

    /// The year after a day, with or without a comma.
    fn and_year(&self, end: usize, words: String) -> Reading {
        let comma = if self.s.at(end) == ',' { end + 1 } else { end };
        match self.written_year(self.s.past_space(comma)) {
            Some((y, stop)) if self.s.at(comma) == ' ' => {
                Reading { end: stop, words: format!("{words}, {}", self.year(y)) }
            }
            _ => Reading { end, words },
        }
    }

    /// Four digits that are nothing else.
    fn written_year(&self, at: usize) -> Option<(u32, usize)> {
        let (y, end) = self.s.number(at, 4..=4).filter(|(y, _)| (1_000..=2_999).contains(y))?;
        self.stands_alone(end).then_some((y, end))
    }

    /// `21`, `21st`.
    fn day(&self, at: usize) -> Option<(u32, usize)> {
        let (day, end) = self.s.number(at, 1..=2).filter(|(day, _)| (1..=31).contains(day))?;
        let end = self.ordinal_suffix(end).unwrap_or(end);
        self.stands_alone(end).then_some((day, end))
    }

    /// Whether a figure that ends here is not the beginning of something else.
    pub(super) fn stands_alone(&self, end: usize) -> bool {
        match self.s.at(end) {
            ':' | '.' | ',' | '/' => !self.s.is_digit(end + 1),
            c => !c.is_alphanumeric() && c != '%',
        }
    }

    /// A month, in full or short, with a capital.
    fn month(&self, at: usize) -> Option<(u32, usize)> {
        (1..).zip(MONTHS).find_map(|(number, (full, short))| {
            let ends = |name: &str| {
                let end = at + name.len();
                (self.s.has(at, name) && !self.s.at(end).is_alphanumeric()).then_some(end)
            };
            let end = ends(full).or_else(|| {
                let end = ends(short).or_else(|| if short == "Sep" { ends("Sept") } else { None })?;
                Some(if self.s.at(end) == '.' { end + 1 } else { end })
            })?;
            Some((number, end))
        })
    }

    pub(super) fn time(&self, at: usize) -> Option<Reading> {
        // "3:10" may be a score; but what looks like a time is one.
        if let Some(clock) = self.s.clock(at) {
            return Some(Reading { end: clock.end, words: self.clock_words(&clock) });
        }
        let clock = self.zulu(at)?;
        self.rewrite(clock.end + 1, format!("{} U T C", self.clock_words(&clock)))
    }

    fn clock_words(&self, clock: &Clock) -> String {
        let hour = match clock.hour {
            0 if clock.afternoon.is_none() && clock.minute > 0 => "zero".to_owned(),
            hour => below_hundred(u64::from(hour)),
        };
        let mut words = match (clock.minute, clock.afternoon) {
            (0, None) if clock.hour.is_multiple_of(24) => "midnight".to_owned(),
            (0, None) if clock.hour <= 12 => format!("{hour} o'clock"),
            (0, None) => format!("{hour} hundred"),
            (0, Some(_)) => hour,
            (minute @ 1..=9, _) => format!("{hour} oh {}", below_hundred(u64::from(minute))),
            (minute, _) => format!("{hour} {}", below_hundred(u64::from(minute))),
        };
        if let Some(second) = clock.second.filter(|&second| second > 0) {
            let s = if second == 1 { "" } else { "s" };
            words = format!("{words} and {} second{s}", below_hundred(u64::from(second)));
        }
        match clock.afternoon {
            Some(true) => format!("{words} p.m."),
            Some(false) => format!("{words} a.m."),
            None => words,
        }
    }

    fn ordinal(&self, n: u32) -> String {
        ordinal(n.into(), self.american)
    }

    fn year(&self, n: u32) -> String {
        year(n.into(), self.american)
    }
}

fn month_name(month: u32) -> &'static str {
    month.checked_sub(1).and_then(|m| MONTHS.get(m as usize)).map_or("", |(full, _)| full)
}
