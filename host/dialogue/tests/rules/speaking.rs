//! The speech writer, playbacks, and waiting for quiet.

use crate::rig::*;
use callbox_dialogue::Setup;
use callbox_dialogue::call::EndCause;
use callbox_dialogue::leg::LegCommand;
use callbox_dialogue::script::{HostCall, HostError, HostReply, PlayoutEnd, Segment};
use callbox_dialogue::setup::Limits;

fn write(handle: callbox_dialogue::script::Handle, text: &str) -> HostCall {
    HostCall::Write { handle, text: text.into() }
}

fn spoken(rig: &Rig) -> Vec<String> {
    let segments = rig.commands.iter().filter_map(|(_, command)| match command {
        LegCommand::Append { segments, .. } | LegCommand::Prepare { segments, .. } => Some(segments.clone()),
        _ => None,
    });
    let texts =
        segments.flatten().filter_map(|segment| if let Segment::Text(text) = segment { Some(text) } else { None });
    texts.collect()
}

#[test]
fn text_is_spoken_sentence_by_sentence() {
    let mut rig = Rig::up(setup());
    let writer = handle(rig.ask_for(HostCall::OpenWriter { barge_in: NOTHING }));
    let none = Ok(HostReply::MaybePlayout(None));
    for (piece, so_far) in [
        ("Good mor", 0),
        ("ning. How", 1),
        (" are you? The price is 3.", 2),
        ("50, Dr. No! ", 3),
        ("你好。再", 4),
        ("见", 4),
    ] {
        assert_eq!(rig.ask_for(write(writer, piece)), none);
        assert_eq!(spoken(&rig).len(), so_far, "{piece}");
    }
    let playback = handle(rig.ask_for(HostCall::FinishWriter { handle: writer }));
    assert_eq!(spoken(&rig), ["Good morning.", "How are you?", "The price is 3.50, Dr. No!", "你好。", "再见"]);
    let heard_of = playout(rig.ask_for(HostCall::AwaitPlayback { handle: playback }));
    assert_eq!((heard_of.end, heard_of.played), (PlayoutEnd::Finished, 5_000));
    assert_eq!(
        rig.engine.record().transcript[0].text,
        "Good morning. How are you? The price is 3.50, Dr. No! 你好。 再见"
    );
    let reply = rig.ask_for(write(writer, "more"));
    assert!(matches!(reply, Ok(HostReply::MaybePlayout(Some(_)))), "it is over");
}

#[test]
fn a_writer_waits_while_more_than_half_a_minute_is_to_be_spoken() {
    let mut rig = Rig::up(setup());
    rig.text_ms = 6_400;
    let writer = handle(rig.ask_for(HostCall::OpenWriter { barge_in: NOTHING }));
    let sentence = format!("{}. ", "word ".repeat(20));
    let mut written = 0;
    let begin = rig.now;
    while rig.now < begin + 1_000 {
        rig.ask_for(write(writer, &sentence)).unwrap();
        written += 1;
    }
    // A sentence takes about 6.4 s: five are taken at once, then the pace is that of the speech.
    assert!((5..=7).contains(&written), "{written}");
    let before = rig.now;
    rig.ask_for(write(writer, &sentence)).unwrap();
    assert!((5_000..8_000).contains(&(rig.now - before)), "{}", rig.now - before);
}

