//! German.

use super::number::{self, Scales, known};
use super::{Frame, Tongue, digits};
use crate::Universal;
use crate::rule::{Rule, Written, any, aside, fold, means, opt, pattern, rare, seq, words};
use crate::tag::{
    Part, Tag, Which, as_day, as_days, as_days_ago, as_hour, as_minute, as_minutes_before, as_weeks, as_weeks_ago,
};
use std::sync::LazyLock;

/// German.
pub(super) struct German;

const UNITS: [&str; 20] = [
    "null",
    "eins|ein|eine|einen|einem|einer",
    "zwei|zwo",
    "drei",
    "vier",
    "fünf",
    "sechs",
    "sieben",
    "acht",
    "neun",
    "zehn",
    "elf",
    "zwölf",
    "dreizehn",
    "vierzehn",
    "fünfzehn",
    "sechzehn",
    "siebzehn",
    "achtzehn",
    "neunzehn",
];
const JOINED: [&str; 10] = ["", "ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"];
const TENS: [&str; 10] =
    ["", "zehn", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"];
/// The stems of ordinal numbers, which end in -e, -en, -er.
const STEMS: [&str; 20] = [
    "",
    "erst",
    "zweit",
    "dritt",
    "viert",
    "fünft",
    "sechst",
    "siebt",
    "acht",
    "neunt",
    "zehnt",
    "elft",
    "zwölft",
    "dreizehnt",
    "vierzehnt",
    "fünfzehnt",
    "sechzehnt",
    "siebzehnt",
    "achtzehnt",
    "neunzehnt",
];
const MONTHS: [&str; 12] = [
    "januar|jänner",
    "februar|feber",
    "märz",
    "april",
    "mai",
    "juni|juno",
    "juli",
    "august",
    "september",
    "oktober",
    "november",
    "dezember",
];
const WEEKDAYS: [&str; 7] = ["montag", "dienstag", "mittwoch", "donnerstag", "freitag", "samstag|sonnabend", "sonntag"];

static SMALL: LazyLock<Vec<Rule>> = LazyLock::new(|| number::small(below_hundred));
static HUNDREDS: LazyLock<Vec<Rule>> =
    LazyLock::new(|| number::hundreds(|n| format!("{} hundert", if n == 1 { "[ein]" } else { JOINED[n] })));
static FRAME: LazyLock<Frame> = LazyLock::new(|| Frame::of(&German));
static GROUPS: LazyLock<Vec<(usize, Rule)>> = LazyLock::new(|| digits::groups(&German, "hundert", "tausend"));
static DATE: LazyLock<Rule> = LazyLock::new(date);
static TIME: LazyLock<Rule> = LazyLock::new(time);

fn below_hundred(n: usize) -> String {
    match (n / 10, n % 10) {
        (0 | 1, _) => UNITS[n].into(),
        (tens, 0) => TENS[tens].into(),
        (tens, ones) => format!("{one}und{tens}|{one} und {tens}", one = JOINED[ones], tens = TENS[tens]),
    }
}

fn ordinal(n: usize) -> String {
    let stems = match (n / 10, n % 10) {
        (0 | 1, _) => STEMS[n].to_owned(),
        (tens, 0) => format!("{}st", TENS[tens]),
        (tens, ones) => format!("{}und{}st", JOINED[ones], TENS[tens]),
    };
    ["e", "en", "er", "em"].map(|end| format!("{stems}{end}")).join("|")
}

fn scales() -> Scales {
    Scales {
        small: &SMALL,
        hundreds: &HUNDREDS,
        and: "und",
        thousand: ["[ein] tausend", "tausend"],
        million: ["eine million", "(million|millionen)"],
    }
}

impl Tongue for German {
    fn frame(&self) -> &'static Frame {
        &FRAME
    }

    fn hesitations(&self) -> &'static [&'static str] {
        &["ah", "ahm", "eh", "ehm", "hm", "hmm", "oh", "tja"]
    }

    fn articles(&self) -> &'static [&'static str] {
        &["der", "die", "das", "den", "dem", "ein", "eine", "einen", "einem", "einer", "mein", "meine", "meinen"]
    }

    fn joined(&self) -> &'static [&'static str] {
        &["hundert", "tausend", "million"]
    }

    fn turning(&self) -> &'static [&'static str] {
        &[
            "nicht", "kein", "keine", "keinen", "nein", "nie", "ausser", "aber", "ohne", "statt", "vor", "nach", "bis",
            "zwischen", "oder",
        ]
    }

    fn lead(&self) -> &'static str {
        "[hallo|guten tag] [also|ja|okay|gut|so] [bitte] [es ist|das ist|das wäre|es wäre|sagen wir|machen wir|nehmen wir\
         |ich (möchte|will|hätte|brauche|nehme|würde) [gern|gerne] [zum|zur]|wir (möchten|wollen|hätten|brauchen|nehmen) [gern|gerne]\
         |vielleicht|wie wäre es mit|ich glaube|ich denke|geben sie mir]"
    }

    fn wish(&self, kind: &str) -> &'static str {
        match kind {
            "choices" => "ich möchte|ich will",
            "date" => "am",
            "time" => "um",
            _ => "",
        }
    }

    fn tail(&self) -> &'static str {
        "bitte [sehr|schön]|danke [sehr|schön]|wäre (gut|schön|super|prima)|wenn es geht|wenn möglich|passt"
    }

    fn yes(&self) -> &'static str {
        "ja [ja] [bitte|gern|gerne|genau|klar|das stimmt|stimmt|richtig|natürlich|danke]|jawohl|jo|jep|genau|richtig|stimmt\
         |korrekt|das (stimmt|ist richtig|passt)|klar|na klar|natürlich|selbstverständlich|sicher|okay|ok|in ordnung|gern\
         |gerne|bitte|gut|einverstanden|auf jeden fall|unbedingt|kein problem|passt|freilich"
    }

    fn no(&self) -> &'static str {
        "nein [nein] [danke|das stimmt nicht|bitte nicht|falsch]|nee|nö|ne|falsch|nicht richtig|stimmt nicht|das stimmt nicht\
         |das ist (falsch|nicht richtig)|auf keinen fall|lieber nicht|bitte nicht|nicht|niemals|eher nicht|noch nicht"
    }

    fn firm(&self) -> [(&'static str, &'static [&'static str]); 2] {
        [
            ("ja|jawohl|klar", &["nein", "nicht", "kein", "keine", "keinen", "aber", "vielleicht", "moment", "oder"]),
            ("nein|nee", &["ja", "aber", "vielleicht", "moment", "doch", "oder"]),
        ]
    }

    fn universal(&self, which: Universal) -> &'static str {
        match which {
            Universal::Repeat => {
                "(wiederholen|noch einmal|nochmal|noch mal) [bitte]|bitte (wiederholen|noch einmal|nochmal)|wiederholen sie [das] [bitte]\
                 |(können|könnten) sie das [bitte] (wiederholen|noch einmal sagen)|wie bitte|wie|was|entschuldigung\
                 |(das|ich) habe (ich|das|sie) nicht verstanden|was haben sie gesagt"
            }
            Universal::Help => {
                "hilfe [bitte]|ich brauche hilfe|was kann ich sagen|welche möglichkeiten (gibt es|habe ich)|optionen|wie geht das\
                 |was muss ich (tun|sagen)"
            }
            Universal::Operator => {
                "(mitarbeiter|mitarbeiterin|mensch|zentrale|vermittlung|kundendienst|berater) [bitte]\
                 |[bitte] [mit] (einem|einen|einer) (mitarbeiter|menschen|mitarbeiterin|berater) [sprechen] [bitte]\
                 |ich (möchte|will) [bitte] mit (einem|einer|jemandem) [mitarbeiter|menschen|mitarbeiterin|berater] (sprechen|reden)\
                 |verbinden sie mich [bitte]"
            }
        }
    }

    fn places(&self) -> [&'static str; 9] {
        [
            "[das|die|der|den] (erste|ersten|erstes)",
            "[das|die|der|den] (zweite|zweiten|zweites)",
            "[das|die|der|den] (dritte|dritten|drittes)",
            "[das|die|der|den] (vierte|vierten|viertes)",
            "[das|die|der|den] (fünfte|fünften|fünftes)",
            "[das|die|der|den] (sechste|sechsten|sechstes)",
            "[das|die|der|den] (siebte|siebten|siebtes)",
            "[das|die|der|den] (achte|achten|achtes)",
            "[das|die|der|den] (neunte|neunten|neuntes)",
        ]
    }

    fn last(&self) -> &'static str {
        "[das|die|der|den] (letzte|letzten|letztes)"
    }

    fn numbered(&self) -> &'static str {
        "[die] [nummer|option|taste] <n>"
    }

    fn digit(&self, digit: usize) -> &'static str {
        ["null", "eins|ein", "zwei|zwo", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"][digit]
    }

    fn repeated(&self) -> [&'static str; 2] {
        ["zweimal|zwei mal|doppel", "dreimal|drei mal"]
    }

    fn below_hundred(&self, n: usize) -> String {
        below_hundred(n)
    }

    fn digit_groups(&self) -> &'static [(usize, Rule)] {
        &GROUPS
    }

    fn scales(&self) -> &'static [&'static str] {
        &["hundert", "tausend", "million", "millionen", "und", "komma"]
    }

    fn plus(&self) -> &'static str {
        "plus"
    }

    fn number(&self, min: u32, max: u32) -> Rule {
        number::whole(&scales(), min, max)
    }

    fn amount(&self, units: Rule) -> Rule {
        let currency = any([
            means("euro|euros", Tag::Currency("EUR")),
            means("dollar", Tag::Currency("$")),
            means("pfund", Tag::Currency("£")),
            means("[schweizer] franken", Tag::Currency("CHF")),
            means("yuan", Tag::Currency("CNY")),
            means("yen", Tag::Currency("JPY")),
        ]);
        let named = super::named_in_amounts(&units, &currency, &scales(), "cent|rappen|pence");
        any([
            super::written_money(&currency),
            pattern("<units> <currency> [[und] <cents> [<cent>]]", &named),
            pattern("<units>", &named),
            pattern("<cents> <cent>", &named),
            pattern("<units> <round> [<currency>]", &named),
            super::decimal(self, "komma", &units, &currency),
        ])
    }

    fn date(&self) -> Rule {
        Rule::Known(&DATE)
    }

    fn time(&self) -> Rule {
        Rule::Known(&TIME)
    }

    fn lead_of(&self, kind: &str) -> &'static str {
        match kind {
            "date" => "am|für|für den|vom|ab|den|der",
            "time" => "um|gegen|ungefähr um|ab|so um",
            "digits" | "phone" => "(meine|die) [telefonnummer|nummer|kundennummer|handynummer] (ist|lautet) [die]",
            "number" => "nummer|genau|etwa|ungefähr|wir sind|wir sind zu|zu|für",
            "amount" => "etwa|ungefähr|genau|für|bis zu",
            _ => "zum|zur|die|der|das",
        }
    }
}

