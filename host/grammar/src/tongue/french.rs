//! French.

use super::number::{self, Scales, known};
use super::{Frame, Tongue, digits};
use crate::Universal;
use crate::rule::{Rule, Written, any, aside, fold, means, opt, pattern, rare, seq, words};
use crate::tag::{
    Part, Tag, Which, as_day, as_days, as_days_ago, as_hour, as_minute, as_minutes_before, as_month, as_weeks,
    as_weeks_ago,
};
use std::sync::LazyLock;

/// French.
pub(super) struct French;

const UNITS: [&str; 20] = [
    "zéro", "un|une", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix", "onze", "douze",
    "treize", "quatorze", "quinze", "seize", "dix sept", "dix huit", "dix neuf",
];
const TENS: [&str; 7] = ["", "dix", "vingt", "trente", "quarante", "cinquante", "soixante"];
const MONTHS: [&str; 12] = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
];
const WEEKDAYS: [&str; 7] = ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"];

static SMALL: LazyLock<Vec<Rule>> = LazyLock::new(|| number::small(below_hundred));
static HUNDREDS: LazyLock<Vec<Rule>> =
    LazyLock::new(|| number::hundreds(|n| if n == 1 { "cent".into() } else { format!("{} (cent|cents)", UNITS[n]) }));
static FRAME: LazyLock<Frame> = LazyLock::new(|| Frame::of(&French));
static GROUPS: LazyLock<Vec<(usize, Rule)>> = LazyLock::new(|| digits::groups(&French, "cent|cents", "mille"));
static DATE: LazyLock<Rule> = LazyLock::new(date);
static TIME: LazyLock<Rule> = LazyLock::new(time);

fn below_hundred(n: usize) -> String {
    let and = |tens: &str, ones: usize| match ones {
        0 => tens.to_owned(),
        1 => format!("{tens} et ({})", UNITS[1]),
        ones => format!("{tens} {}", UNITS[ones]),
    };
    match n {
        0..20 => UNITS[n].into(),
        20..70 => and(TENS[n / 10], n % 10),
        71 => "soixante et onze|septante et un".into(),
        70..80 => format!("soixante {}|{}", UNITS[n - 60], and("septante", n % 10)),
        80 => "quatre vingt|quatre vingts|huitante|octante".into(),
        81..90 => format!("quatre vingt ({})|{}", UNITS[n - 80], and("huitante", n % 10)),
        _ => format!("quatre vingt {}|{}", UNITS[n - 80], and("nonante", n % 10)),
    }
}

fn scales() -> Scales {
    Scales {
        small: &SMALL,
        hundreds: &HUNDREDS,
        and: "",
        thousand: ["mille", "mille"],
        million: ["un million", "(million|millions)"],
    }
}