#[test]
fn a_writer_is_told_at_once_that_the_caller_interrupts() {
    let mut rig = Rig::up(setup());
    let writer = handle(rig.ask_for(HostCall::OpenWriter { barge_in: DIGITS }));
    rig.ask_for(write(writer, "One two three four. And ")).unwrap();
    rig.wait(10 + 500);
    rig.press("1");
    rig.call(write(writer, "so on. "));
    assert_eq!(spoken(&rig), ["One two three four."], "nothing more for the leg");
    assert_eq!(rig.reply(), None, "what was heard is known in a moment");
    let cut = rig.until_reply();
    match cut {
        Ok(HostReply::MaybePlayout(Some(playout))) => {
            assert_eq!((playout.end, playout.played), (PlayoutEnd::CutByDigits, 500));
            assert!("One two three".starts_with(&playout.heard_text) && !playout.heard_text.is_empty());
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(rig.ask_for(write(writer, "and on.")), Ok(HostReply::MaybePlayout(Some(_)))));
    let playback = handle(rig.ask_for(HostCall::FinishWriter { handle: writer }));
    assert_eq!(playout(rig.ask_for(HostCall::AwaitPlayback { handle: playback })).end, PlayoutEnd::CutByDigits);
}

#[test]
fn a_writer_that_waits_is_told_of_the_interruption() {
    let mut rig = Rig::up(setup());
    rig.text_ms = 60_000;
    let writer = handle(rig.ask_for(HostCall::OpenWriter { barge_in: DIGITS }));
    rig.call(write(writer, &format!("{}. ", "word ".repeat(120))));
    rig.wait(2_000);
    assert_eq!(rig.reply(), None);
    rig.press("1");
    rig.wait(20);
    assert!(matches!(rig.reply(), Some(Ok(HostReply::MaybePlayout(Some(_))))));
}

#[test]
fn a_writer_closed_without_a_word_is_over_at_once() {
    let mut rig = Rig::up(setup());
    let writer = handle(rig.ask_for(HostCall::OpenWriter { barge_in: NOTHING }));
    let playback = handle(rig.ask_for(HostCall::FinishWriter { handle: writer }));
    let heard_of = playout(rig.ask_for(HostCall::AwaitPlayback { handle: playback }));
    assert_eq!((heard_of.end, heard_of.played), (PlayoutEnd::Finished, 0));
    // A dropped one, too: what follows is not held up.
    let writer = handle(rig.ask_for(HostCall::OpenWriter { barge_in: NOTHING }));
    rig.ask_for(HostCall::Release { handle: writer }).unwrap();
    playout(rig.ask_for(say("hello", NOTHING)));
}

#[test]
fn nobody_waits_behind_an_open_writer() {
    let mut rig = Rig::up(setup());
    let writer = handle(rig.ask_for(HostCall::OpenWriter { barge_in: NOTHING }));
    for call in [say("hello", NOTHING), ask("hello", NOTHING, keys(1, 1)), listen(keys(1, 1)), HostCall::AwaitQuiet] {
        assert!(matches!(rig.ask_for(call), Err(HostError::InvalidArgument(_))));
    }
    handle(rig.ask_for(HostCall::FinishWriter { handle: writer }));
    playout(rig.ask_for(say("hello", NOTHING)));
}

#[test]
fn a_writer_takes_only_so_much_text() {
    let mut rig = Rig::up(Setup { limits: Limits { max_duration: u32::MAX, ..Limits::default() }, ..setup() });
    let writer = handle(rig.ask_for(HostCall::OpenWriter { barge_in: NOTHING }));
    let long = "x".repeat(8_193);
    assert!(matches!(rig.ask_for(write(writer, &long)), Err(HostError::LimitExceeded(_))));
    let mut taken = 0;
    loop {
        match rig.ask_for(write(writer, &long[..8_000])) {
            Ok(HostReply::MaybePlayout(None)) => taken += 8_000,
            Err(HostError::LimitExceeded(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(taken > 50_000);
}

#[test]
fn a_writer_ends_with_the_call() {
    let mut rig = Rig::up(setup());
    let writer = handle(rig.ask_for(HostCall::OpenWriter { barge_in: NOTHING }));
    rig.ask_for(write(writer, "hello. ")).unwrap();
    rig.remote_hangup();
    let ended = Err(HostError::Ended(EndCause::RemoteHangup));
    assert_eq!(rig.ask_for(write(writer, "hello. ")), ended);
    assert_eq!(rig.ask_for(HostCall::OpenWriter { barge_in: NOTHING }), ended);
}

#[test]
fn a_playback_can_be_stopped_wherever_it_is() {
    let mut rig = Rig::up(setup());
    let first = handle(rig.ask_for(start_say("first", NOTHING)));
    let second = handle(rig.ask_for(start_say("second", NOTHING)));
    rig.wait(10 + 400);
    let heard_of = playout(rig.ask_for(HostCall::StopPlayback { handle: second }));
    assert_eq!((heard_of.end, heard_of.played), (PlayoutEnd::Stopped, 0));
    let heard_of = playout(rig.ask_for(HostCall::StopPlayback { handle: first }));
    assert_eq!((heard_of.end, heard_of.played), (PlayoutEnd::Stopped, 400));
    let again = playout(rig.ask_for(HostCall::StopPlayback { handle: first }));
    assert_eq!(again.played, 400);
}

#[test]
fn quiet_is_when_all_has_been_played() {
    let mut rig = Rig::up(setup());
    assert_eq!(rig.ask_for(HostCall::AwaitQuiet), Ok(HostReply::Done));
    for _ in 0..3 {
        let playback = handle(rig.ask_for(start_say("hello", NOTHING)));
        rig.ask_for(HostCall::Release { handle: playback }).unwrap();
    }
    let begin = rig.now;
    assert_eq!(rig.ask_for(HostCall::AwaitQuiet), Ok(HostReply::Done));
    assert_eq!(rig.now, begin + 10 + 3_000, "a dropped playback goes on");
}
