//! Clients of voices, against speechd.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod with;

use callbox_dialogue::leg::VoiceSettings;
use callbox_dialogue::script::Segment;
use callbox_speech::remote::ProviderFailure;
use callbox_speech::{Chunk, Speaker, Speech, SpeechConfig, SpeechError};
use serde_json::Value;
use tokio::sync::mpsc;
use with::{VOICES, requests, samples, server, utterance, voice, within};

#[tokio::test]
async fn each_protocol_brings_the_same_audio() {
    let server = server("").await;
    let address = server.address().to_string();
    for kind in VOICES {
        let spoken = samples(voice(kind, &address, "sesame", None).speak(utterance("Good morning, everybody."))).await;
        let spoken = spoken.unwrap_or_else(|error| panic!("{kind}: {error}"));
        // 20 ms a letter, and what fills the last chunk's frame.
        assert!((24 * 160..=25 * 160).contains(&spoken.len()), "{kind}: {}", spoken.len());
        let loud = spoken.iter().filter(|sample| sample.unsigned_abs() > 4_000).count();
        assert!(loud * 2 > spoken.len(), "{kind}: {loud} of {} samples are loud", spoken.len());
    }
}

#[tokio::test]
async fn requests_say_what_the_protocol_wants() {
    let server = server("").await;
    let address = server.address().to_string();
    for kind in VOICES {
        let mut what = utterance("Hello");
        what.voice = VoiceSettings { voice: Some("anna".into()), language: "de".into(), rate: Some(350) };
        samples(voice(kind, &address, "sesame", None).speak(what)).await.unwrap();
    }
    let asked = requests(&server).await;
    let at = |entry: usize, place: &str| asked[entry].pointer(place).cloned().unwrap_or(Value::Null);
    assert_eq!(at(0, "/body/input"), "Hello");
    assert_eq!(at(0, "/body/model"), "model-1");
    assert_eq!(at(0, "/body/voice"), "anna");
    assert_eq!(at(0, "/body/response_format"), "pcm");
    assert_eq!(at(0, "/body/speed"), 2.0);
    assert_eq!((at(1, "/query/model"), at(1, "/query/encoding")), ("anna".into(), "linear16".into()));
    assert_eq!(at(1, "/query/sample_rate"), "8000");
    assert_eq!((at(2, "/body/language"), at(2, "/body/type")), ("de".into(), "text".into()));
    assert_eq!((at(2, "/body/voice"), at(2, "/body/text")), ("anna".into(), "Hello".into()));
    assert_eq!((at(3, "/query/language"), at(3, "/query/sampleRate")), ("de".into(), "16000".into()));
}

#[tokio::test]
async fn a_connection_says_many_things_also_after_an_interruption() {
    let server = server("").await;
    let voice = voice("deepgram", &server.address().to_string(), "sesame", None);
    for _ in 0..3 {
        assert!(!samples(voice.speak(utterance("one"))).await.unwrap().is_empty());
    }
    let mut parts = voice.speak(utterance("forever and ever, amen"));
    assert!(within(parts.recv()).await.unwrap().is_ok());
    drop(parts);
    // It is cleared in the background; until then another connection is made, and in the end there are two.
    for _ in 0..3 {
        let spoken = samples(voice.speak(utterance("two"))).await.unwrap();
        assert_eq!(spoken.len().div_ceil(160), 3, "nothing is left of what was interrupted");
    }
    let connections = requests(&server).await.len();
    assert!((1..=2).contains(&connections), "{connections}");
}

#[tokio::test]
async fn a_wrong_key_is_an_error_with_its_status() {
    let server = server("").await;
    let address = server.address().to_string();
    for kind in VOICES {
        let error = samples(voice(kind, &address, "wrong", None).speak(utterance("Hello"))).await.unwrap_err();
        let SpeechError::Provider { provider, failure } = &error else { panic!("{kind}: {error}") };
        assert_eq!(&**provider, kind);
        assert!(matches!(failure, ProviderFailure::Unauthorised { status: 401, .. }), "{kind}: {failure}");
        assert!(!error.to_string().contains("wrong") && error.is_the_engines(), "{error}");
    }
}

async fn collect(mut chunks: mpsc::Receiver<Result<Chunk, SpeechError>>) -> Result<Vec<Chunk>, SpeechError> {
    let mut all = Vec::new();
    while let Some(chunk) = within(chunks.recv()).await {
        all.push(chunk?);
    }
    Ok(all)
}

fn english(voice: Option<&str>) -> VoiceSettings {
    VoiceSettings { voice: voice.map(str::to_owned), language: "en".into(), rate: None }
}

#[tokio::test]
async fn the_next_voice_steps_in() {
    let server = server("").await;
    let address = server.address().to_string();
    let speaker = |name: &str, kind: &str, key: &str| Speaker {
        name: name.to_owned(),
        ..Speaker::new(voice(kind, &address, key, None))
    };
    let speakers = vec![speaker("first", "openai", "wrong"), speaker("second", "custom-http", "sesame")];
    let speech = Speech::with_speakers(SpeechConfig::default(), speakers).unwrap();
    let text = Segment::Text("One. Two. Three. Four. Five. Six.".into());
    let chunks = collect(speech.render(&text, &english(None), |_| None)).await.unwrap();
    let last = chunks.iter().rev().find_map(|chunk| chunk.words.last()).unwrap();
    assert_eq!(last.text_end, 33);
    assert_eq!(last.at, chunks.iter().map(|chunk| chunk.clip.duration_ms()).sum::<u32>());
    let asked = requests(&server).await;
    assert_eq!(asked.len(), 6, "whoever failed is not asked for each sentence");
    // Asked for by name there is nobody else with that voice, but somebody with the language.
    let by_name = Segment::Text("Seven.".into());
    assert!(collect(speech.render(&by_name, &english(Some("first/anna")), |_| None)).await.is_ok());
    collect(speech.render(&Segment::Text("Eight.".into()), &english(Some("second/bob")), |_| None)).await.unwrap();
    assert_eq!(requests(&server).await.last().unwrap()["body"]["voice"], "bob");
    let error = collect(speech.render(&by_name, &english(Some("nobody")), |_| None)).await.unwrap_err();
    assert_eq!(error.code(), "speech_unknown_voice");
    let checked = speech.check().await;
    assert_eq!(checked[0].1.as_ref().unwrap_err().code(), "speech_provider_unauthorised");
    assert!(checked[1].1.is_ok());
}
