//! English.

use super::number::{self, Scales};
use super::{Frame, Tongue, digits};
use crate::Universal;
use crate::rule::{Rule, Written, any, aside, fold, means, opt, pattern, rare, seq, words};
use crate::tag::{Part, Tag, Which};
use crate::tag::{as_cents, as_days, as_days_ago, as_hour, as_minute, as_minutes_before, as_weeks, as_weeks_ago};
use std::sync::LazyLock;

/// English, and how dates are written.
pub(super) struct English {
    american: bool,
}

pub(super) const BRITISH: English = English { american: false };
pub(super) const AMERICAN: English = English { american: true };

const UNITS: [&str; 20] = [
    "zero|none",
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
const TENS: [&str; 10] = ["", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const ORDINALS: [&str; 20] = [
    "",
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
];
const MONTHS: [&str; 12] = [
    "january|jan",
    "february|feb",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august|aug",
    "september|sept",
    "october|oct",
    "november|nov",
    "december|dec",
];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

static SMALL: LazyLock<Vec<Rule>> = LazyLock::new(|| number::small(below_hundred));
static HUNDREDS: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    number::hundreds(|n| if n == 1 { "(one|a) hundred".into() } else { format!("{} hundred", UNITS[n]) })
});
static FRAME: LazyLock<Frame> = LazyLock::new(|| Frame::of(&BRITISH));
static GROUPS: LazyLock<Vec<(usize, Rule)>> = LazyLock::new(|| {
    let mut groups = digits::groups(&BRITISH, "hundred", "thousand");
    groups.push((1, rare(means("o|nought", Tag::Digit(0)))));
    groups
});
static DATES: LazyLock<[Rule; 2]> = LazyLock::new(|| [date(false), date(true)]);
static TIME: LazyLock<Rule> = LazyLock::new(time);

fn below_hundred(n: usize) -> String {
    match (n / 10, n % 10) {
        (0 | 1, _) => UNITS[n].into(),
        (tens, 0) => TENS[tens].into(),
        (tens, ones) => format!("{} {}", TENS[tens], UNITS[ones]),
    }
}

fn ordinal(n: usize) -> String {
    match (n / 10, n % 10) {
        (0 | 1, _) => ORDINALS[n].into(),
        (2, 0) => "twentieth".into(),
        (3, 0) => "thirtieth".into(),
        (tens, ones) => format!("{} {}", TENS[tens], ORDINALS[ones]),
    }
}

fn scales() -> Scales {
    Scales {
        small: &SMALL,
        hundreds: &HUNDREDS,
        and: "and",
        thousand: ["(one|a) thousand", "thousand"],
        million: ["(one|a) million", "million"],
    }
}

