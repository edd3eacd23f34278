//! The rows of the barge-in table with speech, against a second opinion: what each sound should do to a long prompt.

use super::cases;
use crate::rig::*;
use callbox_dialogue::leg::{LegCommand, LegEvent};
use callbox_dialogue::script::{BargeIn, Heard, ListenOptions, PlayoutEnd, Utterance};
use proptest::collection::vec;
use proptest::prelude::*;

/// Longer than everything that anybody says here, pauses included.
const LENGTH: u64 = 120_000;

/// Something that sounds, well apart from the next.
#[derive(Clone, Debug)]
struct Sound {
    gap: u64,
    length: u64,
    /// What it is: words, a back-channel (none of them counts), or nothing but noise.
    says: Says,
    /// The recogniser tells words before it has its result.
    partial: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Noise,
    BackChannel,
    Words(u8),
}

impl Sound {
    fn text(&self) -> String {
        match self.says {
            Says::Noise => String::new(),
            Says::BackChannel => "uh-huh okay".into(),
            Says::Words(count) => vec!["word"; usize::from(count)].join(" "),
        }
    }

    /// Whether it interrupts, by the rule.
    fn interrupts(&self, options: &ListenOptions) -> bool {
        let enough = matches!(self.says, Says::Words(count) if count >= options.min_words.max(1));
        enough && self.length >= u64::from(options.min_speech)
    }
}

fn sounds() -> impl Strategy<Value = Vec<Sound>> {
    let says = prop_oneof![2 => Just(Says::Noise), 2 => Just(Says::BackChannel), 3 => (1_u8..4).prop_map(Says::Words)];
    let sound = (2_500_u64..4_000, 20_u64..1_500, says, any::<bool>()).prop_map(|(gap, length, says, partial)| Sound {
        gap,
        length,
        says,
        partial,
    });
    vec(sound, 0..7)
}

fn thresholds() -> impl Strategy<Value = ListenOptions> {
    (prop_oneof![Just(0_u32), Just(200), 1_u32..800], 0_u8..4).prop_map(|(min_speech, min_words)| ListenOptions {
        min_speech,
        min_words,
        resume_after: 10_000,
        start_timeout: 1_000,
        ..speech()
    })
}

/// Plays the sounds over a prompt, until the answer is there.
fn play(rig: &mut Rig, sounds: &[Sound]) {
    for sound in sounds {
        play_one(rig, sound);
    }
    rig.wait(LENGTH);
}

fn told(rig: &Rig) -> (usize, usize, usize) {
    let stops = |command: &LegCommand| matches!(command, LegCommand::Stop { .. });
    let pauses = |command: &LegCommand| matches!(command, LegCommand::Pause { .. });
    let resumes = |command: &LegCommand| matches!(command, LegCommand::Resume { .. });
    (rig.told(stops), rig.told(pauses), rig.told(resumes))
}

fn asked(barge_in: BargeIn, options: &ListenOptions, sounds: &[Sound]) -> (Rig, Heard, PlayoutEnd, u32) {
    let mut rig = Rig::up(setup());
    rig.text_ms = LENGTH;
    rig.call(ask("a very long prompt", barge_in, options.clone()));
    play(&mut rig, sounds);
    let (heard, prompt) = answer(rig.until_reply());
    (rig, heard, prompt.end, prompt.played)
}

