//! The same text is rendered once, for all who ask, and kept.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fake;

use fake::{FakeEngine, alive, collect, render, samples, text, until, voice, within};
use tempfile::TempDir;

/// Notes that it was started, and speaks.
const COUNTED: &str = "echo started >> count; cat tone.wav";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_ask_at_once_share_one_process() {
    let fake = FakeEngine::new("echo started >> count; while [ ! -e go ]; do sleep 0.01; done; cat tone.wav");
    let speech = fake.speech();
    let renders: Vec<_> = (0..50)
        .map(|_| {
            let speech = speech.clone();
            tokio::spawn(async move { samples(&render(&speech, "Good morning.", "en").await.unwrap()) })
        })
        .collect();
    until("all but the first follow", || speech.stats().hits == 49).await;
    fake.put("go", b"");
    let mut first = None;
    for done in renders {
        let audio = within(done).await.unwrap();
        assert_eq!(audio.len(), 8_000);
        assert_eq!(*first.get_or_insert(audio.clone()), audio);
    }
    assert_eq!(fake.lines("count").len(), 1);
    // And who comes later has the very same clips.
    let (one, two) =
        (render(&speech, "Good morning.", "en").await.unwrap(), render(&speech, "Good morning.", "en").await.unwrap());
    assert!(one.iter().zip(&two).all(|(a, b)| std::sync::Arc::ptr_eq(&a.clip, &b.clip)));
    assert_eq!(fake.lines("count").len(), 1);
    assert_eq!(speech.stats().renders, 1);
    assert!(speech.stats().bytes > 32_000);
}

#[tokio::test]
async fn what_decides_about_the_audio_is_part_of_the_key() {
    let fake = FakeEngine::new(COUNTED);
    let speech = fake.speech();
    let mut other = voice("en");
    render(&speech, "One.", "en").await.unwrap();
    render(&speech, "Two.", "en").await.unwrap();
    other.rate = Some(200);
    collect(speech.render(&text("One."), &other, |_| None)).await.unwrap();
    other.rate = Some(201);
    collect(speech.render(&text("One."), &other, |_| None)).await.unwrap();
    other.voice = Some("en-gb".to_owned());
    collect(speech.render(&text("One."), &other, |_| None)).await.unwrap();
    assert_eq!(fake.lines("count").len(), 5);
    // The same sentence in another text, and the same number written otherwise.
    render(&speech, "Two.  One.", "en").await.unwrap();
    render(&speech, "It is 5.", "en").await.unwrap();
    render(&speech, "It is five.", "en").await.unwrap();
    assert_eq!(fake.lines("count").len(), 6);
}

#[tokio::test]
async fn a_failure_is_not_kept() {
    let fake =
        FakeEngine::new("echo started >> count; if [ ! -e ok ]; then head -c 20000 tone.wav; exit 1; fi; cat tone.wav");
    let directory = TempDir::new().unwrap();
    let speech = fake.speech_with(fake.config(), Some(directory.path()));
    assert!(render(&speech, "Hello.", "en").await.is_err());
    assert_eq!(speech.stats().bytes, 0);
    fake.put("ok", b"");
    assert_eq!(samples(&render(&speech, "Hello.", "en").await.unwrap()).len(), 8_000);
    assert_eq!(fake.lines("count").len(), 2);
}

#[tokio::test]
async fn one_who_leaves_does_not_stop_the_others() {
    let fake = FakeEngine::new("echo $$ > pid; while [ ! -e go ]; do sleep 0.01; done; cat tone.wav");
    let speech = fake.speech();
    let leaves = speech.render(&text("Hello."), &voice("en"), |_| None);
    until("it runs", || !fake.lines("pid").is_empty()).await;
    let stays = speech.render(&text("Hello."), &voice("en"), |_| None);
    until("the other follows", || speech.stats().hits == 1).await;
    drop(leaves);
    fake.put("go", b"");
    assert_eq!(samples(&collect(stays).await.unwrap()).len(), 8_000);
}

