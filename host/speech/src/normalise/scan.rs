//! Looking at a text character by character, and the things both languages
//! write alike: numbers, dates, times, telephone numbers, addresses.

/// A text with its characters in reach. Full-width figures and letters look
/// like the plain ones.
pub(super) struct Source {
    chars: Vec<char>,
    /// Where each begins, and the length of the text at the end.
    bytes: Vec<usize>,
}

/// A written number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numeral {
    /// Digits without separators.
    pub(super) whole: String,
    /// Digits after the point.
    pub(super) fraction: Option<String>,
    /// It was written with commas: `1,234`.
    pub(super) grouped: bool,
    pub(super) end: usize,
}

/// A date that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: u32,
    pub(super) month: u32,
    pub(super) day: u32,
    pub(super) end: usize,
}

/// A time of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    pub(super) hour: u32,
    pub(super) minute: u32,
    pub(super) second: Option<u32>,
    /// True for p.m.
    pub(super) afternoon: Option<bool>,
    pub(super) end: usize,
}

/// Digits in groups: a telephone number, a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Groups {
    pub(super) plus: bool,
    pub(super) groups: Vec<String>,
    pub(super) end: usize,
}

/// Groups of a telephone number that are looked at.
const MAX_GROUPS: usize = 12;
/// Longest part of a mail address before its `@` (RFC 5321).
const MAX_LOCAL_PART: usize = 64;
const MAX_DOMAIN: usize = 255;

impl Source {
    pub(super) fn new(text: &str) -> Self {
        let mut bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        bytes.push(text.len());
        Self { chars: text.chars().map(plain).collect(), bytes }
    }

    pub(super) const fn len(&self) -> usize {
        self.chars.len()
    }

    /// Where a character begins in the text.
    pub(super) fn byte(&self, at: usize) -> usize {
        self.bytes.get(at).or(self.bytes.last()).copied().unwrap_or(0)
    }

    /// The character, or NUL past the end.
    pub(super) fn at(&self, at: usize) -> char {
        self.chars.get(at).copied().unwrap_or('\0')
    }

    /// The character before, or NUL at the beginning.
    pub(super) fn before(&self, at: usize) -> char {
        at.checked_sub(1).map_or('\0', |at| self.at(at))
    }

    pub(super) fn is_digit(&self, at: usize) -> bool {
        self.at(at).is_ascii_digit()
    }

    /// A letter or a figure of a language that spaces its words.
    pub(super) fn is_latin(&self, at: usize) -> bool {
        self.at(at).is_ascii_alphanumeric()
    }

    /// Whether a word may begin here.
    pub(super) fn fresh(&self, at: usize) -> bool {
        !self.before(at).is_alphanumeric()
    }

    /// Whether `word` stands here.
    pub(super) fn has(&self, at: usize, word: &str) -> bool {
        word.chars().enumerate().all(|(i, c)| self.at(at + i) == c)
    }

    pub(super) fn has_ignoring_case(&self, at: usize, word: &str) -> bool {
        word.chars().enumerate().all(|(i, c)| self.at(at + i).eq_ignore_ascii_case(&c))
    }

    /// Past one space, where there is one.
    pub(super) fn past_space(&self, at: usize) -> usize {
        if self.at(at) == ' ' { at + 1 } else { at }
    }

    pub(super) fn text(&self, from: usize, to: usize) -> String {
        self.chars.get(from..to).unwrap_or_default().iter().collect()
    }

    /// The end of the digits that begin here.
    pub(super) fn digits(&self, at: usize) -> usize {
        let count = self.chars.get(at..).unwrap_or_default().iter().take_while(|c| c.is_ascii_digit()).count();
        at + count
    }