impl Tongue for French {
    fn frame(&self) -> &'static Frame {
        &FRAME
    }

    fn hesitations(&self) -> &'static [&'static str] {
        &["euh", "heu", "hum", "hm", "ben", "bah", "ah", "oh"]
    }

    fn articles(&self) -> &'static [&'static str] {
        &["le", "la", "les", "un", "une", "des", "mon", "ma", "du", "de"]
    }

    fn turning(&self) -> &'static [&'static str] {
        &["pas", "non", "jamais", "sauf", "mais", "sans", "avant", "apres", "jusqu'a", "jusqu'au", "entre", "ou"]
    }

    fn lead(&self) -> &'static str {
        "[bonjour|allô] [alors|bon|oui|d'accord] [c'est|ce sera|ce serait|disons|plutôt|je (voudrais|veux|prends|souhaite)|j'aimerais\
         |il me faut|nous (voudrions|voulons)|on (voudrait|veut)|peut être|donnez moi|je pense|je crois]"
    }

    fn wish(&self, kind: &str) -> &'static str {
        match kind {
            "choices" => "je voudrais|je veux",
            "date" => "le",
            "time" => "à",
            _ => "",
        }
    }

    fn tail(&self) -> &'static str {
        "s'il vous plaît|s'il te plaît|merci [beaucoup|bien]|si possible|si c'est possible|ce serait bien"
    }

    fn yes(&self) -> &'static str {
        "oui [oui] [merci|s'il vous plaît|bien sûr|c'est ça|c'est (exact|juste|correct)|tout à fait]|ouais|si|d'accord|bien sûr|exact|exactement\
         |c'est (ça|exact|juste|correct|bon|bien ça)|tout à fait|absolument|certainement|ok|okay|parfait|volontiers|avec plaisir|correct\
         |entendu|bien entendu|pas de problème|effectivement"
    }

    fn no(&self) -> &'static str {
        "non [non] [merci|pas du tout|ce n'est pas (ça|exact|juste|correct)|c'est faux]|pas du tout|ce n'est pas (ça|exact|juste|correct)\
         |c'est pas (ça|exact|juste|correct)|c'est (faux|inexact)|faux|jamais|pas vraiment|surtout pas|incorrect|pas maintenant|négatif"
    }

    fn firm(&self) -> [(&'static str, &'static [&'static str]); 2] {
        [
            ("oui|ouais", &["non", "pas", "mais", "peut", "attendez", "ou"]),
            ("non", &["oui", "mais", "peut", "attendez", "si", "ou"]),
        ]
    }

    fn universal(&self, which: Universal) -> &'static str {
        match which {
            Universal::Repeat => {
                "(répétez|répéter|encore une fois|pouvez vous répéter) [s'il vous plaît]|comment|pardon|quoi|qu'avez vous dit\
                 |je n'ai pas (compris|entendu)|j'ai pas (compris|entendu)|vous pouvez répéter [s'il vous plaît]"
            }
            Universal::Help => {
                "aide|aidez moi|à l'aide|j'ai besoin d'aide|qu'est ce que je peux dire|que puis je dire|quelles sont les options|options|comment ça marche"
            }
            Universal::Operator => {
                "[un|une|le|l'] (opérateur|opératrice|conseiller|conseillère|agent|personne|service client|standard|accueil) [s'il vous plaît]\
                 |[je voudrais|je veux|j'aimerais|puis je] parler à (quelqu'un|une personne|un conseiller|un opérateur|un agent) [s'il vous plaît]"
            }
        }
    }

    fn places(&self) -> [&'static str; 9] {
        [
            "[le|la] (premier|première)",
            "[le|la] (deuxième|second|seconde)",
            "[le|la] troisième",
            "[le|la] quatrième",
            "[le|la] cinquième",
            "[le|la] sixième",
            "[le|la] septième",
            "[le|la] huitième",
            "[le|la] neuvième",
        ]
    }

    fn last(&self) -> &'static str {
        "[le|la] (dernier|dernière)"
    }

    fn numbered(&self) -> &'static str {
        "[le|la] [numéro|option|touche] <n>"
    }

    fn digit(&self, digit: usize) -> &'static str {
        ["zéro", "un|une", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"][digit]
    }

    fn repeated(&self) -> [&'static str; 2] {
        ["double", "triple"]
    }

    fn below_hundred(&self, n: usize) -> String {
        below_hundred(n)
    }

    fn digit_groups(&self) -> &'static [(usize, Rule)] {
        &GROUPS
    }

    fn scales(&self) -> &'static [&'static str] {
        &["cent", "cents", "mille", "million", "millions", "et", "virgule"]
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
            means("livre|livres", Tag::Currency("£")),
            means("franc|francs [suisses]", Tag::Currency("CHF")),
            means("yuan|yuans", Tag::Currency("CNY")),
            means("yen|yens", Tag::Currency("JPY")),
        ]);
        let named = super::named_in_amounts(&units, &currency, &scales(), "centime|centimes|cent|cents");
        any([
            super::written_money(&currency),
            pattern("<units> [d'] <currency> [[et] <cents> [<cent>]]", &named),
            pattern("<units>", &named),
            pattern("<cents> (centime|centimes)", &named),
            pattern("<units> <round> [<currency>]", &named),
            super::decimal(self, "virgule", &units, &currency),
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
            "date" => "le|pour le|à partir du|du|pour",
            "time" => "à|vers|pour|autour de|dès",
            "digits" | "phone" => "(mon|le) [numéro|téléphone|code] [de téléphone|de client] est [le]|c'est le",
            "number" => "le|numéro|nous sommes|on est|on sera|pour|exactement|environ",
            "amount" => "environ|exactement|pour|jusqu'à",
            _ => "le|la|un|une|pour",
        }
    }
}