#[tokio::test]
async fn one_who_comes_back_starts_anew() {
    let fake = FakeEngine::new("echo $$ >> pids; while [ ! -e go ]; do sleep 0.01; done; cat tone.wav");
    let speech = fake.speech();
    let leaves = speech.render(&text("Hello."), &voice("en"), |_| None);
    until("it runs", || !fake.lines("pids").is_empty()).await;
    drop(leaves);
    let first = fake.lines("pids").remove(0);
    until("it is gone", || !alive(&first)).await;
    fake.put("go", b"");
    assert_eq!(samples(&render(&speech, "Hello.", "en").await.unwrap()).len(), 8_000);
    assert_eq!(fake.lines("pids").len(), 2);
}

#[tokio::test]
async fn a_directory_outlives_the_host() {
    let fake = FakeEngine::new(COUNTED);
    let directory = TempDir::new().unwrap();
    let files = || std::fs::read_dir(directory.path()).unwrap().map(|f| f.unwrap().path()).collect::<Vec<_>>();
    let speech = fake.speech_with(fake.config(), Some(directory.path()));
    let audio = samples(&render(&speech, "Hello.", "en").await.unwrap());
    until("it is written", || files().iter().any(|f| f.extension().is_some_and(|e| e == "pcm"))).await;
    drop(speech);
    let speech = fake.speech_with(fake.config(), Some(directory.path()));
    assert_eq!(samples(&render(&speech, "Hello.", "en").await.unwrap()), audio);
    assert_eq!((fake.lines("count").len(), speech.stats().disk_hits), (1, 1));
    // A broken file is rendered again and replaced.
    let [file] = files().try_into().unwrap();
    let good = std::fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[1_000] ^= 1;
    std::fs::write(&file, &bad).unwrap();
    let speech = fake.speech_with(fake.config(), Some(directory.path()));
    assert_eq!(samples(&render(&speech, "Hello.", "en").await.unwrap()), audio);
    assert_eq!(fake.lines("count").len(), 2);
    until("it is whole again", || std::fs::read(&file).is_ok_and(|bytes| bytes == good)).await;
}

#[tokio::test]
async fn a_directory_that_vanishes_harms_nothing() {
    let fake = FakeEngine::new(COUNTED);
    let directory = TempDir::new().unwrap();
    let speech = fake.speech_with(fake.config(), Some(directory.path()));
    directory.close().unwrap();
    assert_eq!(samples(&render(&speech, "Hello.", "en").await.unwrap()).len(), 8_000);
}

#[tokio::test]
async fn memory_is_bounded() {
    let fake = FakeEngine::new(COUNTED);
    let cache = callbox_speech::CacheConfig { memory_bytes: 100_000, ..Default::default() };
    let config = callbox_speech::SpeechConfig { espeak: fake.config(), cache, ..Default::default() };
    let speech = callbox_speech::Speech::new(config).unwrap();
    for i in 0..10 {
        render(&speech, &format!("Number {i}."), "en").await.unwrap();
        assert!(speech.stats().bytes <= 100_000);
    }
    render(&speech, "Number 0.", "en").await.unwrap();
    assert_eq!(fake.lines("count").len(), 11);
}

#[tokio::test]
async fn what_a_script_says_often_is_rendered_ahead_once() {
    let fake = FakeEngine::new(COUNTED);
    let speech = fake.speech();
    let texts = || ["Good morning.", "Goodbye. Farewell."].map(|text| (text.to_owned(), voice("en"))).to_vec();
    speech.rehearse("version 1", texts);
    speech.rehearse("version 1", || panic!("it is known"));
    until("both are there", || speech.stats().renders == 3).await;
    for text in ["Good morning.", "Goodbye.  Farewell."] {
        render(&speech, text, "en").await.unwrap();
    }
    assert_eq!(fake.lines("count").len(), 3, "nobody waits for an engine");
}