    /// `2`, `1,234,567`, `3.14`, `1,234.56`; not the beginning of `1.2.3`.
    pub(super) fn numeral(&self, at: usize) -> Option<Numeral> {
        let first = self.digits(at);
        if first == at {
            return None;
        }
        let mut whole = self.text(at, first);
        let mut end = first;
        if (1..=3).contains(&(first - at)) && self.at(at) != '0' {
            while self.at(end) == ',' && self.digits(end + 1) == end + 4 {
                whole.push_str(&self.text(end + 1, end + 4));
                end += 4;
            }
        }
        let grouped = end > first;
        let mut fraction = None;
        if self.at(end) == '.' {
            let stop = self.digits(end + 1);
            if stop > end + 1 && !(self.at(stop) == '.' && self.is_digit(stop + 1)) {
                fraction = Some(self.text(end + 1, stop));
                end = stop;
            }
        }
        Some(Numeral { whole, fraction, grouped, end })
    }

    /// A number of exactly so many digits that is followed by no other.
    pub(super) fn number(&self, at: usize, digits: std::ops::RangeInclusive<usize>) -> Option<(u32, usize)> {
        let end = self.digits(at);
        let value = digits.contains(&(end - at)).then(|| self.text(at, end).parse().ok())??;
        Some((value, end))
    }

    /// `2026-11-21`, `2026/11/21`, `2026.11.21`.
    pub(super) fn iso_date(&self, at: usize) -> Option<Date> {
        let (year, end) = self.number(at, 4..=4)?;
        let separator = self.at(end);
        if !matches!(separator, '-' | '/' | '.') {
            return None;
        }
        let (month, end) = self.number(end + 1, 1..=2)?;
        if self.at(end) != separator {
            return None;
        }
        let (day, end) = self.number(end + 1, 1..=2)?;
        let more = self.at(end) == separator && self.is_digit(end + 1);
        (!more && exists(year, month, day)).then_some(Date { year, month, day, end })
    }

    /// `21/11/2026`, `21.11.2026`, `21-11-2026`, `21/11/26`; the month first
    /// where `month_first` says so or nothing else makes a date.
    pub(super) fn short_date(&self, at: usize, month_first: bool) -> Option<Date> {
        let (one, end) = self.number(at, 1..=2)?;
        let separator = self.at(end);
        if !matches!(separator, '-' | '/' | '.') {
            return None;
        }
        let (two, end) = self.number(end + 1, 1..=2)?;
        if self.at(end) != separator {
            return None;
        }
        let (year, stop) = self.number(end + 1, 2..=4)?;
        let year = match stop - end - 1 {
            4 => year,
            2 if separator == '/' => 2_000 + year,
            _ => return None,
        };
        let more = self.at(stop) == separator && self.is_digit(stop + 1);
        if more || !(1_000..=2_999).contains(&year) {
            return None;
        }
        let orders = if month_first { [(two, one), (one, two)] } else { [(one, two), (two, one)] };
        let (day, month) = orders.into_iter().find(|&(day, month)| exists(year, month, day))?;
        Some(Date { year, month, day, end: stop })
    }

    /// `14:30`, `14:30:15`, `3:45 pm`, `3 pm`, `3.45 p.m.`.
    pub(super) fn clock(&self, at: usize) -> Option<Clock> {
        let (hour, end) = self.number(at, 1..=2)?;
        let minute = |at: usize| self.number(at, 2..=2).filter(|&(minute, _)| minute < 60);
        let mut clock = Clock { hour, minute: 0, second: None, afternoon: None, end };
        match self.at(end) {
            ':' => {
                (clock.minute, clock.end) = minute(end + 1)?;
                if self.at(clock.end) == ':' {
                    let (second, end) = minute(clock.end + 1)?;
                    (clock.second, clock.end) = (Some(second), end);
                }
                if self.at(clock.end) == ':' || self.at(clock.end) == '.' && self.is_digit(clock.end + 1) {
                    return None;
                }
            }
            '.' => {
                (clock.minute, clock.end) = minute(end + 1)?;
                self.half_day(clock.end)?;
            }
            _ => {
                self.half_day(end)?;
            }
        }
        if let Some((afternoon, end)) = self.half_day(clock.end)
            && (1..=12).contains(&hour)
        {
            (clock.afternoon, clock.end) = (Some(afternoon), end);
        } else if self.at(end) != ':' {
            return None;
        }
        let day = hour < 24 || hour == 24 && clock.minute == 0 && clock.second.unwrap_or(0) == 0;
        (day && !self.is_latin(clock.end)).then_some(clock)
    }

