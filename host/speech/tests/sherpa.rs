//! sherpa-onnx with models of the operator's. The library is the real one; the models are made by hand and tell tones
//! apart, so that what is tried is all around a model and nothing inside.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fake;
mod hand_made;

use callbox_dialogue::leg::VoiceSettings;
use callbox_grammar::{Grammar, Understanding};
use callbox_speech::recogniser::{
    Ear, EarLimits, Ears, Heard, Hypothesis, Listening, Recogniser, RecogniserError, Sound,
};
use callbox_speech::sherpa::{EarKind, SherpaEar, SherpaEarConfig, SherpaVoice, SherpaVoiceConfig};
use callbox_speech::{Speaker, Speech, SpeechConfig, SpeechError, Synthesiser, Utterance};
use fake::{samples, speak_all};
use hand_made::{ear, models, voice};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Audio of the models' words: 500 Hz is the first, 2000 Hz the second; 0 is silence.
fn sounds(rate_hz: u32, parts: &[(&[(f32, f32)], u32)]) -> Vec<i16> {
    let mut samples = Vec::new();
    for &(tones, ms) in parts {
        for n in 0..rate_hz * ms / 1_000 {
            let at = n as f32 * std::f32::consts::TAU / rate_hz as f32;
            let sum: f32 = tones.iter().map(|(hz, level)| level * (hz * at).sin()).sum();
            samples.push((9_000.0 * sum) as i16);
        }
    }
    samples
}

const FIRST: &[(f32, f32)] = &[(500.0, 1.0)];
const SECOND: &[(f32, f32)] = &[(2_000.0, 1.0)];
/// Both, the second a little stronger.
const EITHER: &[(f32, f32)] = &[(500.0, 1.0), (2_000.0, 0.35)];

/// Yes, a pause, no.
fn both(rate_hz: u32) -> Vec<i16> {
    sounds(rate_hz, &[(&[], 300), (FIRST, 400), (&[], 200), (SECOND, 300), (&[], 100)])
}

async fn hears(engine: &SherpaEar, what: Listening, samples: &[i16]) -> Result<Vec<Hypothesis>, RecogniserError> {
    let rate_hz = what.rate_hz;
    let run = engine.start(what).whole(samples, rate_hz);
    tokio::time::timeout(Duration::from_secs(120), run).await.expect("it takes too long")
}

fn text(heard: &[Hypothesis]) -> Option<&str> {
    heard.first().map(|best| best.text.as_str())
}

#[tokio::test]
async fn a_streaming_model_hears_while_the_caller_speaks() {
    let engine = SherpaEar::new(ear("streaming-ctc"));
    assert!(engine.abilities().partials && engine.abilities().dictation && engine.abilities().confidence.is_none());
    for rate_hz in [8_000, 16_000] {
        let mut run = engine.start(Listening { rate_hz, ..Listening::default() });
        for frame in both(rate_hz).chunks_exact(rate_hz as usize / 50) {
            run.sound.send(Sound::Frame(frame.into())).await.unwrap();
        }
        // Nobody has said that this is the end.
        let mut partials = Vec::new();
        while partials.last().is_none_or(|last| last != "yes no") {
            let Heard::Partial(partial) = run.next().await.unwrap().unwrap() else { panic!("a partial result") };
            partials.push(partial.text);
        }
        assert_eq!(partials, ["yes", "yes no"]);
        run.sound.send(Sound::EndOfUtterance).await.unwrap();
        let Heard::Final(whole) = run.next().await.unwrap().unwrap() else { panic!("a result") };
        let [best] = &whole[..] else { panic!("one hypothesis: {whole:?}") };
        assert_eq!((best.text.as_str(), best.confidence, best.language.as_str()), ("yes no", None, "en"));
        let words: Vec<&str> = best.words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(words, ["yes", "no"]);
        assert!((250..400).contains(&best.words[0].start) && (850..1_000).contains(&best.words[1].start), "{best:?}");
        assert_eq!(run.next().await, Ok(None));
    }
    let silence = vec![0; 16_000];
    assert_eq!(hears(&engine, Listening::default(), &silence).await, Ok(vec![]));
    assert_eq!(hears(&engine, Listening::default(), &[]).await, Ok(vec![]));
    let info = engine.describe().await.unwrap();
    assert_eq!(info.version, "sherpa-onnx 2.0.1, streaming-zipformer-ctc, streaming-ctc");
}

#[tokio::test]
async fn a_hint_makes_a_word_likelier() {
    let engine = SherpaEar::new(ear("streaming-transducer"));
    let audio = sounds(8_000, &[(&[], 300), (EITHER, 400), (&[], 300)]);
    let zh = Listening { languages: vec!["zh".to_owned()], ..Listening::default() };
    assert_eq!(text(&hears(&engine, zh.clone(), &audio).await.unwrap()), Some("不"));
    // One that the model has no tokens for is left out.
    let hinted = Listening { hints: vec!["不好".to_owned(), "ok :9".to_owned(), "是".to_owned()], ..zh };
    assert_eq!(text(&hears(&engine, hinted, &audio).await.unwrap()), Some("是"));
}

