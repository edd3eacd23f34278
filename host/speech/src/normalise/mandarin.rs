//! What Mandarin writes in figures and signs, and how it is said.

use super::Reading;
use super::mandarin_numbers::{cardinal, counted, digits, in_groups, is_code, number, telephone};
use super::scan::{Clock, Date, Groups, Numeral, Source};

/// What is written at `at` and not said as it is written, if anything is.
pub(super) fn read(source: &Source, at: usize) -> Option<Reading> {
    let mandarin = Mandarin { s: source };
    match source.at(at) {
        '0'..='9' => mandarin.figures(at),
        '+' | '(' => mandarin.telephone(at).or_else(|| mandarin.sign(at)),
        '$' | '£' | '€' | '¥' | '₹' => mandarin.with_range(at),
        '-' if !source.is_latin(at.wrapping_sub(1)) && !matches!(source.before(at), ')' | '-') => mandarin.minus(at),
        '&' | '=' | '%' | '℃' | '×' => mandarin.sign(at),
        '#' | '*' => mandarin.key(at),
        c if c.is_ascii_alphabetic() && !source.before(at).is_ascii_alphanumeric() => mandarin.word(at),
        _ => None,
    }
}

struct Mandarin<'a> {
    s: &'a Source,
}

/// Written, said. Longer names first.
const CURRENCIES: [(&str, &str); 28] = [
    ("US$", "美元"),
    ("HK$", "港元"),
    ("NT$", "新台币"),
    ("A$", "澳元"),
    ("C$", "加元"),
    ("$", "美元"),
    ("£", "英镑"),
    ("€", "欧元"),
    ("¥", "元"),
    ("₹", "卢比"),
    ("USD", "美元"),
    ("GBP", "英镑"),
    ("EUR", "欧元"),
    ("JPY", "日元"),
    ("CNY", "元"),
    ("RMB", "元"),
    ("HKD", "港元"),
    ("TWD", "新台币"),
    ("NTD", "新台币"),
    ("AUD", "澳元"),
    ("CAD", "加元"),
    ("NZD", "新西兰元"),
    ("SGD", "新加坡元"),
    ("CHF", "瑞士法郎"),
    ("INR", "卢比"),
    ("KRW", "韩元"),
    ("THB", "泰铢"),
    ("RUB", "卢布"),
];

/// Written in Latin letters, said in Mandarin: after the number, or around it.
const UNITS: [(&str, &str); 27] = [
    ("km/h", "公里每小时"),
    ("m/s", "米每秒"),
    ("km²", "平方公里"),
    ("m²", "平方米"),
    ("㎡", "平方米"),
    ("m³", "立方米"),
    ("km", "公里"),
    ("cm", "厘米"),
    ("mm", "毫米"),
    ("m", "米"),
    ("kg", "公斤"),
    ("mg", "毫克"),
    ("g", "克"),
    ("ml", "毫升"),
    ("mL", "毫升"),
    ("L", "升"),
    ("l", "升"),
    ("°C", "摄氏度"),
    ("℃", "摄氏度"),
    ("°F", "华氏度"),
    ("°", "度"),
    ("ms", "毫秒"),
    ("min", "分钟"),
    ("h", "小时"),
    ("s", "秒"),
    ("kWh", "千瓦时"),
    ("kW", "千瓦"),
];

/// What is counted with 两: measure words and the like. Not 月, 日, 号, 楼, 班,
/// which follow the name of a number.
const MEASURES: &str = "个位名只张条件次天年周岁倍人家台辆本杯块元角秒米斤克吨里种双对份句步间层亩顿场遍把支口双套架艘棵朵颗粒片篇头匹节期点万亿千";
/// The same, of more than one character.
const LONG_MEASURES: [&str; 12] =
    ["小时", "分钟", "公里", "公斤", "英镑", "美元", "欧元", "港元", "毫升", "厘米", "平方米", "星期"];

