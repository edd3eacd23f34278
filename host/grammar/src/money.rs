//! Currencies.

/// The codes that are known, and how many digits follow the point.
const CURRENCIES: [(&str, usize); 12] = [
    ("AUD", 2),
    ("CAD", 2),
    ("CHF", 2),
    ("CNY", 2),
    ("EUR", 2),
    ("GBP", 2),
    ("HKD", 2),
    ("JPY", 0),
    ("NZD", 2),
    ("SGD", 2),
    ("TWD", 2),
    ("USD", 2),
];

/// The code as it is written, whatever its case.
pub(crate) fn code(name: &str) -> Option<&'static str> {
    CURRENCIES.iter().find(|(code, _)| code.eq_ignore_ascii_case(name)).map(|(code, _)| *code)
}

/// The currency that is meant by `said` – a code, or a name that several have – where `expected` is the usual one.
pub(crate) fn resolved(said: &'static str, expected: &'static str) -> &'static str {
    let (shared, first): (&[&str], _) = match said {
        "$" => (&["USD", "CAD", "AUD", "NZD", "HKD", "SGD", "TWD"], "USD"),
        "£" => (&["GBP"], "GBP"),
        "¥" => (&["CNY", "JPY"], "CNY"),
        "元" => (&["CNY", "HKD", "TWD", "SGD", "JPY"], "CNY"),
        code => return code,
    };
    if shared.contains(&expected) { expected } else { first }
}

/// `12.50`, as JSON has it; `None` where the currency has no such parts.
pub(crate) fn written(units: u32, cents: u32, currency: &str) -> Option<String> {
    let places = CURRENCIES.iter().find(|(code, _)| *code == currency).map_or(2, |(_, places)| *places);
    match (places, cents) {
        (0, 0) => Some(units.to_string()),
        (0, _) | (_, 100..) => None,
        _ => Some(format!("{units}.{cents:02}")),
    }
}
