//! From segments to audio, with the real espeak-ng where it matters.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fake;

use bytes::Bytes;
use callbox_dialogue::leg::{VoiceSettings, WordMark};
use callbox_dialogue::script::{HostError, Segment};
use callbox_media::wav;
use callbox_speech::pipe_wav::PipeWav;
use callbox_speech::resample::Resampler;
use callbox_speech::{
    Espeak, EspeakConfig, Flite, FliteConfig, Speech, SpeechConfig, SpeechError, Synthesiser as _, Utterance,
};
use fake::{FakeEngine, check, collect, duration, marks, render, samples, speak_all, text, until, voice, within};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

fn speech() -> Speech {
    Speech::new(SpeechConfig::default()).unwrap()
}

/// What espeak-ng says, all at once.
fn whole(voice: &str, text: &str) -> Vec<i16> {
    let mut command = Command::new("espeak-ng");
    command.args(["-v", voice, "-b", "1", "-z", "--stdin", "--stdout"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (mut wav, mut raw, mut out) = (PipeWav::new(), Vec::new(), Vec::new());
    wav.push(&output.stdout, &mut raw).unwrap();
    let mut resampler = Resampler::new(wav.rate().unwrap()).unwrap();
    resampler.push(&raw, &mut out);
    resampler.finish(&mut out);
    out.resize(out.len().next_multiple_of(160), 0);
    out
}

fn utterance(language: &str, text: &str) -> Utterance {
    Utterance::new(text.to_owned(), voice(language))
}

#[tokio::test]
async fn streamed_is_the_same_as_whole() {
    let engine = Espeak::new(EspeakConfig::default());
    for (language, file, text) in [
        ("en-US", "gmw/en-US", "Good morning, this is the surgery. Your appointment is tomorrow at half past ten."),
        ("en", "gmw/en", "Hello"),
        ("zh-CN", "sit/cmn-Latn-pinyin", "您好，您的预约是明天上午十点半。"),
        ("fr", "roa/fr", "Bonjour, ça va?"),
    ] {
        let chunks = speak_all(engine.speak(utterance(language, text))).await.unwrap();
        let (last, full) = chunks.split_last().unwrap();
        assert!(full.iter().all(|chunk| chunk.clip.samples().len() == 1_920), "240 ms each");
        assert!((160..=1_920).contains(&last.clip.samples().len()));
        assert!(chunks.iter().all(|chunk| chunk.clip.samples().len().is_multiple_of(160)));
        assert_eq!(samples(&chunks), whole(file, text), "{language}");
    }
}

#[tokio::test]
async fn the_same_text_is_the_same_audio() {
    let text = "Please hold the line. Your call is number 7.";
    let one = samples(&render(&speech(), text, "en-GB").await.unwrap());
    let two = samples(&render(&speech(), text, "en-GB").await.unwrap());
    assert!(one.len() > 16_000);
    assert_eq!(one, two);
    let rms = (one.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / one.len() as f64).sqrt();
    assert!(rms > 1_000.0, "it can be heard: {rms}");
}

#[tokio::test]
async fn chunks_come_while_the_engine_speaks() {
    let fake =
        FakeEngine::new("head -c 30044 tone.wav; while [ ! -e go ]; do sleep 0.01; done; tail -c +30045 tone.wav");
    let engine = Espeak::new(fake.config());
    let mut parts = engine.speak(utterance("en", "Hello."));
    let first = within(parts.recv()).await.unwrap().unwrap();
    assert!(matches!(first, callbox_speech::Part::Audio(_)));
    fake.put("go", b"");
    assert_eq!(samples(&speak_all(parts).await.unwrap()).len(), 8_000 - 1_920);
}

#[tokio::test]
async fn the_first_sentence_does_not_wait_for_the_second() {
    let fake = FakeEngine::new(
        "if grep -q econd; then echo x > second; while [ ! -e go ]; do sleep 0.01; done; fi; cat tone.wav",
    );
    let speech = fake.speech();
    let mut chunks = speech.render(&text("The first. The second. The third."), &voice("en"), |_| None);
    assert!(within(chunks.recv()).await.unwrap().is_ok());
    // The second is under way without being asked for.
    until("it renders ahead", || fake.path("second").exists()).await;
    fake.put("go", b"");
    let rest = collect(chunks).await.unwrap();
    // Three tones and two pauses.
    assert_eq!(duration(&rest) + 240, 3_000 + 2 * 300);
}

#[tokio::test]
async fn words_point_into_the_text_of_the_script() {
    let written = "You owe $1,234.56 (today). Press 1, please!";
    let chunks = render(&speech(), written, "en-US").await.unwrap();
    let marks = marks(&chunks);
    let said: Vec<&str> = marks.iter().map(|mark| &written[..mark.text_end as usize]).collect();
    assert_eq!(
        said,
        [
            "You",
            "You owe",
            "You owe $1,234.56",
            "You owe $1,234.56 (today).",
            "You owe $1,234.56 (today). Press",
            "You owe $1,234.56 (today). Press 1,",
            "You owe $1,234.56 (today). Press 1, please!",
        ]
    );
    assert!(marks.windows(2).all(|w| w[0].at < w[1].at));
    assert_eq!(marks.last().unwrap().at, duration(&chunks));
    // The second sentence begins after the pause.
    let amount = marks[2].at - marks[1].at;
    assert!(amount > 2_000, "a long number takes its time: {amount}");
}

#[tokio::test]
async fn a_text_is_never_an_option_or_a_command() {
    let engine = Espeak::new(EspeakConfig::default());
    // espeak-ng reads the sign as a word or leaves it out; it speaks, at its own speed.
    let plain = duration(&speak_all(engine.speak(utterance("en", "version one"))).await.unwrap());
    for text in ["--version one", "-v fr one two", "-w /tmp/x version", "$(reboot) version", "`reboot`; version"] {
        let long = duration(&speak_all(engine.speak(utterance("en", text))).await.unwrap());
        assert!(long >= plain / 2, "{text}: {long}");
    }
    // U+0001 and digits and S change the speed of the rest.
    let spoken = speak_all(engine.speak(utterance("en", "hello \u{1}80S hello hello"))).await.unwrap();
    assert_eq!(samples(&spoken), whole("gmw/en", "hello  80S hello hello"));
    let phonemes = speak_all(engine.speak(utterance("en", "say [[h@l'oU]]"))).await.unwrap();
    assert_eq!(samples(&phonemes), whole("gmw/en", "say [ [h@l'oU]]"));
}

#[tokio::test]
async fn the_rate_counts() {
    let speech = speech();
    let at = |rate| VoiceSettings { rate: Some(rate), ..voice("en") };
    let text = text("Your appointment is tomorrow at ten.");
    let mut last = u32::MAX;
    for rate in [80, 120, 175, 250, 400] {
        let long = duration(&collect(speech.render(&text, &at(rate), |_| None)).await.unwrap());
        assert!(long < last, "{rate}: {long} after {last}");
        last = long;
    }
    let error = collect(speech.render(&text, &at(79), |_| None)).await.unwrap_err();
    assert_eq!(error, SpeechError::InvalidRate { rate: 79 });
    assert!(matches!(error.to_host_error(), HostError::InvalidArgument(_)));
}

#[tokio::test]
async fn an_unknown_voice_is_an_error_that_names_it() {
    let speech = speech();
    let with = |name: &str| VoiceSettings { voice: Some(name.to_owned()), ..voice("en") };
    let error = collect(speech.render(&text("Hi."), &with("nosuch"), |_| None)).await.unwrap_err();
    assert!(error.to_string().starts_with("unknown voice `nosuch`"), "{error}");
    assert!(matches!(error.to_host_error(), HostError::NotFound(_)));
    assert_eq!(speech.supports(&with("nosuch")), Err(error));
    assert_eq!(speech.supports(&with("en-us+f3")), Ok(()));
    assert_eq!(speech.supports(&voice("tlh-Latn")).unwrap_err().code(), "speech_unknown_language");
    let female = collect(speech.render(&text("Hi."), &with("en-us+f3"), |_| None)).await.unwrap();
    assert_ne!(samples(&female), samples(&render(&speech, "Hi.", "en-US").await.unwrap()));
}

#[tokio::test]
async fn check_speaks_a_word() {
    let said = check(&speech()).await.unwrap();
    assert!(said.starts_with("1.") && said.ends_with(" voices"), "{said}");
}

#[tokio::test]
async fn ssml_is_spoken() {
    let speech = speech();
    let say = |ssml: &str| {
        let chunks = speech.render(&Segment::Ssml(ssml.to_owned()), &voice("en"), |_| None);
        async move { collect(chunks).await }
    };
    let short = say("<speak>One, two.</speak>").await.unwrap();
    let long = say("<speak>One, <break time=\"2s\"/> two.</speak>").await.unwrap();
    let more = duration(&long) - duration(&short);
    assert!((1_500..2_300).contains(&more), "{more}");
    let late = say("<speak><break time=\"2s\"/>One, two.</speak>").await.unwrap();
    assert_eq!(duration(&late), duration(&short) + 2_000);
    assert_eq!(samples(&short), whole("gmw/en", "One, two."));
    assert!(say("<speak></speak>").await.unwrap().is_empty());
    let error = say("<speak><audio src=\"/etc/passwd\"/></speak>").await.unwrap_err();
    assert_eq!(error.code(), "speech_bad_ssml");
    assert!(matches!(error.to_host_error(), HostError::InvalidArgument(_)));
}

#[tokio::test]
async fn words_of_ssml_point_into_its_text() {
    let ssml = "<speak>\n  <p>You owe <say-as interpret-as='currency'>$5</say-as>,</p> <break time='1s'/>\n\
        <prosody rate='slow'>do you &amp; <sub alias='know'>kn.</sub></prosody> now?</speak>";
    let plain = callbox_dialogue::engine::without_tags(ssml);
    let chunks = collect(speech().render(&Segment::Ssml(ssml.to_owned()), &voice("en"), |_| None)).await.unwrap();
    let marks = marks(&chunks);
    let said: Vec<&str> = marks.iter().map(|mark| plain[..mark.text_end as usize].trim_end()).collect();
    assert_eq!(
        said,
        [
            "You",
            "You owe",
            "You owe $5,",
            "You owe $5, do",
            "You owe $5, do you",
            "You owe $5, do you &amp;",
            "You owe $5, do you &amp; kn.",
            "You owe $5, do you &amp; kn. now?",
        ]
    );
    assert!(marks.windows(2).all(|w| w[0].at < w[1].at));
    assert!(marks[3].at - marks[2].at > 1_000, "the pause is between them");
    assert_eq!(marks.last().unwrap().at, duration(&chunks));
}

#[tokio::test]
async fn pitch_volume_and_language_are_heard() {
    let speech = speech();
    let say = async |inner: &str| {
        let ssml = format!("<speak>{inner}</speak>");
        samples(&collect(speech.render(&Segment::Ssml(ssml), &voice("en"), |_| None)).await.unwrap())
    };
    let usual = say("Good morning").await;
    assert_ne!(say("<prosody pitch='high'>Good morning</prosody>").await, usual);
    let half: Vec<i16> = usual.iter().map(|&s| (f32::from(s) * 10_f32.powf(-0.3)).round() as i16).collect();
    assert_eq!(say("<prosody volume='-6dB'>Good morning</prosody>").await, half);
    assert!(say("<prosody volume='silent'>Good morning</prosody>").await.iter().all(|&s| s == 0));
    assert_eq!(say("<lang xml:lang='fr'>Bonjour</lang>").await, whole("roa/fr", "Bonjour"));
}

#[tokio::test]
async fn assets_are_decoded_once() {
    let speech = speech();
    let tone: Vec<i16> = (0..8_000).map(|i| (i % 100) * 50).collect();
    let file = Bytes::from(wav::write(&tone));
    let play = |path: &str, bytes: Option<Bytes>| {
        let chunks = speech.render(&Segment::Asset(path.to_owned()), &voice("en"), |asked| {
            assert_eq!(asked, path);
            bytes
        });
        async move { collect(chunks).await }
    };
    let one = play("jingle.wav", Some(file.clone())).await.unwrap();
    let two = play("again/jingle.wav", Some(Bytes::from(file.to_vec()))).await.unwrap();
    assert_eq!(samples(&one), tone);
    assert!(Arc::ptr_eq(&one[0].clip, &two[0].clip));
    assert!(matches!(play("x.wav", None).await.unwrap_err().to_host_error(), HostError::NotFound(_)));
    let error = play("x.wav", Some(Bytes::from_static(b"not audio"))).await.unwrap_err();
    assert!(error.to_string().starts_with("the audio asset `x.wav` cannot be played: "), "{error}");
}

#[tokio::test]
async fn silence_is_silent_and_bounded() {
    let speech = speech();
    for (asked, got) in [(0, 0), (1_000, 1_000), (60_000, 60_000), (u32::MAX, 60_000)] {
        let chunks = collect(speech.render(&Segment::Silence(asked), &voice("en"), |_| None)).await.unwrap();
        assert_eq!(duration(&chunks), got);
        assert!(samples(&chunks).iter().all(|&s| s == 0));
    }
}

#[tokio::test]
async fn what_cannot_be_said_is_not() {
    let speech = speech();
    for nothing in ["", " ", "\n\n", "...", "—", "\u{200b}"] {
        assert!(render(&speech, nothing, "en").await.unwrap().is_empty(), "{nothing:?}");
    }
    let long = "word ".repeat(4_000);
    let error = render(&speech, &long, "en").await.unwrap_err();
    assert_eq!(error, SpeechError::TooLong { what: "text of a segment", limit: 16_384 });
    assert!(matches!(error.to_host_error(), HostError::LimitExceeded(_)));
}

#[tokio::test]
async fn a_long_text_is_heard_to_its_end() {
    let speech = speech();
    let written = "This is one of many sentences, each as long as the other. ".repeat(40);
    let chunks = render(&speech, &written, "en").await.unwrap();
    let marks: Vec<WordMark> = marks(&chunks);
    assert_eq!(marks.len(), 40 * 12);
    assert_eq!(marks.last().unwrap().at, duration(&chunks));
    assert_eq!(marks.last().unwrap().text_end as usize, written.trim_end().len());
    // The same sentence is rendered once.
    assert_eq!(speech.stats().renders, 1);
}

#[tokio::test]
async fn flite_speaks_english() {
    let flite = Flite::new(FliteConfig::default());
    let info = flite.describe().await.unwrap();
    assert!(info.version.ends_with(", slt") && info.voices > 1, "{info:?}");
    let usual = samples(&speak_all(flite.speak(utterance("en-US", "Good morning."))).await.unwrap());
    assert!((4_000..16_000).contains(&usual.len()) && usual.iter().any(|s| s.unsigned_abs() > 2_000));
    let mut slow = utterance("en", "Good morning.");
    slow.voice.rate = Some(100);
    assert!(samples(&speak_all(flite.speak(slow)).await.unwrap()).len() > usual.len() * 3 / 2);
    // Nothing in a text is an option.
    assert!(!speak_all(flite.speak(utterance("en", "-o /nowhere/x"))).await.unwrap().is_empty());
    let mut other = voice("en");
    other.voice = Some("http://example.com/voice".into());
    let error = speak_all(flite.speak(Utterance::new("Hello".into(), other.clone()))).await.unwrap_err();
    assert_eq!((error.code(), flite.supports(&other).is_err()), ("speech_unknown_voice", true));
    assert_eq!(flite.supports(&voice("de")).unwrap_err().code(), "speech_unknown_language");
    let missing = Flite::new(FliteConfig { program: "/nowhere/flite".into(), ..FliteConfig::default() });
    assert_eq!(missing.describe().await.unwrap_err().code(), "speech_engine_missing");
}
