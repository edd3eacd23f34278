//! Numbers as the far end writes them, and as we do (E.164 with `+`).
//!
//! The first rule whose `match` is the whole number decides; where none is, the plan of the country does. Matching is
//! linear in the length of the number, and patterns are bounded: a number that a stranger sends costs microseconds.

use crate::check::Mistake;
use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Rules of one direction at most.
const RULES: usize = 32;
/// Longest pattern and replacement, bytes.
const PATTERN: usize = 128;
/// Memory of a compiled pattern, bytes: what bounds the time of a match.
const COMPILED: usize = 16 * 1024;
/// Longest number that is looked at, and that may come out.
const NUMBER: usize = 64;

/// How numbers are written on the other side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = TrunkNumbers)]
pub struct Numbers {
    /// What callers dial, and who they say they are, to what our numbers are.
    #[schema(max_items = 32)]
    pub inbound: Vec<Rule>,
    /// What we dial, and who we say we are, to what the far end wants.
    #[schema(max_items = 32)]
    pub outbound: Vec<Rule>,
    /// Where the far end writes numbers as they are dialled in its country.
    pub national: Option<National>,
    /// How numbers go out that no rule of `outbound` matches.
    pub outbound_as: Notation,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TrunkNumberRule)]
pub struct Rule {
    /// A regular expression for the whole number.
    #[serde(rename = "match")]
    #[schema(max_length = 128, example = r"^00(\d+)$")]
    pub pattern: String,
    /// What it becomes: `$1` to `$9` are the groups, `$$` is `$`.
    #[schema(max_length = 128, example = "+$1")]
    pub replace: String,
}

/// How numbers are dialled in a country.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TrunkNational)]
pub struct National {
    /// `49`
    #[schema(pattern = "^[1-9][0-9]{0,2}$", example = "49")]
    pub country_code: String,
    /// In front of numbers within the country; empty where there is none.
    #[serde(default = "zero")]
    #[schema(pattern = "^[0-9]{0,3}$", default = "0")]
    pub trunk_prefix: String,
    /// In front of numbers of other countries.
    #[serde(default = "zero_zero")]
    #[schema(pattern = "^[0-9]{1,4}$", default = "00")]
    pub international_prefix: String,
}

fn zero() -> String {
    "0".into()
}

fn zero_zero() -> String {
    "00".into()
}

/// How a number in E.164 is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TrunkNotation)]
pub enum Notation {
    /// `+493012345`
    #[default]
    E164,
    /// `493012345`
    Digits,
    /// `03012345`, or `0015550100` for another country; needs `national`.
    National,
}

/// The compiled rules of a trunk.
#[derive(Clone, Debug, Default)]
pub struct Normaliser {
    inbound: Vec<(Regex, String)>,
    outbound: Vec<(Regex, String)>,
    national: Option<National>,
    outbound_as: Notation,
}

impl Normaliser {
    /// Compiles the rules.
    ///
    /// # Errors
    /// All that is wrong with them, by pointers into the trunk.
    pub fn new(numbers: &Numbers) -> Result<Self, Vec<Mistake>> {
        let mut found = Vec::new();
        let inbound = compile(&mut found, "/numbers/inbound", &numbers.inbound);
        let outbound = compile(&mut found, "/numbers/outbound", &numbers.outbound);
        match &numbers.national {
            Some(national) => check_national(&mut found, national),
            None if numbers.outbound_as == Notation::National => {
                let message = "numbers.outbound_as is national: say how numbers are dialled there";
                found.push(Mistake::new("/numbers/national", "required", message));
            }
            None => {}
        }
        let normaliser =
            Self { inbound, outbound, national: numbers.national.clone(), outbound_as: numbers.outbound_as };
        if found.is_empty() { Ok(normaliser) } else { Err(found) }
    }

    /// What the far end wrote, as we write it.
    #[must_use]
    pub fn inbound(&self, number: &str) -> String {
        let plan = || self.national.as_ref().and_then(|national| national.to_e164(number));
        apply(&self.inbound, number).or_else(plan).unwrap_or_else(|| number.to_owned())
    }

    /// What we write, as the far end wants it.
    #[must_use]
    pub fn outbound(&self, number: &str) -> String {
        let notation = || {
            let digits = number.strip_prefix('+').filter(|digits| is_digits(digits))?;
            match (self.outbound_as, &self.national) {
                (Notation::E164, _) => None,
                (Notation::National, Some(national)) => Some(national.dialled(digits)),
                (Notation::Digits | Notation::National, _) => Some(digits.to_owned()),
            }
        };
        apply(&self.outbound, number).or_else(notation).unwrap_or_else(|| number.to_owned())
    }
}

