//! Spanish.

use super::number::{self, Scales, known};
use super::{Frame, Tongue, digits};
use crate::Universal;
use crate::rule::{Rule, Written, any, aside, fold, means, opt, pattern, rare, seq, words};
use crate::tag::{
    Part, Tag, Which, as_day, as_days, as_days_ago, as_hour, as_minute, as_minutes_before, as_month, as_weeks,
    as_weeks_ago,
};
use std::sync::LazyLock;

/// Spanish.
pub(super) struct Spanish;

const UNITS: [&str; 30] = [
    "cero",
    "uno|un|una",
    "dos",
    "tres",
    "cuatro",
    "cinco",
    "seis",
    "siete",
    "ocho",
    "nueve",
    "diez",
    "once",
    "doce",
    "trece",
    "catorce",
    "quince",
    "dieciséis",
    "diecisiete",
    "dieciocho",
    "diecinueve",
    "veinte",
    "veintiuno|veintiún|veintiuna",
    "veintidós",
    "veintitrés",
    "veinticuatro",
    "veinticinco",
    "veintiséis",
    "veintisiete",
    "veintiocho",
    "veintinueve",
];
const TENS: [&str; 10] =
    ["", "diez", "veinte", "treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa"];
const HUNDRED: [&str; 10] = [
    "",
    "(cien|ciento)",
    "(doscientos|doscientas)",
    "(trescientos|trescientas)",
    "(cuatrocientos|cuatrocientas)",
    "(quinientos|quinientas)",
    "(seiscientos|seiscientas)",
    "(setecientos|setecientas)",
    "(ochocientos|ochocientas)",
    "(novecientos|novecientas)",
];
const MONTHS: [&str; 12] = [
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre|setiembre",
    "octubre",
    "noviembre",
    "diciembre",
];
const WEEKDAYS: [&str; 7] = ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"];

static SMALL: LazyLock<Vec<Rule>> = LazyLock::new(|| number::small(below_hundred));
static HUNDREDS: LazyLock<Vec<Rule>> = LazyLock::new(|| number::hundreds(|n| HUNDRED[n].into()));
static FRAME: LazyLock<Frame> = LazyLock::new(|| Frame::of(&Spanish));
static GROUPS: LazyLock<Vec<(usize, Rule)>> = LazyLock::new(|| digits::groups(&Spanish, "cientos", "mil"));
static DATE: LazyLock<Rule> = LazyLock::new(date);
static TIME: LazyLock<Rule> = LazyLock::new(time);

fn below_hundred(n: usize) -> String {
    match (n / 10, n % 10) {
        (0..3, _) => UNITS[n].into(),
        (tens, 0) => TENS[tens].into(),
        (tens, ones) => format!("{} y ({})", TENS[tens], UNITS[ones]),
    }
}

fn scales() -> Scales {
    Scales {
        small: &SMALL, hundreds: &HUNDREDS, and: "", thousand: ["mil", "mil"], million: ["un millón", "millones"]
    }
}

