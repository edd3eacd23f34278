//! The voices of espeak-ng: its own list, and which of them speaks a language.

use crate::error::SpeechError;
use crate::synthesiser::check_rate;
use callbox_dialogue::leg::VoiceSettings;

/// Longest name of a voice or a language that is looked at.
const MAX_NAME: usize = 64;
/// Lines of the list that are read.
const MAX_VOICES: usize = 2_000;
const UNKNOWN_VOICE: &str =
    "`espeak-ng --voices` lists the names, `espeak-ng --voices=variant` the variants after a `+`";

/// What `espeak-ng --voices`, `--voices=variant` and `--version` say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Voices {
    pub(crate) version: String,
    voices: Vec<Voice>,
    /// Both names of each variant: `female3` and `f3`.
    variants: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
struct Voice {
    /// BCP 47, lower case.
    language: String,
    name: String,
    /// Relative to the data directory; what `-v` takes in any version.
    file: String,
    /// Other languages it speaks; the smaller number is preferred.
    also: Vec<(String, u8)>,
}

/// The arguments that make a voice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// For `-v`.
    pub(crate) voice: String,
    /// For `-s`.
    pub(crate) rate: Option<u16>,
}

impl Voices {
    pub(crate) fn parse(version: &str, voices: &str, variants: &str) -> Self {
        Self {
            version: parse_version(version),
            voices: rows(voices).filter_map(parse_voice).collect(),
            variants: rows(variants)
                .filter_map(parse_voice)
                .map(|v| (v.name.to_ascii_lowercase(), v.file.trim_start_matches("!v/").to_owned()))
                .collect(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.voices.len()
    }

    /// The voice for these settings. A name may be a language code
    /// (`en-us`), espeak's name or file of it (`English_(America)`,
    /// `gmw/en-US`), a variant for the language's own voice (`f3` or `+f3`),
    /// or a voice and a variant (`en-us+f3`).
    pub(crate) fn select(&self, settings: &VoiceSettings) -> Result<Selection, SpeechError> {
        let rate = check_rate(settings)?;
        let name = settings.voice.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let Some(name) = name else {
            return Ok(Selection { voice: self.for_language(&settings.language)?.to_owned(), rate });
        };
        let unknown = || SpeechError::UnknownVoice { voice: shorten(name), remedy: UNKNOWN_VOICE };
        if name.len() > MAX_NAME {
            return Err(unknown());
        }
        let (base, variant) = name.split_once('+').map_or((name, None), |(base, variant)| (base, Some(variant)));
        let variant = match variant {
            Some(variant) => Some(self.variant(variant).ok_or_else(unknown)?),
            None => None,
        };
        let (base, variant) = match (self.by_name(base), self.variant(base)) {
            (Some(file), _) => (file, variant),
            (None, Some(own)) if variant.is_none() => (self.for_language(&settings.language)?, Some(own)),
            (None, _) if base.is_empty() => (self.for_language(&settings.language)?, variant),
            (None, _) => return Err(unknown()),
        };
        let voice = variant.map_or_else(|| base.to_owned(), |variant| format!("{base}+{variant}"));
        Ok(Selection { voice, rate })
    }

    fn by_name(&self, name: &str) -> Option<&str> {
        let lower = name.to_ascii_lowercase();
        if let Some(voice) = self.voices.iter().find(|v| v.language == lower) {
            return Some(self.preferred(&lower).unwrap_or(&voice.file));
        }
        let named = |v: &&Voice| v.name.eq_ignore_ascii_case(name) || v.file.eq_ignore_ascii_case(name);
        self.voices.iter().find(named).map(|v| v.file.as_str())
    }

    fn variant(&self, name: &str) -> Option<&str> {
        let lower = name.to_ascii_lowercase();
        self.variants
            .iter()
            .find(|(long, short)| *long == lower || short.eq_ignore_ascii_case(name))
            .map(|(_, short)| short.as_str())
    }

    /// The voice for a BCP 47 tag: the tag itself, then shorter and shorter
    /// ones.
    fn for_language(&self, tag: &str) -> Result<&str, SpeechError> {
        let unknown = || SpeechError::UnknownLanguage { language: shorten(tag) };
        let lower = tag.trim().replace('_', "-").to_ascii_lowercase();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if lower.is_empty() || lower.len() > MAX_NAME || !lower.chars().all(plain) {
            return Err(unknown());
        }
        let mut wanted = chinese(&lower).map_or(lower.as_str(), |chinese| chinese);
        loop {
            if let Some(file) = self.preferred(wanted) {
                return Ok(file);
            }
            let Some((shorter, _)) = wanted.rsplit_once('-') else { break };
            wanted = shorter;
        }
        // No voice says that it speaks `fr`, only `fr-fr` and others: the best of them.
        let family = format!("{wanted}-");
        let member = self.voices.iter().filter(|v| v.language.starts_with(&family));
        let own = |v: &&Voice| {
            let rank = v.also.iter().find(|(language, _)| language == wanted).map_or(u8::MAX, |(_, rank)| *rank);
            (v.language != format!("{wanted}-{wanted}"), rank)
        };
        member.min_by_key(own).map(|v| v.file.as_str()).ok_or_else(unknown)
    }

    /// The file of the voice that speaks exactly this tag.
    fn preferred(&self, tag: &str) -> Option<&str> {
        // Up to 1.51 the voices `cmn` and `zh` write Chinese as pinyin and then read that aloud as English letters and
        // digits (espeak-ng issue 1236); 1.52 has a new one.
        let tag = if tag == "cmn" && self.older_than(1, 52) { "cmn-latn-pinyin" } else { tag };
        if let Some(voice) = self.voices.iter().find(|v| v.language == tag) {
            return Some(&voice.file);
        }
        let rank = |v: &Voice| v.also.iter().find(|(language, _)| language == tag).map(|(_, rank)| *rank);
        self.voices
            .iter()
            .filter_map(|v| Some((rank(v)?, v)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, v)| v.file.as_str())
    }

    fn older_than(&self, major: u32, minor: u32) -> bool {
        let mut numbers = self.version.split('.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| &part[..end]);
            digits.parse::<u32>().unwrap_or(0)
        });
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (major, minor)
    }
}

/// The spoken language of a tag for Chinese: Mandarin unless it says Cantonese
/// or Hakka, or a place where Cantonese is spoken.
fn chinese(tag: &str) -> Option<&'static str> {
    let mut parts = tag.split('-');
    let first = parts.next()?;
    let has = |wanted: &str| parts.clone().any(|part| part == wanted);
    match first {
        "zh" if has("yue") || has("hk") || has("mo") => Some("yue"),
        "zh" if has("hak") => Some("hak"),
        "yue" => Some("yue"),
        "zh" | "cmn" => Some("cmn"),
        _ => None,
    }
}

