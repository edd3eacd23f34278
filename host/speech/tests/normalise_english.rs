//! What English writes and how it is said: one line for each rule and each
//! trap.

use callbox_speech::normalise::normalise;

/// As written, as said in plain `en` (British).
const BRITISH: &[(&str, &str)] = &[
    // Cardinals.
    ("0", "zero"),
    ("7 calls", "seven calls"),
    ("101 calls", "one hundred and one calls"),
    ("1,000,000", "one million"),
    ("1,234", "one thousand two hundred and thirty-four"),
    ("12345", "twelve thousand three hundred and forty-five"),
    ("1500000", "one million five hundred thousand"),
    ("2000", "two thousand"),
    ("room 2026", "room two thousand and twenty-six"),
    ("1,2,3", "one,two,three"),
    ("1, 2 and 3", "one, two and three"),
    ("Press 1 for sales, 2 for help.", "Press one for sales, two for help."),
    ("press 1.", "press one."),
    ("press 1!", "press one!"),
    ("(3)", "(three)"),
    ("１２３", "one hundred and twenty-three"),
    ("12,34", "twelve,thirty-four"),
    ("1,0000", "one,zero zero zero zero"),
    ("5-star hotel", "five-star hotel"),
    ("a 3-day trip", "a three-day trip"),
    ("#5", "number five"),
    ("No. 5", "number five"),
    ("No. I do not.", "No. I do not."),
    ("no. 12, please", "number twelve, please"),
    // Ordinals.
    ("1st", "first"),
    ("the 2nd", "the second"),
    ("3RD floor", "third floor"),
    ("21st", "twenty-first"),
    ("101st", "one hundred and first"),
    ("1,000th", "one thousandth"),
    // Decimals, percentages, fractions, ratios.
    ("0.5", "zero point five"),
    ("3.14", "three point one four"),
    ("10.05", "ten point zero five"),
    (".5", "point five"),
    ("1,234.5", "one thousand two hundred and thirty-four point five"),
    ("5%", "five percent"),
    ("5 %", "five percent"),
    ("12.5%", "twelve point five percent"),
    ("100%.", "one hundred percent."),
    ("the % of it", "the percent of it"),
    ("1/2", "one half"),
    ("3/4 full", "three quarters full"),
    ("2/3", "two thirds"),
    ("1 1/2 cups", "one and one half cups"),
    ("½", "one half"),
    ("1½", "one and one half"),
    ("24/7", "twenty-four seven"),
    ("8/10", "eight out of ten"),
    ("3:2", "three to two"),
    ("10:1", "ten to one"),
    ("1.2.3", "one point two point three"),
    ("192.168.0.1", "one nine two dot one six eight dot zero dot one"),
    // Negative numbers.
    ("-5", "minus five"),
    ("−5", "minus five"),
    ("it is -12.5 here", "it is minus twelve point five here"),
    ("-$5", "minus five dollars"),
    ("-3%", "minus three percent"),
    ("a - 5", "a - five"),
    // Codes and digit strings.
    ("007", "zero zero seven"),
    ("0123", "zero one two three"),
    ("12345678", "one two three, four five six, seven eight"),
    ("1234567890", "one two three, four five six, seven eight nine zero"),
    ("A12B", "A, one two B"),
    ("code A12B now", "code A, one two B now"),
    ("MP3", "M P three"),
    ("B2B", "B two B"),
    ("4x4", "four x four"),
    ("abc123", "abc one two three"),
    ("gate B12", "gate B one two"),
    ("seat 14C", "seat fourteen C"),
    ("221B", "two two one B"),
    ("v2.0", "v two point zero"),
    ("PM2.5", "P M two point five"),
    ("v1.2.3", "v one point two point three"),
    ("Your code is 482193.", "Your code is four eight two, one nine three."),
    ("PIN 4711", "PIN four seven one one"),
    ("booking number: 20481", "booking number: two zero four, eight one"),
    ("card ending in 1881", "card ending in one eight eight one"),
    ("code 12", "code twelve"),
    ("Dial *123#.", "Dial star one two three hash."),
    ("press #", "press hash"),
    ("press * to go back", "press star to go back"),
    ("**bold** #tag", "**bold** #tag"),
    ("C# and F#", "C# and F#"),
    ("COVID-19", "COVID-nineteen"),
    ("order AB-12345", "order AB-one two three, four five"),
    ("1-2-3", "one, two, three"),
    ("12-34-56", "one two, three four, five six"),
    // Telephone numbers.
    ("+44 20 7946 0958", "plus four four, two zero, seven nine four six, zero nine five eight"),
    ("+14155550123", "plus one four one, five five five, five zero one, two three"),
    ("+1 (415) 555-0123", "plus one, four one five, five five five, zero one two three"),
    ("(555) 123-4567", "five five five, one two three, four five six seven"),
    ("(555)123-4567", "five five five, one two three, four five six seven"),
    ("555-1234", "five five five, one two three four"),
    ("400-800-1234", "four zero zero, eight zero zero, one two three four"),
    ("1-800-555-0199", "one, eight zero zero, five five five, zero one nine nine"),
    ("555.123.4567", "five five five, one two three, four five six seven"),
    ("020 7946 0958", "zero two zero, seven nine four six, zero nine five eight"),
    ("call 0800 123 456.", "call zero eight zero zero, one two three, four five six."),
    ("ext. 5", "extension five"),
    // Times.
    ("14:30", "fourteen thirty"),
    ("at 9:00", "at nine o'clock"),
    ("9:05", "nine oh five"),
    ("09:30", "nine thirty"),
    ("14:00", "fourteen hundred"),
    ("12:00", "twelve o'clock"),
    ("00:00", "midnight"),
    ("0:30", "zero thirty"),
    ("24:00", "midnight"),
    ("14:30:15", "fourteen thirty and fifteen seconds"),
    ("3:45 pm", "three forty-five p.m."),
    ("3:45pm", "three forty-five p.m."),
    ("3.45 p.m.", "three forty-five p.m."),
    ("3 PM", "three p.m."),
    ("3pm today", "three p.m. today"),
    ("12:05 a.m.", "twelve oh five a.m."),
    ("7am-9pm", "seven a.m. to nine p.m."),
    ("10:00Z", "ten o'clock U T C"),
    ("25:00", "twenty-five to zero"),
    ("9:60", "nine to sixty"),
    ("13 pm", "thirteen pm"),
    ("I am 3 amigos", "I am three amigos"),
    // Dates.
    ("2026-11-21", "the twenty-first of November, twenty twenty-six"),
    ("2026-11-21T14:30", "the twenty-first of November, twenty twenty-six, fourteen thirty"),
    ("2026-11-21T14:30:00Z", "the twenty-first of November, twenty twenty-six, fourteen thirty U T C"),
    ("21/11/2026", "the twenty-first of November, twenty twenty-six"),
    ("11/21/2026", "the twenty-first of November, twenty twenty-six"),
    ("03/04/2026", "the third of April, twenty twenty-six"),
    ("21.11.2026", "the twenty-first of November, twenty twenty-six"),
    ("21/11/26", "the twenty-first of November, twenty twenty-six"),
    ("21 November 2026", "the twenty-first of November, twenty twenty-six"),
    ("on the 21st of November", "on the twenty-first of November"),
    ("the 3 May", "the third of May"),
    ("November 21, 2026", "November the twenty-first, twenty twenty-six"),
    ("Nov. 21", "November the twenty-first"),
    ("November 2026", "November twenty twenty-six"),
    ("November 3-5", "November the third to the fifth"),
    ("May I help?", "May I help?"),
    ("may 5 people come?", "may five people come?"),
    ("2026-13-01", "two zero two six, one three, zero one"),
    ("31/02/2026", "thirty-one/zero two/two thousand and twenty-six"),
    ("29.02.2024", "the twenty-ninth of February, twenty twenty-four"),
    ("in 2026", "in twenty twenty-six"),
    ("since 1905.", "since nineteen oh five."),
    ("the 1990s", "the nineteen nineties"),
    ("2020-2026", "twenty twenty to twenty twenty-six"),
    ("1939–45", "nineteen thirty-nine to forty-five"),
    // Money.
    ("$1,234.56", "one thousand two hundred and thirty-four dollars and fifty-six cents"),
    ("$1", "one dollar"),
    ("$0.50", "fifty cents"),
    ("$0.01", "one cent"),
    ("$5.00", "five dollars"),
    ("$1.5", "one point five dollars"),
    ("$5 million", "five million dollars"),
    ("$2.5m", "two point five million dollars"),
    ("$1.2bn", "one point two billion dollars"),
    ("$3k", "three thousand dollars"),
    ("$10-20", "ten to twenty dollars"),
    ("$10-$20", "ten dollars to twenty dollars"),
    ("£1", "one pound"),
    ("£3.50", "three pounds and fifty pence"),
    ("£0.01", "one penny"),
    ("€12.30", "twelve euros and thirty cents"),
    ("12.30 €", "twelve euros and thirty cents"),
    ("¥500", "five hundred yen"),
    ("CNY 12.50", "twelve point five zero yuan"),
    ("100 USD", "one hundred dollars"),
    ("USD 100", "one hundred dollars"),
    ("US$5", "five dollars"),
    ("HK$20", "twenty Hong Kong dollars"),
    ("5 million USD", "five million dollars"),
    ("$.50", "fifty cents"),
    ("$20/month", "twenty dollars per month"),
    ("$", "$"),
    ("$x", "$x"),
    // Ranges.
    ("10-20", "ten to twenty"),
    ("10–20", "ten to twenty"),
    ("10 – 20", "ten to twenty"),
    ("2-3%", "two to three percent"),
    ("9:00-17:00", "nine o'clock to seventeen hundred"),
    ("3-5 pm", "three to five p.m."),
    ("pages 10-12.", "pages ten to twelve."),
    // Units.
    ("5 km", "five kilometres"),
    ("1 km", "one kilometre"),
    ("10kg", "ten kilograms"),
    ("60 km/h", "sixty kilometres an hour"),
    ("20°C", "twenty degrees Celsius"),
    ("-5 °C", "minus five degrees Celsius"),
    ("20 ℃", "twenty degrees Celsius"),
    ("90°", "ninety degrees"),
    ("15 min", "fifteen minutes"),
    ("1.5 hrs", "one point five hours"),
    ("5 minutes", "five minutes"),
    ("2 m²", "two square metres"),
    ("3 miles", "three miles"),
    // Abbreviations, signs, addresses.
    ("Dr. Smith", "Doctor Smith"),
    ("Dr Smith", "Doctor Smith"),
    ("Mr. and Mrs. Jones", "Mr. and Missus Jones"),
    ("St. James", "Saint James"),
    ("Main St. The", "Main St. The"),
    ("fruit, e.g. apples", "fruit, for example apples"),
    ("apples etc.", "apples et cetera."),
    ("apples etc. are", "apples et cetera are"),
    ("salt & pepper", "salt and pepper"),
    ("AT&T", "AT and T"),
    ("50+ people", "fifty plus people"),
    ("3×4", "three times four"),
    ("C++", "C++"),
    ("1.5M users", "one point five million users"),
    ("-5-10°C", "minus five to ten degrees Celsius"),
    ("2 + 2 = 4", "two plus two equals four"),
    ("info@example.com", "info at example dot com"),
    ("j.doe_2@mail.example.org.", "j dot doe underscore two at mail dot example dot org."),
    ("me @ home", "me at home"),
    // Prose.
    ("", ""),
    ("Hello, how are you?", "Hello, how are you?"),
    ("It's Bob's \"well-known\" café — really!", "It's Bob's \"well-known\" café — really!"),
    ("a.b.c", "a.b.c"),
    ("您好", "您好"),
    ("x5y é5é", "x five y é five é"),
];