impl Tongue for Spanish {
    fn frame(&self) -> &'static Frame {
        &FRAME
    }

    fn hesitations(&self) -> &'static [&'static str] {
        &["eh", "em", "mmm", "hm", "ah", "uh", "este"]
    }

    fn articles(&self) -> &'static [&'static str] {
        &["el", "la", "los", "las", "un", "una", "mi", "lo"]
    }

    fn turning(&self) -> &'static [&'static str] {
        &["no", "nunca", "ni", "excepto", "salvo", "menos", "pero", "sin", "antes", "despues", "hasta", "entre", "o"]
    }

    fn lead(&self) -> &'static str {
        "[hola|buenos días|buenas tardes] [bueno|pues|vale|sí|entonces] [es|sería|(quiero|quisiera|querría|necesito|me gustaría) [pedir|tener]\
         |queremos|creo que|quizás|tal vez|qué tal|póngame|deme]"
    }

    fn wish(&self, kind: &str) -> &'static str {
        match kind {
            "choices" => "quiero|quisiera",
            "date" => "el",
            "time" => "a",
            _ => "",
        }
    }

    fn tail(&self) -> &'static str {
        "por favor|gracias|muchas gracias|si es posible|estaría bien|me viene bien"
    }

    fn yes(&self) -> &'static str {
        "sí [sí] [por favor|claro|señor|señora|correcto|exacto|gracias|así es]|claro [que sí]|por supuesto|correcto|exacto|exactamente|cierto\
         |vale|de acuerdo|está bien|muy bien|bueno|así es|es correcto|afirmativo|eso es|ok|okay|perfecto|desde luego|sin problema"
    }

    fn no(&self) -> &'static str {
        "no [no] [gracias|señor|señora|es correcto|está bien|por favor|quiero]|no es (correcto|así|cierto)|no está bien|incorrecto|falso\
         |para nada|de ninguna manera|nunca|negativo|mejor no|todavía no|tampoco"
    }

    fn firm(&self) -> [(&'static str, &'static [&'static str]); 2] {
        [
            ("sí|claro", &["no", "pero", "quizas", "tal", "espere", "o"]),
            ("no", &["si", "pero", "se", "quizas", "tal", "espere", "problema", "importa", "o"]),
        ]
    }

    fn universal(&self, which: Universal) -> &'static str {
        match which {
            Universal::Repeat => {
                "(repetir|repita|repítalo|otra vez|de nuevo|una vez más) [por favor]|[me] puede repetir [lo] [por favor]|cómo|cómo dice|perdón\
                 |perdone|qué|no (he entendido|entiendo|entendí|he oído|le oigo)|qué ha dicho"
            }
            Universal::Help => {
                "ayuda [por favor]|ayúdeme|necesito ayuda|qué puedo decir|opciones|qué opciones (hay|tengo)|cómo funciona|qué tengo que (hacer|decir)"
            }
            Universal::Operator => {
                "(operador|operadora|agente|recepción|atención al cliente) [por favor]|una persona [por favor]\
                 |[quiero|quisiera|puedo|necesito] hablar con (alguien|una persona|un agente|un operador|una operadora) [por favor]"
            }
        }
    }

    fn places(&self) -> [&'static str; 9] {
        [
            "[el|la|lo] (primero|primera|primer)",
            "[el|la|lo] (segundo|segunda)",
            "[el|la|lo] (tercero|tercera|tercer)",
            "[el|la|lo] (cuarto|cuarta)",
            "[el|la|lo] (quinto|quinta)",
            "[el|la|lo] (sexto|sexta)",
            "[el|la|lo] (séptimo|séptima)",
            "[el|la|lo] (octavo|octava)",
            "[el|la|lo] (noveno|novena)",
        ]
    }

    fn last(&self) -> &'static str {
        "[el|la|lo] (último|última)"
    }

    fn numbered(&self) -> &'static str {
        "[el|la] [número|opción|tecla] <n>"
    }

    fn digit(&self, digit: usize) -> &'static str {
        ["cero", "uno|un|una", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"][digit]
    }

    fn repeated(&self) -> [&'static str; 2] {
        ["doble", "triple"]
    }

    fn below_hundred(&self, n: usize) -> String {
        below_hundred(n)
    }

    fn digit_groups(&self) -> &'static [(usize, Rule)] {
        &GROUPS
    }

    fn scales(&self) -> &'static [&'static str] {
        &["cien", "ciento", "mil", "millones", "y", "coma"]
    }

    fn plus(&self) -> &'static str {
        "más"
    }

    fn number(&self, min: u32, max: u32) -> Rule {
        number::whole(&scales(), min, max)
    }

    fn amount(&self, units: Rule) -> Rule {
        let currency = any([
            means("euro|euros", Tag::Currency("EUR")),
            means("dólar|dólares", Tag::Currency("$")),
            means("libra|libras", Tag::Currency("£")),
            means("franco|francos [suizos]", Tag::Currency("CHF")),
            means("yuan|yuanes", Tag::Currency("CNY")),
            means("yen|yenes", Tag::Currency("JPY")),
        ]);
        let named = super::named_in_amounts(&units, &currency, &scales(), "céntimo|céntimos|centavo|centavos|peniques");
        any([
            super::written_money(&currency),
            pattern("<units> [de] <currency> [[y|con] <cents> [<cent>]]", &named),
            pattern("<units>", &named),
            pattern("<cents> <cent>", &named),
            pattern("<units> [con] <round> [<currency>]", &named),
            super::decimal(self, "coma|punto", &units, &currency),
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
            "date" => "el|para el|para|el día|día|desde el|del",
            "time" => "a|sobre|hacia|para|desde|alrededor de",
            "digits" | "phone" => "(mi|el) [número|teléfono|código] [de teléfono|de cliente] es [el]",
            "number" => "el|número|somos|para|exactamente|unos|unas",
            "amount" => "unos|exactamente|por|hasta",
            _ => "el|la|un|una",
        }
    }
}

