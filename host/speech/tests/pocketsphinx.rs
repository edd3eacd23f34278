//! The embedded recogniser, with callers who speak.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod caller;

use callbox_speech::recogniser::{
    Ear, EarLimits, Ears, Heard, Hypothesis, Languages, Listening, Pocketsphinx, PocketsphinxConfig, Recogniser,
    RecogniserError, Sound,
};
use caller::{listening, pocketsphinx, says};
use std::sync::Arc;
use std::time::Duration;

const MENU: &str = r#"{"answer": {"kind": "choices", "choices": [
    {"value": "book", "phrases": ["make an appointment", "book"]},
    {"value": "cancel", "phrases": ["cancel my appointment"]},
    {"value": "hours", "phrases": ["opening hours", "when are you open"]}
]}, "universals": ["repeat", "operator"]}"#;
const PIN: &str = r#"{"answer": {"kind": "digits", "min": 4, "max": 4}}"#;

async fn hears(engine: &Pocketsphinx, what: Listening, samples: &[i16]) -> Result<Vec<Hypothesis>, RecogniserError> {
    let run = engine.start(what).whole(samples, 8_000);
    tokio::time::timeout(Duration::from_secs(120), run).await.expect("it takes too long")
}

#[tokio::test]
async fn answers_of_a_grammar_are_heard_and_others_are_not() {
    let engine = Pocketsphinx::new(pocketsphinx());
    for (voice, grammar, said, text) in [
        ("slt", MENU, "make an appointment", Some("make an appointment")),
        ("rms", MENU, "when are you open", Some("when are you open")),
        ("rms", PIN, "nine one one two", Some("nine one one two")),
        ("slt", MENU, "the quick brown fox jumps over the lazy dog", None),
        ("rms", PIN, "sorry could you say that again slowly", None),
    ] {
        let heard = hears(&engine, listening(grammar), &says(voice, said)).await.unwrap();
        assert_eq!(heard.first().map(|best| best.text.as_str()), text, "{voice}: {said}: {heard:?}");
        let Some(best) = heard.first() else { continue };
        assert!(best.confidence.is_some_and(|value| value >= 0.5), "{best:?}");
        assert_eq!(best.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "), best.text);
        let (first, last) = (best.words.first().unwrap(), best.words.last().unwrap());
        assert!((250..650).contains(&first.start), "it begins after 400 ms: {best:?}");
        assert!(last.end > first.start + 400 && last.end < 3_500, "{best:?}");
    }
}

#[tokio::test]
async fn it_says_what_it_hears_while_the_caller_speaks() {
    let engine = Pocketsphinx::new(pocketsphinx());
    let Heard::Partial(last) = ({
        let mut run = engine.start(listening(MENU));
        let samples = says("slt", "make an appointment");
        for frame in samples.chunks_exact(160) {
            run.sound.send(Sound::Frame(frame.into())).await.unwrap();
        }
        // The caller is silent by now, and nobody has said that this is the end.
        let mut last = run.next().await.unwrap().unwrap();
        while let Heard::Partial(partial) = &last
            && partial.text != "make an appointment"
        {
            last = run.next().await.unwrap().unwrap();
        }
        run.sound.send(Sound::EndOfUtterance).await.unwrap();
        let Heard::Final(whole) = run.next().await.unwrap().unwrap() else { panic!("a result") };
        assert_eq!(whole[0].text, "make an appointment");
        assert_eq!(run.next().await, Ok(None));
        last
    }) else {
        panic!("a partial result")
    };
    assert_eq!(last.language, "en");
}

#[tokio::test]
async fn silence_and_tones_are_nothing() {
    let engine = Pocketsphinx::new(pocketsphinx());
    let tone: Vec<i16> = (0..16_000).map(|n| (8_000.0 * (n as f32 * 0.345).sin()) as i16).collect();
    let clipped: Vec<i16> = (0..16_000).map(|n| if n / 9 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
    for samples in [vec![], vec![0; 16_000], tone, clipped] {
        assert_eq!(hears(&engine, listening(PIN), &samples).await, Ok(vec![]));
    }
}

#[tokio::test]
async fn words_that_are_in_no_dictionary_are_pronounced() {
    let engine = Pocketsphinx::new(pocketsphinx());
    let names = r#"{"answer": {"kind": "choices", "choices": [
        {"value": "1", "phrases": ["wojciechowska"]}, {"value": "2", "phrases": ["xanthopoulou"]},
        {"value": "3", "phrases": ["zxqwv"], "pronunciations": {"zxqwv": "AH P OY N T M AH N T"}}
    ]}}"#;
    for (said, text) in [("xanthopoulou", "xanthopoulou"), ("appointment", "zxqwv")] {
        let heard = hears(&engine, listening(names), &says("rms", said)).await.unwrap();
        assert_eq!(heard.first().map(|best| best.text.as_str()), Some(text));
    }
    // Without espeak-ng nobody knows.
    let mute = Pocketsphinx::new(PocketsphinxConfig { espeak: "/nowhere/espeak-ng".into(), ..pocketsphinx() });
    let error = hears(&mute, listening(names), &[]).await.unwrap_err();
    assert!(matches!(&error, RecogniserError::Unpronounceable { word, .. } if word == "wojciechowska"), "{error}");
}

