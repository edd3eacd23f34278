//! What people say, and what it means: tables.

use callbox_grammar::{Answer, Choice, Grammar, Towards, Understanding, Universal};
use jiff::civil::{Date, date, time};
use serde_json::{Value, json};

/// A Saturday.
const TODAY: Date = date(2026, 11, 21);

fn meaning(grammar: &Grammar, language: &str, text: &str) -> Option<Value> {
    match grammar.understand(text, language, TODAY) {
        Understanding::Whole { value, .. } => Some(value),
        Understanding::Nothing | Understanding::Begun => None,
    }
}

/// Each text means what stands beside it; `null`, that it is no answer.
#[track_caller]
fn table(answer: Answer, language: &str, member: &str, rows: &[(&str, Value)]) {
    let grammar = Grammar { answer, universals: Universal::ALL.to_vec() };
    let mut wrong = Vec::new();
    for (text, expected) in rows {
        let found = meaning(&grammar, language, text);
        let found = found.map_or(Value::Null, |value| value.get(member).cloned().unwrap_or(value));
        if found != *expected {
            wrong.push(format!("{text:?}: {found} instead of {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn rows<'a, V: Into<Value> + Clone>(rows: &[(&'a str, V)]) -> Vec<(&'a str, Value)> {
    rows.iter().map(|(text, value)| (*text, value.clone().into())).collect()
}

fn menu() -> Answer {
    let choice = |value: &str, key: char, phrases: &[&str]| Choice {
        value: value.into(),
        key: Some(key),
        phrases: phrases.iter().map(|phrase| (*phrase).into()).collect(),
        ..Choice::default()
    };
    Answer::Choices {
        choices: vec![
            choice(
                "book",
                '1',
                &["book an appointment", "book", "make an appointment", "预约", "einen Termin vereinbaren"],
            ),
            choice("cancel", '2', &["cancel an appointment", "cancel", "call it off", "取消预约", "取消", "absagen"]),
            choice("hours", '3', &["opening hours", "hours", "when are you open", "营业时间", "Öffnungszeiten"]),
        ],
    }
}

#[test]
fn choices_by_phrase_place_and_key() {
    let none = Value::Null;
    table(
        menu(),
        "en",
        "choice",
        &[
            ("book an appointment", json!("book")),
            ("Book appointment.", json!("book")),
            ("Uh, I'd like to book an appointment, please!", json!("book")),
            ("I would like to book the appointment", json!("book")),
            ("cancel", json!("cancel")),
            ("um the second one please", json!("cancel")),
            ("the last one", json!("hours")),
            ("number three", json!("hours")),
            ("option 2", json!("cancel")),
            ("one", json!("book")),
            ("well I have to call it off this time I am afraid", json!("cancel")),
            ("could you tell me when are you open", json!("hours")),
            ("book or cancel", none.clone()),
            ("I don't want to cancel", none.clone()),
            ("the fourth one", none.clone()),
            ("pizza", none.clone()),
            ("", none.clone()),
            ("uh", none),
        ],
    );
    table(
        menu(),
        "zh-CN",
        "choice",
        &[
            ("我想预约。", json!("book")),
            ("取消预约", json!("cancel")),
            ("我要取消,谢谢", json!("cancel")),
            ("第三个", json!("hours")),
            ("最后一个", json!("hours")),
            ("二", json!("cancel")),
            ("請問營業時間", Value::Null),
            ("不要取消", Value::Null),
            ("今天天气预报", Value::Null),
        ],
    );
    table(
        menu(),
        "de",
        "choice",
        &[
            ("Ich möchte einen Termin vereinbaren", json!("book")),
            ("Termin vereinbaren bitte", json!("book")),
            ("die zweite", json!("cancel")),
            ("oeffnungszeiten", Value::Null),
            ("ÖFFNUNGSZEITEN", json!("hours")),
        ],
    );
    // Where there are no words for a language, the phrases are enough.
    table(menu(), "nl", "choice", &[("Book", json!("book")), ("the second one", Value::Null)]);
}

#[test]
fn yes_and_no() {
    table(
        Answer::YesNo,
        "en",
        "yes",
        &rows(&[
            ("yes", true),
            ("Yeah.", true),
            ("yes please", true),
            ("uh-huh", true),
            ("that's right", true),
            ("thats right", true),
            ("yes that would be great", true),
            ("sure", true),
            ("no problem", true),
            ("absolutely", true),
            ("ok", true),
            ("no", false),
            ("nope", false),
            ("no thank you", false),
            ("not really", false),
            ("No, that's not right.", false),
            ("I don't think so", false),
            ("no I would rather come on Monday", false),
            ("uh, no", false),
        ]),
    );
    table(
        Answer::YesNo,
        "en",
        "yes",
        &rows(&[
            ("no idea", Value::Null),
            ("yes and no", Value::Null),
            ("maybe", Value::Null),
            ("yes but not today", Value::Null),
        ]),
    );
    table(
        Answer::YesNo,
        "zh",
        "yes",
        &rows(&[
            ("是的", true),
            ("对", true),
            ("好的,谢谢", true),
            ("嗯", true),
            ("没问题", true),
            ("可以", true),
            ("不是", false),
            ("不用了谢谢", false),
            ("嗯,不对", false),
            ("没有", false),
            ("不要了", false),
        ]),
    );
    table(Answer::YesNo, "zh", "yes", &rows(&[("不知道", Value::Null), ("是不是", Value::Null)]));
    table(
        Answer::YesNo,
        "de",
        "yes",
        &rows(&[
            ("ja", true),
            ("Ja, gerne", true),
            ("genau", true),
            ("ja das ist super", true),
            ("nein", false),
            ("nee, lieber nicht", false),
            ("das stimmt nicht", false),
            ("Nein danke.", false),
        ]),
    );
    table(
        Answer::YesNo,
        "es",
        "yes",
        &rows(&[("sí", true), ("claro que sí", true), ("no, gracias", false), ("así es", true)]),
    );
    table(
        Answer::YesNo,
        "fr",
        "yes",
        &rows(&[("oui", true), ("c'est ça", true), ("non merci", false), ("d'accord", true)]),
    );
}

#[test]
fn digits_one_by_one_and_in_groups() {
    let four = || Answer::Digits { min: 4, max: 4 };
    table(
        four(),
        "en",
        "digits",
        &rows(&[
            ("four seven one one", "4711"),
            ("forty-seven eleven", "4711"),
            ("4711", "4711"),
            ("4 7 1 1", "4711"),
            ("47 11", "4711"),
            ("double four one one", "4411"),
            ("oh one two three", "0123"),
            ("twenty three forty five", "2345"),
            ("triple seven nine", "7779"),
            ("five hundred two", "5002"),
            ("one thousand", "1000"),
            ("two oh double five", "2055"),
            ("uh, my pin is one two, um, three four please", "1234"),
            ("it's 12-34", "1234"),
        ]),
    );
    table(
        four(),
        "en",
        "digits",
        &rows(&[("one two three", Value::Null), ("one two three four five", Value::Null), ("hello", Value::Null)]),
    );
    table(Answer::Digits { min: 5, max: 5 }, "en", "digits", &rows(&[("twenty three four five", "20345")]));
    table(four(), "zh", "digits", &rows(&[("四七幺幺", "4711"), ("两零二六", "2026"), ("二十三四十五", "2345")]));
    table(
        four(),
        "de",
        "digits",
        &rows(&[("vier sieben eins eins", "4711"), ("siebenundvierzig elf", "4711"), ("zwo drei null eins", "2301")]),
    );
    table(four(), "es", "digits", &rows(&[("cuatro siete uno uno", "4711"), ("cuarenta y siete once", "4711")]));
    table(
        four(),
        "fr",
        "digits",
        &rows(&[("quatre sept un un", "4711"), ("quarante-sept onze", "4711"), ("quatre-vingt-dix un zéro", "9010")]),
    );
}

#[test]
fn numbers_of_a_range() {
    let number = |min, max| Answer::Number { min, max };
    table(
        number(0, 1_000_000),
        "en",
        "number",
        &rows(&[
            ("zero", 0),
            ("seven", 7),
            ("twenty one", 21),
            ("one hundred", 100),
            ("a hundred and five", 105),
            ("two hundred thirty four", 234),
            ("one thousand two hundred and thirty four", 1_234),
            ("twelve thousand", 12_000),
            ("nine hundred ninety nine thousand nine hundred ninety nine", 999_999),
            ("a million", 1_000_000),
            ("1,234", 1_234),
            ("42 please", 42),
            ("there are four of us I think so", 4),
        ]),
    );
    table(
        number(1, 50),
        "en",
        "number",
        &rows(&[("fifty", Some(50)), ("ninety", None), ("fifty one", None), ("0", None)]),
    );
    table(
        number(150, 4_120),
        "en",
        "number",
        &rows(&[
            ("one hundred and fifty", Some(150)),
            ("one hundred and forty nine", None),
            ("four thousand one hundred and twenty", Some(4_120)),
            ("four thousand one hundred and twenty one", None),
            ("four thousand", Some(4_000)),
            ("three thousand nine hundred", Some(3_900)),
        ]),
    );
    table(
        number(0, 999_999_999),
        "zh",
        "number",
        &rows(&[
            ("零", 0),
            ("两", 2),
            ("十", 10),
            ("十五", 15),
            ("二十一", 21),
            ("一百零五", 105),
            ("一百一十五", 115),
            ("一百二", 120),
            ("一百二十三", 123),
            ("两千零五", 2_005),
            ("两千零五十", 2_050),
            ("一万两千", 12_000),
            ("三十万零八百", 300_800),
            ("一亿两千万", 120_000_000),
            ("三个人", 3),
            ("12", 12),
        ]),
    );
    table(
        number(0, 999_999),
        "de",
        "number",
        &rows(&[
            ("null", 0),
            ("einundzwanzig", 21),
            ("ein und zwanzig", 21),
            ("hundert", 100),
            ("zweihundertdreiundvierzig", 243),
            ("tausend", 1_000),
            ("dreitausendfünfhundert", 3_500),
            ("zweihunderttausend", 200_000),
            ("ein", 1),
            ("1.500", 1_500),
        ]),
    );
    table(
        number(0, 999_999),
        "es",
        "number",
        &rows(&[
            ("veintitrés", 23),
            ("treinta y uno", 31),
            ("cien", 100),
            ("ciento cinco", 105),
            ("quinientos", 500),
            ("mil doscientos", 1_200),
            ("dos mil", 2_000),
        ]),
    );
    table(
        number(0, 999_999),
        "fr",
        "number",
        &rows(&[
            ("vingt et un", 21),
            ("soixante-dix", 70),
            ("soixante et onze", 71),
            ("quatre-vingts", 80),
            ("quatre-vingt-un", 81),
            ("quatre-vingt-dix-sept", 97),
            ("cent", 100),
            ("deux cents", 200),
            ("mille neuf cents", 1_900),
            ("septante-deux", 72),
        ]),
    );
}

#[test]
fn amounts_of_money() {
    let amount = |currency: &str| Answer::Amount { currency: currency.into(), max: 100_000 };
    table(
        amount("EUR"),
        "en",
        "amount",
        &rows(&[
            ("twelve fifty", "12.50"),
            ("twelve euros", "12.00"),
            ("twelve euros and fifty cents", "12.50"),
            ("fifty cents", "0.50"),
            ("two hundred", "200.00"),
            ("one hundred twenty", "120.00"),
            ("twelve oh five", "12.05"),
            ("12.50", "12.50"),
            ("€12,50", "12.50"),
            ("12 euros 50", "12.50"),
            ("1,200", "1200.00"),
            ("twelve point five", "12.50"),
            ("a thousand euros please", "1000.00"),
        ]),
    );
    let whole = |text| meaning(&Grammar::new(amount("EUR")), "en", text);
    assert_eq!(whole("twenty bucks"), Some(json!({ "amount": "20.00", "currency": "USD" })));
    assert_eq!(whole("£5"), Some(json!({ "amount": "5.00", "currency": "GBP" })));
    assert_eq!(whole("two million"), None);
    let yen = meaning(&Grammar::new(amount("JPY")), "en", "five hundred");
    assert_eq!(yen, Some(json!({ "amount": "500", "currency": "JPY" })));
    let canadian = meaning(&Grammar::new(amount("CAD")), "en", "$20");
    assert_eq!(canadian, Some(json!({ "amount": "20.00", "currency": "CAD" })));
    table(
        amount("CNY"),
        "zh",
        "amount",
        &rows(&[
            ("十二块五", "12.50"),
            ("十二块五毛", "12.50"),
            ("十二元五角六分", "12.56"),
            ("五毛", "0.50"),
            ("一百二十元", "120.00"),
            ("一千块钱", "1000.00"),
            ("人民币三百元", "300.00"),
            ("12.5元", "12.50"),
            ("十二点五元", "12.50"),
            ("八分", "0.08"),
            ("两百", "200.00"),
        ]),
    );
    table(
        amount("EUR"),
        "de",
        "amount",
        &rows(&[
            ("zwölf Euro fünfzig", "12.50"),
            ("zwölf Euro und fünfzig Cent", "12.50"),
            ("zwölf fünfzig", "12.50"),
            ("12,50 €", "12.50"),
            ("hundert Euro", "100.00"),
            ("zwölf Komma fünf", "12.50"),
        ]),
    );
    table(
        amount("EUR"),
        "es",
        "amount",
        &rows(&[("doce euros con cincuenta", "12.50"), ("doce con cincuenta", "12.50"), ("cien euros", "100.00")]),
    );
    table(
        amount("EUR"),
        "fr",
        "amount",
        &rows(&[("douze euros cinquante", "12.50"), ("cinquante centimes", "0.50"), ("cent euros", "100.00")]),
    );
}

#[test]
fn days_ahead() {
    let when = || Answer::Date { towards: Towards::Future };
    table(
        when(),
        "en",
        "date",
        &rows(&[
            ("today", "2026-11-21"),
            ("tomorrow", "2026-11-22"),
            ("the day after tomorrow please", "2026-11-23"),
            ("tomorrow morning", "2026-11-22"),
            ("Monday", "2026-11-23"),
            ("next Monday", "2026-11-23"),
            ("Saturday", "2026-11-28"),
            ("this Saturday", "2026-11-21"),
            ("Monday next week", "2026-11-23"),
            ("Saturday next week", "2026-11-28"),
            ("in three days", "2026-11-24"),
            ("in two weeks", "2026-12-05"),
            ("in a week", "2026-11-28"),
            ("a week from today", "2026-11-28"),
            ("the third of May", "2027-05-03"),
            ("May third", "2027-05-03"),
            ("May the third", "2027-05-03"),
            ("3rd of May", "2027-05-03"),
            ("May 3", "2027-05-03"),
            ("the first of December twenty twenty six", "2026-12-01"),
            ("December first, 2027", "2027-12-01"),
            ("the first of December two thousand and twenty eight", "2028-12-01"),
            ("the twenty first", "2026-11-21"),
            ("the twentieth", "2026-12-20"),
            ("the thirty first", "2026-12-31"),
            ("Monday the twenty third", "2026-11-23"),
            ("Monday the twenty third of November", "2026-11-23"),
            ("the twenty ninth of February", "2028-02-29"),
            ("2026-12-01", "2026-12-01"),
            ("1/12", "2026-12-01"),
            ("1.12.26", "2026-12-01"),
            ("uh, on the, um, fifth of january", "2027-01-05"),
            ("I would rather come on the third of may I think", "2027-05-03"),
            ("the fifth of next month", "2026-12-05"),
        ]),
    );
    table(
        when(),
        "en",
        "date",
        &rows(&[
            ("Tuesday the twenty third of November", Value::Null),
            ("the thirty first of April", Value::Null),
            ("not on Monday", Value::Null),
            ("Monday or Tuesday", Value::Null),
            ("the thirty second", Value::Null),
            ("13/13", Value::Null),
            ("before Monday", Value::Null),
        ]),
    );
    table(when(), "en-US", "date", &rows(&[("12/1", "2026-12-01"), ("12/01/2027", "2027-12-01")]));
    table(
        when(),
        "zh-CN",
        "date",
        &rows(&[
            ("今天", "2026-11-21"),
            ("明天", "2026-11-22"),
            ("后天", "2026-11-23"),
            ("大后天", "2026-11-24"),
            ("明天下午", "2026-11-22"),
            ("下周一", "2026-11-23"),
            ("这周六", "2026-11-21"),
            ("星期三", "2026-11-25"),
            ("下下周三", "2026-12-02"),
            ("礼拜天", "2026-11-22"),
            ("五月三号", "2027-05-03"),
            ("12月1日", "2026-12-01"),
            ("十二月二十一号吧", "2026-12-21"),
            ("二零二七年五月三日", "2027-05-03"),
            ("明年一月一号", "2027-01-01"),
            ("二十五号", "2026-11-25"),
            ("下个月五号", "2026-12-05"),
            ("三天后", "2026-11-24"),
            ("两个星期以后", "2026-12-05"),
            ("我想訂下週一", "2026-11-23"),
            ("2026年12月1日", "2026-12-01"),
        ]),
    );
    table(
        when(),
        "de-DE",
        "date",
        &rows(&[
            ("heute", "2026-11-21"),
            ("morgen früh", "2026-11-22"),
            ("übermorgen", "2026-11-23"),
            ("nächsten Montag", "2026-11-23"),
            ("am dritten Mai", "2027-05-03"),
            ("am ersten zwölften", "2026-12-01"),
            ("1.12.", "2026-12-01"),
            ("am 3. Mai", "2027-05-03"),
            ("in zwei Wochen", "2026-12-05"),
            ("am Montag den dreiundzwanzigsten", "2026-11-23"),
            ("Mittwoch nächste Woche", "2026-11-25"),
        ]),
    );
    table(
        when(),
        "es",
        "date",
        &rows(&[
            ("mañana", "2026-11-22"),
            ("pasado mañana", "2026-11-23"),
            ("el tres de mayo", "2027-05-03"),
            ("el lunes que viene", "2026-11-23"),
            ("el 3 de mayo de 2027", "2027-05-03"),
        ]),
    );
    table(
        when(),
        "fr",
        "date",
        &rows(&[
            ("demain", "2026-11-22"),
            ("lundi prochain", "2026-11-23"),
            ("le trois mai", "2027-05-03"),
            ("le premier décembre", "2026-12-01"),
            ("aujourd'hui", "2026-11-21"),
            ("dans deux semaines", "2026-12-05"),
        ]),
    );
}

#[test]
fn days_behind() {
    let when = || Answer::Date { towards: Towards::Past };
    table(
        when(),
        "en",
        "date",
        &rows(&[
            ("yesterday", "2026-11-20"),
            ("Monday", "2026-11-16"),
            ("last Saturday", "2026-11-14"),
            ("three days ago", "2026-11-18"),
            ("a week ago", "2026-11-14"),
            ("the third of May", "2026-05-03"),
            ("the first of December", "2025-12-01"),
            ("the twenty second", "2026-10-22"),
            ("May third nineteen eighty four", "1984-05-03"),
        ]),
    );
    table(
        when(),
        "zh",
        "date",
        &rows(&[
            ("昨天", "2026-11-20"),
            ("上周五", "2026-11-13"),
            ("一九八四年五月三日", "1984-05-03"),
            ("三天前", "2026-11-18"),
        ]),
    );
}

#[test]
fn times_of_day() {
    let at = || Answer::Time { from: time(7, 0, 0, 0) };
    table(
        at(),
        "en",
        "time",
        &rows(&[
            ("half past two", "14:30"),
            ("half past two in the morning", "02:30"),
            ("quarter to nine", "08:45"),
            ("a quarter to nine in the evening", "20:45"),
            ("quarter past seven", "07:15"),
            ("ten to seven", "18:50"),
            ("ten minutes past eleven", "11:10"),
            ("two thirty", "14:30"),
            ("two thirty pm", "14:30"),
            ("two oh five", "14:05"),
            ("at nine", "09:00"),
            ("nine o'clock", "09:00"),
            ("9 p.m.", "21:00"),
            ("2:30pm", "14:30"),
            ("14:30", "14:30"),
            ("1430", "14:30"),
            ("09:30", "09:30"),
            ("fourteen thirty", "14:30"),
            ("noon", "12:00"),
            ("midnight", "00:00"),
            ("twelve", "12:00"),
            ("quarter to one pm", "12:45"),
            ("quarter to twelve pm", "23:45"),
            ("three in the afternoon", "15:00"),
            ("this afternoon at three", "15:00"),
            ("twelve thirty am", "00:30"),
            ("around half two please", "14:30"),
            ("eight at night", "20:00"),
            ("twenty three fifteen", "23:15"),
        ]),
    );
    table(
        at(),
        "en",
        "time",
        &rows(&[
            ("twenty five", Value::Null),
            ("25:00", Value::Null),
            ("before nine", Value::Null),
            ("thirteen sixty", Value::Null),
        ]),
    );
    table(
        Answer::Time { from: time(12, 0, 0, 0) },
        "en",
        "time",
        &rows(&[("seven", "19:00"), ("half past eleven", "23:30"), ("twelve", "12:00")]),
    );
    table(
        at(),
        "zh",
        "time",
        &rows(&[
            ("下午两点半", "14:30"),
            ("下午兩點半", "14:30"),
            ("上午九点", "09:00"),
            ("九点一刻", "09:15"),
            ("晚上八点二十", "20:20"),
            ("十四点三十分", "14:30"),
            ("差五分三点", "14:55"),
            ("中午十二点", "12:00"),
            ("中午", "12:00"),
            ("凌晨两点", "02:00"),
            ("晚上十二点", "00:00"),
            ("两点", "14:00"),
            ("三点零五分", "15:05"),
            ("14:30", "14:30"),
            ("下午3点", "15:00"),
            ("今天下午三点", "15:00"),
        ]),
    );
    table(
        at(),
        "de",
        "time",
        &rows(&[
            ("halb drei", "14:30"),
            ("viertel nach neun", "09:15"),
            ("dreiviertel neun", "08:45"),
            ("um vierzehn Uhr dreißig", "14:30"),
            ("neun Uhr abends", "21:00"),
            ("fünf vor zwölf", "11:55"),
            ("14:30 Uhr", "14:30"),
            ("um neun", "09:00"),
        ]),
    );
    table(
        at(),
        "es",
        "time",
        &rows(&[
            ("las dos y media", "14:30"),
            ("las nueve menos cuarto", "08:45"),
            ("a las tres de la tarde", "15:00"),
            ("las catorce treinta", "14:30"),
        ]),
    );
    table(
        at(),
        "fr",
        "time",
        &rows(&[
            ("deux heures et demie", "14:30"),
            ("neuf heures moins le quart", "08:45"),
            ("quatorze heures trente", "14:30"),
            ("midi", "12:00"),
            ("14h30", "14:30"),
            ("huit heures du soir", "20:00"),
        ]),
    );
}

#[test]
fn telephone_numbers() {
    let phone = |country: &str| Answer::Phone { country: country.into() };
    table(
        phone("DE"),
        "en",
        "phone",
        &rows(&[
            ("oh three oh one two three four five six", "+4930123456"),
            ("030 123456", "+4930123456"),
            ("+49 30 123456", "+4930123456"),
            ("0049 30 123456", "+4930123456"),
            ("plus four four two oh seven nine four six oh oh one eight", "+442079460018"),
            ("my number is 030-123456", "+4930123456"),
        ]),
    );
    table(
        phone("US"),
        "en",
        "phone",
        &rows(&[
            ("five five five two three four five six seven eight", "+15552345678"),
            ("1 (555) 234-5678", "+15552345678"),
        ]),
    );
    table(
        phone("CN"),
        "zh",
        "phone",
        &rows(&[("一三八零零一三八零零零", "+8613800138000"), ("13800138000", "+8613800138000")]),
    );
    table(phone("US"), "en", "phone", &rows(&[("five five five", Value::Null), ("hello", Value::Null)]));
    table(phone("DE"), "de", "phone", &rows(&[("null drei null eins zwei drei vier fünf sechs", "+4930123456")]));
    table(
        phone("FR"),
        "fr",
        "phone",
        &rows(&[("zéro un quarante-deux soixante-huit cinquante-trois zéro zéro", "+33142685300")]),
    );
}

#[test]
fn free_text_is_anything() {
    let text = Grammar { answer: Answer::Text, universals: vec![Universal::Help] };
    assert_eq!(meaning(&text, "xx", " My tap drips. "), Some(json!({ "text": "My tap drips." })));
    assert_eq!(meaning(&text, "en", "help"), Some(json!({ "universal": "help" })));
    assert_eq!(meaning(&text, "en", "  "), None);
}

#[test]
fn universals_count_beside_any_answer() {
    for (language, text, which) in [
        ("en", "repeat", "repeat"),
        ("en", "could you say that again please", "repeat"),
        ("en", "Pardon?", "repeat"),
        ("en", "help", "help"),
        ("en", "what can I say", "help"),
        ("en", "operator", "operator"),
        ("en", "I'd like to speak to somebody please", "operator"),
        ("en", "a real person", "operator"),
        ("zh", "请再说一遍", "repeat"),
        ("zh", "没听清楚", "repeat"),
        ("zh", "帮助", "help"),
        ("zh", "转人工", "operator"),
        ("zh", "我要找人工客服", "operator"),
        ("de", "wie bitte", "repeat"),
        ("de", "Hilfe", "help"),
        ("de", "ich möchte mit einem Mitarbeiter sprechen", "operator"),
        ("es", "¿puede repetir?", "repeat"),
        ("es", "ayuda", "help"),
        ("es", "quiero hablar con alguien", "operator"),
        ("fr", "pouvez-vous répéter s'il vous plaît", "repeat"),
        ("fr", "aide", "help"),
        ("fr", "un conseiller", "operator"),
    ] {
        for answer in
            [menu(), Answer::YesNo, Answer::Date { towards: Towards::Future }, Answer::Digits { min: 4, max: 4 }]
        {
            let grammar = Grammar { answer, universals: Universal::ALL.to_vec() };
            assert_eq!(meaning(&grammar, language, text), Some(json!({ "universal": which })), "{text}");
            assert_eq!(meaning(&Grammar::new(grammar.answer.clone()), language, text), None, "{text}");
        }
    }
}

#[test]
fn an_answer_goes_before_a_universal_of_the_same_words() {
    let help = Choice { value: "first-aid".into(), phrases: vec!["help".into()], ..Choice::default() };
    let grammar = Grammar { answer: Answer::Choices { choices: vec![help] }, universals: vec![Universal::Help] };
    assert_eq!(meaning(&grammar, "en", "help"), Some(json!({ "choice": "first-aid" })));
}

#[test]
fn keys_mean_the_same() {
    let keys = |answer: Answer, language: &str, keys: &str| Grammar::new(answer).understand_keys(keys, language, TODAY);
    assert_eq!(keys(menu(), "en", "2"), Some(json!({ "choice": "cancel" })));
    assert_eq!(keys(menu(), "en", "22"), None);
    assert_eq!(keys(Answer::YesNo, "en", "1"), Some(json!({ "yes": true })));
    assert_eq!(keys(Answer::YesNo, "en", "2"), Some(json!({ "yes": false })));
    assert_eq!(keys(Answer::Digits { min: 4, max: 4 }, "en", "4711"), Some(json!({ "digits": "4711" })));
    assert_eq!(keys(Answer::Digits { min: 4, max: 4 }, "en", "47*1"), None);
    assert_eq!(keys(Answer::Number { min: 1, max: 6 }, "en", "6"), Some(json!({ "number": 6 })));
    assert_eq!(keys(Answer::Number { min: 1, max: 6 }, "en", "7"), None);
    let amount = || Answer::Amount { currency: "EUR".into(), max: 100 };
    assert_eq!(keys(amount(), "en", "12*5"), Some(json!({ "amount": "12.50", "currency": "EUR" })));
    assert_eq!(keys(amount(), "en", "12"), Some(json!({ "amount": "12.00", "currency": "EUR" })));
    assert_eq!(keys(amount(), "en", "101"), None);
    assert_eq!(keys(amount(), "en", "1*505"), None);
    let date = || Answer::Date { towards: Towards::Future };
    assert_eq!(keys(date(), "en-GB", "0112"), Some(json!({ "date": "2026-12-01" })));
    assert_eq!(keys(date(), "en-US", "1201"), Some(json!({ "date": "2026-12-01" })));
    assert_eq!(keys(date(), "de", "01122028"), Some(json!({ "date": "2028-12-01" })));
    assert_eq!(keys(date(), "de", "3102"), None);
    let at = || Answer::Time { from: time(7, 0, 0, 0) };
    assert_eq!(keys(at(), "en", "1430"), Some(json!({ "time": "14:30" })));
    assert_eq!(keys(at(), "en", "230"), Some(json!({ "time": "14:30" })));
    assert_eq!(keys(at(), "en", "9"), Some(json!({ "time": "09:00" })));
    assert_eq!(keys(at(), "en", "99"), None);
    assert_eq!(
        keys(Answer::Phone { country: "DE".into() }, "en", "030123456"),
        Some(json!({ "phone": "+4930123456" }))
    );
    assert_eq!(keys(Answer::Text, "en", "1"), None);
}

#[test]
fn what_can_go_on_is_told_from_what_cannot() {
    let goes_on =
        |answer: Answer, language: &str, text: &str| match Grammar::new(answer).understand(text, language, TODAY) {
            Understanding::Whole { may_go_on, .. } => Some(may_go_on),
            Understanding::Begun => None,
            Understanding::Nothing => panic!("{text:?} is nothing"),
        };
    let four = || Answer::Digits { min: 4, max: 4 };
    assert_eq!(goes_on(four(), "en", "one two three four"), Some(false));
    assert_eq!(goes_on(four(), "en", "one two three four please"), Some(false));
    assert_eq!(goes_on(four(), "en", "one two three"), None);
    assert_eq!(goes_on(four(), "en", "uh"), None);
    assert_eq!(goes_on(Answer::Digits { min: 4, max: 6 }, "en", "one two three four"), Some(true));
    assert_eq!(goes_on(Answer::Digits { min: 4, max: 6 }, "en", "one two three four five six"), Some(false));
    assert_eq!(goes_on(Answer::Number { min: 1, max: 30 }, "en", "twenty"), Some(true));
    assert_eq!(goes_on(Answer::Number { min: 1, max: 20 }, "en", "twenty"), Some(false));
    assert_eq!(goes_on(Answer::Number { min: 1, max: 6 }, "en", "six"), Some(false));
    assert_eq!(goes_on(Answer::YesNo, "en", "yes"), Some(false));
    assert_eq!(goes_on(Answer::YesNo, "zh", "不"), Some(false));
    assert_eq!(goes_on(menu(), "en", "cancel"), Some(true), "an appointment");
    assert_eq!(goes_on(menu(), "en", "cancel an appointment"), Some(false));
    assert_eq!(goes_on(menu(), "en", "opening"), None);
    let when = || Answer::Date { towards: Towards::Future };
    assert_eq!(goes_on(when(), "en", "tomorrow"), Some(false));
    assert_eq!(goes_on(when(), "en", "the third of May"), Some(true), "and the year");
    assert_eq!(goes_on(when(), "en", "the third of"), None);
    assert_eq!(goes_on(when(), "en", "the day after"), None);
    let at = || Answer::Time { from: time(7, 0, 0, 0) };
    assert_eq!(goes_on(at(), "en", "half past two"), Some(true), "in the afternoon");
    assert_eq!(goes_on(at(), "en", "half past two pm"), Some(false));
    assert_eq!(goes_on(at(), "en", "half past"), None);
    assert_eq!(goes_on(at(), "zh", "下午两"), None);
    let phone = |country: &str| Answer::Phone { country: country.into() };
    assert_eq!(goes_on(phone("US"), "en", "5552345678"), Some(false));
    assert_eq!(goes_on(phone("DE"), "en", "030123456"), Some(true));
}
