//! Recognisers that die, stall and talk nonsense: a caller is heard by the next, or the script is told why not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_dialogue::script::HostError;
use callbox_grammar::{Answer, Grammar};
use callbox_speech::recogniser::{
    Abilities, Confidence, Ear, EarLimits, Ears, Heard, Hypothesis, Languages, Listening, Recogniser, RecogniserError,
    Run, Sound, Word, Work,
};
use callbox_speech::{BreakerConfig, BreakerState, EngineInfo, Pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// What an engine does with a run.
type Act = Arc<dyn Fn(Work) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// An engine that does what a test says.
struct Fake {
    name: &'static str,
    languages: Languages,
    dictation: bool,
    act: Act,
    started: AtomicUsize,
    /// Set when a run was dropped.
    dropped: Arc<AtomicUsize>,
    /// Has a permit once it is ready.
    ready: Semaphore,
}

fn fake<F: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    act: impl Fn(Work) -> F + Send + Sync + 'static,
) -> Arc<Fake> {
    Arc::new(Fake {
        name,
        languages: Languages::Some(vec!["en".to_owned()]),
        dictation: true,
        act: Arc::new(move |work| Box::pin(act(work))),
        started: AtomicUsize::new(0),
        dropped: Arc::default(),
        ready: Semaphore::new(0),
    })
}

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Recogniser for Fake {
    fn name(&self) -> &str {
        self.name
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            languages: self.languages.clone(),
            dictation: self.dictation,
            grammars: true,
            partials: true,
            alternatives: true,
            word_times: true,
            own_end_pointing: false,
            confidence: Some(Confidence::Claimed),
        }
    }

    fn start(&self, _: Listening) -> Run {
        self.started.fetch_add(1, Ordering::SeqCst);
        let (run, work) = Run::new();
        let (hear, watch) = (work.heard.clone(), Dropped(self.dropped.clone()));
        let act = (self.act)(work);
        tokio::spawn(async move {
            let _watch = watch;
            tokio::select! {
                () = act => {}
                () = hear.closed() => {}
            }
        });
        run
    }

    fn describe(&self) -> Pending<'_, Result<EngineInfo, RecogniserError>> {
        Box::pin(async {
            let _ready = self.ready.acquire().await.unwrap();
            Ok(EngineInfo { version: "1".to_owned(), voices: 0 })
        })
    }
}

fn said(text: &str) -> Hypothesis {
    Hypothesis { text: text.to_owned(), language: "en".to_owned(), ..Hypothesis::default() }
}

/// Hears everything, and says how many samples that was and what they add up to.
async fn counts(mut work: Work) {
    let (mut samples, mut sum) = (0, 0_i64);
    while let Some(sound) = work.sound.recv().await {
        match sound {
            Sound::Frame(frame) => {
                samples += frame.len();
                sum += frame.iter().map(|&sample| i64::from(sample)).sum::<i64>();
            }
            Sound::EndOfUtterance => {
                let _ = work.heard.send(Ok(Heard::Final(vec![said(&format!("{samples} {sum}"))]))).await;
            }
        }
    }
}

async fn drain(work: &mut Work) {
    while !matches!(work.sound.recv().await, None | Some(Sound::EndOfUtterance)) {}
}

/// Limits that nobody meets on a machine that does much else.
fn patient() -> EarLimits {
    let long = Duration::from_secs(60);
    EarLimits { wait: long, result: long, stall: long, ..EarLimits::default() }
}

fn ears(engines: &[&Arc<Fake>], limits: &EarLimits) -> Ears {
    Ears::new(engines.iter().map(|&engine| Ear {
        engine: engine.clone(),
        languages: Languages::All,
        limits: limits.clone(),
    }))
}

/// A second and a half of sound, and what `counts` makes of it.
fn audio() -> (Vec<i16>, &'static str) {
    ((0..12_000).map(|n: i16| n % 100).collect(), "12000 594000")
}

async fn recognise(ears: &Ears) -> Result<Vec<Hypothesis>, RecogniserError> {
    let (samples, _) = audio();
    let run = ears.listen(Listening::default()).whole(&samples, 8_000);
    tokio::time::timeout(Duration::from_secs(90), run).await.expect("it takes too long")
}

async fn text(ears: &Ears) -> String {
    recognise(ears).await.unwrap().remove(0).text
}

