//! The fuzz caller finds what is wrong with a script, wherever it is, and shows it in few steps.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod guests;

use callbox_sim::Stage;
use callbox_sim::explore::{Base, Kind, Knowledge, Options, Report, explore};
use callbox_sim::scenario::{ScenarioFile, Suite};
use guests::{Cut, KEY, Listen, SPEECH, Script, stage};
use serde_json::json;

async fn explored(stage: &Stage, calls: u64) -> Report {
    explore(stage, vec![Base::default()], Knowledge::default(), &Options { calls, ..Options::default() }, |_| true)
        .await
}

fn only(report: &Report) -> &callbox_sim::explore::Found {
    let [found] = report.found.as_slice() else { panic!("{:#?}", report.found) };
    found
}

/// A menu in a menu in a menu; the way down is 3, 1, 4.
fn deep(script: &mut Script, bottom: impl FnOnce(&mut Script)) {
    let ask = |script: &mut Script, text: &str| {
        script.ask(text, Cut::Both, Listen { start_timeout: Some(3_000), ..KEY });
    };
    ask(script, "Press 1 for hours, 2 for prices or 3 for more.");
    script.node("first").on_key('3', |script| {
        ask(script, "Press 1 for somebody, 2 for nobody.");
        script.node("second").on_key('1', |script| {
            ask(script, "Press 4 or 5, please.");
            script.node("third").on_key('4', bottom);
        });
    });
    script.say("Goodbye.", Cut::Nothing);
}

#[tokio::test]
async fn a_trap_deep_in_a_menu_is_found_and_shrunk_to_the_keys_that_lead_there() {
    let stage = stage(|script| {
        deep(script, |script| {
            script.code("(unreachable)");
        });
    })
    .await;
    let report = explored(&stage, 400).await;
    let found = only(&report);
    assert_eq!(found.finding.kind, Kind::Trap);
    assert!(found.proven && found.times > 1, "{found:#?}");
    assert_eq!(report.nodes.keys().collect::<Vec<_>>(), ["first", "second", "third"]);
    let pressed: Vec<_> = found.scenario.steps.iter().filter(|step| step.verb() != "expect").collect();
    assert_eq!(pressed.len(), 3, "{pressed:#?}");
    // As it is written it fails, and says why.
    let yaml = ScenarioFile { scenarios: vec![found.scenario.clone()], ..ScenarioFile::default() }.to_yaml();
    let suite = Suite::read("found.yaml", &yaml).unwrap();
    let verdict = suite.runs[0].play(&stage).await;
    assert!(verdict.failure.unwrap().message.contains("the script failed"));
}

#[tokio::test]
async fn dead_ends_and_endless_loops_are_found_where_they_are() {
    let silent = stage(|script| {
        deep(script, |script| {
            script.say("One moment.", Cut::Nothing).sleep(60_000);
        });
    })
    .await;
    let report = explored(&silent, 400).await;
    let found = only(&report);
    assert_eq!(found.finding.kind, Kind::DeadEnd);
    assert!(found.proven && found.finding.what.contains("One moment."), "{found:#?}");
    assert!(found.finding.what.contains("wait.sleep"), "{found:#?}");

    let endless = stage(|script| {
        script.forever(|script| {
            script.ask("Press 1 to go on.", Cut::Digits, Listen { start_timeout: Some(2_000), ..KEY });
            script.on_key('1', |script| {
                script.say("Goodbye.", Cut::Nothing).on_call("hangup").code("(return (i32.const 0))");
            });
        });
    })
    .await;
    let report = explored(&endless, 100).await;
    // Asking for ever, it does not notice the end of the call either.
    let kinds: Vec<_> = report.found.iter().map(|found| (found.finding.kind, found.proven)).collect();
    assert!(
        kinds.len() == 2 && kinds.contains(&(Kind::Loop, true)) && kinds.contains(&(Kind::Budget, true)),
        "{report:#?}"
    );

    let busy = stage(|script| {
        script.say("Hello.", Cut::Nothing).forever(|script| {
            script.now();
        });
    })
    .await;
    let report = explored(&busy, 20).await;
    assert_eq!((only(&report).finding.kind, only(&report).times), (Kind::Budget, 20));
    assert!(only(&report).proven);
}

#[tokio::test]
async fn a_good_script_has_no_findings_and_the_same_seed_sees_the_same() {
    let good = stage(|script| {
        script.source("crm", true).fetch("crm");
        script.ask("How can I help?", Cut::Both, SPEECH).listen(Listen { start_timeout: Some(4_000), ..KEY });
        script.transfer("sip:agent@example.com", true, 20_000).say("Goodbye.", Cut::Nothing);
    })
    .await;
    let first = explored(&good, 200).await;
    assert!(first.found.is_empty(), "{:#?}", first.found);
    assert!(first.ways > 5 && first.calls == 200);
    assert_eq!(format!("{first:?}"), format!("{:?}", explored(&good, 200).await));
}

#[tokio::test]
async fn what_scenarios_know_leads_further_and_what_is_not_reached_is_told() {
    // Nobody guesses seven digits.
    let stage = stage(|script| {
        script.source("crm", false).fetch("crm").ask(
            "Your number?",
            Cut::Digits,
            Listen { digits: Some((7, 7)), ..KEY },
        );
        script.heard_number(4_711_815, |script| {
            script.node("known").code("(unreachable)");
        });
        script.say("Goodbye.", Cut::Nothing);
    })
    .await;
    let text = "
given: {sources: {crm: {answers: {number: 4711815, owes: '$${12}'}}}}
scenarios:
  - {name: known, steps: [{node: known}, {node: elsewhere}, {result: {disposition: done}}]}
";
    let suite = Suite::read("known.yaml", text).unwrap();
    let mut knows = Knowledge::default();
    let bases = suite.runs.iter().filter_map(Base::of).collect();
    suite.runs.iter().flat_map(|run| &run.steps).for_each(|placed| knows.learn(&placed.step));
    let options = Options { calls: 300, ..Options::default() };
    let report = explore(&stage, bases, knows, &options, |_| true).await;
    let found = only(&report);
    assert!(found.proven && found.finding.kind == Kind::Trap, "{found:#?}");
    // As it has to be written, so that the file reads.
    let answers = json!({"number": 4711815, "owes": "$${12}"});
    assert_eq!(found.scenario.given.sources["crm"].answers, Some(answers));
    assert_eq!(report.unreached_nodes, ["elsewhere"]);
    assert_eq!(report.unreached_dispositions, ["done"]);
}