const AMERICAN: &[(&str, &str)] = &[
    ("press #", "press pound"),
    ("101", "one hundred one"),
    ("1,234", "one thousand two hundred thirty-four"),
    ("11/21/2026", "November twenty-first, twenty twenty-six"),
    ("03/04/2026", "March fourth, twenty twenty-six"),
    ("21/11/2026", "November twenty-first, twenty twenty-six"),
    ("2026-11-21", "November twenty-first, twenty twenty-six"),
    ("November 21, 2026", "November twenty-first, twenty twenty-six"),
    ("November 3-5", "November third to fifth"),
    ("2001-01-01", "January first, two thousand one"),
    ("$1,234.56", "one thousand two hundred thirty-four dollars and fifty-six cents"),
    ("5 km", "five kilometers"),
    ("2 l", "two liters"),
];

fn check(language: &str, table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(written, said)| {
            let spoken = normalise(written, language);
            (spoken.text() != *said).then(|| format!("{written:?}\n  said {:?}\n  want {said:?}", spoken.text()))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), table.len(), wrong.join("\n"));
}

#[test]
fn says_what_the_british_write() {
    for language in ["en", "en-GB", "EN-au"] {
        check(language, BRITISH);
    }
}

#[test]
fn says_what_americans_write() {
    for language in ["en-US", "en_us", "en-PH"] {
        check(language, AMERICAN);
    }
}

#[test]
fn what_is_said_stays_as_it_is() {
    for (language, table) in [("en", BRITISH), ("en-US", AMERICAN)] {
        for (_, said) in table {
            let again = normalise(said, language);
            assert_eq!(again.text(), *said);
        }
    }
}
