//! What a scenario file can have wrong, and what its author is told: line, column, message, fix.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_script::Manifest;
use callbox_sim::scenario::{Problem, Suite, tell};

/// The problems of a file.
fn problems(text: &str) -> Vec<Problem> {
    match Suite::read("a.scenarios.yaml", text) {
        Ok(suite) => panic!("nothing is wrong with\n{text}\n{suite:?}"),
        Err(problems) => problems,
    }
}

/// A file with one scenario of these steps; the first step stands in line 4.
fn with_steps(steps: &str) -> String {
    let steps: String = steps.lines().map(|line| format!("      {line}\n")).collect();
    format!("scenarios:\n  - name: one\n    steps:\n{steps}")
}

/// The only problem: line, column, what it says, and the help.
#[track_caller]
fn only(text: &str, line: u32, column: u32, message: &str, help: &str) {
    let problems = problems(text);
    let [problem] = problems.as_slice() else { panic!("{text}\n{}", tell(&problems)) };
    let told = tell(&problems).to_string();
    assert_eq!((problem.place.line, problem.place.column), (line, column), "{text}\n{told}");
    assert!(problem.message.contains(message), "{text}\n{told}");
    assert!(problem.help.as_deref().unwrap_or_default().contains(help), "{text}\n{told}");
    assert!(told.starts_with(&format!("a.scenarios.yaml:{line}:{column}: ")), "{told}");
}

#[test]
fn unknown_words_are_named_with_what_was_meant() {
    only("scenario:\n  - name: x\n", 1, 1, "unknown field `scenario`", "`scenarios`");
    only(&with_steps("- pres: \"1\""), 4, 9, "unknown step `pres`", "did you mean `press`?");
    only(&with_steps("- hangup: true"), 4, 9, "unknown step `hangup`", "did you mean `hang_up`?");
    only(&with_steps("- expect: {contain: x}"), 4, 18, "unknown field `contain`", "did you mean `contains`?");
    only(&with_steps("- transfer: {to: a, answers: bussy}"), 4, 36, "`bussy` is none of", "did you mean `busy`?");
    only(&with_steps("- ended: {by: robot}"), 4, 21, "`robot` is none of", "known are `caller`");
    only(&with_steps("- source: {name: a, fails: unavailible}"), 4, 34, "`unavailible`", "`unavailable`");
    let text = format!("given:\n  setings: {{a: b}}\n{}", with_steps("- expect: x"));
    only(&text, 2, 3, "unknown field `setings`", "did you mean `settings`?");
    let text = with_steps("- expect: x").replace("    steps", "    step");
    assert!(problems(&text).iter().any(|problem| problem.help.as_deref() == Some("did you mean `steps`?")));
}

#[test]
fn a_step_is_one_verb_with_its_value() {
    only(&with_steps("- expect: x\n  within: 1s"), 5, 9, "has one verb", "expect: {…, within: …}");
    only(&with_steps("- expect: x\n  press: \"1\""), 5, 9, "has one verb", "two steps");
    only(&with_steps("- hang_up"), 4, 9, "a verb and its value", "hang_up: true");
    only(&with_steps("- {}"), 4, 9, "without a verb", "known are");
    only(&with_steps("- press: 1"), 4, 16, "the number 1", "put it in quotes: \"1\"");
    only(&with_steps("- say: true"), 4, 14, "`true` is not a text", "");
    only(&with_steps("- wait: 2"), 4, 15, "span of time", "800ms");
    only(&with_steps("- wait: 2 weeks"), 4, 15, "no span of time", "");
    only(&with_steps("- hang_up: false"), 4, 18, "left out", "");
    only(&with_steps("- press: \"1w\""), 4, 16, "`w` is no key", "0 to 9");
    only(&with_steps("- expect: {matches: \"(\"}"), 4, 27, "no regular expression", "");
    only(&with_steps("- expect: {within: 1s}"), 4, 17, "one of `contains`, `exact` and `matches`", "");
    only(&with_steps("- expect: {contains: a, exact: b}"), 4, 17, "only one of", "");
    only(&with_steps("- expect: a\n- interrupt: {after: 1s}"), 5, 20, "one of `say` and `press`", "");
    only(&with_steps("- say: {text: a, words_a_minute: 5}"), 4, 40, "80 to 400", "");
    only(&with_steps("- source: {name: a}"), 4, 17, "one of `answers`, `fails` and `never`", "fails: unavailable");
    only(&with_steps("- result: {}"), 4, 17, "nothing to look for", "disposition");
    only(&with_steps("- transfer: {to: a, answers: {status: 200}}"), 4, 36, "300 to 699", "");
}

