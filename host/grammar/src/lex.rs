//! From text to the words that rules are made of: lower case, without accents, figures in one piece.

use crate::tongue::Tongue;

/// Words of the longest text that is looked at. Nobody answers a question with more.
pub(crate) const MOST_TOKENS: usize = 96;
/// Characters of the longest text that is looked at.
const MOST_CHARS: usize = 2_000;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word, or a character of a script without spaces.
    Word,
    /// Figures, with what stands between them: `1,234.50`, `14:30`, `2026-12-01`.
    Figures,
    /// A currency, a plus.
    Sign,
}

/// A word of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) kind: Kind,
    /// It may be left out: "uh".
    pub(crate) idle: bool,
}

impl Token {
    /// Whether this is that word of a rule. Apostrophes do not count: recognisers lose them.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.kind != Kind::Figures && same(&self.text, word)
    }
}

/// Whether two words differ in nothing but apostrophes.
pub(crate) fn same(one: &str, other: &str) -> bool {
    if one.len() == other.len() {
        return one == other;
    }
    one.chars().filter(|&c| c != '\'').eq(other.chars().filter(|&c| c != '\''))
}

/// The words of a text. `None` where there are more than anybody answers with.
pub(crate) fn tokens(text: &str, tongue: Option<&dyn Tongue>) -> Option<Vec<Token>> {
    let mut reader = Reader::default();
    for (index, raw) in text.chars().enumerate() {
        if index >= MOST_CHARS {
            return None;
        }
        fold(raw, &mut |c| reader.take(c));
        if reader.tokens.len() > MOST_TOKENS {
            return None;
        }
    }
    reader.end();
    let mut tokens = reader.tokens;
    if let Some(tongue) = tongue {
        let inside = tongue.joined();
        if !inside.is_empty() {
            tokens = tokens.into_iter().flat_map(|token| parted(token, inside)).collect();
        }
        for token in &mut tokens {
            token.idle = tongue.hesitations().contains(&token.text.as_str());
        }
    }
    (tokens.len() <= MOST_TOKENS).then_some(tokens)
}

/// Takes words apart at the words they are joined from: `zweihundertdrei`.
fn parted(token: Token, inside: &[&str]) -> Vec<Token> {
    if token.kind != Kind::Word {
        return vec![token];
    }
    let mut rest = token.text.as_str();
    let mut parts = Vec::new();
    while let Some((at, word)) =
        inside.iter().filter_map(|word| rest.find(word).map(|at| (at, *word))).min_by_key(|(at, _)| *at)
    {
        parts.push(&rest[..at]);
        parts.push(word);
        rest = &rest[at + word.len()..];
    }
    parts.push(rest);
    let token = |text: &str| Token { text: text.to_owned(), kind: Kind::Word, idle: false };
    parts.into_iter().filter(|part| !part.is_empty()).map(token).collect()
}

#[derive(Default)]
struct Reader {
    tokens: Vec<Token>,
    /// What the open token is, and its text.
    open: Option<(Kind, String)>,
    /// A character that belongs to the open token if the next one goes on with it.
    held: Option<char>,
}

impl Reader {
    fn take(&mut self, c: char) {
        let kind = match c {
            c if c.is_ascii_digit() => Some(Kind::Figures),
            '$' | '£' | '€' | '¥' | '+' => Some(Kind::Sign),
            c if c.is_alphabetic() => Some(Kind::Word),
            _ => None,
        };
        let Some((open, text)) = &mut self.open else {
            self.begin(kind, c);
            return;
        };
        let goes_on = match (*open, kind) {
            (Kind::Figures, Some(Kind::Figures)) => true,
            (Kind::Word, Some(Kind::Word)) => {
                // "p.m." is a word; "fine.Thanks" is two.
                self.held != Some('.') && !is_whole(c) || self.held == Some('.') && text.chars().count() == 1
            }
            _ => false,
        };
        if goes_on {
            match self.held.take() {
                Some('.') if *open == Kind::Word => {}
                Some(held) => text.push(held),
                None => {}
            }
            text.push(c);
            return;
        }
        let between = match open {
            Kind::Figures => matches!(c, '.' | ',' | ':' | '/' | '-' | '\''),
            Kind::Word => matches!(c, '\'' | '.'),
            Kind::Sign => false,
        };
        if between && self.held.is_none() {
            self.held = Some(c);
            return;
        }
        // "p.m." ends in a dot that the next letter would have taken.
        self.end();
        self.begin(kind, c);
    }

    fn begin(&mut self, kind: Option<Kind>, c: char) {
        let Some(kind) = kind else { return };
        self.open = Some((kind, c.to_string()));
        if kind == Kind::Sign || is_whole(c) {
            self.end();
        }
    }

    fn end(&mut self) {
        self.held = None;
        if let Some((kind, text)) = self.open.take() {
            self.tokens.push(Token { text, kind, idle: false });
        }
    }
}