impl Tongue for English {
    fn frame(&self) -> &'static Frame {
        &FRAME
    }

    fn hesitations(&self) -> &'static [&'static str] {
        &["uh", "um", "er", "erm", "hmm", "hm", "ah", "eh", "mm", "uhm"]
    }

    fn articles(&self) -> &'static [&'static str] {
        &["a", "an", "the", "my", "some", "your"]
    }

    fn turning(&self) -> &'static [&'static str] {
        &[
            "not", "no", "never", "don't", "doesn't", "didn't", "can't", "cannot", "won't", "isn't", "wouldn't",
            "except", "but", "instead", "without", "before", "after", "until", "between", "other",
        ]
    }

    fn lead(&self) -> &'static str {
        "[hello|hi] [well|okay|ok|so|right|oh] [yes|yeah] [it's|it is|that's|that is|that would be|it would be|make it\
         |make that|let's (say|do|make it)|give me|i think|i guess|maybe|perhaps|probably|how about|what about\
         |(i'd|i would|we'd|we would) like [to (have|get|book|come|make it|do)]|(i|we) (want|need) [to]|i'll (take|have)\
         |i will (take|have)|(can|could|may) (i|we) (have|get|do|take)|my answer is|just|please]"
    }

    fn wish(&self, kind: &str) -> &'static str {
        match kind {
            "choices" => "(i'd like|i would like|i want|i need) [to]",
            "date" => "on",
            "time" => "at",
            _ => "",
        }
    }

    fn tail(&self) -> &'static str {
        "please|thanks|thank you [very much|so much]|if possible|if that's (ok|okay|possible|alright)|would be (good\
         |great|fine|best)|i think|i guess|then"
    }

    fn yes(&self) -> &'static str {
        "yes [yes] [please|sir|it is|i do|i am|i would|you can|that's right|that's correct|of course|correct]\
         |yeah|yep|yup|sure [thing]|of course|okay|ok|alright|all right|right|correct|true|exactly|absolutely|definitely\
         |certainly|indeed|fine|perfect|great|affirmative|go ahead|sounds good|please do|uh huh|mm hmm|no problem|why not\
         |i do|i am|i would|i (think|guess|believe|hope) so|it is|you can|that's (right|correct|it|fine|true|good|okay|ok)\
         |that is (right|correct|it|fine|true|good)"
    }

    fn no(&self) -> &'static str {
        "no [no] [thank you|thanks|sir|it isn't|it's not|it is not|i don't|i do not|i'm not|that's wrong|that's not right\
         |that's not correct|not really]|nope|nah|no way|not (really|at all|now|today|yet|correct|right|quite|true)\
         |never|wrong|incorrect|false|negative|it isn't|it's not|it is not|i don't [think so]|i do not|i'm not\
         |that's (wrong|incorrect|false)|that's not (it|right|correct|true)|that is not (it|right|correct|true)\
         |that isn't (it|right|correct)|(absolutely|definitely|certainly|of course) not|please don't|uh uh|don't|do not"
    }

    fn firm(&self) -> [(&'static str, &'static [&'static str]); 2] {
        [
            (
                "yes|yeah|yep|sure|absolutely|definitely",
                &["no", "nope", "not", "don't", "doesn't", "isn't", "can't", "won't", "maybe", "wait", "but", "or"],
            ),
            (
                "no|nope|nah",
                &["yes", "yeah", "yep", "idea", "maybe", "wait", "but", "matter", "problem", "clue", "or", "one"],
            ),
        ]
    }

    fn universal(&self, which: Universal) -> &'static str {
        match which {
            Universal::Repeat => {
                "(repeat|repeat that|repeat it|repeat the question|say that again|say it again|come again) [please]\
                 |(can|could|would) you (repeat [that|it|the question]|say (that|it) again) [please]\
                 |please (repeat [that|it|the question]|say (that|it) again)|once more|one more time|again [please]\
                 |pardon [me]|(i'm|i am) sorry|sorry|what was that|what did you say|what|excuse me|i beg your pardon\
                 |i (didn't|did not) (hear|get|understand|catch) (that|you|it)|i don't understand"
            }
            Universal::Help => {
                "help [me] [please]|(i need|i want) [some] help|can you help me|what can i say|what are my options\
                 |what are the options|options|instructions|how does (this|that|it) work|what do you mean\
                 |what do i (do|say)|i don't know what to (do|say)"
            }
            Universal::Operator => {
                "(operator|agent|representative|human|receptionist|customer service) [please]\
                 |[a|an|the] (real|live|human) (person|being|agent|operator) [please]\
                 |[can i|could i|may i|i want to|i'd like to|i would like to|let me|i need to] (speak|talk) (to|with)\
                 (someone|somebody|a person|a human|an agent|an operator|the operator|an advisor|a representative\
                 |your staff|a (real|live) person) [please]"
            }
        }
    }

    fn places(&self) -> [&'static str; 9] {
        [
            "the first [one|option]|first [one|option]",
            "the second [one|option]|second [one|option]",
            "the third [one|option]|third [one|option]",
            "the fourth [one|option]|fourth [one|option]",
            "the fifth [one|option]|fifth [one|option]",
            "the sixth [one|option]|sixth [one|option]",
            "the seventh [one|option]|seventh [one|option]",
            "the eighth [one|option]|eighth [one|option]",
            "the ninth [one|option]|ninth [one|option]",
        ]
    }

    fn last(&self) -> &'static str {
        "the last [one|option]|last [one|option]"
    }

    fn numbered(&self) -> &'static str {
        "[number|option|choice|press|key] <n>"
    }

    fn digit(&self, digit: usize) -> &'static str {
        ["zero|oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"][digit]
    }

    fn repeated(&self) -> [&'static str; 2] {
        ["double", "triple|treble"]
    }

    fn below_hundred(&self, n: usize) -> String {
        below_hundred(n)
    }

    fn digit_groups(&self) -> &'static [(usize, Rule)] {
        &GROUPS
    }

    fn scales(&self) -> &'static [&'static str] {
        &["hundred", "thousand", "million", "and", "point", "oh"]
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
            means("dollar|dollars", Tag::Currency("$")),
            rare(means("buck|bucks", Tag::Currency("$"))),
            means("pound|pounds", Tag::Currency("£")),
            rare(means("quid", Tag::Currency("£"))),
            rare(means("us dollars|us dollar|american dollars", Tag::Currency("USD"))),
            rare(means("[swiss] (franc|francs)", Tag::Currency("CHF"))),
            rare(means("yuan|renminbi|rmb", Tag::Currency("CNY"))),
            rare(means("yen", Tag::Currency("JPY"))),
        ]);
        let cents = fold(number::whole(&scales(), 1, 99), as_cents);
        let round = fold(number::whole(&scales(), 10, 99), as_cents);
        let few = rare(seq([words("oh"), fold(number::whole(&scales(), 1, 9), as_cents)]));
        let cent = words("cent|cents|penny|pence|p");
        let named = |name: &str| match name {
            "units" => Some(units.clone()),
            "currency" => Some(currency.clone()),
            "cents" => Some(cents.clone()),
            "cent" => Some(cent.clone()),
            "round" => Some(any([round.clone(), few.clone()])),
            _ => None,
        };
        any([
            super::written_money(&currency),
            pattern("<units> <currency> [[and] <cents> [<cent>]]", &named),
            pattern("<units>", &named),
            pattern("<units> <round> [<currency>]", &named),
            pattern("<cents> <cent>", &named),
            rare(super::decimal(self, "point", &units, &currency)),
        ])
    }

    fn date(&self) -> Rule {
        Rule::Known(&DATES[usize::from(self.american)])
    }

    fn time(&self) -> Rule {
        Rule::Known(&TIME)
    }

    fn lead_of(&self, kind: &str) -> &'static str {
        match kind {
            "date" => "on|for|by|from|the|of",
            "time" => "at|around|about|for|by|say",
            "digits" | "phone" => {
                "(my|the|it's) [phone|telephone|mobile|customer|account|order|reference] (number|code|pin) [is]|(it is|it's)"
            }
            "number" => "number|about|exactly|there are|there is|there will be|we are|we're|for",
            "amount" => "about|around|exactly|for|up to",
            _ => "the|a|an",
        }
    }

    fn month_first(&self) -> bool {
        self.american
    }
}

