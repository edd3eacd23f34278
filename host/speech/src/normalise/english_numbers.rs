//! Numbers as English words.

use super::scan::Numeral;

const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: [&str; 6] = ["", " thousand", " million", " billion", " trillion", " quadrillion"];

/// Longest number that is read as a quantity; a longer one digit by digit.
pub(super) const MAX_CARDINAL: usize = 18;
/// Written without commas, this many digits are rather a code than a quantity.
const CODE: usize = 7;
const LONG_CODE: usize = 10;

/// `two hundred and five`; without the `and` for Americans.
pub(super) fn cardinal(n: u64, american: bool) -> String {
    if n < 1_000 {
        return below_thousand(n, american);
    }
    let mut groups = Vec::new();
    let mut rest = n;
    while rest > 0 {
        groups.push(rest % 1_000);
        rest /= 1_000;
    }
    let mut words = Vec::new();
    for (scale, &group) in groups.iter().enumerate().rev() {
        if group == 0 {
            continue;
        }
        let and = if scale == 0 && group < 100 && !american { "and " } else { "" };
        let name = SCALES.get(scale).copied().unwrap_or_default();
        words.push(format!("{and}{}{name}", below_thousand(group, american)));
    }
    words.join(" ")
}

fn below_thousand(n: u64, american: bool) -> String {
    let hundreds = format!("{} hundred", small(n / 100));
    match (n / 100, n % 100) {
        (0, rest) => below_hundred(rest),
        (_, 0) => hundreds,
        (_, rest) => format!("{hundreds} {}{}", if american { "" } else { "and " }, below_hundred(rest)),
    }
}

pub(super) fn below_hundred(n: u64) -> String {
    match (n / 10, n % 10) {
        (0 | 1, _) => small(n).to_owned(),
        (tens, 0) => tens_word(tens).to_owned(),
        (tens, ones) => format!("{}-{}", tens_word(tens), small(ones)),
    }
}

fn small(n: u64) -> &'static str {
    usize::try_from(n).ok().and_then(|n| SMALL.get(n)).copied().unwrap_or_default()
}

fn tens_word(n: u64) -> &'static str {
    usize::try_from(n).ok().and_then(|n| TENS.get(n)).copied().unwrap_or_default()
}

/// `twenty-first`.
pub(super) fn ordinal(n: u64, american: bool) -> String {
    let words = cardinal(n, american);
    let at = words.rfind([' ', '-']).map_or(0, |at| at + 1);
    let (head, last) = words.split_at(at);
    let last = match last {
        "one" => "first".to_owned(),
        "two" => "second".to_owned(),
        "three" => "third".to_owned(),
        "five" => "fifth".to_owned(),
        "eight" => "eighth".to_owned(),
        "nine" => "ninth".to_owned(),
        "twelve" => "twelfth".to_owned(),
        tens if tens.ends_with('y') => format!("{}ieth", &tens[..tens.len() - 1]),
        other => format!("{other}th"),
    };
    format!("{head}{last}")
}

/// `twenty twenty-six`, `nineteen oh five`, `two thousand and one`.
pub(super) fn year(year: u64, american: bool) -> String {
    let (century, rest) = (year / 100, year % 100);
    if year % 1_000 < 10 || century.is_multiple_of(10) && rest < 10 {
        return cardinal(year, american);
    }
    let century = below_hundred(century);
    match rest {
        0 => format!("{century} hundred"),
        1..=9 => format!("{century} oh {}", small(rest)),
        _ => format!("{century} {}", below_hundred(rest)),
    }
}

/// `nineteen nineties`, `two thousands`, `eighties`.
pub(super) fn decade(year: u64) -> String {
    let (century, rest) = (year / 100, year % 100);
    let plural = |words: String| match words.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{words}s"),
    };
    match (century, rest) {
        (0, rest) => plural(below_hundred(rest)),
        (century, 0) if century.is_multiple_of(10) => plural(cardinal(year, true)),
        (century, 0) => plural(format!("{} hundred", below_hundred(century))),
        (century, rest) => format!("{} {}", below_hundred(century), plural(below_hundred(rest))),
    }
}

/// `four zero zero`.
pub(super) fn digits(digits: &str) -> String {
    let words: Vec<&str> = digits.bytes().map(|digit| small(u64::from(digit.wrapping_sub(b'0')))).collect();
    words.join(" ")
}

/// A code, with a breath after every few digits.
pub(super) fn code(code: &str) -> String {
    let groups: Vec<String> = in_groups(code).into_iter().map(digits).collect();
    groups.join(", ")
}

