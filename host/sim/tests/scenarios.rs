//! What the caller of a scenario does and when, what it expects, and what it says when something else comes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod guests;

use callbox_script::DestinationDeclaration;
use callbox_sim::scenario::{Suite, Verdict, tell, transcript};
use callbox_sim::{Act, Sight, Stage};
use guests::{BOTH, Cut, KEY, SPEECH, Script, stage};

/// Plays the only scenario of these steps.
async fn play(stage: &Stage, given: &str, steps: &str) -> Verdict {
    let steps: String = steps.lines().map(|line| format!("      {}\n", line.trim())).collect();
    let text = format!("scenarios:\n  - name: it\n    given: {{{given}}}\n    steps:\n{steps}");
    let suite = Suite::read("it.yaml", &text).unwrap_or_else(|problems| panic!("{}\n{text}", tell(&problems)));
    assert!(suite.check_against(stage.manifest()).is_empty(), "{text}");
    suite.runs[0].play(stage).await
}

#[track_caller]
fn passed(verdict: &Verdict) {
    let said: Vec<_> = transcript(&verdict.told.sights).into_iter().map(|line| format!("{line:?}")).collect();
    assert!(verdict.failure.is_none(), "{:?}\n{}", verdict.failure, said.join("\n"));
}

/// The line of the step that failed – the first stands in 5 – and all that is said of it.
#[track_caller]
fn failed(verdict: &Verdict, line: u32, words: &[&str]) {
    let failure =
        verdict.failure.as_ref().unwrap_or_else(|| panic!("it passed: {:?}", transcript(&verdict.told.sights)));
    let pieces = failure.diff.iter().flat_map(|line| &line.pieces).map(|(text, _)| text.as_str());
    let said = format!("{} {} {}", failure.message, failure.came.as_deref().unwrap_or(""), pieces.collect::<String>());
    assert_eq!(failure.place.line, line, "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

/// When the caller did something of a kind.
fn did(verdict: &Verdict, is: impl Fn(&Act) -> bool) -> Vec<u64> {
    let acts = verdict.told.sights.iter().filter(|(_, sight)| matches!(sight, Sight::Did { act } if is(act)));
    acts.map(|(at, _)| at.0).collect()
}

fn pressed(act: &Act) -> bool {
    matches!(act, Act::Press { .. })
}

/// Says four words (1.5 s), then asks four more (1.5 s) and says what is thought of the answer.
fn menu(script: &mut Script) {
    script.manifest(|manifest| {
        manifest.destinations.insert("outcome".into(), DestinationDeclaration::default());
    });
    script.on_call("answer").say("Good morning to you.", Cut::Nothing).node("menu").ask(
        "Press one or two.",
        Cut::Digits,
        KEY,
    );
    script.on_key('1', |script| {
        script
            .node("one")
            .with("disposition", "first")
            .push("outcome", "{\"choice\":1,\"list\":[1,2]}")
            .log("it was one");
        script.say("You have pressed one.", Cut::Nothing);
    });
    script.on_key('2', |script| {
        script.transfer("sip:agent@example.com", true, 20_000).say("Here you are again.", Cut::Nothing);
    });
}

#[tokio::test]
async fn a_polite_caller_hears_the_robot_out() {
    let stage = stage(menu).await;
    let verdict = play(&stage, "", "- press: \"1\"\n- expect: You have pressed one.\n- ended: {by: script}").await;
    passed(&verdict);
    // 1.5 s and 1.5 s of words, then the time to react.
    assert_eq!(did(&verdict, pressed), [3_300]);
    let verdict = play(&stage, "reaction: 1s", "- expect: Press\n- press: {keys: \"1\", after: 2s}").await;
    passed(&verdict);
    assert_eq!(did(&verdict, pressed), [5_000]);
    let verdict = play(&stage, "reaction: 1s", "- expect: Good\n- press: \"1\"").await;
    passed(&verdict);
    assert_eq!(did(&verdict, pressed), [4_000], "it waits for quiet, not for the end of one prompt");
}

#[tokio::test]
async fn breaking_in_is_timed_from_the_prompt() {
    let stage = stage(menu).await;
    let steps =
        "- expect: Press one\n- interrupt: {after: 800ms, press: \"1\"}\n- heard: {exact: Press one, complete: false}
        - expect: {contains: pressed one, within: 0s}\n- ended: true";
    let verdict = play(&stage, "", steps).await;
    passed(&verdict);
    assert_eq!(did(&verdict, pressed), [2_300]);
    let late = play(&stage, "", "- expect: Press one\n- interrupt: {after: 3s, press: \"1\"}").await;
    failed(&late, 6, &["could not break in after 3s", "was over after 1.5s"]);
    let whole = play(&stage, "", "- expect: Press one\n- interrupt: {after: 800ms, press: \"1\"}\n- heard: two").await;
    failed(&whole, 7, &["heard \"two\"", "it heard \"Press one\""]);
}

#[tokio::test]
async fn what_does_not_come_is_told_with_what_came() {
    let stage = stage(menu).await;
    let failure = play(&stage, "", "- press: \"1\"\n- expect: You have presssed one.").await;
    failed(&failure, 6, &["expected the robot to say \"You have presssed one.\"", "presssed", "You have pressed one."]);
    let failure = play(&stage, "", "- expect: \"Good\"\n- node: two\n- ended: true").await;
    failed(&failure, 6, &["node `two`", "it entered menu"]);
    let failure = play(&stage, "", "- press: \"1\"\n- pushed: {to: outcome, body: {choice: 2}}").await;
    failed(&failure, 6, &["a message to `outcome`", "\"choice\": 2", "\"choice\": 1"]);
    let failure = play(&stage, "", "- press: \"1\"\n- result: {disposition: second, tags: [a]}").await;
    failed(&failure, 6, &["the result", "second", "first"]);
    let failure = play(&stage, "", "- press: \"1\"\n- ended: {by: caller, reason: caller_hangup}").await;
    failed(&failure, 6, &["ended otherwise", "caller_hangup", "script_returned"]);
    let failure = play(&stage, "", "- press: \"1\"\n- logged: {level: warn}").await;
    failed(&failure, 6, &["the log"]);
    let failure =
        play(&stage, "", "- expect: Good\n- expect: {contains: Press, within: 0s}\n- press: \"1\"\n- transfer: \"7\"")
            .await;
    failed(&failure, 8, &["a transfer to 7", "there was none"]);
    let failure = play(&stage, "", "- press: \"2\"\n- transfer: \"7\"").await;
    failed(&failure, 6, &["a transfer to 7", "sip:agent@example.com by bridge"]);
    let failure = play(&stage, "", "- expect: Press\n- silence: 4s\n- press: \"1\"\n- wait: 9s\n- say: hello").await;
    failed(&failure, 9, &["`say`, but the call was over before"]);
}

#[tokio::test]
async fn what_happens_beside_the_conversation_is_found_in_any_order() {
    let stage = stage(menu).await;
    let steps = "- press: \"1\"\n- pushed: {to: outcome, body: {choice: 1.0}}\n- logged: was one\n- expect: pressed one
        - node: one\n- result: {disposition: first}\n- ended: {by: script, reason: script_returned, outcome: answered}";
    passed(&play(&stage, "", steps).await);
}

#[tokio::test]
async fn a_transfer_goes_as_the_scenario_says() {
    let stage = stage(menu).await;
    let again =
        |how: &str| format!("- press: \"2\"\n- transfer: {{to: \"sip:agent@example.com\", {how}}}\n- expect: again");
    for (how, seconds) in [
        ("answers: busy", 1),
        ("answers: busy, after: 5s", 5),
        ("answers: no_answer", 20),
        ("answers: returned, talk: 9s", 10),
    ] {
        let verdict = play(&stage, "", &again(how)).await;
        passed(&verdict);
        let ends =
            verdict.told.sights.iter().find(|(_, sight)| matches!(sight, Sight::TransferEnded { .. })).unwrap().0;
        assert_eq!(ends.0, 3_300 + seconds * 1_000, "{how}");
    }
    let given = "transfers: {\"sip:agent@example.com\": {answers: {status: 404}}}";
    passed(&play(&stage, given, "- press: \"2\"\n- transfer: \"sip:agent@example.com\"\n- expect: again").await);
    passed(
        &play(
            &stage,
            "",
            "- press: \"2\"\n- transfer: \"sip:agent@example.com\"\n- ended: {reason: transfer_completed}",
        )
        .await,
    );
}

#[tokio::test]
async fn speech_is_understood_as_the_scenario_has_it() {
    let stage = stage(|script| {
        script.on_call("answer").ask("Say it.", Cut::Both, BOTH);
        script.on_speech(3, |script| {
            script.say("Three letters.", Cut::Nothing);
        });
        script.say("That was all.", Cut::Nothing).ask("Once more.", Cut::Both, SPEECH);
    })
    .await;
    let steps =
        "- expect: Say\n- say: \"yes\"\n- expect: Three letters\n- expect: Once more\n- silence: true\n- ended: true";
    passed(&play(&stage, "", steps).await);
    passed(&play(&stage, "", "- say: {text: I do not know, understood_as: \"yes\"}\n- expect: Three").await);
    passed(&play(&stage, "", "- say: {text: \"yes\", understood_as: \"\"}\n- expect: {exact: That was all.}").await);
    let verdict = play(&stage, "", "- expect: Say\n- noise: 1s\n- say: \"yes\"\n- expect: Three").await;
    passed(&verdict);
}

#[tokio::test]
async fn a_script_that_fails_fails_its_scenario_unless_that_is_expected() {
    let stage = stage(|script| {
        script.on_call("answer").say("One moment please.", Cut::Nothing).code("unreachable");
    })
    .await;
    let verdict = play(&stage, "", "- expect: One moment").await;
    failed(&verdict, 2, &["the script failed", "unreachable"]);
    passed(&play(&stage, "", "- expect: One moment\n- ended: {reason: script_trap}").await);
    let given = "fallback: {say: Sorry.}";
    passed(&play(&stage, given, "- expect: {exact: Sorry.}\n- ended: {reason: script_trap}").await);
    // Nor is that the caller had gone an excuse for it.
    let gone = "- expect: One moment\n- hang_up: {after: 0s}\n- ended: {by: caller, reason: caller_hangup}";
    failed(&play(&stage, "", gone).await, 2, &["the script failed", "unreachable"]);
}

#[tokio::test]
async fn sources_answer_as_given_until_a_step_says_otherwise() {
    let stage = stage(|script| {
        script.source("crm", false).on_call("answer");
        script.fetch("crm").say("One two three four.", Cut::Nothing).fetch("crm").say("Done.", Cut::Nothing);
    })
    .await;
    let given = "sources: {crm: {answers: {n: 1}, after: 500ms}}";
    let steps =
        "- fetched: crm\n- expect: {contains: One, within: 500ms}\n- source: {name: crm, fails: unavailable, after: 1s}
        - expect: {exact: Done., within: 1s}\n- fetched: crm\n- ended: true";
    passed(&play(&stage, given, steps).await);
    let verdict = play(&stage, given, "- expect: One\n- expect: {contains: Done, within: 400ms}").await;
    failed(&verdict, 6, &["within 400ms", "it took 500ms"]);
    let verdict = play(&stage, given, "- expect: One\n- fetched: {source: crm, parameters: {id: \"7\"}}").await;
    failed(&verdict, 6, &["asked for something else", "\"id\": \"7\""]);
}

#[tokio::test]
async fn whoever_is_called_may_take_the_call_or_not() {
    let stage = stage(|script| {
        script.on_call("answer").say("Good morning to you.", Cut::Nothing);
    })
    .await;
    let outbound = "direction: outbound";
    passed(
        &play(&stage, outbound, "- pick_up: {after: 4s}\n- expect: {contains: Good, within: 0s}\n- ended: true").await,
    );
    passed(&play(&stage, outbound, "- expect: Good").await);
    for (how, outcome) in
        [("busy", "busy"), ("no_answer", "no_answer"), ("declined", "refused"), ("no_such_number", "invalid_number")]
    {
        passed(&play(&stage, outbound, &format!("- refuse: {how}\n- ended: {{outcome: {outcome}}}")).await);
    }
}

#[tokio::test]
async fn the_caller_goes_and_comes_when_it_is_told_to() {
    let stage = stage(|script| {
        script.sleep(5_000).on_call("answer").say("Good morning to you.", Cut::Nothing).next_event(None);
    })
    .await;
    passed(&play(&stage, "", "- hang_up: {after: 2s}\n- ended: {by: caller, outcome: cancelled}").await);
    passed(
        &play(&stage, "", "- expect: Good\n- hang_up: {after: 0s}\n- heard: {complete: false}\n- ended: {by: caller}")
            .await,
    );
    passed(
        &play(&stage, "", "- expect: Good\n- hang_up: true\n- heard: {complete: true}\n- ended: {by: caller}").await,
    );
    passed(&play(&stage, "", "- expect: Good\n- operator_hang_up: true\n- ended: {reason: operator_hangup}").await);
    // After its last step the caller leaves somebody who waits for it.
    let verdict = play(&stage, "", "- expect: Good").await;
    passed(&verdict);
    assert!(verdict.told.ended.0 < 10_000, "{:?}", verdict.told.ended);
}

#[tokio::test]
async fn the_same_scenario_is_the_same_call() {
    let stage = stage(menu).await;
    let one = play(&stage, "", "- press: \"1\"\n- ended: true").await;
    let two = play(&stage, "", "- press: \"1\"\n- ended: true").await;
    assert_eq!(one.told.sights, two.told.sights);
}
