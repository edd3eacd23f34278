//! An engine may hang, crash, flood, lie or be missing: one sentence fails,
//! with an error that says why, and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fake;

use callbox_dialogue::script::HostError;
use callbox_speech::{Espeak, EspeakConfig, SpeechError, Synthesiser as _, Utterance};
use fake::{FakeEngine, alive, check, collect, render, speak_all, text, until, voice, within};
use std::time::Duration;

/// Notes its number and that of a child, and waits for ever.
const HANG: &str = "cat > /dev/null; sleep 1000 & echo $! > child; echo $$ > pid; wait";

/// How an engine fails that is killed by its time limit, which is long enough
/// for it to have written `file`.
async fn killed(fake: &FakeEngine, file: &str) -> SpeechError {
    for limit in [250, 1_000, 4_000, 16_000] {
        let config = EspeakConfig { timeout: Duration::from_millis(limit), ..fake.config() };
        let error = render(&fake.speech_with(config, None), "Hello.", "en").await.unwrap_err();
        if !fake.lines(file).is_empty() {
            return error;
        }
    }
    panic!("the engine never started");
}

async fn failure(body: &str) -> SpeechError {
    let fake = FakeEngine::new(body);
    render(&fake.speech(), "Hello.", "en").await.unwrap_err()
}

#[tokio::test]
async fn one_that_hangs_is_killed_with_its_children() {
    let fake = FakeEngine::new(HANG);
    let error = killed(&fake, "pid").await;
    // 10 ms more for each byte of "Hello."
    let limits = [310, 1_060, 4_060, 16_060];
    assert!(
        matches!(error, SpeechError::TimedOut { engine: "espeak-ng", limit_ms } if limits.contains(&limit_ms)),
        "{error}"
    );
    assert!(matches!(error.to_host_error(), HostError::Unavailable(_)));
    for pid in [fake.lines("pid"), fake.lines("child")].concat() {
        until("the engine is gone", || !alive(&pid)).await;
    }
}

#[tokio::test]
async fn one_whose_child_keeps_the_pipe_open_is_killed_too() {
    let fake = FakeEngine::new("sleep 1000 & echo $! > child; exit 0");
    let error = killed(&fake, "child").await;
    assert!(matches!(error, SpeechError::TimedOut { .. }), "{error}");
    let child = fake.lines("child").remove(0);
    until("the child is gone", || !alive(&child)).await;
}

#[tokio::test]
async fn one_that_nobody_listens_to_any_more_is_killed() {
    let fake = FakeEngine::new(HANG);
    let speech = fake.speech();
    let chunks = speech.render(&text("Hello."), &voice("en"), |_| None);
    until("the engine runs", || !fake.lines("pid").is_empty()).await;
    let pid = fake.lines("pid").remove(0);
    assert!(alive(&pid));
    drop(chunks);
    until("the engine is gone", || !alive(&pid)).await;
    let child = fake.lines("child").remove(0);
    until("its child is gone", || !alive(&child)).await;
}

#[tokio::test]
async fn one_that_crashes_says_how() {
    let error = failure("echo starting >&2; echo 'cannot open voice data' >&2; kill -SEGV $$").await;
    assert_eq!(error.to_string(), "the synthesiser espeak-ng failed (killed by signal 11): cannot open voice data");
    let error = failure("cat tone.wav; exit 3").await;
    assert_eq!(error.to_string(), "the synthesiser espeak-ng failed (exit status 3)");
    assert_eq!(error.code(), "speech_crashed");
}

#[tokio::test]
async fn one_that_talks_too_much_is_cut_off() {
    let error = failure("head -c 44 tone.wav; cat /dev/zero").await;
    assert!(matches!(error, SpeechError::TooLong { what: "audio of an utterance", limit: 300_000 }), "{error}");
    let error = failure("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1").await;
    let SpeechError::Crashed { stderr, .. } = &error else { panic!("{error}") };
    assert_eq!(stderr.len(), 200);
}

#[tokio::test]
async fn one_that_gives_no_audio_says_what_it_gave() {
    for (body, what) in [
        ("echo this is not a WAV file", "does not begin with a RIFF"),
        ("cat /dev/zero", "does not begin with a RIFF"),
        ("exit 0", "the stream ended before any sample"),
        ("head -c 30 tone.wav", "the stream ended before any sample"),
        ("head -c 44 tone.wav", "no samples"),
        ("head -c 101 tone.wav", "in the middle of a sample"),
        ("head -c 22 tone.wav; printf '\\2'; tail -c +24 tone.wav", "2 channels"),
        ("head -c 24 tone.wav; printf '\\1\\1\\0\\0'; tail -c +29 tone.wav", "257 samples a second"),
        ("printf 'RIFF0000WAVE'; cat /dev/zero", "no sample data within"),
    ] {
        let error = failure(body).await;
        assert!(matches!(&error, SpeechError::BadAudio { .. }), "{body}: {error}");
        assert!(error.to_string().contains(what), "{body}: {error}");
    }
}

#[tokio::test]
async fn one_that_does_not_read_its_input_may_speak() {
    let fake = FakeEngine::new("exec < /dev/null; cat tone.wav");
    let chunks = render(&fake.speech(), "Hello.", "en").await.unwrap();
    assert_eq!(fake::duration(&chunks), 1_000);
}