proptest! {
    #![proptest_config(cases(200))]

    /// Nothing cuts, nobody listens: ignored, not kept, played complete.
    #[test]
    fn a_prompt_that_gives_way_to_nothing_is_deaf(sounds in sounds()) {
        let mut rig = Rig::up(setup());
        rig.text_ms = LENGTH;
        rig.call(say("a very long prompt", NOTHING));
        play(&mut rig, &sounds);
        prop_assert_eq!(playout(rig.until_reply()).end, PlayoutEnd::Finished);
        prop_assert_eq!(told(&rig), (0, 0, 0));
        prop_assert_eq!(rig.recognition(), None);
    }

    /// Nothing cuts, somebody listens: transcribed once the prompt is over.
    #[test]
    fn what_is_said_over_a_prompt_that_gives_way_to_nothing_is_heard_after_it(
        sounds in sounds(),
        options in thresholds(),
    ) {
        let (rig, heard, end, played) = asked(NOTHING, &options, &sounds);
        prop_assert_eq!((end, u64::from(played)), (PlayoutEnd::Finished, LENGTH));
        prop_assert_eq!(told(&rig), (0, 0, 0));
        // A back-channel is none; the first words are the answer.
        let first = sounds.iter().find(|sound| matches!(sound.says, Says::Words(_)));
        match (heard, first) {
            (Heard::Speech(said), Some(first)) => prop_assert_eq!(said.text, first.text()),
            (Heard::Nothing, None) => {}
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        }
    }

    /// Keys cut: speech is ignored.
    #[test]
    fn a_prompt_that_gives_way_to_keys_is_deaf_to_speech(sounds in sounds(), options in thresholds()) {
        let (rig, heard, end, _) = asked(DIGITS, &options, &sounds);
        prop_assert_eq!((heard, end), (Heard::Nothing, PlayoutEnd::Finished));
        prop_assert_eq!(told(&rig), (0, 0, 0));
    }

    /// Speech cuts, alone or with keys: past the thresholds, and not by a back-channel.
    #[test]
    fn a_prompt_that_gives_way_to_speech_gives_way_to_words_past_the_thresholds(
        sounds in sounds(),
        options in thresholds(),
        keys_too in any::<bool>(),
    ) {
        let (rig, heard, end, played) = asked(if keys_too { BOTH } else { SPEECH }, &options, &sounds);
        let first = sounds.iter().position(|sound| sound.interrupts(&options));
        let long = |sound: &&Sound| sound.length >= u64::from(options.min_speech);
        let before = &sounds[..first.unwrap_or(sounds.len())];
        let paused_before = before.iter().filter(long).count().min(3);
        match first.map(|first| &sounds[first]) {
            None => {
                prop_assert_eq!((heard, end, u64::from(played)), (Heard::Nothing, PlayoutEnd::Finished, LENGTH));
                prop_assert_eq!(told(&rig), (0, paused_before, paused_before));
            }
            Some(first) => {
                let Heard::Speech(said) = heard else { return Err(TestCaseError::fail(format!("{heard:?}"))) };
                prop_assert_eq!((said.text, end), (first.text(), PlayoutEnd::CutBySpeech));
                let (stops, pauses, resumes) = told(&rig);
                // It is paused first unless it was often enough, or its words are there as soon as it is long enough.
                prop_assert_eq!((stops, resumes), (1, paused_before));
                prop_assert!(pauses == paused_before || pauses == paused_before + 1 && paused_before < 3);
                if pauses > paused_before {
                    let silent = rig.engine.record().timeline.iter().rfind(|entry| entry.kind == "prompt_paused");
                    let heard_so_far = silent.unwrap().at.0 - rig.paused_for() - 110;
                    prop_assert_eq!(u64::from(played), heard_so_far, "it fell silent at the threshold");
                }
            }
        }
    }

    /// Speech and keys cut: the first of them wins, the other is kept.
    #[test]
    fn the_first_of_speech_and_keys_wins(sounds in sounds(), options in thresholds(), key_after in 0_usize..7) {
        let options = ListenOptions { speech: true, min_speech: options.min_speech, min_words: options.min_words,
            resume_after: 10_000, start_timeout: 1_000, ..keys(1, 1) };
        let key_after = key_after.min(sounds.len());
        let mut rig = Rig::up(setup());
        rig.text_ms = LENGTH;
        rig.call(ask("a very long prompt", BOTH, options.clone()));
        for sound in &sounds[..key_after] {
            // By the end of it the recogniser has told its words.
            play_one(&mut rig, &Sound { partial: true, ..sound.clone() });
        }
        let by_speech = sounds[..key_after].iter().any(|sound| sound.interrupts(&options));
        rig.press("7");
        let (first, prompt) = answer(rig.until_reply());
        if by_speech {
            prop_assert!(matches!(first, Heard::Speech(_)), "{:?}", first);
            prop_assert_eq!(prompt.end, PlayoutEnd::CutBySpeech);
        } else {
            prop_assert_eq!((first, prompt.end), (Heard::Digits("7".into()), PlayoutEnd::CutByDigits));
        }
    }
}

/// One sound; the recogniser owes its result at the end of it.
fn play_one(rig: &mut Rig, sound: &Sound) {
    rig.wait(sound.gap);
    rig.leg(LegEvent::SpeechStarted { ago: 0 });
    let begin = u32::try_from(rig.now).unwrap();
    rig.wait(sound.length);
    let said = utterance(&sound.text(), begin, begin + u32::try_from(sound.length).unwrap());
    let words: Vec<Utterance> = (sound.says != Says::Noise).then(|| said.clone()).into_iter().collect();
    if let Some(recognition) = rig.recognition().filter(|_| sound.partial && !words.is_empty()) {
        rig.leg(LegEvent::Partial { recognition, utterance: said });
    }
    rig.hears = Some(words);
    rig.leg(LegEvent::SpeechEnded { ago: 0 });
}