fn date() -> Rule {
    let day = any([
        Rule::Written(Written::As(1, 31, as_day)),
        seq([Rule::Written(Written::As(1, 1, as_day)), words("er")]),
        fold(known(&SMALL[1..=31]), as_day),
        means("premier", Tag::Day(1)),
    ]);
    let month = any((1..).zip(MONTHS).map(|(n, name)| means(name, Tag::Month(n))));
    let thousand = seq([words("deux mille"), Rule::Means(Tag::Add(2_000)), opt(known(&SMALL[1..=99]))]);
    let year = number::year(&[("dix neuf cent", 1_900), ("mille neuf cent", 1_900)], &known(&SMALL[1..=99]), thousand);
    let weekday = |which| any((1..).zip(WEEKDAYS).map(|(n, name)| means(name, Tag::Weekday(n, which))));
    let count = |unit: &str, how| {
        fold(seq([any([Rule::Written(Written::Whole(1, 99)), known(&SMALL[1..=99])]), words(unit)]), how)
    };
    let named = |name: &str| {
        Some(match name {
            "day" => day.clone(),
            "month" => any([month.clone(), Rule::Written(Written::As(1, 12, as_month))]),
            "year" => year.clone(),
            "weekday" => weekday(Which::Plain),
            "this" => weekday(Which::This),
            "last" => weekday(Which::Last),
            "next-week" => weekday(Which::Week(1)),
            "days" => count("jour|jours", as_days),
            "days-ago" => count("jour|jours", as_days_ago),
            "weeks" => count("semaine|semaines", as_weeks),
            "weeks-ago" => count("semaine|semaines", as_weeks_ago),
            "figures" => Rule::Written(Written::Date { month_first: false }),
            _ => return None,
        })
    };
    let read = |notation: &str| pattern(notation, &named);
    let spoken = any([
        means("aujourd'hui", Tag::Days(0)),
        means("demain", Tag::Days(1)),
        means("après demain", Tag::Days(2)),
        means("hier", Tag::Days(-1)),
        means("avant hier", Tag::Days(-2)),
        read("dans (<days>|<weeks>)"),
        read("il y a (<days-ago>|<weeks-ago>)"),
        read("<weekday>|<weekday> prochain"),
        read("ce <this>"),
        read("<last> (dernier|passé)"),
        read("<next-week> [de] la semaine prochaine"),
        read("[<weekday>] [le] <day> <month> [<year>]"),
        read("[<weekday>] [le] <day>"),
        rare(read("[<weekday>] [le] <figures>")),
    ]);
    seq([spoken, opt(rare(aside(words("matin|après midi|soir"))))])
}

fn time() -> Rule {
    let part = any([
        means("du matin", Tag::Part(Part::Morning)),
        means("de l'après midi", Tag::Part(Part::Afternoon)),
        means("du soir", Tag::Part(Part::Evening)),
    ]);
    let figure = |from: u32, to: u32, how| {
        any([Rule::Written(Written::As(from, to, how)), fold(known(&SMALL[from as usize..=to as usize]), how)])
    };
    let named = |name: &str| {
        Some(match name {
            "hour" => figure(0, 24, as_hour),
            "minute" => figure(1, 59, as_minute),
            "before" => figure(1, 59, as_minutes_before),
            "half" => means("et demie|et demi", Tag::Minute(30)),
            "quarter-past" => means("et quart", Tag::Minute(15)),
            "quarter-to" => means("moins [le] quart", Tag::Before(15)),
            "noon" => seq([means("midi", Tag::Hour(12)), Rule::Means(Tag::Exact)]),
            "midnight" => seq([means("minuit", Tag::Hour(0)), Rule::Means(Tag::Exact)]),
            "part" => part.clone(),
            "clock" => Rule::Written(Written::Clock),
            _ => return None,
        })
    };
    let read = |notation: &str| pattern(notation, &named);
    any([
        read("(<noon>|<midnight>) [<half>|<quarter-past>|<quarter-to>|moins <before>]"),
        read("<hour> (heure|heures|h) [pile] [<part>]"),
        read("<hour> (heure|heures|h) (<half>|<quarter-past>|<quarter-to>) [<part>]"),
        read("<hour> (heure|heures|h) <minute> [minutes] [<part>]"),
        read("<hour> (heure|heures|h) moins <before> [minutes] [<part>]"),
        read("<clock> [<part>]"),
    ])
}