#[tokio::test]
async fn a_missing_one_names_the_remedy() {
    let config = EspeakConfig { program: "/nowhere/espeak-ng".into(), ..EspeakConfig::default() };
    let engine = Espeak::new(config.clone());
    let error = engine.describe().await.unwrap_err();
    assert!(matches!(error, SpeechError::EngineMissing { .. }));
    assert!(error.to_string().contains("apt-get install espeak-ng"), "{error}");
    let fake = FakeEngine::new("");
    let speech = fake.speech_with(config, None);
    assert_eq!(check(&speech).await, Err(error.clone()));
    assert_eq!(render(&speech, "Hello.", "en").await.unwrap_err(), error);
    // What needs no engine goes on.
    let silence = callbox_dialogue::script::Segment::Silence(100);
    assert_eq!(collect(speech.render(&silence, &voice("en"), |_| None)).await.unwrap().len(), 1);
    assert!(render(&speech, " ... ", "en").await.unwrap().is_empty());
}

#[tokio::test]
async fn one_that_cannot_be_started_says_why() {
    let fake = FakeEngine::new("");
    let config = EspeakConfig { program: fake.path("tone.wav"), ..EspeakConfig::default() };
    let error = fake.check(config).await.unwrap_err();
    assert!(matches!(&error, SpeechError::EngineBroken { .. }), "{error}");
    assert!(error.to_string().contains("ermission denied"), "{error}");
}

#[tokio::test]
async fn one_whose_lists_are_broken_says_so() {
    for (lists, code) in [
        ("echo nothing; exit 0", "speech_engine_broken"),
        ("exit 1", "speech_crashed"),
        ("cat /dev/zero", "speech_engine_broken"),
        ("sleep 1000", "speech_timed_out"),
        ("kill -ABRT $$", "speech_crashed"),
    ] {
        let fake = FakeEngine::answering(lists, "");
        let timeout = if lists.starts_with("sleep") { Duration::from_millis(100) } else { fake.config().timeout };
        let config = EspeakConfig { timeout, ..fake.config() };
        let error = fake.check(config).await.unwrap_err();
        assert_eq!(error.code(), code, "{lists}: {error}");
    }
}

#[tokio::test]
async fn one_that_is_installed_later_is_found() {
    let fake = FakeEngine::new("cat tone.wav");
    let config = EspeakConfig { program: fake.path("later"), ..EspeakConfig::default() };
    let speech = fake.speech_with(config, None);
    assert_eq!(check(&speech).await.unwrap_err().code(), "speech_engine_missing");
    std::fs::rename(fake.program(), fake.path("later")).unwrap();
    // A failure is remembered for a moment.
    let mut found = check(&speech).await;
    for _ in 0..200 {
        if found.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        found = check(&speech).await;
    }
    assert_eq!(found.as_deref(), Ok("1.51, 1 voices"));
}

#[tokio::test]
async fn more_than_it_can_do_is_refused_at_once() {
    let fake = FakeEngine::new(HANG);
    let config = EspeakConfig { processes: 1, waiting: 1, ..fake.config() };
    let engine = Espeak::new(config);
    let utterance = |text: &str| Utterance::new(text.to_owned(), voice("en"));
    let first = engine.speak(utterance("one"));
    until("the first runs", || !fake.lines("pid").is_empty()).await;
    let second = engine.speak(utterance("two"));
    // The second stands in the queue once a third is refused.
    let mut refused = Vec::new();
    for _ in 0..3_000 {
        let mut third = engine.speak(utterance("three"));
        match tokio::time::timeout(Duration::from_millis(20), third.recv()).await {
            Ok(Some(Err(error))) => {
                refused.push(error);
                break;
            }
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    }
    assert_eq!(refused, [SpeechError::Overloaded { waiting: 1 }]);
    drop((first, second));
}

#[tokio::test]
async fn one_waits_for_its_turn_and_no_longer() {
    let fake = FakeEngine::new(HANG);
    let config = EspeakConfig { processes: 1, wait: Duration::from_millis(100), ..fake.config() };
    let engine = Espeak::new(config);
    let utterance = |text: &str| Utterance::new(text.to_owned(), voice("en"));
    let first = engine.speak(utterance("one"));
    until("the first runs", || !fake.lines("pid").is_empty()).await;
    let error = speak_all(engine.speak(utterance("two"))).await.unwrap_err();
    assert_eq!(error, SpeechError::Overloaded { waiting: 0 });
    drop(first);
}

#[tokio::test]
async fn the_others_go_on() {
    // One sentence in three crashes the engine; the others are heard.
    let fake = FakeEngine::new("if grep -q bad; then kill -SEGV $$; fi; cat tone.wav");
    let speech = fake.speech();
    let renders = (0..12).map(|i| {
        let speech = speech.clone();
        let what = if i % 3 == 0 { format!("A bad one, {i}.") } else { format!("A good one, {i}.") };
        tokio::spawn(async move { (i, render(&speech, &what, "en").await) })
    });
    for done in renders.collect::<Vec<_>>() {
        let (i, result) = within(done).await.unwrap();
        assert_eq!(result.is_err(), i % 3 == 0, "{i}: {result:?}");
    }
}