fn day() -> Rule {
    let spoken = (1..=31).map(|n| means(&ordinal(n), Tag::Day(n as u32)));
    let written = seq([Rule::Written(Written::As(1, 31, crate::tag::as_day)), words("st|nd|rd|th")]);
    any(spoken.chain([written]))
}

fn date(american: bool) -> Rule {
    let one = |from: usize, to: usize| any(SMALL[from..=to].iter().map(Rule::Known));
    let day = day();
    // "May three", "3 May".
    let plain_day = any([
        Rule::Written(Written::As(1, 31, crate::tag::as_day)),
        rare(any((1..=31).map(|n| means(&below_hundred(n), Tag::Day(n as u32))))),
    ]);
    let month = any((1..).zip(MONTHS).map(|(n, name)| {
        let mut names = name.split('|');
        let full = words(names.next().unwrap_or_default());
        let short = names.map(|short| rare(words(short)));
        seq([any([full].into_iter().chain(short)), Rule::Means(Tag::Month(n))])
    }));
    let years = seq([words("two thousand"), Rule::Means(Tag::Add(2_000)), opt(seq([opt(words("and")), one(1, 99)]))]);
    let year = number::year(
        &[("nineteen", 1_900), ("twenty", 2_000)],
        &any([one(10, 99), seq([words("oh"), one(1, 9)])]),
        years,
    );
    let weekday = |which: Which| any((1..).zip(WEEKDAYS).map(|(n, name)| means(name, Tag::Weekday(n, which))));
    let count = |unit: &str, to: usize, how| {
        let one_or_more =
            any([seq([words("a"), Rule::Means(Tag::Add(1))]), Rule::Written(Written::Whole(1, to as u32)), one(1, to)]);
        fold(seq([one_or_more, words(unit)]), how)
    };
    let named = |name: &str| {
        Some(match name {
            "day" => day.clone(),
            "any-day" => any([day.clone(), plain_day.clone()]),
            "month" => month.clone(),
            "year" => year.clone(),
            "weekday" => weekday(Which::Plain),
            "this-weekday" => weekday(Which::This),
            "last-weekday" => weekday(Which::Last),
            "next-week-weekday" => weekday(Which::Week(1)),
            "days" => count("day|days", 99, as_days),
            "days-ago" => count("day|days", 99, as_days_ago),
            "weeks" => count("week|weeks", 52, as_weeks),
            "weeks-ago" => count("week|weeks", 52, as_weeks_ago),
            "next-month" => means("next month", Tag::Months(1)),
            "this-month" => means("this month", Tag::Months(0)),
            "figures" => Rule::Written(Written::Date { month_first: american }),
            _ => return None,
        })
    };
    let read = |notation: &str| pattern(notation, &named);
    let spoken = any([
        means("today", Tag::Days(0)),
        means("tomorrow", Tag::Days(1)),
        means("[the] day after tomorrow", Tag::Days(2)),
        rare(means("yesterday", Tag::Days(-1))),
        rare(means("[the] day before yesterday", Tag::Days(-2))),
        read("in (<days>|<weeks>)"),
        rare(read("(<days>|<weeks>) from (now|today)")),
        rare(read("(<days-ago>|<weeks-ago>) ago")),
        read("<weekday>|[the|this] (next|coming) <weekday>"),
        read("this <this-weekday>"),
        rare(read("(last|past) <last-weekday>")),
        rare(read("<next-week-weekday> next week|next week [on] <next-week-weekday>")),
        read("[<weekday>] [the] <day> [of] <month> [[of|in] <year>]"),
        read("[<weekday>] <month> [the] <day> [[of|in] <year>]"),
        rare(read("[<weekday>] <any-day> [of] <month> [[of|in] <year>]")),
        rare(read("[<weekday>] <month> <any-day> [[of|in] <year>]")),
        read("[<weekday>] [the] <day>"),
        rare(read("[the] <any-day> (of|in) (<this-month>|<next-month>)")),
        rare(read("[<weekday>] <figures>")),
    ]);
    seq([spoken, opt(rare(aside(words("[in the] (morning|afternoon|evening)"))))])
}

