//! What English writes in figures and signs, and how it is said.
//!
//! Americans put the month first and leave out the `and`; everybody else,
//! plain `en` included, is taken for British, as the voices are.

use super::Reading;
use super::english_names::{
    BEFORE_CODES, BEFORE_YEARS, CODES, CURRENCIES, Currency, NUMBERED, SCALES, SHORT, TITLES, UNITS,
};
use super::english_numbers::{below_hundred, cardinal, code, decade, digits, number, ordinal, year};
use super::scan::{Groups, Numeral, Source};

/// What is written at `at` and not said as it is written, if anything is.
pub(super) fn read(source: &Source, at: usize, american: bool) -> Option<Reading> {
    let english = English { s: source, american };
    let c = source.at(at);
    match c {
        '0'..='9' => english.figures(at),
        '+' | '(' => english.telephone(at).or_else(|| english.sign(at)),
        '$' | '£' | '€' | '¥' | '₹' => english.with_range(at),
        '-' if !source.before(at).is_alphanumeric() && source.before(at) != ')' => english.minus(at),
        '.' if !source.before(at).is_alphanumeric() && source.before(at) != '.' && source.is_digit(at + 1) => {
            let end = source.digits(at + 1);
            Some(Reading { end, words: format!("point {}", digits(&source.text(at + 1, end))) })
        }
        '#' if source.is_digit(at + 1) && !matches!(source.before(at), '#' | '*') => english.rewrite(at + 1, "number "),
        '#' | '*' => english.key(at),
        '½' | '¼' | '¾' | '⅓' | '⅔' => english.vulgar(at),
        '&' | '@' | '=' | '%' | '°' | '/' | '×' => english.sign(at),
        c if c.is_ascii_alphabetic() && source.fresh(at) => english.word(at),
        _ => None,
    }
}

pub(super) struct English<'a> {
    pub(super) s: &'a Source,
    pub(super) american: bool,
}

/// What kind of thing a reading is: what may be the other end of its range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A bare number, of so many hundred years where it looks like a year.
    Number {
        year: bool,
    },
    Other,
}