fn date() -> Rule {
    let day = any((1..=31)
        .map(|n| means(&ordinal(n), Tag::Day(n as u32)))
        .chain([Rule::Written(Written::As(1, 31, as_day))]));
    let month = any((1..).zip(MONTHS).map(|(n, name)| means(name, Tag::Month(n))));
    // "Am ersten zwölften."
    let month_by_number = any((1..=12)
        .map(|n| means(&ordinal(n), Tag::Month(n as u32)))
        .chain([Rule::Written(Written::As(1, 12, crate::tag::as_month))]));
    let rest = known(&SMALL[1..=99]);
    let whole = seq([words("zwei tausend"), Rule::Means(Tag::Add(2_000)), opt(seq([opt(words("und")), rest.clone()]))]);
    let year = number::year(&[("neunzehn hundert", 1_900), ("zwanzig", 2_000)], &rest, whole);
    let weekday = |which| any((1..).zip(WEEKDAYS).map(|(n, name)| means(name, Tag::Weekday(n, which))));
    let count = |unit: &str, how| {
        fold(seq([any([Rule::Written(Written::Whole(1, 99)), known(&SMALL[1..=99])]), words(unit)]), how)
    };
    let named = |name: &str| {
        Some(match name {
            "day" => day.clone(),
            "month" => any([month.clone(), month_by_number.clone()]),
            "year" => year.clone(),
            "weekday" => weekday(Which::Plain),
            "this" => weekday(Which::This),
            "last" => weekday(Which::Last),
            "next-week" => weekday(Which::Week(1)),
            "days" => count("tag|tage|tagen", as_days),
            "days-ago" => count("tag|tage|tagen", as_days_ago),
            "weeks" => count("woche|wochen", as_weeks),
            "weeks-ago" => count("woche|wochen", as_weeks_ago),
            "figures" => Rule::Written(Written::Date { month_first: false }),
            _ => return None,
        })
    };
    let read = |notation: &str| pattern(notation, &named);
    let spoken = any([
        means("heute", Tag::Days(0)),
        means("morgen", Tag::Days(1)),
        means("übermorgen", Tag::Days(2)),
        means("gestern", Tag::Days(-1)),
        means("vorgestern", Tag::Days(-2)),
        read("in (<days>|<weeks>)|heute in <weeks>"),
        read("vor (<days-ago>|<weeks-ago>)"),
        read("<weekday>|(nächsten|nächster|kommenden|kommender) <weekday>"),
        read("(diesen|dieser) <this>"),
        read("(letzten|letzter|vergangenen) <last>"),
        read("<next-week> nächste woche|nächste woche [am] <next-week>"),
        read("[<weekday> [der|den|dem]] <day> <month> [<year>]"),
        read("[<weekday> [der|den|dem]] <day>"),
        rare(read("[<weekday> [der|den|dem]] <figures>")),
    ]);
    seq([spoken, opt(rare(aside(words("früh|vormittag|mittag|nachmittag|abend"))))])
}

