//! Phonemes for voices that take nothing else: Piper's, and others that were trained with espeak-ng.
//!
//! From version 2 on sherpa-onnx has no espeak-ng in it. Ours is a program of its own anyway, and writes a text in the
//! phonetic alphabet as those voices were trained with: clause by clause, the stops between them as they are.

use crate::error::SpeechError;
use crate::process::{Program, millis};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A sentence takes 20 ms.
const LIMIT: Duration = Duration::from_secs(5);
/// What it may print for a sentence.
const MAX_PRINTED: usize = 128 << 10;

/// What is spoken of a text, in the phonetic alphabet.
pub(super) async fn of(program: &Path, voice: &str, text: &str) -> Result<String, SpeechError> {
    let clauses = clauses(text);
    let words: Vec<&str> = clauses.iter().map(|(words, _)| words.as_str()).collect();
    let lines = ask(program, voice, &words.join("\n\n")).await?;
    if lines.len() == clauses.len() {
        let both = lines.iter().zip(&clauses).map(|(line, (_, stop))| (line.as_str(), *stop));
        return Ok(joined(both));
    }
    // A line more or fewer than there are clauses: their stops have no place.
    Ok(joined(lines.iter().map(|line| (line.as_str(), None))))
}

async fn ask(program: &Path, voice: &str, text: &str) -> Result<Vec<String>, SpeechError> {
    let espeak = Program { path: program, engine: "espeak-ng", remedy: "`apt-get install espeak-ng`" };
    let broken = |what: String| SpeechError::EngineBroken { engine: "espeak-ng", what };
    let work = async {
        // The text goes through standard input: nothing in it is an option, or seen by others.
        let mut running = espeak.start(&["-q", "--ipa", "-v", voice, "-b", "1", "--stdin"])?;
        let stdin = running.stdin.take();
        let feed = async move {
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(text.as_bytes()).await;
            }
        };
        let mut printed = Vec::new();
        let mut bounded = (&mut running.stdout).take(MAX_PRINTED as u64);
        let ((), read) = tokio::join!(feed, bounded.read_to_end(&mut printed));
        read.map_err(|error| broken(error.to_string()))?;
        running.finish().await?;
        let lines = String::from_utf8_lossy(&printed).into_owned();
        Ok(lines.lines().map(plain).filter(|line| !line.is_empty()).collect())
    };
    match tokio::time::timeout(LIMIT, work).await {
        Ok(done) => done,
        Err(_) => Err(SpeechError::TimedOut { engine: "espeak-ng", limit_ms: millis(LIMIT) }),
    }
}

/// The parts of a text, and the stop after each, as the alphabet of the voices has it.
fn clauses(text: &str) -> Vec<(String, Option<char>)> {
    let mut clauses: Vec<(String, Option<char>)> = Vec::new();
    let mut words = String::new();
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let ends = characters.peek().is_none_or(|next| next.is_whitespace() || !next.is_alphanumeric());
        match stop(c).filter(|_| ends || !c.is_ascii()) {
            Some(stop) if words.chars().any(char::is_alphanumeric) => {
                clauses.push((std::mem::take(&mut words).trim().to_owned(), Some(stop)));
            }
            // A stop after a stop.
            Some(_) => words.clear(),
            // Two brackets begin phonemes.
            None => words.push(if c.is_control() || matches!(c, '[' | ']') { ' ' } else { c }),
        }
    }
    if words.chars().any(char::is_alphanumeric) {
        clauses.push((words.trim().to_owned(), None));
    }
    clauses
}

const fn stop(c: char) -> Option<char> {
    Some(match c {
        ',' | '，' | '、' => ',',
        '.' | '。' => '.',
        ';' | '；' => ';',
        ':' | '：' => ':',
        '!' | '！' => '!',
        '?' | '？' => '?',
        _ => return None,
    })
}

fn joined<'a>(parts: impl Iterator<Item = (&'a str, Option<char>)>) -> String {
    let mut all = String::new();
    for (phonemes, stop) in parts {
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(phonemes);
        all.extend(stop);
    }
    all
}

/// A line as the voices were trained with: without the names of languages (`(en)`), each mark by itself.
fn plain(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut named = false;
    for c in line.trim().chars() {
        match c {
            '(' => named = true,
            ')' => named = false,
            _ if named => {}
            'ç' => out.push_str("c\u{327}"),
            'ã' => out.push_str("a\u{303}"),
            'õ' => out.push_str("o\u{303}"),
            _ => out.push(c),
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_falls_into_clauses() {
        let shown =
            |text: &str| clauses(text).iter().map(|(words, stop)| format!("{words}{stop:?}")).collect::<Vec<_>>();
        assert_eq!(shown("Hello, world!"), ["HelloSome(',')", "worldSome('!')"]);
        assert_eq!(shown("At 3.5 a.m... yes"), ["At 3.5 a.mSome('.')", "yesNone"]);
        assert_eq!(shown("你好，世界。"), ["你好Some(',')", "世界Some('.')"]);
        assert_eq!(shown(" ... [[h]] "), ["hNone"]);
        assert!(shown("?!").is_empty());
    }

    #[test]
    fn lines_lose_what_no_voice_says() {
        assert_eq!(plain(" (en)hˈaɪ(de) ɪç "), "hˈaɪ ɪc\u{327}");
    }

    #[tokio::test]
    async fn espeak_writes_what_it_would_say() {
        let written = of(Path::new("espeak-ng"), "en-us", "Hello, world. Good bye!").await.unwrap();
        assert_eq!(written, "həlˈoʊ, wˈɜːld. ɡˈʊd bˈaɪ!");
    }
}
