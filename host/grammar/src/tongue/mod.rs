//! The languages: what their words are. How words come together where languages do not differ is in [`number`] and
//! [`digits`].

pub(crate) mod digits;
mod english;
mod french;
mod german;
mod mandarin;
pub(crate) mod number;
mod spanish;

use crate::Universal;
use crate::rule::{Rule, Written, any, aside, fold, opt, rare, seq, words};
use crate::tag::{Tag, as_cents};

/// A language. Where a text is returned it is in the notation of [`words`](crate::rule::words).
pub(crate) trait Tongue: Sync {
    /// What is said whatever was asked for.
    fn frame(&self) -> &'static Frame;
    /// Sounds that mean nothing.
    fn hesitations(&self) -> &'static [&'static str];
    /// Words that may be put in or left out of the phrase of a choice.
    fn articles(&self) -> &'static [&'static str];
    /// Words that others are joined with: `zweihundert`.
    fn joined(&self) -> &'static [&'static str] {
        &[]
    }
    /// Words beside which an answer is not what is meant: "not", "except". Looked for only where there are more words
    /// than an answer.
    fn turning(&self) -> &'static [&'static str];
    /// How an answer is led in, whatever was asked for.
    fn lead(&self) -> &'static str;
    /// How an answer of a kind is led in, so often that a recogniser is told; empty where it is not.
    fn wish(&self, kind: &str) -> &'static str;
    /// What follows an answer; a recogniser is told the first.
    fn tail(&self) -> &'static str;
    fn yes(&self) -> &'static str;
    fn no(&self) -> &'static str;
    /// A word that says yes whatever follows, unless one of those is among it; and the same for no.
    fn firm(&self) -> [(&'static str, &'static [&'static str]); 2];
    fn universal(&self, which: Universal) -> &'static str;
    /// The choices at the first places of the list.
    fn places(&self) -> [&'static str; 9];
    /// The last choice of the list.
    fn last(&self) -> &'static str;
    /// A choice by its number, `<n>`.
    fn numbered(&self) -> &'static str;

    /// A digit.
    fn digit(&self, digit: usize) -> &'static str;
    /// In front of a digit, twice and three times that.
    fn repeated(&self) -> [&'static str; 2];
    /// A number below a hundred.
    fn below_hundred(&self, n: usize) -> String;
    /// Digits one by one and in groups of so many.
    fn digit_groups(&self) -> &'static [(usize, Rule)];
    /// Words that numbers have beside those below a hundred: a number next to one is not the whole.
    fn scales(&self) -> &'static [&'static str];
    /// In front of the code of a country.
    fn plus(&self) -> &'static str;
    /// A whole number.
    fn number(&self, min: u32, max: u32) -> Rule;
    /// An amount of money, where its units are this.
    fn amount(&self, units: Rule) -> Rule;
    fn date(&self) -> Rule;
    fn time(&self) -> Rule;
    /// In front of a date, a time, a number.
    fn lead_of(&self, kind: &str) -> &'static str;
    /// Whether a date in figures has its month first.
    fn month_first(&self) -> bool {
        false
    }
}

/// What is said whatever was asked for, made once per language.
pub(crate) struct Frame {
    /// What an answer is led in with, and what follows it: where a recogniser is told, and where it is not.
    pub(crate) lead: Rule,
    pub(crate) tail: [Rule; 2],
    pub(crate) yes_no: Rule,
    pub(crate) universals: [Rule; 3],
}

impl Frame {
    fn of(tongue: &dyn Tongue) -> Self {
        let (please, _) = tongue.tail().split_once('|').unwrap_or((tongue.tail(), ""));
        let known = rare(words(tongue.tail()));
        let said = |spoken: &str, yes| seq([aside(words(spoken)), Rule::Means(Tag::Yes(yes))]);
        let firm = tongue.firm().into_iter().zip([true, false]);
        let firm = firm.map(|((spoken, but), yes)| rare(seq([said(spoken, yes), Rule::Rest(but)])));
        Self {
            lead: rare(words(tongue.lead())),
            tail: [opt(aside(any([words(please), known.clone()]))), opt(aside(known))],
            yes_no: any([said(tongue.yes(), true), said(tongue.no(), false)].into_iter().chain(firm)),
            universals: Universal::ALL
                .map(|which| seq([aside(words(tongue.universal(which))), Rule::Means(Tag::Universal(which))])),
        }
    }
}

/// The language of a tag of BCP 47, if there are words for it.
pub(crate) fn tongue(tag: &str) -> Option<&'static dyn Tongue> {
    let mut parts = tag.split(['-', '_']);
    let language = parts.next()?.to_ascii_lowercase();
    let american = parts.any(|part| part.eq_ignore_ascii_case("us"));
    Some(match language.as_str() {
        "en" if american => &english::AMERICAN,
        "en" => &english::BRITISH,
        "zh" | "cmn" => &mandarin::Mandarin,
        "de" => &german::German,
        "es" => &spanish::Spanish,
        "fr" => &french::French,
        _ => return None,
    })
}

/// An amount in figures, with its currency on either side.
fn written_money(currency: &Rule) -> Rule {
    let sign = any([("$", "$"), ("£", "£"), ("€", "EUR"), ("¥", "¥")]
        .map(|(sign, means)| seq([Rule::Written(Written::Sign(sign)), Rule::Means(Tag::Currency(means))])));
    let code = any(["eur", "usd", "gbp", "chf", "cny", "jpy", "cad", "aud", "nzd", "hkd", "sgd", "twd"].map(|code| {
        let name = crate::money::code(code).unwrap_or_default();
        seq([words(code), Rule::Means(Tag::Currency(name))])
    }));
    let side = any([sign, code, currency.clone()]);
    let money = Rule::Written(Written::Money);
    any([seq([side.clone(), money.clone()]), seq([money, opt(side)])])
}

/// What the patterns of amounts name: `<units>`, `<currency>`, `<cents>`, `<round>` for ten of them and more, `<cent>`.
fn named_in_amounts(
    units: &Rule,
    currency: &Rule,
    scales: &number::Scales,
    cent: &str,
) -> impl Fn(&str) -> Option<Rule> + use<> {
    let cents = |from| fold(number::whole(scales, from, 99), as_cents);
    let named = [
        ("units", units.clone()),
        ("currency", currency.clone()),
        ("cents", cents(1)),
        ("round", cents(10)),
        ("cent", words(cent)),
    ];
    move |name| named.iter().find(|(known, _)| *known == name).map(|(_, rule)| rule.clone())
}

/// `<units> point five [<currency>]`.
fn decimal(tongue: &dyn Tongue, point: &str, units: &Rule, currency: &Rule) -> Rule {
    let digit =
        |scale: u32| any((0..10).map(|n| seq([words(tongue.digit(n)), Rule::Means(Tag::Add(scale * n as u32))])));
    let cents = fold(seq([digit(10), opt(digit(1))]), as_cents);
    seq([units.clone(), words(point), cents, opt(currency.clone())])
}
