//! Names of currencies, units, months and the like: as written, as said.

/// A currency: one, many; one and many of its hundredth.
pub(super) type Currency = (&'static str, &'static str, Option<(&'static str, &'static str)>);

const CENTS: Option<(&str, &str)> = Some(("cent", "cents"));
pub(super) const CURRENCIES: [(&str, Currency); 24] = [
    ("US$", ("dollar", "dollars", CENTS)),
    ("A$", ("Australian dollar", "Australian dollars", CENTS)),
    ("C$", ("Canadian dollar", "Canadian dollars", CENTS)),
    ("HK$", ("Hong Kong dollar", "Hong Kong dollars", CENTS)),
    ("$", ("dollar", "dollars", CENTS)),
    ("£", ("pound", "pounds", Some(("penny", "pence")))),
    ("€", ("euro", "euros", CENTS)),
    ("¥", ("yen", "yen", None)),
    ("₹", ("rupee", "rupees", Some(("paisa", "paise")))),
    ("USD", ("dollar", "dollars", CENTS)),
    ("GBP", ("pound", "pounds", Some(("penny", "pence")))),
    ("EUR", ("euro", "euros", CENTS)),
    ("JPY", ("yen", "yen", None)),
    ("CNY", ("yuan", "yuan", None)),
    ("RMB", ("yuan", "yuan", None)),
    ("HKD", ("Hong Kong dollar", "Hong Kong dollars", CENTS)),
    ("AUD", ("Australian dollar", "Australian dollars", CENTS)),
    ("CAD", ("Canadian dollar", "Canadian dollars", CENTS)),
    ("NZD", ("New Zealand dollar", "New Zealand dollars", CENTS)),
    ("SGD", ("Singapore dollar", "Singapore dollars", CENTS)),
    ("CHF", ("Swiss franc", "Swiss francs", None)),
    ("INR", ("rupee", "rupees", Some(("paisa", "paise")))),
    ("KRW", ("won", "won", None)),
    ("TWD", ("Taiwan dollar", "Taiwan dollars", None)),
];

/// What may follow an amount: as written, as said, and whether it may stand
/// close to the figure only.
pub(super) const SCALES: [(&str, &str, bool); 12] = [
    ("trillion", "trillion", false),
    ("billion", "billion", false),
    ("million", "million", false),
    ("thousand", "thousand", false),
    ("hundred", "hundred", false),
    ("bn", "billion", true),
    ("tn", "trillion", true),
    ("k", "thousand", true),
    ("K", "thousand", true),
    ("m", "million", true),
    ("M", "million", true),
    ("B", "billion", true),
];

/// A unit: as written; one and many; whether it may stand after a space.
pub(super) const UNITS: [(&str, &str, &str, bool); 40] = [
    ("km/h", "kilometre an hour", "kilometres an hour", true),
    ("mph", "mile an hour", "miles an hour", true),
    ("m/s", "metre a second", "metres a second", true),
    ("km²", "square kilometre", "square kilometres", true),
    ("m²", "square metre", "square metres", true),
    ("m³", "cubic metre", "cubic metres", true),
    ("km", "kilometre", "kilometres", true),
    ("cm", "centimetre", "centimetres", true),
    ("mm", "millimetre", "millimetres", true),
    ("m", "metre", "metres", true),
    ("mi", "mile", "miles", true),
    ("ft", "foot", "feet", true),
    ("kg", "kilogram", "kilograms", true),
    ("mg", "milligram", "milligrams", true),
    ("g", "gram", "grams", true),
    ("lbs", "pound", "pounds", true),
    ("lb", "pound", "pounds", true),
    ("oz", "ounce", "ounces", true),
    ("ml", "millilitre", "millilitres", true),
    ("l", "litre", "litres", true),
    ("°C", "degree Celsius", "degrees Celsius", true),
    ("°F", "degree Fahrenheit", "degrees Fahrenheit", true),
    ("℃", "degree Celsius", "degrees Celsius", true),
    ("℉", "degree Fahrenheit", "degrees Fahrenheit", true),
    ("°", "degree", "degrees", false),
    ("ms", "millisecond", "milliseconds", true),
    ("sec", "second", "seconds", true),
    ("s", "second", "seconds", false),
    ("mins", "minute", "minutes", true),
    ("min", "minute", "minutes", true),
    ("hrs", "hour", "hours", true),
    ("hr", "hour", "hours", true),
    ("h", "hour", "hours", false),
    ("GB", "gigabyte", "gigabytes", true),
    ("MB", "megabyte", "megabytes", true),
    ("kB", "kilobyte", "kilobytes", true),
    ("kWh", "kilowatt hour", "kilowatt hours", true),
    ("kW", "kilowatt", "kilowatts", true),
    ("MHz", "megahertz", "megahertz", true),
    ("Hz", "hertz", "hertz", true),
];

pub(super) const MONTHS: [(&str, &str); 12] = [
    ("January", "Jan"),
    ("February", "Feb"),
    ("March", "Mar"),
    ("April", "Apr"),
    ("May", "May"),
    ("June", "Jun"),
    ("July", "Jul"),
    ("August", "Aug"),
    ("September", "Sep"),
    ("October", "Oct"),
    ("November", "Nov"),
    ("December", "Dec"),
];

/// Short forms, written with a point, that stand for the same words
/// everywhere.
pub(super) const SHORT: [(&str, &str); 10] = [
    ("e.g.", "for example"),
    ("E.g.", "For example"),
    ("i.e.", "that is"),
    ("I.e.", "That is"),
    ("vs.", "versus"),
    ("approx.", "approximately"),
    ("Prof.", "Professor"),
    ("dept.", "department"),
    ("Ltd.", "Limited"),
    ("Inc.", "Incorporated"),
];

/// Titles, before a name, with or without a point.
pub(super) const TITLES: [(&str, &str); 4] = [("Dr", "Doctor"), ("Mr", "Mister"), ("Mrs", "Missus"), ("St", "Saint")];

/// Words before a number: `No. 5`.
pub(super) const NUMBERED: [(&str, &str); 6] = [
    ("No.", "number"),
    ("no.", "number"),
    ("Nr.", "number"),
    ("ext.", "extension"),
    ("Ext.", "extension"),
    ("Tel.", "telephone"),
];

/// Words after which four digits are a year.
pub(super) const BEFORE_YEARS: [&str; 6] = ["in", "since", "year", "during", "until", "by"];

/// Words that name a code, whose figures are read one by one.
pub(super) const CODES: [&str; 14] = [
    "code",
    "pin",
    "password",
    "passcode",
    "account",
    "reference",
    "confirmation",
    "booking",
    "ticket",
    "tracking",
    "card",
    "extension",
    "id",
    "postcode",
];
/// Words that may stand between such a name and its figures.
pub(super) const BEFORE_CODES: [&str; 7] = ["is", "was", "number", "no", "the", "ending", "in"];