#[test]
fn an_order_that_cannot_happen_is_refused() {
    let expect = "- expect: hello\n";
    only(
        &with_steps(&format!("{expect}- ended: true\n- press: \"1\"")),
        6,
        9,
        "`press` after `ended` (line 5)",
        "move it",
    );
    only(&with_steps(&format!("{expect}- ended: true\n- ended: true")), 6, 9, "`ended` after `ended`", "");
    only(&with_steps(&format!("{expect}- hang_up: true\n- expect: bye")), 6, 9, "the caller is gone", "");
    only(&with_steps("- interrupt: {after: 1s, say: stop}"), 4, 9, "before anything is said", "put an `expect` before");
    only(&with_steps("- heard: hello"), 4, 9, "before anything is said", "");
    only(&with_steps("- pick_up: true"), 4, 9, "in an inbound call", "direction: outbound");
    only(&with_steps("- transfer: \"7\"\n- press: \"1\""), 5, 9, "connected to the target", "");
    let outbound = |steps: &str| format!("{}    given: {{direction: outbound}}\n", with_steps(steps));
    only(&outbound("- press: \"1\"\n- pick_up: true"), 4, 9, "before the call is picked up", "");
    only(&outbound("- pick_up: true\n- refuse: busy"), 5, 9, "picked up already", "");
    only(&outbound("- refuse: busy\n- expect: hello"), 5, 9, "there is no call", "");
    only("scenarios:\n  - name: one\n    steps: []\n", 3, 12, "without steps", "");
    // What the script may still do is no mistake.
    let rest = "- node: end\n- pushed: outcome\n- wait: 1s\n- result: {disposition: x}\n- ended: {by: caller}";
    assert!(Suite::read("a", &with_steps(&format!("{expect}- hang_up: true\n{rest}"))).is_ok());
    assert!(Suite::read("a", &outbound("- expect: never\n- press: \"1\"")).is_ok());
}

#[test]
fn cases_give_what_stands_in_their_places() {
    let table = |steps: &str, cases: &str| format!("{}    cases:\n{cases}", with_steps(steps));
    only(&with_steps("- press: \"${key}\""), 4, 16, "`${key}` stands for a value of `cases`", "add `cases:`");
    only(&table("- press: \"${kye}\"", "      - {key: \"1\"}\n"), 4, 16, "the case in line 6", "did you mean `key`?");
    only(&table("- press: \"${key}\"", "      - {key: 1}\n"), 4, 16, "the number 1", "quotes");
    only(&table("- press: \"1\"", "      - one\n"), 6, 9, "a case is a map", "");
    let text = table("- press: \"1\"", "      {}\n");
    only(&text, 6, 7, "a list of cases", "");

    let text = table(
        "- press: \"${key}\"\n- result: {fields: {n: \"${n}\"}, opt_out: \"${out}\"}",
        "      - {name: first, key: \"1\", n: 5, out: true}\n      - {key: \"2\", n: [a], out: false}\n",
    );
    let suite = Suite::read("a", &text).unwrap();
    let names: Vec<_> = suite.runs.iter().map(|run| run.name.as_str()).collect();
    assert_eq!(names, ["one [first]", "one [key=2 out=false]"]);
    assert!(format!("{:?}", suite.runs[1].steps[1]).contains("[String(\"a\")]"), "{:?}", suite.runs[1].steps);
}

#[test]
fn scenarios_are_told_apart() {
    let text = "scenarios:\n  - {name: one, steps: [{expect: a}]}\n  - {name: one, steps: [{expect: a}]}\n";
    only(text, 3, 12, "another scenario `one` in line 2", "own name");
    only("scenarios:\n  - steps: [{expect: a}]\n", 2, 5, "`name` is missing", "few words");
    only("scenarios: {}\n", 1, 12, "a list of scenarios", "dash");
    only("- a\n", 1, 1, "a list stands where a scenario file is expected", "");
    only("", 1, 1, "a scenario file is expected", "");
    only("scenarios:\n  - name: x\n   steps: []\n", 3, 4, "not YAML", "");
}

#[test]
fn several_mistakes_are_told_at_once() {
    let problems = problems(&with_steps("- pres: \"1\"\n- expect: a\n- sai: b\n- press: 1"));
    let lines: Vec<_> = problems.iter().map(|problem| problem.place.line).collect();
    assert_eq!(lines, [4, 6, 7]);
}

#[test]
fn names_are_held_against_the_manifest() {
    let text = format!(
        "given:\n  settings: {{agnet: x}}\n  sources: {{crm: {{never: true}}}}\n  headers: {{X-Relation: y}}\n{}",
        with_steps("- pushed: outcom\n- fetched: appointment")
    );
    let manifest = br#"{"name":"a","settings":{"agent":{}},"sources":{"appointment":{}},"destinations":{"outcome":{}},
        "headers":["x-relation"]}"#;
    let suite = Suite::read("a", &text).unwrap();
    let told = tell(&suite.check_against(&Manifest::parse(manifest).unwrap())).to_string();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(
        lines,
        [
            "a:2:14: the script `a` declares no setting `agnet`",
            "  help: did you mean `agent`?",
            "a:3:13: the script `a` declares no data source `crm`",
            "  help: declare it in callbox.toml, in `sources`, or take it out here",
            "a:8:17: the script `a` declares no destination `outcom`",
            "  help: did you mean `outcome`?",
        ]
    );
}
