//! Clients of recognisers, against speechd.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod with;

use callbox_grammar::Grammar;
use callbox_speech::recogniser::{Ear, EarLimits, Ears, Heard, Languages, Listening, RecogniserError, Sound};
use std::sync::Arc;
use std::time::Duration;
use with::{EARS, ear, requests, server, within};

const SCRIPT: &str = "transcripts: [{ text: yes please, confidence: 0.75 }, { text: something else }]";

/// A second of noise and a second of silence.
fn speech() -> Vec<i16> {
    let mut samples: Vec<i16> = (0..8_000).map(|i| if i / 10 % 2 == 0 { 8_000 } else { -8_000 }).collect();
    samples.resize(16_000, 0);
    samples
}

fn listening() -> Listening {
    let menu = r#"{"answer": {"kind": "choices", "choices": [
        {"value": "book", "phrases": ["book", "make an appointment"]}, {"value": "cancel", "phrases": ["cancel"]}]}}"#;
    let grammar = Some(Arc::new(Grammar::read(menu).unwrap()));
    Listening { hints: vec!["Callbox".into()], grammar, ..Listening::default() }
}

#[tokio::test]
async fn each_protocol_brings_the_words() {
    for kind in EARS {
        let server = server(SCRIPT).await;
        let ear = ear(kind, &server.address().to_string(), "sesame", None);
        let heard = within(ear.start(listening()).whole(&speech(), 8_000)).await;
        let heard = heard.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(heard[0].text, "yes please", "{kind}");
        let confidence = heard[0].confidence;
        match kind {
            "openai" => assert_eq!(confidence, None, "it has none, and none is made up"),
            _ => assert_eq!(confidence, Some(0.75), "{kind}"),
        }
        if kind == "deepgram" {
            let words: Vec<&str> = heard[0].words.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(words, ["yes", "please"]);
        }
        assert!(within(ear.describe()).await.is_ok(), "{kind}");
    }
}

#[tokio::test]
async fn silence_is_no_words() {
    for kind in ["deepgram", "custom"] {
        let server = server(SCRIPT).await;
        let ear = ear(kind, &server.address().to_string(), "sesame", None);
        let heard = within(ear.start(Listening::default()).whole(&vec![0; 16_000], 8_000)).await;
        assert_eq!(heard, Ok(Vec::new()), "{kind}");
    }
    // Who sends nothing asks for nothing.
    let server = server(SCRIPT).await;
    let ear = ear("openai", &server.address().to_string(), "sesame", None);
    assert_eq!(within(ear.start(Listening::default()).whole(&[], 8_000)).await, Ok(Vec::new()));
    assert!(requests(&server).await.is_empty());
}

#[tokio::test]
async fn requests_say_what_the_protocol_wants() {
    let server = server(SCRIPT).await;
    for kind in EARS {
        let what = Listening { languages: vec!["en-GB".into()], ..listening() };
        within(ear(kind, &server.address().to_string(), "sesame", None).start(what).whole(&speech(), 8_000))
            .await
            .unwrap();
    }
    let asked = requests(&server).await;
    assert_eq!(asked[0]["body"]["prompt"], "Callbox, book, make an appointment, cancel");
    assert_eq!((&asked[0]["body"]["language"], &asked[0]["body"]["model"]), (&"en".into(), &"model-1".into()));
    assert_eq!(asked[1]["keyterms"].as_array().unwrap().len(), 4);
    assert_eq!(asked[1]["query"]["language"], "en-GB");
    assert_eq!(asked[2]["body"]["options"]["hints"][1], "book");
    assert_eq!(asked[2]["body"]["sampleRateHz"], 8_000);
}

#[tokio::test]
async fn hypotheses_come_while_somebody_speaks() {
    for kind in ["deepgram", "custom"] {
        let server = server(SCRIPT).await;
        let mut run = ear(kind, &server.address().to_string(), "sesame", None).start(Listening::default());
        for frame in speech()[..8_000].chunks(160) {
            run.sound.send(Sound::Frame(frame.into())).await.unwrap();
        }
        // Nobody has said that the utterance is over.
        let Some(Heard::Partial(partial)) = within(run.next()).await.unwrap() else { panic!("{kind}") };
        assert_eq!(partial.text, "yes", "{kind}");
        run.sound.send(Sound::EndOfUtterance).await.unwrap();
        loop {
            match within(run.next()).await.unwrap() {
                Some(Heard::Partial(_)) => {}
                Some(Heard::Final(heard)) => break assert_eq!(heard[0].text, "yes please"),
                None => panic!("{kind}"),
            }
        }
    }
}

#[tokio::test]
async fn a_pause_ends_an_utterance_unasked_where_the_server_says_so() {
    let server = server(SCRIPT).await;
    let mut run = ear("deepgram", &server.address().to_string(), "sesame", None).start(Listening::default());
    let mut sound = speech();
    sound.resize(24_000, 0);
    for frame in sound.chunks(160) {
        // It may be over before all of it is sent.
        let _ = run.sound.send(Sound::Frame(frame.into())).await;
    }
    loop {
        match within(run.next()).await.unwrap() {
            Some(Heard::Partial(_)) => {}
            Some(Heard::Final(heard)) => break assert_eq!(heard[0].text, "yes please"),
            None => panic!("it ended without a result"),
        }
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_the_next_gets_the_audio() {
    for kind in EARS {
        let server = server(SCRIPT).await;
        let address = server.address().to_string();
        let bad = ear(kind, &address, "wrong", None);
        let error = within(bad.start(Listening::default()).whole(&speech(), 8_000)).await.unwrap_err();
        let RecogniserError::Refused { engine, what } = &error else { panic!("{kind}: {error}") };
        assert!(engine == kind && what.contains("401") && !what.contains("wrong"), "{error}");
        let limits =
            EarLimits { result: Duration::from_secs(60), stall: Duration::from_secs(60), ..EarLimits::default() };
        let good = ear(kind, &address, "sesame", None);
        let ears =
            Ears::new([bad, good].map(|engine| Ear { engine, languages: Languages::All, limits: limits.clone() }));
        let heard = within(ears.listen(Listening::default()).whole(&speech(), 8_000)).await.unwrap();
        assert_eq!(heard[0].text, "yes please", "{kind}");
    }
}