fn time() -> Rule {
    let part = any([
        means("morgens|am morgen|früh|in der früh|vormittags|am vormittag", Tag::Part(Part::Morning)),
        means("mittags|am mittag", Tag::Part(Part::Noon)),
        means("nachmittags|am nachmittag", Tag::Part(Part::Afternoon)),
        means("abends|am abend", Tag::Part(Part::Evening)),
        means("nachts|in der nacht", Tag::Part(Part::Night)),
    ]);
    let figure = |from: u32, to: u32, how| {
        any([Rule::Written(Written::As(from, to, how)), fold(known(&SMALL[from as usize..=to as usize]), how)])
    };
    let named = |name: &str| {
        Some(match name {
            "hour" => figure(1, 12, as_hour),
            "any-hour" => figure(0, 24, as_hour),
            "minute" => figure(1, 59, as_minute),
            "before" => figure(1, 59, as_minutes_before),
            "half" => means("halb", Tag::Before(30)),
            "quarter-past" => means("viertel nach", Tag::Minute(15)),
            "quarter-to" => means("viertel vor|dreiviertel", Tag::Before(15)),
            "part" => part.clone(),
            "clock" => Rule::Written(Written::Clock),
            _ => return None,
        })
    };
    let read = |notation: &str| pattern(notation, &named);
    any([
        seq([means("mittag|zwölf uhr mittags", Tag::Hour(12)), Rule::Means(Tag::Exact)]),
        seq([means("mitternacht", Tag::Hour(0)), Rule::Means(Tag::Exact)]),
        read("<any-hour> [uhr] [<part>]"),
        read("<any-hour> uhr [und] <minute> [<part>]"),
        read("(<half>|<quarter-past>|<quarter-to>) <hour> [uhr] [<part>]"),
        read("<minute> [minuten] nach <hour> [uhr] [<part>]"),
        read("<before> [minuten] vor <hour> [uhr] [<part>]"),
        read("<clock> [uhr] [<part>]"),
    ])
}