fn date() -> Rule {
    let day = any([
        Rule::Written(Written::As(1, 31, as_day)),
        fold(known(&SMALL[1..=31]), as_day),
        means("primero", Tag::Day(1)),
    ]);
    let month = any((1..).zip(MONTHS).map(|(n, name)| means(name, Tag::Month(n))));
    let thousand = seq([words("dos mil"), Rule::Means(Tag::Add(2_000)), opt(known(&SMALL[1..=99]))]);
    let year = number::year(&[("mil novecientos", 1_900)], &known(&SMALL[1..=99]), thousand);
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
            "days" => count("día|días", as_days),
            "days-ago" => count("día|días", as_days_ago),
            "weeks" => count("semana|semanas", as_weeks),
            "weeks-ago" => count("semana|semanas", as_weeks_ago),
            "figures" => Rule::Written(Written::Date { month_first: false }),
            _ => return None,
        })
    };
    let read = |notation: &str| pattern(notation, &named);
    let spoken = any([
        means("hoy", Tag::Days(0)),
        means("mañana", Tag::Days(1)),
        means("pasado mañana", Tag::Days(2)),
        means("ayer", Tag::Days(-1)),
        means("anteayer|antes de ayer", Tag::Days(-2)),
        read("(en|dentro de) (<days>|<weeks>)"),
        read("hace (<days-ago>|<weeks-ago>)"),
        read("<weekday>|[el] próximo <weekday>|<weekday> (próximo|que viene)"),
        read("este <this>"),
        read("[el] <last> pasado|[el] pasado <last>"),
        read("<next-week> de la (próxima semana|semana que viene)"),
        read("[<weekday>] <day> de <month> [[de|del] <year>]"),
        read("[<weekday>] <day>"),
        rare(read("[<weekday>] <figures>")),
    ]);
    seq([spoken, opt(rare(aside(words("por la (mañana|tarde|noche)"))))])
}

fn time() -> Rule {
    let part = any([
        means("(de|por) la mañana", Tag::Part(Part::Morning)),
        means("del mediodía", Tag::Part(Part::Noon)),
        means("(de|por) la tarde", Tag::Part(Part::Afternoon)),
        means("(de|por) la noche", Tag::Part(Part::Evening)),
        means("de la madrugada", Tag::Part(Part::Am)),
    ]);
    let figure = |from: u32, to: u32, how| {
        any([Rule::Written(Written::As(from, to, how)), fold(known(&SMALL[from as usize..=to as usize]), how)])
    };
    let named = |name: &str| {
        Some(match name {
            "hour" => figure(0, 24, as_hour),
            "minute" => figure(1, 59, as_minute),
            "before" => figure(1, 59, as_minutes_before),
            "half" => means("y media", Tag::Minute(30)),
            "quarter-past" => means("y cuarto", Tag::Minute(15)),
            "quarter-to" => means("menos cuarto", Tag::Before(15)),
            "part" => part.clone(),
            "clock" => Rule::Written(Written::Clock),
            _ => return None,
        })
    };
    let read = |notation: &str| pattern(notation, &named);
    any([
        seq([means("[el] mediodía", Tag::Hour(12)), Rule::Means(Tag::Exact)]),
        seq([means("[la] medianoche", Tag::Hour(0)), Rule::Means(Tag::Exact)]),
        read("[la|las] <hour> [horas|en punto] [<part>]"),
        read("[la|las] <hour> (<half>|<quarter-past>|<quarter-to>) [<part>]"),
        read("[la|las] <hour> [horas] [y] <minute> [minutos] [<part>]"),
        read("[la|las] <hour> menos <before> [minutos] [<part>]"),
        read("[la|las] <clock> [horas] [<part>]"),
    ])
}
