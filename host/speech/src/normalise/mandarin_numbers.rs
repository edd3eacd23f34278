//! Numbers as Mandarin words.

use super::scan::Numeral;

const DIGITS: [char; 10] = ['零', '一', '二', '三', '四', '五', '六', '七', '八', '九'];
/// Names of the places within four digits, and of the fours.
const PLACES: [&str; 4] = ["", "十", "百", "千"];
const FOURS: [&str; 4] = ["", "万", "亿", "万亿"];

/// Longest number that is read as a quantity: up to the 万亿.
pub(super) const MAX_CARDINAL: usize = 16;
/// Written without commas, this many digits are rather a code than a quantity.
const CODE: usize = 7;
const LONG_CODE: usize = 11;

/// `一百零一`. A two at the head is 两 before 百, 千, 万 and 亿.
pub(super) fn cardinal(n: u64) -> String {
    if n == 0 {
        return "零".to_owned();
    }
    let mut fours = Vec::new();
    let mut rest = n;
    while rest > 0 {
        fours.push(rest % 10_000);
        rest /= 10_000;
    }
    let mut words = String::new();
    // A place was skipped since the last digit.
    let mut gap = false;
    for (index, &four) in fours.iter().enumerate().rev() {
        if four == 0 {
            gap = !words.is_empty();
            continue;
        }
        for place in (0..4_u32).rev() {
            let digit = four / 10_u64.pow(place) % 10;
            if digit == 0 {
                gap = !words.is_empty();
                continue;
            }
            let head = words.is_empty();
            if std::mem::take(&mut gap) {
                words.push('零');
            }
            let before_four = place == 0 && four == 2 && index > 0;
            match (digit, place) {
                (1, 1) if head => {}
                (2, 2..) if head => words.push('两'),
                (2, 0) if head && before_four => words.push('两'),
                _ => words.push(digit_name(digit)),
            }
            words.push_str(PLACES[place as usize]);
        }
        // Zeros at the end of a four are not said before its name.
        gap = false;
        // 万亿 is 万 of the 亿 that follow, where any do.
        let within = index == 3 && fours.get(2).is_some_and(|&four| four > 0);
        words.push_str(if within { "万" } else { FOURS.get(index).copied().unwrap_or_default() });
        // But before a smaller number in the next four they are.
        if let Some(&next) = index.checked_sub(1).and_then(|next| fours.get(next)) {
            gap = next > 0 && next < 1_000;
        }
    }
    words
}

fn digit_name(digit: u64) -> char {
    usize::try_from(digit).ok().and_then(|digit| DIGITS.get(digit)).copied().unwrap_or('零')
}

/// `二零二六`.
pub(super) fn digits(digits: &str) -> String {
    digits.bytes().map(|digit| digit_name(u64::from(digit.wrapping_sub(b'0')))).collect()
}

/// As in a telephone number, where one is 幺.
pub(super) fn telephone(number: &str) -> String {
    digits(number).replace('一', "幺")
}

/// A written number: a quantity, a decimal, or digits that are rather a code.
pub(super) fn number(numeral: &Numeral) -> String {
    let text = &numeral.whole;
    let whole = match text.parse() {
        Ok(n) if text.len() <= MAX_CARDINAL && !(numeral.fraction.is_none() && is_code(numeral)) => cardinal(n),
        _ => in_groups(text).into_iter().map(digits).collect::<Vec<_>>().join("，"),
    };
    match &numeral.fraction {
        Some(fraction) => format!("{whole}点{}", digits(fraction)),
        None => whole,
    }
}

/// Before something that is counted, a lone two is 两.
pub(super) fn counted(numeral: &Numeral) -> String {
    if numeral.whole == "2" && numeral.fraction.is_none() {
        return "两".to_owned();
    }
    number(&Numeral { grouped: true, ..numeral.clone() })
}

/// Whether the digits are to be read one by one.
pub(super) fn is_code(numeral: &Numeral) -> bool {
    let text = &numeral.whole;
    if numeral.grouped {
        return false;
    }
    text.len() > 1 && text.starts_with('0') || text.len() >= LONG_CODE || text.len() >= CODE && !text.ends_with("000")
}

/// Fours, as codes are read; a mobile number is 3 and 4 and 4.
pub(super) fn in_groups(code: &str) -> Vec<&str> {
    let first = if code.len() == 11 { 3 } else { 4.min(code.len()) };
    let (head, mut rest) = code.split_at(first);
    let mut groups = vec![head];
    while !rest.is_empty() {
        let (group, more) = rest.split_at(4.min(rest.len()));
        groups.push(group);
        rest = more;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (n, want) in [
            (0, "零"),
            (2, "二"),
            (10, "十"),
            (12, "十二"),
            (20, "二十"),
            (22, "二十二"),
            (100, "一百"),
            (101, "一百零一"),
            (110, "一百一十"),
            (111, "一百一十一"),
            (200, "两百"),
            (202, "两百零二"),
            (222, "两百二十二"),
            (1_000, "一千"),
            (1_001, "一千零一"),
            (1_010, "一千零一十"),
            (1_100, "一千一百"),
            (2_026, "两千零二十六"),
            (2_222, "两千二百二十二"),
            (10_000, "一万"),
            (10_001, "一万零一"),
            (10_010, "一万零一十"),
            (10_100, "一万零一百"),
            (11_000, "一万一千"),
            (12_345, "一万二千三百四十五"),
            (20_000, "两万"),
            (20_002, "两万零二"),
            (100_000, "十万"),
            (120_000, "十二万"),
            (200_000, "二十万"),
            (1_000_000, "一百万"),
            (1_005_000, "一百万五千"),
            (1_000_500, "一百万零五百"),
            (2_000_000, "两百万"),
            (10_000_000, "一千万"),
            (100_000_000, "一亿"),
            (100_000_001, "一亿零一"),
            (100_010_000, "一亿零一万"),
            (200_000_000, "两亿"),
            (1_000_000_000, "十亿"),
            (1_234_567_890, "十二亿三千四百五十六万七千八百九十"),
            (1_000_000_000_000, "一万亿"),
            (1_000_100_000_000, "一万零一亿"),
            (1_000_000_000_001, "一万亿零一"),
        ] {
            assert_eq!(cardinal(n), want, "{n}");
        }
    }

    #[test]
    fn spells() {
        assert_eq!(digits("2026"), "二零二六");
        assert_eq!(telephone("110"), "幺幺零");
        assert_eq!(in_groups("13800138000"), ["138", "0013", "8000"]);
        assert_eq!(in_groups("123456"), ["1234", "56"]);
        assert_eq!(in_groups("12"), ["12"]);
    }
}