/// Threes; a rest of one makes a four.
pub(super) fn in_groups(code: &str) -> Vec<&str> {
    let mut groups = Vec::new();
    let mut rest = code;
    while rest.len() > 4 {
        let (group, more) = rest.split_at(3);
        groups.push(group);
        rest = more;
    }
    groups.push(rest);
    groups
}

/// A written number: a quantity, a decimal, or digits that are rather a code.
pub(super) fn number(numeral: &Numeral, american: bool) -> String {
    let whole = whole(numeral, american);
    match &numeral.fraction {
        Some(fraction) => format!("{whole} point {}", digits(fraction)),
        None => whole,
    }
}

fn whole(numeral: &Numeral, american: bool) -> String {
    let text = &numeral.whole;
    let code = numeral.fraction.is_none() && is_code(numeral);
    match text.parse() {
        Ok(n) if text.len() <= MAX_CARDINAL && !code => cardinal(n, american),
        _ if text.len() <= 4 => digits(text),
        _ => self::code(text),
    }
}

/// Whether the digits are to be read one by one: a leading zero, or more than
/// one writes without commas.
pub(super) fn is_code(numeral: &Numeral) -> bool {
    let text = &numeral.whole;
    if numeral.grouped {
        return false;
    }
    text.len() > 1 && text.starts_with('0') || text.len() >= LONG_CODE || text.len() >= CODE && !text.ends_with("000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (n, british, american) in [
            (0, "zero", "zero"),
            (7, "seven", "seven"),
            (13, "thirteen", "thirteen"),
            (20, "twenty", "twenty"),
            (21, "twenty-one", "twenty-one"),
            (99, "ninety-nine", "ninety-nine"),
            (100, "one hundred", "one hundred"),
            (101, "one hundred and one", "one hundred one"),
            (115, "one hundred and fifteen", "one hundred fifteen"),
            (999, "nine hundred and ninety-nine", "nine hundred ninety-nine"),
            (1_000, "one thousand", "one thousand"),
            (1_001, "one thousand and one", "one thousand one"),
            (1_100, "one thousand one hundred", "one thousand one hundred"),
            (1_234, "one thousand two hundred and thirty-four", "one thousand two hundred thirty-four"),
            (20_000, "twenty thousand", "twenty thousand"),
            (1_000_000, "one million", "one million"),
            (1_000_001, "one million and one", "one million one"),
            (
                2_345_678,
                "two million three hundred and forty-five thousand six hundred and seventy-eight",
                "two million three hundred forty-five thousand six hundred seventy-eight",
            ),
            (1_000_000_000_000, "one trillion", "one trillion"),
            (
                999_000_000_000_000_000,
                "nine hundred and ninety-nine quadrillion",
                "nine hundred ninety-nine quadrillion",
            ),
        ] {
            assert_eq!(cardinal(n, false), british);
            assert_eq!(cardinal(n, true), american);
        }
    }

    #[test]
    fn ranks() {
        for (n, want) in [
            (1, "first"),
            (2, "second"),
            (3, "third"),
            (4, "fourth"),
            (5, "fifth"),
            (8, "eighth"),
            (9, "ninth"),
            (12, "twelfth"),
            (13, "thirteenth"),
            (20, "twentieth"),
            (21, "twenty-first"),
            (30, "thirtieth"),
            (100, "one hundredth"),
            (101, "one hundred and first"),
            (1_000, "one thousandth"),
            (0, "zeroth"),
        ] {
            assert_eq!(ordinal(n, false), want);
        }
    }

    #[test]
    fn dates_back() {
        for (n, want) in [
            (2026, "twenty twenty-six"),
            (2010, "twenty ten"),
            (2009, "two thousand and nine"),
            (2000, "two thousand"),
            (1999, "nineteen ninety-nine"),
            (1905, "nineteen oh five"),
            (1900, "nineteen hundred"),
            (1066, "ten sixty-six"),
            (2100, "twenty-one hundred"),
            (2101, "twenty-one oh one"),
        ] {
            assert_eq!(year(n, false), want);
        }
        assert_eq!(year(2001, true), "two thousand one");
        for (n, want) in
            [(1990, "nineteen nineties"), (80, "eighties"), (2000, "two thousands"), (1900, "nineteen hundreds")]
        {
            assert_eq!(decade(n), want);
        }
    }

    #[test]
    fn spells() {
        assert_eq!(digits("4007"), "four zero zero seven");
        assert_eq!(code("12345678"), "one two three, four five six, seven eight");
        assert_eq!(code("1234567"), "one two three, four five six seven");
        assert_eq!(in_groups("123"), ["123"]);
        assert_eq!(in_groups("12345678901"), ["123", "456", "789", "01"]);
    }
}