/// Whether a character is a word by itself, as in Chinese.
pub(crate) const fn is_whole(c: char) -> bool {
    matches!(c, '\u{3005}'..='\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

/// A character as rules have it: lower case, without accents, the simplified one of Chinese where rules need it.
fn fold(c: char, out: &mut dyn FnMut(char)) {
    // Full-width forms.
    let c = match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '￥' => '¥',
        '’' | '‘' | 'ʼ' | '`' | '´' => '\'',
        '–' | '—' | '−' | '‐' | '‑' => '-',
        c => c,
    };
    for c in c.to_lowercase() {
        let (plain, second) = match c {
            'à'..='å' | 'ā' | 'ă' | 'ą' => ('a', None),
            'æ' => ('a', Some('e')),
            'ç' | 'ć' | 'č' => ('c', None),
            'è'..='ë' | 'ē' | 'ę' | 'ě' => ('e', None),
            'ì'..='ï' | 'ī' => ('i', None),
            'ł' => ('l', None),
            'ñ' | 'ń' => ('n', None),
            'ò'..='ö' | 'ø' | 'ō' | 'ő' => ('o', None),
            'œ' => ('o', Some('e')),
            'ś' | 'š' | 'ş' => ('s', None),
            'ß' => ('s', Some('s')),
            'ù'..='ü' | 'ū' | 'ů' | 'ű' => ('u', None),
            'ý' | 'ÿ' => ('y', None),
            'ź' | 'ž' | 'ż' => ('z', None),
            '\u{300}'..='\u{36f}' => continue,
            c => (simplified(c), None),
        };
        out(plain);
        if let Some(second) = second {
            out(second);
        }
    }
}

/// The simplified form of the traditional characters that rules are made of.
const fn simplified(c: char) -> char {
    match c {
        '點' => '点',
        '兩' => '两',
        '號' => '号',
        '萬' => '万',
        '億' => '亿',
        '塊' => '块',
        '錢' => '钱',
        '後' => '后',
        '這' => '这',
        '個' => '个',
        '對' => '对',
        '錯' => '错',
        '沒' => '没',
        '問' => '问',
        '題' => '题',
        '鐘' | '鍾' => '钟',
        '請' => '请',
        '煩' => '烦',
        '幫' => '帮',
        '謝' => '谢',
        '週' => '周',
        '禮' => '礼',
        '過' => '过',
        '從' => '从',
        '現' => '现',
        '說' => '说',
        '話' => '话',
        '聽' => '听',
        '員' => '员',
        '轉' => '转',
        '電' => '电',
        '碼' => '码',
        '確' => '确',
        '當' => '当',
        '願' => '愿',
        '們' => '们',
        '裡' | '裏' => '里',
        '選' => '选',
        '項' => '项',
        '幾' => '几',
        '歐' => '欧',
        '鎊' => '镑',
        '圓' => '圆',
        '貳' => '二',
        '間' => '间',
        '來' => '来',
        '複' | '復' => '复',
        '嗎' => '吗',
        '時' => '时',
        '隻' => '只',
        '還' => '还',
        '給' => '给',
        '預' => '预',
        '約' => '约',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        tokens(text, None).expect("short").into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_lose_case_accents_and_punctuation() {
        assert_eq!(words("Uh, the SECOND one – please!"), ["uh", "the", "second", "one", "please"]);
        assert_eq!(words("Café à Zürich, straße"), ["cafe", "a", "zurich", "strasse"]);
        assert_eq!(words("cafe\u{301}"), ["cafe"]);
        assert_eq!(words("twenty-one"), ["twenty", "one"]);
        assert_eq!(words("don’t, o'clock, 'quoted'"), ["don't", "o'clock", "quoted"]);
        assert_eq!(words("fine.Thanks. End."), ["fine", "thanks", "end"]);
    }

    #[test]
    fn figures_stay_together_and_part_from_letters() {
        assert_eq!(words("2:30pm"), ["2:30", "pm"]);
        assert_eq!(words("at 2 p.m. on the 3rd."), ["at", "2", "pm", "on", "the", "3", "rd"]);
        assert_eq!(words("$1,234.50, €5"), ["$", "1,234.50", "€", "5"]);
        assert_eq!(words("2026-12-01."), ["2026-12-01"]);
        assert_eq!(words("+49 30-1234"), ["+", "49", "30-1234"]);
        assert_eq!(words("1.. 2"), ["1", "2"]);
    }

    #[test]
    fn chinese_characters_are_words() {
        assert_eq!(words("下午兩點半。"), ["下", "午", "两", "点", "半"]);
        assert_eq!(words("１２月３日ok"), ["12", "月", "3", "日", "ok"]);
    }

    #[test]
    fn a_text_that_is_too_long_is_none() {
        assert!(tokens(&"a ".repeat(MOST_TOKENS), None).is_some());
        assert!(tokens(&"a ".repeat(MOST_TOKENS + 1), None).is_none());
        assert!(tokens(&"a".repeat(MOST_CHARS + 1), None).is_none());
    }

    #[test]
    fn apostrophes_do_not_tell_words_apart() {
        assert!(same("o'clock", "oclock") && same("dont", "don't") && !same("cant", "want"));
    }
}