fn time() -> Rule {
    let hour = |from: usize, to: usize| any(SMALL[from..=to].iter().map(Rule::Known));
    let part = any([
        means("am|a m|in the morning|this morning", Tag::Part(Part::Am)),
        means("pm|p m", Tag::Part(Part::Pm)),
        means("in the afternoon|this afternoon", Tag::Part(Part::Afternoon)),
        means("in the evening|this evening", Tag::Part(Part::Evening)),
        rare(means("tonight", Tag::Part(Part::Evening))),
        means("at night", Tag::Part(Part::Night)),
    ]);
    let figure = |from, to, how| Rule::Written(Written::As(from, to, how));
    let minutes = any([figure(1, 59, as_minute), fold(hour(1, 59), as_minute)]);
    let minutes_before = any([figure(1, 59, as_minutes_before), fold(hour(1, 59), as_minutes_before)]);
    let named = |name: &str| {
        Some(match name {
            "hour" => any([figure(1, 12, as_hour), fold(hour(1, 12), as_hour)]),
            "late" => any([figure(0, 24, as_hour), rare(fold(hour(13, 23), as_hour)), rare(fold(hour(0, 0), as_hour))]),
            "minute" => any([fold(hour(10, 59), as_minute), seq([words("oh"), fold(hour(1, 9), as_minute)])]),
            "past" => minutes.clone(),
            "before" => minutes_before.clone(),
            "half" => means("half past", Tag::Minute(30)),
            "british-half" => means("half", Tag::Minute(30)),
            "quarter-past" => means("[a] quarter (past|after)", Tag::Minute(15)),
            "quarter-before" => means("[a] quarter (to|of|before|till)", Tag::Before(15)),
            "part" => part.clone(),
            "clock" => Rule::Written(Written::Clock),
            "exact" => Rule::Means(Tag::Exact),
            _ => return None,
        })
    };
    let read = |notation: &str| pattern(notation, &named);
    any([
        seq([means("[twelve] noon|midday|noon", Tag::Hour(12)), Rule::Means(Tag::Exact)]),
        seq([means("[twelve] midnight", Tag::Hour(0)), Rule::Means(Tag::Exact)]),
        read("<hour> [o'clock] [<part>]"),
        read("<hour> <minute> [<part>]"),
        read("<half> <hour> [<part>]"),
        rare(read("<british-half> <hour> [<part>]")),
        read("(<quarter-past>|<quarter-before>) <hour> [<part>]"),
        read("<past> [minutes] (past|after) <hour> [<part>]"),
        read("<before> [minutes] (to|before|till) <hour> [<part>]"),
        rare(read("<late> [o'clock|hundred [hours]|hours] [<part>]")),
        rare(read("<late> <minute> [hours] [<part>]")),
        rare(read("<clock> [o'clock|hours] [<part>]")),
        rare(read("<part> [at|around|about] (<hour> [o'clock]|<hour> <minute>|<half> <hour>|<clock>)")),
    ])
}