fn shorten(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

/// `eSpeak NG text-to-speech: 1.51  Data at: …`
fn parse_version(printed: &str) -> String {
    let word = |w: &&str| w.starts_with(|c: char| c.is_ascii_digit());
    printed.split_whitespace().find(word).unwrap_or("unknown").chars().take(32).collect()
}

/// The lines of a list, without its heading.
fn rows(list: &str) -> impl Iterator<Item = &str> {
    list.lines().skip(1).take(MAX_VOICES)
}

/// ` 5  es-419   --/M   Spanish_(Latin_America) roa/es-419   (es-mx 6)(es 6)`.
/// A file name may hold a single space (`!v/Mr serious`).
fn parse_voice(row: &str) -> Option<Voice> {
    let (row, others) = row.split_once(" (").map_or((row, ""), |(row, others)| (row, others));
    let mut fields = row.split_whitespace();
    let (_priority, language, _gender, name) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let file = fields.collect::<Vec<_>>().join(" ");
    if file.is_empty() || file.starts_with('-') {
        return None;
    }
    let also = others
        .split('(')
        .filter_map(|other| {
            let (language, rank) = other.trim().trim_end_matches(')').split_once(' ')?;
            Some((language.to_ascii_lowercase(), rank.trim().parse().ok()?))
        })
        .collect();
    Some(Voice { language: language.to_ascii_lowercase(), name: name.to_owned(), file, also })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
Pty Language       Age/Gender VoiceName          File                 Other Languages
 5  cmn             --/M      Chinese_(Mandarin,_latin_as_English) sit/cmn              (zh-cmn 5)(zh 5)
 5  cmn-latn-pinyin --/M      Chinese_(Mandarin,_latin_as_Pinyin) sit/cmn-Latn-pinyin  (zh-cmn 5)(zh 5)
 5  en-029          --/M      English_(Caribbean) gmw/en-029           (en 10)
 2  en-gb           --/M      English_(Great_Britain) gmw/en               (en 2)
 2  en-us           --/M      English_(America)  gmw/en-US            (en 3)
 5  es              --/M      Spanish_(Spain)    roa/es               
 5  es-419          --/M      Spanish_(Latin_America) roa/es-419           (es-mx 6)(es 6)
 5  eu              --/M      Basque             eu                   
 5  fr-be           --/M      French_(Belgium)   roa/fr-BE            (fr 8)
 5  fr-fr           --/M      French_(France)    roa/fr               (fr 5)
 5  nb              --/M      Norwegian_Bokmål  gmq/nb               (no 5)
 5  pt              --/M      Portuguese_(Portugal) roa/pt               (pt-pt 5)
 5  yue             --/M      Chinese_(Cantonese) sit/yue              (zh-yue 5)(zh 8)
 5  yue             --/M      Chinese_(Cantonese,_latin_as_Jyutping) sit/yue-Latn-jyutping (zh-yue 5)(zh 8)
";
    const VARIANTS: &str = "\
Pty Language       Age/Gender VoiceName          File                 Other Languages
 5  variant         --/M      Mr_Serious         !v/Mr serious        
 5  variant         --/F      female3            !v/f3                
 5  variant         --/M      Storm              !v/Storm             (en-us 5)
";

    fn voices(version: &str) -> Voices {
        Voices::parse(&format!("eSpeak NG text-to-speech: {version}  Data at: /usr/lib/data\n"), LIST, VARIANTS)
    }

    fn select(version: &str, voice: Option<&str>, language: &str) -> Result<String, SpeechError> {
        let settings = VoiceSettings { voice: voice.map(str::to_owned), language: language.to_owned(), rate: None };
        voices(version).select(&settings).map(|s| s.voice)
    }

    #[test]
    fn finds_a_voice_for_a_language() {
        for (tag, file) in [
            ("en", "gmw/en"),
            ("EN", "gmw/en"),
            ("en-GB", "gmw/en"),
            ("en-AU", "gmw/en"),
            ("en-US", "gmw/en-US"),
            ("en_US", "gmw/en-US"),
            ("en-US-x-private", "gmw/en-US"),
            ("es-MX", "roa/es-419"),
            ("es-AR", "roa/es"),
            ("fr", "roa/fr"),
            ("fr-CA", "roa/fr"),
            ("fr-BE", "roa/fr-BE"),
            ("no", "gmq/nb"),
            ("nb-NO", "gmq/nb"),
            ("pt-PT", "roa/pt"),
            ("eu", "eu"),
            ("yue-HK", "sit/yue"),
            ("zh-HK", "sit/yue"),
        ] {
            assert_eq!(select("1.51", None, tag).as_deref(), Ok(file), "{tag}");
        }
    }

    #[test]
    fn speaks_mandarin_with_the_voice_that_can() {
        for tag in ["zh", "zh-CN", "zh-TW", "zh-Hans-CN", "cmn", "cmn-Hans-CN", "zh-cmn"] {
            assert_eq!(select("1.51", None, tag).as_deref(), Ok("sit/cmn-Latn-pinyin"), "{tag}");
            assert_eq!(select("1.50-dev", None, tag).as_deref(), Ok("sit/cmn-Latn-pinyin"), "{tag}");
            assert_eq!(select("1.52.0", None, tag).as_deref(), Ok("sit/cmn"), "{tag}");
        }
        // Also where it is asked for by its own name.
        assert_eq!(select("1.51", Some("cmn"), "zh").as_deref(), Ok("sit/cmn-Latn-pinyin"));
    }

    #[test]
    fn finds_a_voice_by_name() {
        for (voice, file) in [
            ("en-us", "gmw/en-US"),
            ("English_(America)", "gmw/en-US"),
            ("gmw/en-us", "gmw/en-US"),
            ("en-us+f3", "gmw/en-US+f3"),
            ("en-us+female3", "gmw/en-US+f3"),
            ("f3", "gmw/en+f3"),
            ("+f3", "gmw/en+f3"),
            ("+storm", "gmw/en+Storm"),
            ("Mr_Serious", "gmw/en+Mr serious"),
            ("  ", "gmw/en"),
        ] {
            assert_eq!(select("1.51", Some(voice), "en").as_deref(), Ok(file), "{voice}");
        }
    }

    #[test]
    fn knows_what_it_does_not_know() {
        for voice in
            ["nosuch", "en-us+nosuch", "en-us+", "+", "-v", "--help", "../../x", "en+../../x", "f3+f3", "\u{1}"]
        {
            let error = select("1.51", Some(voice), "en").unwrap_err();
            assert!(matches!(error, SpeechError::UnknownVoice { .. }), "{voice}: {error}");
        }
        let long = "x".repeat(10_000);
        let Err(SpeechError::UnknownVoice { voice, .. }) = select("1.51", Some(&long), "en") else { panic!() };
        assert_eq!(voice.len(), MAX_NAME);
        for tag in ["", "xx", "klingon", "-", "en us", "../en", "e\u{0}n", "日本語"] {
            let error = select("1.51", None, tag).unwrap_err();
            assert!(matches!(error, SpeechError::UnknownLanguage { .. }), "{tag}: {error}");
        }
    }

    #[test]
    fn bounds_the_rate() {
        let at = |rate| VoiceSettings { voice: None, language: "en".to_owned(), rate: Some(rate) };
        for rate in [80, 175, 400] {
            assert_eq!(voices("1.51").select(&at(rate)).unwrap().rate, Some(rate));
        }
        for rate in [0, 79, 401, u16::MAX] {
            assert_eq!(voices("1.51").select(&at(rate)), Err(SpeechError::InvalidRate { rate }));
        }
    }

    #[test]
    fn reads_any_list() {
        for list in ["", "\n", "x\n 5\n", "h\n 5 a b\n", "h\n 5 en --/M name -rf\n", "h\n((((\n)) ) (\n"] {
            let voices = Voices::parse(list, list, list);
            assert_eq!(voices.count(), 0, "{list:?}");
        }
        assert_eq!(voices("1.51").version, "1.51");
        assert_eq!(parse_version("nothing here"), "unknown");
    }
}
