//! "Keeping secrets" of `DIALOGUE.md`: what a sensitive listening hears is
//! told to the script, and to nobody else.

use crate::rig::*;
use callbox_dialogue::leg::{LegCommand, LegEvent};
use callbox_dialogue::script::{Event, Heard, HostCall, HostReply, ListenOptions, LogLevel};

fn secret(options: ListenOptions) -> ListenOptions {
    ListenOptions { sensitive: true, ..options }
}

fn record(rig: &Rig) -> String {
    serde_json::to_string(rig.engine.record()).unwrap()
}

#[test]
fn secret_keys_are_told_to_the_script_alone() {
    let mut rig = Rig::up(setup());
    rig.call(ask("your pin please", DIGITS, secret(keys_to(4, 8, '#'))));
    rig.wait(1_500);
    rig.press("4711#");
    let (reply, sensitive) = rig.marked_reply().unwrap();
    assert_eq!(answer(reply).0, Heard::Digits("4711".into()));
    assert!(sensitive, "it is masked on the tape");
    let masks: Vec<&LegCommand> = rig
        .commands
        .iter()
        .map(|(_, command)| command)
        .filter(|command| matches!(command, LegCommand::Mask { .. }))
        .collect();
    assert_eq!(masks, [&LegCommand::Mask { on: true }, &LegCommand::Mask { on: false }]);
    assert!(!record(&rig).contains("4711"));
    let turn = &rig.engine.record().transcript[1];
    assert_eq!(turn.digits.as_deref(), Some("***"), "not even how many");
    assert_eq!(rig.ask_for(HostCall::NextEvent { timeout: Some(0) }), Ok(HostReply::MaybeEvent(None)));
    let digits: Vec<&str> =
        rig.engine.record().timeline.iter().filter(|entry| entry.kind == "digit").map(|entry| &*entry.detail).collect();
    assert_eq!(digits, ["***"; 5]);
}

#[test]
fn what_was_secret_is_not_noted_where_the_script_logs_it() {
    let mut rig = Rig::up(setup());
    rig.call(ask("your pin please", DIGITS, secret(keys_to(4, 8, '#'))));
    rig.wait(1_500);
    rig.press("4711#");
    assert!(rig.marked_reply().unwrap().1);
    let log = HostCall::Log { level: LogLevel::Info, message: "the pin is 4711".into() };
    assert_eq!(rig.ask_for(log), Ok(HostReply::Done));
    assert!(record(&rig).contains("the pin is [masked]") && !record(&rig).contains("4711"));
}

#[test]
fn secret_words_are_told_to_the_script_alone() {
    let mut rig = Rig::up(setup());
    let options = ListenOptions { partials: true, ..secret(speech()) };
    let listening = handle(rig.ask_for(HostCall::StartListen { options: Box::new(options) }));
    let recognition = rig.recognition().unwrap();
    rig.leg(LegEvent::Partial { recognition, utterance: utterance("open se", 0, 400) });
    rig.call(HostCall::NextPartial { handle: listening });
    let (reply, sensitive) = rig.marked_reply().unwrap();
    assert_eq!(reply, Ok(HostReply::MaybeUtterance(Some(utterance("open se", 0, 400)))));
    assert!(sensitive);
    rig.recognised("open sesame", 0, 700);
    rig.call(HostCall::AwaitListening { handle: listening });
    assert!(rig.marked_reply().unwrap().1);
    rig.call(HostCall::Alternatives { handle: listening });
    assert!(rig.marked_reply().unwrap().1);
    assert!(!record(&rig).contains("sesame"));
    assert_eq!(rig.engine.record().transcript[0].text, "***");
    assert_eq!(rig.ask_for(HostCall::NextEvent { timeout: Some(0) }), Ok(HostReply::MaybeEvent(None)));
}

#[test]
fn keys_typed_ahead_into_a_secret_are_secret() {
    let mut rig = Rig::up(setup());
    rig.press("47");
    let options = ListenOptions { type_ahead: true, ..secret(keys(4, 4)) };
    rig.call(listen(options));
    rig.press("11");
    let (reply, sensitive) = rig.marked_reply().unwrap();
    assert_eq!((heard(reply), sensitive), (Heard::Digits("4711".into()), true));
    assert!(!record(&rig).contains("47"));
    assert_eq!(rig.ask_for(HostCall::NextEvent { timeout: Some(0) }), Ok(HostReply::MaybeEvent(None)));
}

/// A key pressed while somebody listens for words may be the first of a PIN.
#[test]
fn keys_that_nobody_listens_for_are_not_written_down() {
    let mut rig = Rig::up(setup());
    let words = handle(rig.ask_for(HostCall::StartListen { options: Box::new(speech()) }));
    rig.press("47");
    rig.ask_for(HostCall::Release { handle: words }).unwrap();
    rig.call(listen(ListenOptions { type_ahead: true, ..secret(keys(2, 2)) }));
    assert_eq!(heard(rig.reply().unwrap()), Heard::Digits("47".into()));
    assert!(!record(&rig).contains("47") && !record(&rig).contains("\"4\""));
}

#[test]
fn a_hang_up_in_the_middle_of_a_secret_keeps_it() {
    let mut rig = Rig::up(setup());
    rig.call(listen(secret(keys(4, 8))));
    rig.press("471");
    rig.remote_hangup();
    rig.reply().unwrap().unwrap_err();
    rig.returns();
    assert_eq!(rig.finished(), 1);
    assert_eq!(rig.engine.record().transcript[0].digits.as_deref(), Some("***"));
    assert!(!record(&rig).contains("471"));
}

#[test]
fn a_secret_ends_with_its_listening() {
    let mut rig = Rig::up(setup());
    rig.call(listen(secret(keys(2, 2))));
    rig.press("47");
    heard(rig.reply().unwrap());
    rig.call(listen(keys(2, 2)));
    rig.press("12");
    let (reply, sensitive) = rig.marked_reply().unwrap();
    assert_eq!((heard(reply), sensitive), (Heard::Digits("12".into()), false));
    assert_eq!(rig.engine.record().transcript[1].digits.as_deref(), Some("12"));
    let event = rig.ask_for(HostCall::NextEvent { timeout: Some(0) });
    assert_eq!(event, Ok(HostReply::MaybeEvent(Some(Event::Digit('1')))));
}

#[test]
fn what_was_pressed_before_a_hang_up_is_in_the_transcript() {
    let mut rig = Rig::up(setup());
    rig.call(listen(keys(4, 8)));
    rig.press("471");
    rig.remote_hangup();
    rig.returns();
    assert_eq!(rig.engine.record().transcript[0].digits.as_deref(), Some("471"));
}