    /// `am`, ` PM`, ` p.m.`: whether it is the afternoon. The last point is
    /// part of it.
    fn half_day(&self, at: usize) -> Option<(bool, usize)> {
        let at = self.past_space(at);
        let afternoon = match self.at(at) {
            'a' | 'A' => false,
            'p' | 'P' => true,
            _ => return None,
        };
        let dotted = self.at(at + 1) == '.';
        let m = if dotted { at + 2 } else { at + 1 };
        if !matches!(self.at(m), 'm' | 'M') || self.at(m + 1).is_alphanumeric() {
            return None;
        }
        let end = if self.at(m + 1) == '.' { m + 2 } else { m + 1 };
        Some((afternoon, end))
    }

    /// Groups of digits that are no quantity: `+44 20 7946 0958`,
    /// `(555) 123-4567`, `400-800-1234`, `12-34-56`, `020 7946 0958`.
    pub(super) fn groups(&self, at: usize) -> Option<Groups> {
        let plus = self.at(at) == '+';
        let mut next = if plus { at + 1 } else { at };
        let mut groups: Vec<String> = Vec::new();
        let mut ends = Vec::new();
        let mut separators: Vec<char> = Vec::new();
        let mut brackets = false;
        while groups.len() < MAX_GROUPS {
            let open = self.at(next) == '(';
            let from = if open { next + 1 } else { next };
            let to = self.digits(from);
            if to == from || open && self.at(to) != ')' {
                break;
            }
            let mut end = to;
            if open {
                brackets = true;
                end += 1;
            }
            groups.push(self.text(from, to));
            ends.push(end);
            let separator = self.at(end);
            let begins = |at: usize| self.is_digit(at) || self.at(at) == '(' && self.is_digit(at + 1);
            if matches!(separator, ' ' | '-' | '.') && begins(end + 1) {
                separators.push(separator);
                next = end + 1;
            } else if open && begins(end) || separator == '(' && begins(end) {
                separators.push(' ');
                next = end;
            } else {
                break;
            }
        }
        // An opening bracket that nothing came of.
        separators.truncate(groups.len().saturating_sub(1));
        let count = accept(plus, brackets, &groups, &separators)?;
        groups.truncate(count);
        let end = *ends.get(count - 1)?;
        (!self.is_latin(end)).then_some(Groups { plus, groups, end })
    }

    /// `1.2.3`: at least three numbers.
    pub(super) fn version(&self, at: usize) -> Option<Groups> {
        let mut groups = Vec::new();
        let mut from = at;
        loop {
            let end = self.digits(from);
            if end == from {
                return None;
            }
            groups.push(self.text(from, end));
            if self.at(end) == '.' && self.is_digit(end + 1) {
                from = end + 1;
            } else {
                return (groups.len() >= 3).then_some(Groups { plus: false, groups, end });
            }
        }
    }

    /// The end of a mail address, and where its `@` is.
    pub(super) fn mail_address(&self, at: usize) -> Option<(usize, usize)> {
        let local = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
        let count = |from: usize, max: usize, of: &dyn Fn(char) -> bool| {
            self.chars.get(from..).unwrap_or_default().iter().take(max + 1).take_while(|&&c| of(c)).count()
        };
        let sign = at + count(at, MAX_LOCAL_PART, &local);
        if sign == at || self.at(sign) != '@' {
            return None;
        }
        let domain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let mut end = sign + 1 + count(sign + 1, MAX_DOMAIN, &domain);
        while end > sign && matches!(self.at(end - 1), '.' | '-') {
            end -= 1;
        }
        let host = self.text(sign + 1, end);
        let (_, top) = host.rsplit_once('.')?;
        (top.len() >= 2 && top.chars().all(|c| c.is_ascii_alphabetic())).then_some((end, sign))
    }