/// What comes when the only engine does this.
async fn failure<F: Future<Output = ()> + Send + 'static>(
    act: impl Fn(Work) -> F + Send + Sync + 'static,
) -> RecogniserError {
    recognise(&ears(&[&fake("broken", act)], &patient())).await.unwrap_err()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn the_first_that_can_is_asked() {
    let (first, second) = (fake("first", counts), fake("second", counts));
    let ears = ears(&[&first, &second], &patient());
    assert_eq!(text(&ears).await, audio().1);
    assert_eq!((first.started.load(Ordering::SeqCst), second.started.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test]
async fn the_next_hears_everything_from_the_beginning() {
    let failures: Vec<Arc<Fake>> = vec![
        fake("dies at once", |_| async {}),
        fake("dies in the middle", |mut work| async move {
            for _ in 0..20 {
                work.sound.recv().await;
            }
        }),
        fake("dies at the end", |mut work| async move { drain(&mut work).await }),
        fake("says why", |mut work| async move {
            drain(&mut work).await;
            let error = RecogniserError::Refused { engine: "says why".to_owned(), what: "no credit".to_owned() };
            let _ = work.heard.send(Err(error)).await;
        }),
        fake("changes its mind", |mut work| async move {
            let _ = work.heard.send(Ok(Heard::Partial(said("yes")))).await;
            drain(&mut work).await;
        }),
    ];
    let last = fake("last", counts);
    let engines: Vec<&Arc<Fake>> = failures.iter().chain([&last]).collect();
    let ears = ears(&engines, &patient());
    assert_eq!(text(&ears).await, audio().1);
    for engine in engines {
        assert_eq!(engine.started.load(Ordering::SeqCst), 1, "{}", engine.name);
    }
    let failed: Vec<u64> = ears.states().iter().map(|state| state.failed).collect();
    assert_eq!(failed, [1, 1, 1, 1, 1, 0]);
}

#[tokio::test]
async fn one_that_stalls_is_given_up_and_cancelled() {
    let limits = |result: u64, stall: u64| EarLimits {
        result: Duration::from_millis(result),
        stall: Duration::from_millis(stall),
        ..patient()
    };
    for (limits, what, engine) in [
        (
            limits(50, 60_000),
            "its result",
            fake("silent", |mut work| async move {
                drain(&mut work).await;
                std::future::pending().await
            }),
        ),
        (
            limits(60_000, 50),
            "taking the audio",
            fake("deaf", |work| async move {
                let _keep = work;
                std::future::pending().await
            }),
        ),
        (
            limits(50, 60_000),
            "its result",
            fake("shut", |mut work| async move {
                work.sound.close();
                std::future::pending().await
            }),
        ),
        (
            limits(50, 60_000),
            "its result",
            fake("talkative", |mut work| async move {
                drain(&mut work).await;
                while work.heard.send(Ok(Heard::Partial(said("and then")))).await.is_ok() {}
            }),
        ),
    ] {
        let alone = ears(&[&engine], &limits);
        // More than the engine's queue holds.
        let long = alone.listen(Listening::default()).whole(&[0; 16_000], 8_000);
        let error = tokio::time::timeout(Duration::from_secs(90), long).await.unwrap().unwrap_err();
        assert!(matches!(&error, RecogniserError::TimedOut { what: w, limit_ms: 50, .. } if *w == what), "{error}");
        assert!(matches!(error.to_host_error(), HostError::Unavailable(_)));
        until("it is cancelled", || engine.dropped.load(Ordering::SeqCst) == 1).await;
    }
}

#[tokio::test]
async fn nonsense_is_no_result() {
    let gives = |heard: Heard| {
        move |mut work: Work| {
            let heard = heard.clone();
            async move {
                drain(&mut work).await;
                let _ = work.heard.send(Ok(heard)).await;
                std::future::pending().await
            }
        }
    };
    let huge = || said(&"x ".repeat(1 << 20));
    for heard in [Heard::Final(vec![huge()]), Heard::Partial(huge())] {
        assert_eq!(failure(gives(heard)).await.code(), "recogniser_rubbish");
    }
    let odd = Hypothesis {
        confidence: Some(f32::NAN),
        words: vec![Word { start: 9, end: 3, ..Word::default() }],
        ..said("\u{1}yes\r\n")
    };
    let ears = ears(&[&fake("odd", gives(Heard::Final(vec![odd, said(""), said("no")])))], &patient());
    assert_eq!(recognise(&ears).await.unwrap(), [said("yes"), said("no")]);
}

#[tokio::test]
async fn all_that_fail_say_why() {
    assert_eq!(failure(|_| async {}).await, RecogniserError::cut_short("broken"));
    // What is wrong with the grammar is said, whatever else fails after it.
    let word = RecogniserError::Unpronounceable { engine: "first".to_owned(), word: "xqzt".to_owned() };
    let clear = word.clone();
    let first = fake("first", move |work| {
        let word = word.clone();
        async move {
            let _ = work.heard.send(Err(word)).await;
        }
    });
    let second = fake("second", |_| async {});
    let both = ears(&[&first, &second], &patient());
    assert_eq!(recognise(&both).await.unwrap_err(), clear);
    assert!(matches!(clear.to_host_error(), HostError::InvalidArgument(words) if words.contains("`xqzt`")));
    // It is not the engine's fault.
    assert_eq!(both.states()[0].failed, 0);
    assert_eq!(recognise(&Ears::new([])).await.unwrap_err().to_string(), "no recogniser hears en");
}

#[tokio::test]
async fn what_none_can_do_is_refused_at_once() {
    let closed = Arc::new(Fake {
        name: "closed",
        languages: Languages::Some(vec!["en".to_owned()]),
        dictation: false,
        act: Arc::new(|work| Box::pin(counts(work))),
        started: AtomicUsize::new(0),
        dropped: Arc::default(),
        ready: Semaphore::new(0),
    });
    let ears = ears(&[&closed], &patient());
    let mandarin = Listening { languages: vec!["zh-CN".to_owned()], ..Listening::default() };
    assert_eq!(ears.can(&mandarin).unwrap_err().to_string(), "no recogniser hears zh-CN");
    for grammar in [None, Some(Grammar::new(Answer::Text).into())] {
        let free = Listening { grammar, ..Listening::default() };
        let error = ears.listen(free).next().await.unwrap_err();
        assert!(matches!(&error, RecogniserError::Unable { .. }), "{error}");
        assert!(matches!(error.to_host_error(), HostError::Unavailable(_)));
    }
    let yes_no = Listening { grammar: Some(Grammar::new(Answer::YesNo).into()), ..Listening::default() };
    assert_eq!(ears.can(&yes_no), Ok(()));
    let hints = Listening { hints: vec!["a".to_owned(); 100_000], ..yes_no.clone() };
    assert!(matches!(ears.can(&hints), Err(RecogniserError::TooMuch { what: "hints", .. })));
    let hint = Listening { hints: vec!["a".repeat(100_000)], ..yes_no };
    assert!(matches!(ears.can(&hint), Err(RecogniserError::TooMuch { .. })));
    assert_eq!(closed.started.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_fails_while_it_wakes_up_is_not_held_against_it() {
    let slow = fake("slow", |_work| async {});
    let breaker =
        BreakerConfig { failures: 1, rest: Duration::from_secs(3_600), longest_rest: Duration::from_secs(3_600) };
    let ears = ears(&[&slow], &EarLimits { breaker, ..patient() });
    ears.wake();
    for _ in 0..3 {
        assert_eq!(recognise(&ears).await.unwrap_err().code(), "recogniser_crashed");
        assert_eq!(ears.states()[0].breaker, BreakerState::Closed);
    }
    slow.ready.add_permits(1);
    let counted = async {
        while ears.states()[0].failed == 0 {
            recognise(&ears).await.unwrap_err();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), counted).await.expect("it is awake, and what it fails counts");
    assert!(matches!(ears.states()[0].breaker, BreakerState::Open { .. }));
}

#[tokio::test]
async fn one_that_fails_again_and_again_is_left_alone_and_tried_again() {
    let works = Arc::new(Mutex::new(false));
    let first = fake("first", {
        let works = works.clone();
        move |work| {
            let now = *works.lock().unwrap();
            async move {
                if now {
                    counts(work).await;
                }
            }
        }
    });
    let second = fake("second", counts);
    let breaker =
        BreakerConfig { failures: 2, rest: Duration::from_millis(50), longest_rest: Duration::from_millis(50) };
    let forever =
        BreakerConfig { rest: Duration::from_secs(3_600), longest_rest: Duration::from_secs(3_600), ..breaker };
    let resting = ears(&[&first, &second], &EarLimits { breaker: forever, ..patient() });
    for _ in 0..5 {
        assert_eq!(text(&resting).await, audio().1);
    }
    assert_eq!(first.started.load(Ordering::SeqCst), 2, "then it is left alone");
    assert!(matches!(resting.states()[0].breaker, BreakerState::Open { .. }));
    assert_eq!(resting.states()[1].breaker, BreakerState::Closed);
    let alone = ears(&[&first], &EarLimits { breaker: forever, ..patient() });
    for _ in 0..2 {
        assert_eq!(recognise(&alone).await.unwrap_err().code(), "recogniser_crashed");
    }
    let error = recognise(&alone).await.unwrap_err();
    assert!(matches!(&error, RecogniserError::Resting { failures: 2, .. }), "{error}");

    let probing = ears(&[&first, &second], &EarLimits { breaker, ..patient() });
    for _ in 0..2 {
        text(&probing).await;
    }
    *works.lock().unwrap() = true;
    until("it has rested", || probing.states()[0].breaker == BreakerState::HalfOpen).await;
    text(&probing).await;
    assert_eq!(probing.states()[0].breaker, BreakerState::Closed);
}

#[tokio::test]
async fn nobody_listens_any_more() {
    let engine = fake("slow", |mut work| async move {
        drain(&mut work).await;
        std::future::pending().await
    });
    let ears = ears(&[&engine], &EarLimits { at_once: 1, ..patient() });
    let run = ears.listen(Listening::default());
    run.sound.send(Sound::Frame([0; 160].into())).await.unwrap();
    until("it runs", || ears.states()[0].running == 1).await;
    drop(run);
    until("it is cancelled", || engine.dropped.load(Ordering::SeqCst) == 1 && ears.states()[0].running == 0).await;
    // Hanging up is no failure of the engine.
    assert_eq!(ears.states()[0].failed, 0);
}

#[tokio::test]
async fn more_than_it_can_do_waits_and_then_is_refused() {
    let engine = fake("slow", |mut work| async move {
        drain(&mut work).await;
        std::future::pending().await
    });
    let limits = EarLimits { at_once: 1, waiting: 1, ..patient() };
    let small = ears(&[&engine], &limits);
    let first = small.listen(Listening::default());
    until("the first runs", || small.states()[0].running == 1).await;
    let second = small.listen(Listening::default());
    until("the second waits", || small.states()[0].waiting == 1).await;
    let error = recognise(&small).await.unwrap_err();
    assert_eq!(error, RecogniserError::Overloaded { engine: "slow".to_owned(), running: 1, waiting: 1 });
    assert!(matches!(error.to_host_error(), HostError::LimitExceeded(_)));
    drop((first, second));

    // The audio of one who waits is kept.
    let engine = fake("first", counts);
    let small = ears(&[&engine], &limits);
    let first = small.listen(Listening::default());
    until("the first runs", || small.states()[0].running == 1).await;
    let waits = tokio::spawn({
        let small = small.clone();
        async move { text(&small).await }
    });
    until("the second waits", || small.states()[0].waiting == 1).await;
    drop(first);
    assert_eq!(waits.await.unwrap(), audio().1);

    let hasty = ears(&[&engine], &EarLimits { wait: Duration::from_millis(20), ..limits });
    let _first = hasty.listen(Listening::default());
    until("the first runs", || hasty.states()[0].running == 1).await;
    assert_eq!(recognise(&hasty).await.unwrap_err().code(), "recogniser_overloaded");
}

#[tokio::test]
async fn a_result_may_come_before_it_is_asked_for() {
    let engine = fake("quick", |mut work| async move {
        for _ in 0..10 {
            work.sound.recv().await;
        }
        let _ = work.heard.send(Ok(Heard::Partial(said("ye")))).await;
        let _ = work.heard.send(Ok(Heard::Final(vec![said("yes")]))).await;
    });
    let ears = ears(&[&engine], &patient());
    let mut run = ears.listen(Listening::default());
    for _ in 0..10 {
        run.sound.send(Sound::Frame([0; 160].into())).await.unwrap();
    }
    assert_eq!(run.next().await, Ok(Some(Heard::Partial(said("ye")))));
    assert_eq!(run.next().await, Ok(Some(Heard::Final(vec![said("yes")]))));
    assert_eq!(run.next().await, Ok(None));
}