#[tokio::test]
async fn a_grammar_that_cannot_be_compiled_is_said_and_not_held_against_it() {
    let ears = Ears::new([Ear {
        engine: Arc::new(Pocketsphinx::new(pocketsphinx())),
        languages: Languages::All,
        limits: EarLimits::default(),
    }]);
    let odd = r#"{"answer": {"kind": "choices", "choices": [
        {"value": "1", "phrases": ["zxqwv"], "pronunciations": {"zxqwv": "Z QX W"}}
    ]}}"#;
    for _ in 0..4 {
        let error = ears.listen(listening(odd)).whole(&[], 8_000).await.unwrap_err();
        assert_eq!(error.code(), "recogniser_bad_grammar", "{error}");
        assert!(error.to_string().contains("zxqwv"), "{error}");
    }
    assert_eq!(ears.states()[0].failed, 0);
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let broken = [
        (PocketsphinxConfig { library: "libnowhere.so.3".into(), ..pocketsphinx() }, "recogniser_missing"),
        (PocketsphinxConfig { model: "/nowhere".into(), ..pocketsphinx() }, "recogniser_missing"),
        (PocketsphinxConfig { library: "libc.so.6".into(), ..pocketsphinx() }, "recogniser_broken"),
        (PocketsphinxConfig { worker: "/nowhere/callbox".into(), ..pocketsphinx() }, "recogniser_broken"),
        (PocketsphinxConfig { worker: "/bin/true".into(), ..pocketsphinx() }, "recogniser_broken"),
        (PocketsphinxConfig { worker: "/bin/cat".into(), ..pocketsphinx() }, "recogniser_broken"),
    ];
    for (config, code) in broken {
        let what = format!("{config:?}");
        let engine = Pocketsphinx::new(config);
        let error = engine.describe().await.unwrap_err();
        assert_eq!(error.code(), code, "{what}: {error}");
        if code == "recogniser_missing" {
            assert!(error.to_string().contains("apt-get install libpocketsphinx3 pocketsphinx-en-us"), "{error}");
        }
    }
    let found = Pocketsphinx::new(pocketsphinx()).describe().await.unwrap();
    assert!(found.version.starts_with("5prealpha, en-us, 13"), "{}", found.version);
}

#[tokio::test]
async fn what_it_cannot_do_it_says() {
    let ears = Ears::new([Ear {
        engine: Arc::new(Pocketsphinx::new(pocketsphinx())),
        languages: Languages::All,
        limits: EarLimits::default(),
    }]);
    let mandarin = Listening { languages: vec!["zh-CN".to_owned()], ..listening(PIN) };
    assert_eq!(ears.can(&mandarin).unwrap_err().code(), "recogniser_unknown_language");
    assert_eq!(ears.can(&Listening::default()).unwrap_err().code(), "recogniser_unable");
    assert_eq!(ears.can(&listening(PIN)), Ok(()));
    let engine = Pocketsphinx::new(pocketsphinx());
    let fast = Listening { rate_hz: 44_100, ..listening(PIN) };
    assert_eq!(hears(&engine, fast, &[]).await.unwrap_err().code(), "recogniser_invalid_setting");
}

/// Processes whose parent this is.
fn children_of(parent: u32) -> Vec<u32> {
    let Ok(tasks) = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")) else {
        return Vec::new();
    };
    tasks.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[tokio::test]
async fn a_process_that_dies_costs_what_it_did_and_no_more() {
    let engine = Pocketsphinx::new(PocketsphinxConfig { name: "mortal".to_owned(), ..pocketsphinx() });
    let mut doomed = engine.start(listening(MENU));
    doomed.sound.send(Sound::Frame([0; 160].into())).await.unwrap();
    // Its process: the one whose child serves this recognition. Other tests have processes of their own.
    engine.describe().await.unwrap();
    let pid = engine.process_id().await.unwrap();
    let mut serving = children_of(pid);
    for _ in 0..6_000 {
        if !serving.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        serving = children_of(pid);
    }
    let kill = |pid: u32| {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    // The library crashes in one recognition …
    kill(serving[0]);
    assert_eq!(doomed.next().await, Err(RecogniserError::cut_short("mortal")));
    let audio = says("slt", "make an appointment");
    assert_eq!(hears(&engine, listening(MENU), &audio).await.unwrap().len(), 1);
    assert_eq!(engine.process_id().await, Some(pid), "the others are not affected");
    // … and all of it is gone.
    kill(pid);
    let mut heard = hears(&engine, listening(MENU), &audio).await;
    // Who is handed over while the kernel is not done with it is lost, too.
    while heard == Err(RecogniserError::cut_short("mortal")) {
        heard = hears(&engine, listening(MENU), &audio).await;
    }
    assert_eq!(heard.unwrap().len(), 1);
    assert_ne!(engine.process_id().await, Some(pid));
}