impl Mandarin<'_> {
    /// What begins with a figure.
    fn figures(&self, at: usize) -> Option<Reading> {
        if !self.s.is_latin(at.wrapping_sub(1)) {
            if let Some(found) = self.address(at) {
                return Some(found);
            }
            let date = self.s.iso_date(at).is_some() || self.s.short_date(at, false).is_some();
            if !date && let Some(found) = self.telephone(at) {
                return Some(found);
            }
            if !date && let Some(groups) = self.s.version(at) {
                return Some(Reading { end: groups.end, words: version(&groups) });
            }
        }
        self.with_range(at)
    }

    /// Something countable, and the other end of its range where there is one.
    fn with_range(&self, at: usize) -> Option<Reading> {
        let first = self.countable(at)?;
        let Some(next) = self.s.range(first.end) else { return Some(first) };
        if !self.s.is_digit(next) && !matches!(self.s.at(next), '$' | '£' | '€' | '¥') {
            return Some(first);
        }
        let Some(mut second) = self.countable(next) else { return Some(first) };
        if self.s.at(second.end) == '-' && self.s.is_digit(second.end + 1) {
            return Some(first);
        }
        let mut one = first.words;
        if let (Some(low), Some(high)) = (self.plain(at, first.end), self.s.numeral(next)) {
            // 2-3% is 百分之二到三.
            if let Some(share) = second.words.strip_prefix("百分之") {
                second.words = share.to_owned();
                one = format!("百分之{}", number(&low));
            } else if low.whole.len() == 4 && high.whole.len() == 4 && self.s.at(high.end) == '年' {
                one = digits(&low.whole);
            } else if self.counts(high.end) || high.end < second.end {
                one = counted(&low);
            }
        }
        Some(Reading { end: second.end, words: format!("{one}到{}", second.words) })
    }

    /// A bare number and nothing else.
    fn plain(&self, at: usize, end: usize) -> Option<Numeral> {
        self.s.numeral(at).filter(|numeral| numeral.end == end)
    }

    fn countable(&self, at: usize) -> Option<Reading> {
        if !self.s.is_digit(at) {
            return self.money(at);
        }
        self.date(at).or_else(|| self.time(at)).or_else(|| self.ratio(at)).or_else(|| self.quantity(at))
    }

    /// `2026-11-21`, `21/11/2026`.
    fn date(&self, at: usize) -> Option<Reading> {
        let Date { year, month, day, end } = self.s.iso_date(at).or_else(|| self.s.short_date(at, false))?;
        if self.s.is_latin(at.wrapping_sub(1)) || self.s.is_latin(end) && self.s.at(end) != 'T' {
            return None;
        }
        let words = format!("{}年{}月{}日", digits(&year.to_string()), cardinal(month.into()), cardinal(day.into()));
        // 2026-11-21T14:30
        if self.s.at(end) == 'T'
            && let Some(time) = self.time(end + 1)
        {
            return Some(Reading { end: time.end, words: format!("{words}{}", time.words) });
        }
        Some(Reading { end, words })
    }

    /// `14:30`, `2:30 pm`.
    fn time(&self, at: usize) -> Option<Reading> {
        let Clock { hour, minute, second, afternoon, end } = self.s.clock(at)?;
        let half = match afternoon {
            Some(true) => "下午",
            Some(false) => "上午",
            None => "",
        };
        let hour = if hour == 2 { "两".to_owned() } else { cardinal(hour.into()) };
        let two = |n: u32| if n < 10 { format!("零{}", cardinal(n.into())) } else { cardinal(n.into()) };
        let minute = match (minute, second) {
            (0, None | Some(0)) => String::new(),
            (minute, _) => format!("{}分", if minute == 0 { "零".to_owned() } else { two(minute) }),
        };
        let second = match second {
            Some(second) if second > 0 => format!("{}秒", two(second)),
            _ => String::new(),
        };
        Some(Reading { end, words: format!("{half}{hour}点{minute}{second}") })
    }

    fn telephone(&self, at: usize) -> Option<Reading> {
        let Groups { plus, groups, end } = self.s.groups(at)?;
        let spoken: Vec<String> = groups
            .iter()
            .flat_map(|group| if group.len() > 4 { in_groups(group) } else { vec![group.as_str()] })
            .map(telephone)
            .collect();
        Some(Reading { end, words: format!("{}{}", if plus { "加" } else { "" }, spoken.join("，")) })
    }

    /// `3:2`, `1/2`.
    fn ratio(&self, at: usize) -> Option<Reading> {
        let (one, end) = self.s.number(at, 1..=3)?;
        let separator = self.s.at(end);
        let (two, end) = self.s.number(end + 1, 1..=3)?;
        let more = self.s.at(end) == separator || self.s.is_latin(end);
        if more || matches!(self.s.at(end), '.' | ',' | '/' | ':') && self.s.is_digit(end + 1) {
            return None;
        }
        let (a, b) = (cardinal(one.into()), cardinal(two.into()));
        let words = match separator {
            ':' => format!("{a}比{b}"),
            '/' if two > 0 && one < two => format!("{b}分之{a}"),
            '/' => format!("{a}斜杠{b}"),
            _ => return None,
        };
        Some(Reading { end, words })
    }

    /// `-5`, `-5℃`.
    fn minus(&self, at: usize) -> Option<Reading> {
        if !matches!(self.s.at(at + 1), '0'..='9' | '$' | '£' | '€' | '¥') {
            return None;
        }
        let reading = self.with_range(at + 1)?;
        let below = if reading.words.ends_with("摄氏度") { "零下" } else { "负" };
        Some(Reading { end: reading.end, words: format!("{below}{}", reading.words) })
    }

    /// A sign that stands for a word.
    fn sign(&self, at: usize) -> Option<Reading> {
        let (before, after) = (self.s.before(at), self.s.at(at + 1));
        let figure = |c: char| c.is_ascii_digit() || c == ' ';
        let word = match self.s.at(at) {
            '&' => "和",
            '=' if figure(before) && figure(after) => "等于",
            '+' if figure(before) && figure(after) && (before != ' ' || after != ' ' || self.between_figures(at)) => {
                "加"
            }
            '℃' => "摄氏度",
            '×' if figure(before) => "乘以",
            '%' if before != ' ' => "百分号",
            _ => return None,
        };
        Some(Reading { end: at + 1, words: word.to_owned() })
    }

    fn between_figures(&self, at: usize) -> bool {
        self.s.is_digit(at.wrapping_sub(2)) && self.s.is_digit(at + 2)
    }

    /// `¥1,234.56`, `$5`, `CNY 100`.
    fn money(&self, at: usize) -> Option<Reading> {
        let (name, said) = CURRENCIES.iter().find(|(name, _)| self.s.has(at, name))?;
        let code = name.starts_with(|c: char| c.is_ascii_alphabetic());
        if code && self.s.is_latin(at.wrapping_sub(1)) {
            return None;
        }
        let after = at + name.chars().count();
        let from = if code { self.s.past_space(after) } else { after };
        let numeral = self.s.numeral(from)?;
        let (scale, end) = self.scale(numeral.end);
        // A currency that is said anyway is said once: ¥5元.
        let end = if self.s.has(end, said) { end + said.chars().count() } else { end };
        if self.s.is_latin(end) {
            return None;
        }
        Some(Reading { end, words: self.amount(&numeral, &scale, said) })
    }

    fn amount(&self, numeral: &Numeral, scale: &str, currency: &str) -> String {
        let fraction = numeral.fraction.as_deref().unwrap_or_default();
        let whole = Numeral { fraction: None, ..numeral.clone() };
        if !scale.is_empty() {
            let head = if scale.starts_with(['万', '亿', '千']) { counted(numeral) } else { self.count(numeral) };
            return format!("{head}{scale}{currency}");
        }
        let &[tenths, hundredths] = fraction.as_bytes() else {
            return format!("{}{currency}", if fraction.is_empty() { counted(numeral) } else { self.count(numeral) });
        };
        if (tenths, hundredths) == (b'0', b'0') {
            return format!("{}{currency}", counted(&whole));
        }
        if currency != "元" {
            return format!("{}{currency}", self.count(numeral));
        }
        // 十二元五角六分.
        let nothing = numeral.whole.bytes().all(|digit| digit == b'0');
        let mut words = if nothing { String::new() } else { format!("{}元", counted(&whole)) };
        let name = |digit: u8| digits(&char::from(digit).to_string());
        match (tenths, hundredths) {
            (b'0', fen) if nothing => words.push_str(&format!("{}分", name(fen))),
            (b'0', fen) => words.push_str(&format!("零{}分", name(fen))),
            (jiao, b'0') => words.push_str(&format!("{}角", name(jiao))),
            (jiao, fen) => words.push_str(&format!("{}角{}分", name(jiao), name(fen))),
        }
        words
    }

    /// 百, 千, 万, 亿 after a number, also two of them.
    fn scale(&self, at: usize) -> (String, usize) {
        let mut end = at;
        while end < at + 2 && matches!(self.s.at(end), '百' | '千' | '万' | '亿') {
            end += 1;
        }
        (self.s.text(at, end), end)
    }

    /// A number that is counted, however it is written.
    fn count(&self, numeral: &Numeral) -> String {
        number(&Numeral { grouped: true, ..numeral.clone() })
    }

    /// A number with what belongs to it.
    fn quantity(&self, at: usize) -> Option<Reading> {
        let numeral = self.s.numeral(at)?;
        let end = numeral.end;
        let whole = numeral.fraction.is_none();
        let percent = self.s.past_space(end);
        if self.s.at(percent) == '%' {
            return Some(Reading { end: percent + 1, words: format!("百分之{}", self.count(&numeral)) });
        }
        let next = self.s.at(end);
        if whole && next == '年' {
            return Some(Reading { end: end + 1, words: format!("{}年", self.year(&numeral, end)) });
        }
        if let Some(found) = self.unit(&numeral).or_else(|| self.money_after(&numeral)) {
            return Some(found);
        }
        if whole && let Some(stop) = self.s.mixed(at) {
            // 5G, 256GB, but 12A3.
            let letters = (end..stop).all(|i| !self.s.is_digit(i));
            if letters && numeral.whole.len() <= 3 && !numeral.whole.starts_with('0') {
                return Some(Reading { end: stop, words: format!("{}{}", number(&numeral), self.s.text(end, stop)) });
            }
            return Some(Reading { end: stop, words: self.mixed(at, stop) });
        }
        if whole && !numeral.grouped && self.is_named_code(at, &numeral) {
            return Some(Reading { end, words: self.spell(&numeral.whole, self.s.before(at) == '*') });
        }
        // 302房间, 102路.
        let rooms = matches!(next, '房' | '室') && numeral.whole.len() >= 3;
        if whole && !numeral.grouped && (rooms || next == '路' && numeral.whole.len() == 3) {
            return Some(Reading { end, words: telephone(&numeral.whole) });
        }
        let words = if whole && next == '分' && numeral.whole.len() == 2 && numeral.whole.starts_with('0') {
            digits(&numeral.whole)
        } else if whole && next == '分' && self.s.before(at) == '点' {
            self.count(&numeral)
        } else if self.counts(end) && self.s.before(at) != '第' {
            counted(&numeral)
        } else if whole && is_code(&numeral) {
            self.code(&numeral.whole)
        } else {
            number(&numeral)
        };
        Some(Reading { end, words })
    }

    /// Four digits before 年 are read one by one, and two where a month
    /// follows; else they are so many years.
    fn year(&self, numeral: &Numeral, end: usize) -> String {
        let month = self.s.is_digit(end + 1) && self.s.at(self.s.digits(end + 1)) == '月';
        let calendar = match numeral.whole.len() {
            4 => !numeral.grouped && matches!(numeral.whole.as_bytes()[0], b'1' | b'2'),
            2 => month || numeral.whole.starts_with('0'),
            _ => false,
        };
        if calendar { digits(&numeral.whole) } else { counted(numeral) }
    }

    /// Whether what is before names a code: `验证码是482193`, `尾号5678`.
    fn is_named_code(&self, at: usize, numeral: &Numeral) -> bool {
        if self.s.before(at) == '*' {
            return true;
        }
        if numeral.whole.len() < 4 {
            return false;
        }
        let mut end = at;
        while end > 0 && at - end < 4 && matches!(self.s.before(end), '是' | '为' | ':' | ' ' | '：' | '“' | '"') {
            end -= 1;
        }
        matches!(self.s.before(end), '码' | '号' | '账' | '卡')
    }

    fn spell(&self, code: &str, keys: bool) -> String {
        if code.len() <= 4 || keys { digits(code) } else { self.code(code) }
    }

    /// A key of the telephone, alone or with digits.
    fn key(&self, at: usize) -> Option<Reading> {
        if !self.s.is_key(at) {
            return None;
        }
        let words = if self.s.at(at) == '*' { "星号" } else { "井号" };
        Some(Reading { end: at + 1, words: words.to_owned() })
    }

    /// A mobile number has eleven digits and begins with 13 to 19.
    fn code(&self, code: &str) -> String {
        let mobile = code.len() == 11 && code.starts_with('1') && matches!(code.as_bytes()[1], b'3'..=b'9');
        let read: fn(&str) -> String = if mobile { telephone } else { digits };
        if code.len() <= 4 {
            return read(code);
        }
        in_groups(code).into_iter().map(read).collect::<Vec<_>>().join("，")
    }

    /// Whether something countable follows, after which two is 两.
    fn counts(&self, at: usize) -> bool {
        let next = self.s.at(at);
        MEASURES.contains(next) && !(next == '点' && self.s.is_digit(at + 1) && self.s.before(at) == '点')
            || LONG_MEASURES.iter().any(|word| self.s.has(at, word))
            || self.s.has(at, "分钟")
            || next == '个'
    }

    fn unit(&self, numeral: &Numeral) -> Option<Reading> {
        UNITS.iter().find_map(|(written, said)| {
            let from = self.s.past_space(numeral.end);
            let end = from + written.chars().count();
            let matches = self.s.has(from, written) && !self.s.is_latin(end) && self.s.at(end) != '/';
            matches.then(|| Reading { end, words: format!("{}{said}", counted(numeral)) })
        })
    }

    /// `5元`, `12.50元`, `100 USD`, `3.5万元`.
    fn money_after(&self, numeral: &Numeral) -> Option<Reading> {
        let (scale, after) = self.scale(numeral.end);
        let from = self.s.past_space(after);
        if self.s.at(after) == '元' {
            return Some(Reading { end: after + 1, words: self.amount(numeral, &scale, "元") });
        }
        let (name, said) = CURRENCIES
            .iter()
            .find(|(name, _)| self.s.has(from, name) && !self.s.is_latin(from + name.chars().count()))?;
        // The next amount has its own sign: "5 $6".
        let end = from + name.chars().count();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) && (from > after || self.s.is_digit(end)) {
            return None;
        }
        Some(Reading { end, words: self.amount(numeral, &scale, said) })
    }

    /// What begins with a letter.
    fn word(&self, at: usize) -> Option<Reading> {
        self.address(at).or_else(|| self.money(at)).or_else(|| {
            let end = self.s.mixed(at)?;
            // PM2.5, v2.0
            if self.s.at(end) == '.' && self.s.is_digit(end + 1) {
                let letters = (at..end).find(|&i| self.s.is_digit(i)).unwrap_or(end);
                if self.s.digits(letters) == end {
                    return Some(Reading { end: letters, words: self.s.text(at, letters) });
                }
            }
            Some(Reading { end, words: self.mixed(at, end) })
        })
    }

    /// `A12B`: figures one by one.
    fn mixed(&self, at: usize, end: usize) -> String {
        let mut words = String::new();
        for i in at..end {
            let c = self.s.at(i);
            if c.is_ascii_digit() { words.push_str(&digits(&c.to_string())) } else { words.push(c) }
        }
        words
    }

    /// `info@example.com`.
    fn address(&self, at: usize) -> Option<Reading> {
        let (end, _) = self.s.mail_address(at)?;
        let mut words = String::new();
        for i in at..end {
            match self.s.at(i) {
                '@' => words.push_str(" at "),
                '.' => words.push('点'),
                '_' => words.push_str("下划线"),
                '-' => words.push_str("横杠"),
                '+' => words.push('加'),
                c if c.is_ascii_digit() => words.push_str(&digits(&c.to_string())),
                c => words.push(c),
            }
        }
        Some(Reading { end, words })
    }
}

/// `1.2.3`, `192.168.0.1`.
fn version(groups: &Groups) -> String {
    let spoken: Vec<String> = groups.groups.iter().map(|group| digits(group)).collect();
    spoken.join("点")
}