fn compile(found: &mut Vec<Mistake>, pointer: &str, rules: &[Rule]) -> Vec<(Regex, String)> {
    if rules.len() > RULES {
        found.push(Mistake::new(pointer, "too_many", format!("at most {RULES}")));
        return Vec::new();
    }
    let mut compiled = Vec::with_capacity(rules.len());
    for (at, Rule { pattern, replace }) in rules.iter().enumerate() {
        let wrong = |part: &str, message: String| Mistake::new(format!("{pointer}/{at}/{part}"), "invalid", message);
        if pattern.is_empty() || pattern.len() > PATTERN {
            found.push(wrong("match", format!("1 to {PATTERN} bytes")));
            continue;
        }
        // Alone first: `a)|(b` would be right between the brackets below.
        let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(COMPILED).nest_limit(16).build();
        let regex = match build(pattern).and_then(|_| build(&format!("^(?:{pattern})$"))) {
            Ok(regex) => regex,
            Err(error) => {
                found.push(wrong("match", format!("not a regular expression that can be used: {error}")));
                continue;
            }
        };
        match check_replacement(replace, regex.captures_len()) {
            Ok(()) => compiled.push((regex, replace.clone())),
            Err(message) => found.push(wrong("replace", message)),
        }
    }
    compiled
}

fn check_replacement(replace: &str, groups: usize) -> Result<(), String> {
    if replace.len() > PATTERN {
        return Err(format!("at most {PATTERN} bytes"));
    }
    let mut rest = replace.chars();
    while let Some(char) = rest.next() {
        match char {
            '$' => match rest.next() {
                Some('$') => {}
                Some(digit @ '1'..='9') if (digit as usize - '0' as usize) < groups => {}
                Some(digit @ '1'..='9') => return Err(format!("`match` has no group {digit}")),
                _ => return Err("after $ comes 1 to 9, or $ for a $ itself".into()),
            },
            char if is_number_char(char) => {}
            _ => return Err("letters, digits and -_.!~*'()&=+$ only".into()),
        }
    }
    Ok(())
}

fn check_national(found: &mut Vec<Mistake>, national: &National) {
    let code = &national.country_code;
    if !(1..=3).contains(&code.len()) || !is_digits(code) || code.starts_with('0') {
        let message = "a country code of 1 to 3 digits, such as 49";
        found.push(Mistake::new("/numbers/national/country_code", "invalid", message));
    }
    for (name, prefix, lengths) in [
        ("trunk_prefix", &national.trunk_prefix, 0..=3),
        ("international_prefix", &national.international_prefix, 1..=4),
    ] {
        if !lengths.contains(&prefix.len()) || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            let message = "a few digits, as they are dialled";
            found.push(Mistake::new(format!("/numbers/national/{name}"), "invalid", message));
        }
    }
}

/// What the first rule that matches makes of it; none also where what comes out is no number or user.
fn apply(rules: &[(Regex, String)], number: &str) -> Option<String> {
    if number.len() > NUMBER {
        return None;
    }
    let (captures, replace) =
        rules.iter().find_map(|(regex, replace)| Some((regex.captures(number)?, replace.as_str())))?;
    let mut made = String::new();
    let mut rest = replace.chars();
    while let Some(char) = rest.next() {
        match (char, char == '$') {
            (_, true) => match rest.next().and_then(|group| group.to_digit(10)) {
                Some(group) => made.push_str(captures.get(group as usize).map_or("", |found| found.as_str())),
                None => made.push('$'),
            },
            (char, false) => made.push(char),
        }
    }
    ((1..=NUMBER).contains(&made.len()) && made.chars().all(is_number_char)).then_some(made)
}

impl National {
    /// E.164, where it is a number that is dialled in this country; an extension or a user name is none.
    fn to_e164(&self, number: &str) -> Option<String> {
        if !is_digits(number) {
            return None;
        }
        let e164 = |digits: &str| is_e164(digits).then(|| format!("+{digits}"));
        if let Some(rest) = number.strip_prefix(&self.international_prefix) {
            return e164(rest);
        }
        match number.strip_prefix(&self.trunk_prefix) {
            // Without a trunk prefix every number would be one of the country: extensions too.
            Some(rest) if !self.trunk_prefix.is_empty() => e164(&format!("{}{rest}", self.country_code)),
            _ => number.starts_with(&self.country_code).then(|| e164(number)).flatten().filter(|_| number.len() >= 10),
        }
    }

    fn dialled(&self, digits: &str) -> String {
        match digits.strip_prefix(&self.country_code) {
            Some(rest) => format!("{}{rest}", self.trunk_prefix),
            None => format!("{}{digits}", self.international_prefix),
        }
    }
}