    /// The end of letters and figures that begin here, where there are both.
    pub(super) fn mixed(&self, at: usize) -> Option<usize> {
        let rest = self.chars.get(at..).unwrap_or_default();
        let count = rest.iter().take_while(|c| c.is_ascii_alphanumeric()).count();
        let token = &rest[..count];
        let mixed = token.iter().any(char::is_ascii_digit) && token.iter().any(char::is_ascii_alphabetic);
        mixed.then_some(at + count)
    }

    /// Whether `#` or `*` is a key of the telephone here: alone, or beside a
    /// digit with nothing but other keys between.
    pub(super) fn is_key(&self, at: usize) -> bool {
        let key = |at: usize| matches!(self.at(at), '#' | '*');
        // Nobody is told to press more than a few.
        let from = (at.saturating_sub(8)..at).rev().take_while(|&i| key(i)).last().unwrap_or(at);
        let to = (at..at + 8).take_while(|&i| key(i)).last().unwrap_or(at) + 1;
        let alone = to - from == 1 && !self.before(from).is_ascii_alphanumeric() && !self.is_latin(to);
        alone || self.before(from).is_ascii_digit() || self.is_digit(to)
    }

    /// The dash of a range that ends a number at `at`: where the next number
    /// begins. A hyphen stands close, a dash may have room.
    pub(super) fn range(&self, at: usize) -> Option<usize> {
        let dash = self.past_space(at);
        let next = match self.at(dash) {
            '-' | '~' if dash == at => at + 1,
            '–' | '—' | '~' => self.past_space(dash + 1),
            _ => return None,
        };
        Some(next)
    }
}

/// How many of these groups make a telephone number or a code.
fn accept(plus: bool, brackets: bool, groups: &[String], separators: &[char]) -> Option<usize> {
    let sizes: Vec<usize> = groups.iter().map(String::len).collect();
    let total = |count: usize| sizes[..count].iter().sum::<usize>();
    if plus || brackets {
        // As many groups as a number of E.164 may have.
        let most = (1..=groups.len()).rev().find(|&count| total(count) <= 15)?;
        return (total(most) >= 7).then_some(most);
    }
    let alike = |separator: char| 1 + separators.iter().take_while(|&&s| s == separator).count();
    let hyphens = alike('-');
    if hyphens >= 3 && total(hyphens) <= 20 {
        return Some(hyphens);
    }
    if hyphens == 2 && sizes[..2] == [3, 4] {
        return Some(2);
    }
    let points = alike('.');
    if points == 3 && sizes[..3] == [3, 3, 4] {
        return Some(3);
    }
    // 020 7946 0958: a number that begins with a zero is none to count with.
    if sizes.first().is_some_and(|&size| size >= 2) && groups[0].starts_with('0') {
        let most = (2..=groups.len())
            .rev()
            .find(|&count| total(count) <= 12 && separators[..count - 1].iter().all(|&s| s == ' ' || s == '-'))?;
        return (total(most) >= 8).then_some(most);
    }
    None
}

fn exists(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// Full-width figures, letters and signs as the plain ones; spaces alike.
fn plain(c: char) -> char {
    match c {
        '０'..='９'
        | 'Ａ'..='Ｚ'
        | 'ａ'..='ｚ'
        | '％'
        | '：'
        | '／'
        | '＋'
        | '－'
        | '．'
        | '＄'
        | '＠'
        | '（'
        | '）'
        | '～' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '￥' => '¥',
        '￡' => '£',
        '\u{a0}' | '\u{202f}' | '\u{2009}' => ' ',
        '\u{2212}' | '\u{2010}' | '\u{2011}' => '-',
        '〜' => '~',
        _ => c,
    }
}