#[tokio::test]
async fn a_model_of_whole_utterances_hears_at_the_end() {
    let config = ear("sense-voice");
    let engine = SherpaEar::new(config.clone());
    assert!(!engine.abilities().partials);
    let grammar = Grammar::read(r#"{"answer": {"kind": "yes-no"}}"#).unwrap();
    let ears = Ears::new([Ear {
        languages: config.languages.clone(),
        engine: Arc::new(engine),
        limits: EarLimits { result: Duration::from_secs(60), stall: Duration::from_secs(60), ..EarLimits::default() },
    }]);
    // The answers of a grammar are found in what was heard, as with every engine that knows no grammars.
    let what = Listening {
        languages: vec!["en".to_owned(), "zh".to_owned()],
        grammar: Some(grammar.clone().into()),
        ..Listening::default()
    };
    let heard = ears.listen(what).whole(&sounds(8_000, &[(&[], 300), (FIRST, 400), (&[], 200)]), 8_000).await.unwrap();
    assert_eq!(text(&heard), Some("是"));
    // The model says which language it was.
    assert_eq!(heard[0].language, "zh");
    assert_eq!(heard[0].words.len(), 1);
    let understood = grammar.understand(&heard[0].text, "zh", "2026-12-01".parse().unwrap());
    assert!(matches!(understood, Understanding::Whole { .. }), "{understood:?}");
}

#[tokio::test]
async fn other_models_of_whole_utterances_hear_too() {
    for (model, text_of_both) in [("zipformer-ctc", "yes no"), ("nemo-ctc", "yes no"), ("transducer", "是")] {
        let engine = SherpaEar::new(ear(model));
        assert_eq!(
            text(&hears(&engine, Listening::default(), &both(8_000)).await.unwrap()),
            Some(text_of_both),
            "{model}"
        );
        let version = engine.describe().await.unwrap().version;
        assert_eq!(version, format!("sherpa-onnx 2.0.1, {model}, {model}"));
    }
}

#[tokio::test]
async fn many_are_heard_at_once() {
    let engine = Arc::new(SherpaEar::new(ear("streaming-ctc")));
    let runs: Vec<_> = (0..16)
        .map(|n| {
            let (tone, word) = if n % 2 == 0 { (FIRST, "yes") } else { (SECOND, "no") };
            let engine = engine.clone();
            tokio::spawn(async move {
                let audio = sounds(8_000, &[(&[], 200), (tone, 400), (&[], 200)]);
                let heard = hears(&engine, Listening::default(), &audio).await.unwrap();
                assert_eq!(text(&heard), Some(word));
            })
        })
        .collect();
    for run in runs {
        run.await.unwrap();
    }
}

#[tokio::test]
async fn a_process_that_dies_is_started_again() {
    let engine = SherpaEar::new(ear("streaming-ctc"));
    let mut doomed = engine.start(Listening::default());
    for frame in both(8_000).chunks_exact(160) {
        doomed.sound.send(Sound::Frame(frame.into())).await.unwrap();
    }
    assert!(matches!(doomed.next().await, Ok(Some(Heard::Partial(_)))));
    let pid = engine.process_id().await.unwrap();
    let process = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    let end = loop {
        match doomed.next().await {
            Ok(Some(Heard::Partial(_))) => {}
            end => break end,
        }
    };
    assert_eq!(end, Err(RecogniserError::cut_short("streaming-ctc")));
    // The system takes a moment to clear it away: until then, it is asked in vain.
    let heard = loop {
        match hears(&engine, Listening::default(), &both(8_000)).await {
            Err(RecogniserError::Crashed { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            heard => break heard.unwrap(),
        }
    };
    assert_eq!(text(&heard), Some("yes no"));
    assert_ne!(engine.process_id().await, Some(pid));
}

#[tokio::test]
async fn what_is_wrong_with_a_model_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        std::fs::create_dir_all(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("model.onnx"), bytes).unwrap();
        std::fs::write(folder.path().join(name).join("tokens.txt"), "<blk> 0\n").unwrap();
    };
    put("rubbish", b"not a model");
    put("other", &std::fs::read(models().1.join("vits/vits-hand.onnx")).unwrap());
    // A library of another version: its structures are others, and nothing of it is called but what tells the version.
    let source = folder.path().join("old.c");
    std::fs::write(&source, "const char *SherpaOnnxGetVersionStr() { return \"1.12.9\"; }").unwrap();
    let old = folder.path().join("libold.so");
    assert!(Command::new("cc").args(["-shared", "-o"]).arg(&old).arg(&source).status().unwrap().success());

    let kind = EarKind::named("sense-voice");
    let at = |name: &str| SherpaEarConfig { folder: folder.path().join(name), ..ear("streaming-ctc") };
    for (config, code, said) in [
        (at("nowhere"), "recogniser_missing", "nowhere"),
        (at("rubbish"), "recogniser_missing", "nobody knows what the model"),
        (SherpaEarConfig { kind, ..at("rubbish") }, "recogniser_broken", "its model cannot be loaded ("),
        (SherpaEarConfig { kind, ..at("other") }, "recogniser_broken", "vocab_size"),
        (
            SherpaEarConfig { library: Some("/nowhere/lib.so".into()), ..ear("sense-voice") },
            "recogniser_missing",
            "cannot open shared object file",
        ),
        (SherpaEarConfig { library: Some(old), ..ear("sense-voice") }, "recogniser_broken", "1.12.9"),
        (SherpaEarConfig { library: Some("libc.so.6".into()), ..ear("sense-voice") }, "recogniser_broken", "no sherpa"),
        (SherpaEarConfig { worker: "/bin/false".into(), ..ear("sense-voice") }, "recogniser_broken", "/bin/false"),
    ] {
        let shown = format!("{config:?}");
        let error = SherpaEar::new(config).describe().await.unwrap_err();
        assert!(error.code() == code && error.to_string().contains(said), "{shown}: {error}");
    }
}

fn english(text: &str, rate: Option<u16>) -> Utterance {
    let voice = VoiceSettings { voice: None, language: "en".to_owned(), rate };
    Utterance::new(text.to_owned(), voice)
}

/// Times that it goes from below zero to above.
fn rises(samples: &[i16]) -> usize {
    samples.windows(2).filter(|pair| pair[0] <= 0 && pair[1] > 0).count()
}

#[tokio::test]
async fn a_voice_speaks_as_long_as_its_words() {
    let engine = SherpaVoice::new(voice("vits"));
    // 100 ms for each token of the lexicon, for what is between words, and for a stop; 1000 Hz.
    for (text, rate, ms) in [("hello", None, 200), ("Hello world.", None, 900), ("hello", Some(350), 100)] {
        let spoken = samples(&speak_all(engine.speak(english(text, rate))).await.unwrap());
        assert!(spoken.len().abs_diff(ms * 8) <= 160, "{text}: {} samples", spoken.len());
        assert!(rises(&spoken).abs_diff(ms) <= 6, "{text}: {} periods", rises(&spoken));
    }
    let info = engine.describe().await.unwrap();
    assert_eq!(info.version, "sherpa-onnx 2.0.1, vits, 16000 Hz, vits");
    assert_eq!(info.voices, 1);
    let other = VoiceSettings { voice: Some("1".to_owned()), ..english("", None).voice };
    assert!(matches!(engine.supports(&other), Err(SpeechError::UnknownVoice { .. })));
}

#[tokio::test]
async fn a_voice_without_a_lexicon_gets_phonemes() {
    let engine = SherpaVoice::new(voice("piper"));
    let short = samples(&speak_all(engine.speak(english("hello", None))).await.unwrap());
    let long = samples(&speak_all(engine.speak(english("hello, hello", None))).await.unwrap());
    // The begin, the end, and two tokens of 100 ms for each sound: həlˈoʊ.
    assert!((1_000..2_000).contains(&(short.len() / 8)), "{}", short.len());
    // The same twice, a comma and a space, but one begin and one end.
    assert!(long.len() > 2 * short.len() - 3 * 800, "{} {}", short.len(), long.len());
}

#[tokio::test]
async fn a_voice_that_nobody_hears_stops() {
    let engine = SherpaVoice::new(SherpaVoiceConfig { at_once: 1, ..voice("vits") });
    // Sentences are rendered one by one.
    let mut abandoned = engine.speak(english(&"hello world. ".repeat(300), None));
    assert!(abandoned.recv().await.unwrap().is_ok());
    drop(abandoned);
    // There is one place, and it is free again.
    assert!(speak_all(engine.speak(english("hello", None))).await.is_ok());
    let error = speak_all(engine.speak(english(&"hello world ".repeat(1_000), None))).await.unwrap_err();
    assert_eq!(error.code(), "speech_too_long", "{error}");
}

#[tokio::test]
async fn another_voice_says_what_a_model_cannot() {
    let broken = SherpaVoiceConfig { folder: "/nowhere".into(), ..voice("vits") };
    let error = SherpaVoice::new(broken).describe().await.unwrap_err();
    assert!(error.to_string().contains("/nowhere"), "{error}");
    let engine = SherpaVoice::new(voice("vits"));
    let error = speak_all(engine.speak(english("Grzegorz", None))).await.unwrap_err();
    assert!(error.is_the_engines() && error.to_string().contains("knows none of the words"), "{error}");
    // Which is why espeak-ng says it.
    let speakers = [
        Speaker::new(Arc::new(engine)),
        Speaker::new(Arc::new(callbox_speech::Espeak::new(callbox_speech::EspeakConfig::default()))),
    ];
    let speech = Speech::with_speakers(SpeechConfig::default(), speakers.into()).unwrap();
    let chunks = fake::render(&speech, "Grzegorz", "en").await.unwrap();
    assert!(!samples(&chunks).is_empty());
    assert!(Path::new(&models().0).is_file());
}