impl English<'_> {
    pub(super) fn rewrite(&self, end: usize, words: impl Into<String>) -> Option<Reading> {
        Some(Reading { end, words: words.into() })
    }

    /// What begins with a figure.
    fn figures(&self, at: usize) -> Option<Reading> {
        if self.s.fresh(at) {
            let address = self.address(at).or_else(|| self.telephone_unless_date(at));
            if address.is_some() {
                return address;
            }
            if let Some(groups) = self.s.version(at)
                && self.s.short_date(at, self.american).is_none()
                && self.s.iso_date(at).is_none()
            {
                return Some(Reading { end: groups.end, words: version(&groups, self.american) });
            }
        }
        self.with_range(at)
    }

    /// Something countable, and the other end of its range where there is one.
    fn with_range(&self, at: usize) -> Option<Reading> {
        let (kind, first) = self.countable(at)?;
        let Some(next) = self.s.range(first.end) else { return Some(first) };
        let money = |at: usize| matches!(self.s.at(at), '$' | '£' | '€' | '¥' | '₹');
        if !self.s.is_digit(next) && !money(next) {
            return Some(first);
        }
        let Some((other, second)) = self.countable(next) else { return Some(first) };
        let short = matches!(other, Kind::Number { .. }) && second.end == next + 2 && self.s.at(next) != '0';
        if matches!(kind, Kind::Number { year: true }) && (short || matches!(other, Kind::Number { year: true })) {
            let name = |from: usize, to: usize| match self.s.text(from, to).parse() {
                Ok(n) if n < 100 => Ok(below_hundred(n)),
                Ok(n) => Ok(year(n, self.american)),
                Err(error) => Err(error),
            };
            if let (Ok(one), Ok(two)) = (name(at, first.end), name(next, second.end)) {
                return Some(Reading { end: second.end, words: format!("{one} to {two}") });
            }
        }
        // A third end makes it something else: a code, a score.
        if self.s.at(second.end) == '-' && self.s.is_digit(second.end + 1) {
            return Some(first);
        }
        Some(Reading { end: second.end, words: format!("{} to {}", first.words, second.words) })
    }

    fn countable(&self, at: usize) -> Option<(Kind, Reading)> {
        let other = |reading| (Kind::Other, reading);
        if !self.s.is_digit(at) {
            return self.money(at).map(other);
        }
        if self.s.fresh(at)
            && let Some(found) = self.date(at).or_else(|| self.day_and_month(at)).or_else(|| self.time(at))
        {
            return Some(other(found));
        }
        if self.s.fresh(at)
            && let Some(found) = self.ratio(at)
        {
            return Some(other(found));
        }
        self.quantity(at)
    }

    fn telephone_unless_date(&self, at: usize) -> Option<Reading> {
        if self.s.iso_date(at).is_some() || self.s.short_date(at, self.american).is_some() {
            return None;
        }
        self.telephone(at)
    }

    fn telephone(&self, at: usize) -> Option<Reading> {
        if !self.s.fresh(at) {
            return None;
        }
        let Groups { plus, groups, end } = self.s.groups(at)?;
        let spoken: Vec<String> =
            groups.iter().map(|group| if group.len() > 4 { code(group) } else { digits(group) }).collect();
        let plus = if plus { "plus " } else { "" };
        Some(Reading { end, words: format!("{plus}{}", spoken.join(", ")) })
    }

    /// `3:2`, `1/2`, `24/7`, `8/10`.
    fn ratio(&self, at: usize) -> Option<Reading> {
        let (one, end) = self.s.number(at, 1..=3)?;
        let separator = self.s.at(end);
        let (two, end) = self.s.number(end + 1, 1..=3)?;
        if !self.stands_alone(end) || self.s.at(end) == separator {
            return None;
        }
        let (a, b) = (cardinal(one.into(), self.american), cardinal(two.into(), self.american));
        let words = match separator {
            ':' => format!("{a} to {b}"),
            '/' if (one, two) == (24, 7) => "twenty-four seven".to_owned(),
            '/' => match fraction(one, two) {
                Some(words) => words,
                None if one <= two && matches!(two, 5 | 10 | 100) => format!("{a} out of {b}"),
                None => format!("{a} slash {b}"),
            },
            _ => return None,
        };
        Some(Reading { end, words })
    }

    /// `½`, `1½`.
    fn vulgar(&self, at: usize) -> Option<Reading> {
        let words = match self.s.at(at) {
            '½' => "one half",
            '¼' => "one quarter",
            '¾' => "three quarters",
            '⅓' => "one third",
            _ => "two thirds",
        };
        let and = if self.s.before(at).is_ascii_digit() { " and " } else { "" };
        self.rewrite(at + 1, format!("{and}{words}"))
    }

    /// `-5`, `-$5`, `-3.5%`.
    fn minus(&self, at: usize) -> Option<Reading> {
        let reading = match self.s.at(at + 1) {
            '0'..='9' | '$' | '£' | '€' | '¥' | '₹' => self.with_range(at + 1)?,
            _ => return None,
        };
        Some(Reading { end: reading.end, words: format!("minus {}", reading.words) })
    }

    /// A sign that stands for a word.
    fn sign(&self, at: usize) -> Option<Reading> {
        let (before, after) = (self.s.before(at), self.s.at(at + 1));
        let spaced = |c: char| c == ' ' || c == '\0';
        let (word, said) = match self.s.at(at) {
            '&' => ("and", true),
            '@' => ("at", spaced(before) && spaced(after)),
            '=' => ("equals", spaced(before) && spaced(after)),
            '%' => ("percent", true),
            '°' => ("degrees", true),
            '/' => ("per", before.is_ascii_digit() && after.is_ascii_lowercase()),
            '×' => ("times", before.is_ascii_digit() || self.s.before(at.saturating_sub(1)).is_ascii_digit()),
            '+' => {
                let (left, right) = (self.s.before(at.saturating_sub(1)), self.s.at(self.s.past_space(at + 1)));
                let left = if before == ' ' { left } else { before };
                let more = before.is_ascii_digit() && !after.is_alphanumeric();
                ("plus", more || left.is_ascii_digit() && right.is_ascii_digit())
            }
            _ => return None,
        };
        if !said {
            return None;
        }
        let left = if before.is_alphanumeric() { " " } else { "" };
        self.rewrite(at + 1, format!("{left}{word}"))
    }

    /// `$1,234.56`, `$5 million`, `US$10-20`.
    fn money(&self, at: usize) -> Option<Reading> {
        let (name, currency) = CURRENCIES.iter().find(|(name, _)| self.s.has(at, name))?;
        let code = name.starts_with(|c: char| c.is_ascii_alphabetic());
        if code && !self.s.fresh(at) {
            return None;
        }
        let after = at + name.chars().count();
        let from = if code && !name.ends_with('$') { self.s.past_space(after) } else { after };
        let numeral = self.s.numeral(from).or_else(|| self.below_one(from))?;
        let scale = self.scale(numeral.end);
        let end = scale.map_or(numeral.end, |(_, end)| end);
        if self.s.at(end).is_ascii_alphabetic() {
            return None;
        }
        // $10-20
        if let Some(other) = self.s.range(end).and_then(|next| self.s.numeral(next))
            && numeral.fraction.is_none()
            && other.fraction.is_none()
            && !self.s.at(other.end).is_alphanumeric()
            && !matches!(self.s.at(other.end), '%' | '-')
        {
            let (scale, end) = scale.or_else(|| self.scale(other.end)).unwrap_or(("", other.end));
            let space = if scale.is_empty() { "" } else { " " };
            let (low, high) = (number(&numeral, self.american), number(&other, self.american));
            return self.rewrite(end.max(other.end), format!("{low} to {high}{space}{scale} {}", currency.1));
        }
        Some(Reading { end, words: self.amount(&numeral, scale.map(|(word, _)| word), currency) })
    }

    fn amount(&self, numeral: &Numeral, scale: Option<&str>, &(one, many, hundredth): &Currency) -> String {
        let plain = Numeral { grouped: true, ..numeral.clone() };
        if let Some(scale) = scale {
            return format!("{} {scale} {many}", number(&plain, self.american));
        }
        let unit = |n: &str| if n.trim_start_matches('0') == "1" { one } else { many };
        let fraction = numeral.fraction.as_deref().unwrap_or_default();
        let whole = Numeral { fraction: None, ..plain.clone() };
        let whole = format!("{} {}", number(&whole, self.american), unit(&numeral.whole));
        let nothing = |digits: &str| digits.bytes().all(|digit| digit == b'0');
        match (fraction.len(), hundredth) {
            (0, _) => whole,
            (2, _) if nothing(fraction) => whole,
            (2, Some((one, many))) => {
                let cents = fraction.parse().unwrap_or(0);
                let cents = format!("{} {}", below_hundred(cents), if cents == 1 { one } else { many });
                if nothing(&numeral.whole) { cents } else { format!("{whole} and {cents}") }
            }
            _ => format!("{} {many}", number(&plain, self.american)),
        }
    }

    /// `.50`
    fn below_one(&self, at: usize) -> Option<Numeral> {
        let end = self.s.digits(at + 1);
        let fraction = self.s.text(at + 1, end);
        (self.s.at(at) == '.' && !fraction.is_empty()).then(|| Numeral {
            whole: "0".to_owned(),
            fraction: Some(fraction),
            grouped: false,
            end,
        })
    }

    /// `million`, `bn`, after an amount.
    fn scale(&self, at: usize) -> Option<(&'static str, usize)> {
        SCALES.iter().find_map(|&(written, said, close)| {
            let from = if close { at } else { self.s.past_space(at) };
            let end = from + written.len();
            (self.s.has(from, written) && !self.s.at(end).is_alphanumeric()).then_some((said, end))
        })
    }

    /// A number with what belongs to it.
    fn quantity(&self, at: usize) -> Option<(Kind, Reading)> {
        let numeral = self.s.numeral(at)?;
        let end = numeral.end;
        let whole = numeral.fraction.is_none();
        let done = |end: usize, words: String| Some((Kind::Other, Reading { end, words }));
        let value = numeral.whole.parse::<u64>().ok().filter(|_| numeral.whole.len() <= 18);
        if whole && let Some(value) = value {
            if let Some(end) = self.ordinal_suffix(end).filter(|&end| !self.s.is_latin(end)) {
                return done(end, ordinal(value, self.american));
            }
            let decade_like = numeral.whole.len() == 4 && (1_000..3_000).contains(&value) || numeral.whole.len() == 2;
            if decade_like && value.is_multiple_of(10) && self.s.at(end) == 's' && !self.s.is_latin(end + 1) {
                return done(end + 1, decade(value));
            }
            // 1 1/2
            if value < 1_000
                && self.s.at(end) == ' '
                && let Some((a, slash)) = self.s.number(end + 1, 1..=2)
                && self.s.at(slash) == '/'
                && let Some((b, end)) = self.s.number(slash + 1, 1..=2)
                && let Some(part) = fraction(a, b).filter(|_| self.stands_alone(end))
            {
                return done(end, format!("{} and {part}", cardinal(value, self.american)));
            }
        }
        let percent = self.s.past_space(end);
        if self.s.at(percent) == '%' {
            return done(percent + 1, format!("{} percent", self.counted(&numeral)));
        }
        if let Some(found) = self.unit(&numeral).or_else(|| self.money_after(&numeral)) {
            return Some((Kind::Other, found));
        }
        if whole && let Some(stop) = self.s.mixed(at) {
            // Seat 14C, but 221B.
            let letters = (end..stop).all(|i| !self.s.is_digit(i));
            if letters && numeral.whole.len() <= 2 && !numeral.whole.starts_with('0') {
                let letters = self.mixed(end, stop);
                return done(stop, format!("{} {letters}", number(&numeral, self.american)));
            }
            return done(stop, self.mixed(at, stop));
        }
        let looks_like_year = whole && !numeral.grouped && numeral.whole.len() == 4;
        let year_range = value.filter(|_| looks_like_year).is_some_and(|value| (1_900..=2_099).contains(&value));
        if year_range && BEFORE_YEARS.iter().any(|word| self.after_word(at, word)) && self.stands_alone(end) {
            let words = year(value.unwrap_or(0), self.american);
            return Some((Kind::Number { year: true }, Reading { end, words }));
        }
        if whole && !numeral.grouped && self.is_named_code(at, numeral.whole.len()) {
            let spoken = if numeral.whole.len() <= 4 { digits(&numeral.whole) } else { code(&numeral.whole) };
            return done(end, spoken);
        }
        // 1.5M
        if !whole
            && let Some((scale, end)) = self.scale(end).filter(|&(_, stop)| stop <= end + 2 && self.s.at(end) != 'm')
        {
            return done(end, format!("{} {scale}", self.counted(&numeral)));
        }
        // AB-12345 is a code, COVID-19 is not.
        let hyphened = self.s.before(at) == '-' && self.s.before(at.saturating_sub(1)).is_alphabetic();
        let words = if hyphened && numeral.whole.len() > 2 && whole {
            code(&numeral.whole)
        } else {
            number(&numeral, self.american)
        };
        Some((Kind::Number { year: year_range }, Reading { end, words }))
    }

    /// Whether the words before name a code: `PIN 4711`, `your code is
    /// 482193`, `*123#`.
    fn is_named_code(&self, at: usize, length: usize) -> bool {
        if self.s.before(at) == '*' {
            return true;
        }
        if length < 4 {
            return false;
        }
        let mut end = at;
        for _ in 0..4 {
            while end > 0 && matches!(self.s.before(end), ' ' | ':' | '#' | '.' | '-') {
                end -= 1;
            }
            let mut from = end;
            while from > 0 && end - from < 16 && self.s.before(from).is_ascii_alphabetic() {
                from -= 1;
            }
            let word = self.s.text(from, end).to_ascii_lowercase();
            if CODES.contains(&word.as_str()) {
                return true;
            }
            if !BEFORE_CODES.contains(&word.as_str()) {
                return false;
            }
            end = from;
        }
        false
    }

    /// A key of the telephone, alone or with digits.
    fn key(&self, at: usize) -> Option<Reading> {
        if !self.s.is_key(at) {
            return None;
        }
        let before = self.s.before(at);
        let words = match self.s.at(at) {
            '*' => "star",
            _ if self.american => "pound",
            _ => "hash",
        };
        let space = if before.is_ascii_digit() || matches!(before, '#' | '*') { " " } else { "" };
        self.rewrite(at + 1, format!("{space}{words}"))
    }

    /// A number that is counted, however it is written.
    fn counted(&self, numeral: &Numeral) -> String {
        number(&Numeral { grouped: true, ..numeral.clone() }, self.american)
    }

    fn unit(&self, numeral: &Numeral) -> Option<Reading> {
        UNITS.iter().find_map(|&(written, one, many, spaced)| {
            let from = if spaced { self.s.past_space(numeral.end) } else { numeral.end };
            let end = from + written.chars().count();
            if !self.s.has(from, written) || self.s.at(end).is_alphanumeric() || self.s.at(end) == '/' {
                return None;
            }
            let single = numeral.whole == "1" && numeral.fraction.is_none();
            let unit = if single { one } else { many };
            let unit =
                if self.american { unit.replace("metre", "meter").replace("litre", "liter") } else { unit.into() };
            Some(Reading { end, words: format!("{} {unit}", self.counted(numeral)) })
        })
    }

    /// `5 USD`, `12,50 €` is not English, `12.50 €`.
    fn money_after(&self, numeral: &Numeral) -> Option<Reading> {
        let scale = self.scale(numeral.end).filter(|(_, end)| *end > numeral.end + 2);
        let after = scale.map_or(numeral.end, |(_, end)| end);
        let from = self.s.past_space(after);
        let (name, currency) = CURRENCIES
            .iter()
            .find(|(name, _)| self.s.has(from, name) && !self.s.at(from + name.chars().count()).is_alphanumeric())?;
        // "5 $" is a typing error for anything; "5 €" is usual.
        if from > after && matches!(*name, "$" | "£" | "¥") {
            return None;
        }
        let end = from + name.chars().count();
        Some(Reading { end, words: self.amount(numeral, scale.map(|(word, _)| word), currency) })
    }

    pub(super) fn ordinal_suffix(&self, at: usize) -> Option<usize> {
        let suffix = ["st", "nd", "rd", "th"].iter().any(|suffix| self.s.has_ignoring_case(at, suffix));
        suffix.then_some(at + 2)
    }

    /// What begins with a letter.
    fn word(&self, at: usize) -> Option<Reading> {
        self.address(at)
            .or_else(|| self.month_and_day(at))
            .or_else(|| self.money(at))
            .or_else(|| self.abbreviation(at))
            .or_else(|| {
                let end = self.s.mixed(at)?;
                // v2.0, PM2.5
                if self.s.at(end) == '.' && self.s.is_digit(end + 1) {
                    let letters = (at..end).find(|&i| self.s.is_digit(i)).unwrap_or(end);
                    let version = self.s.version(letters).map(|groups| (groups.end, version(&groups, self.american)));
                    let decimal = || {
                        let numeral = self.s.numeral(letters)?;
                        Some((numeral.end, number(&numeral, self.american)))
                    };
                    if self.s.digits(letters) == end
                        && let Some((end, words)) = version.or_else(decimal)
                    {
                        return self.rewrite(end, format!("{} {words}", self.mixed(at, letters)));
                    }
                }
                Some(Reading { end, words: self.mixed(at, end) })
            })
    }

    fn abbreviation(&self, at: usize) -> Option<Reading> {
        let capital_after = |at: usize| self.s.at(at) == ' ' && self.s.at(at + 1).is_uppercase();
        if let Some((short, words)) = SHORT.iter().find(|(short, _)| self.s.has(at, short)) {
            let end = at + short.len();
            return if self.s.at(end).is_alphanumeric() { None } else { self.rewrite(end, *words) };
        }
        if let Some((short, words)) = NUMBERED.iter().find(|(short, _)| self.s.has(at, short)) {
            let next = self.s.past_space(at + short.len());
            return if self.s.is_digit(next) { self.rewrite(next, format!("{words} ")) } else { None };
        }
        if self.s.has(at, "etc.") {
            // The point may be the end of the sentence too.
            let end = at + 4;
            let ends = self.s.at(end) == '\0' || capital_after(end);
            return self.rewrite(end, if ends { "et cetera." } else { "et cetera" });
        }
        TITLES.iter().find_map(|(short, words)| {
            let end = at + short.len();
            let point = usize::from(self.s.at(end) == '.');
            // "Main St. The …": after a name it is a street.
            let name_before = self.s.before(at) == ' ' && self.capital_word_before(at);
            let title = self.s.has(at, short) && capital_after(end + point) && !(*short == "St" && name_before);
            title.then(|| Reading { end: end + point, words: (*words).to_owned() })
        })
    }

    /// Whether the word before begins with a capital.
    fn capital_word_before(&self, at: usize) -> bool {
        let mut from = at.saturating_sub(1);
        // A word is short; a longer one is none.
        for _ in 0..32 {
            if from == 0 || !self.s.before(from).is_alphanumeric() {
                break;
            }
            from -= 1;
        }
        self.s.at(from).is_uppercase()
    }

    /// `info@example.com`.
    fn address(&self, at: usize) -> Option<Reading> {
        let (end, sign) = self.s.mail_address(at)?;
        let mut words = String::new();
        let mut from = at;
        while from < end {
            let c = self.s.at(from);
            let part = match c {
                '@' => "at".to_owned(),
                '.' => "dot".to_owned(),
                '_' => "underscore".to_owned(),
                '-' => "dash".to_owned(),
                '+' => "plus".to_owned(),
                '0'..='9' => digits(&self.s.text(from, self.s.digits(from))),
                _ => {
                    let stop = (from..end).find(|&i| !self.s.at(i).is_ascii_alphabetic()).unwrap_or(end);
                    self.s.text(from, stop)
                }
            };
            from = if c.is_ascii_digit() {
                self.s.digits(from)
            } else if c.is_ascii_alphabetic() {
                from + part.len()
            } else {
                from + 1
            };
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(&part);
        }
        (sign > at).then_some(Reading { end, words })
    }

    /// `A12B`, `MP3`: letters by their names where they are capitals, figures
    /// one by one.
    fn mixed(&self, at: usize, end: usize) -> String {
        let mut parts: Vec<String> = Vec::new();
        let mut from = at;
        while from < end {
            let digit = self.s.is_digit(from);
            let stop = (from..end).find(|&i| self.s.is_digit(i) != digit).unwrap_or(end);
            let run = self.s.text(from, stop);
            if digit {
                parts.push(if run.len() > 4 { code(&run) } else { digits(&run) });
            } else if run.len() <= 4 && run.chars().all(|c| c.is_ascii_uppercase()) {
                for letter in run.chars() {
                    // "A one" is heard as "a one".
                    parts.push(if letter == 'A' { "A,".to_owned() } else { letter.to_string() });
                }
            } else {
                parts.push(run);
            }
            from = stop;
        }
        let words = parts.join(" ");
        words.strip_suffix(',').map(str::to_owned).unwrap_or(words)
    }

    /// Whether the word before, with one space, is this one.
    pub(super) fn after_word(&self, at: usize, word: &str) -> bool {
        let Some(from) = at.checked_sub(word.len() + 1) else { return false };
        self.s.at(at - 1) == ' ' && self.s.has_ignoring_case(from, word) && self.s.fresh(from)
    }
}

/// `1.2.3`, `192.168.0.1`.
fn version(groups: &Groups, american: bool) -> String {
    let address = groups.groups.len() == 4 && groups.groups.iter().all(|group| group.len() <= 3);
    let spoken: Vec<String> = groups
        .groups
        .iter()
        .map(|group| match group.parse() {
            Ok(n) if !address && group.len() <= 2 && (group == "0" || !group.starts_with('0')) => cardinal(n, american),
            _ if group.len() > 4 => code(group),
            _ => digits(group),
        })
        .collect();
    spoken.join(if address { " dot " } else { " point " })
}

/// A proper fraction with a name of its own.
fn fraction(a: u32, b: u32) -> Option<String> {
    if a == 0 || a >= b {
        return None;
    }
    let (one, many) = match b {
        2 => ("half", "halves"),
        3 => ("third", "thirds"),
        4 => ("quarter", "quarters"),
        8 => ("eighth", "eighths"),
        16 => ("sixteenth", "sixteenths"),
        _ => return None,
    };
    Some(format!("{} {}", below_hundred(a.into()), if a == 1 { one } else { many }))
}