/// Whether these digits, without the `+`, may be a number of E.164: at most 15 (ITU-T E.164 §6), and not fewer than any
/// country has.
#[must_use]
pub fn is_e164(digits: &str) -> bool {
    (7..=15).contains(&digits.len()) && is_digits(digits)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// What can stand in the user part of a SIP URI without being escaped.
fn is_number_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || "-_.!~*'()&=+$".contains(char)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(pattern: &str, replace: &str) -> Rule {
        Rule { pattern: pattern.into(), replace: replace.into() }
    }

    fn national(country_code: &str, trunk_prefix: &str) -> Option<National> {
        let country_code = country_code.into();
        Some(National { country_code, trunk_prefix: trunk_prefix.into(), international_prefix: "00".into() })
    }

    #[test]
    fn the_first_rule_that_matches_the_whole_number_decides() {
        let inbound =
            vec![rule(r"^00(\d+)$", "+$1"), rule(r"0(\d+)", "+49$1"), rule("(a)|(b)", "$1$2$$"), rule("x", "")];
        let normaliser = Normaliser::new(&Numbers { inbound, ..Numbers::default() }).unwrap();
        for (written, ours) in [
            ("00493012345", "+493012345"),
            ("03012345", "+493012345"),
            ("12301", "12301"),
            ("+493012345", "+493012345"),
            ("b", "b$"),
            ("x", "x"),
            ("", ""),
        ] {
            assert_eq!(normaliser.inbound(written), ours, "{written}");
        }
        let long = "0".repeat(65);
        assert_eq!(normaliser.inbound(&long), long);
        assert_eq!(normaliser.outbound("+493012345"), "+493012345");
    }

    #[test]
    fn a_country_needs_no_rules() {
        let german = Normaliser::new(&Numbers {
            national: national("49", "0"),
            outbound_as: Notation::National,
            ..Numbers::default()
        })
        .unwrap();
        for (written, e164) in [
            ("03012345", "+493012345"),
            ("00493012345", "+493012345"),
            ("0015550100123", "+15550100123"),
            ("+493012345", "+493012345"),
            ("4930123456", "+4930123456"),
            ("100", "100"),
            ("alice", "alice"),
            ("0", "0"),
        ] {
            assert_eq!(german.inbound(written), e164, "{written}");
        }
        assert_eq!(german.outbound("+493012345"), "03012345");
        assert_eq!(german.outbound("+15550100"), "0015550100");
        assert_eq!(german.outbound("100"), "100");
        let american = Normaliser::new(&Numbers {
            national: national("1", "1"),
            outbound_as: Notation::Digits,
            ..Numbers::default()
        })
        .unwrap();
        assert_eq!(american.inbound("15550100123"), "+15550100123");
        assert_eq!(american.outbound("+15550100123"), "15550100123");
    }

    #[test]
    fn rules_are_bounded_and_say_what_is_wrong() {
        let pointers = |numbers: Numbers| -> Vec<String> {
            Normaliser::new(&numbers).unwrap_err().into_iter().map(|mistake| mistake.pointer).collect()
        };
        let inbound = |rules: Vec<Rule>| pointers(Numbers { inbound: rules, ..Numbers::default() });
        for pattern in ["(", "", "a)|(b", r"((\d{1,100}){1,100}){1,100}", &"a".repeat(129)] {
            assert_eq!(inbound(vec![rule(pattern, "1")]), ["/numbers/inbound/0/match"], "{pattern}");
        }
        for replace in ["$1", "$", "$a", "a b", "a\r\nb", "<", &"1".repeat(129)] {
            assert_eq!(inbound(vec![rule("a", replace)]), ["/numbers/inbound/0/replace"], "{replace:?}");
        }
        assert_eq!(inbound(vec![rule("a", "b"); 33]), ["/numbers/inbound"]);
        let outbound_as = Notation::National;
        assert_eq!(pointers(Numbers { outbound_as, ..Numbers::default() }), ["/numbers/national"]);
        let wrong = Numbers { national: national("049", "x"), ..Numbers::default() };
        assert_eq!(pointers(wrong), ["/numbers/national/country_code", "/numbers/national/trunk_prefix"]);
    }

    proptest! {
        #[test]
        fn no_number_breaks_anything(number in ".{0,80}", pattern in "[0-9a-c().*+?|\\\\d^$]{1,20}", replace in "[0-9+$]{0,6}") {
            let rules = vec![rule(&pattern, &replace)];
            let numbers = Numbers { inbound: rules.clone(), outbound: rules, national: national("49", "0"), ..Numbers::default() };
            if let Ok(normaliser) = Normaliser::new(&numbers) {
                for made in [normaliser.inbound(&number), normaliser.outbound(&number)] {
                    prop_assert!(made == number || (made.len() <= NUMBER && made.chars().all(is_number_char)), "{:?}", made);
                }
            }
        }

        #[test]
        fn what_goes_out_nationally_comes_back(digits in "[1-9][0-9]{6,11}") {
            let numbers = Numbers { national: national("49", "0"), outbound_as: Notation::National, ..Numbers::default() };
            let normaliser = Normaliser::new(&numbers).unwrap();
            let number = format!("+{digits}");
            let dialled = normaliser.outbound(&number);
            // `+490…` would be dialled `00…`: no number of the country begins with its trunk prefix.
            prop_assume!(!digits.starts_with("490") && digits.len() >= 9);
            prop_assert_eq!(normaliser.inbound(&dialled), number);
        }
    }
}
