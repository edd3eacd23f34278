//! A call that shows something, as a scenario: written, read again, and played to prove it.

use super::circumstances::Circumstances;
use super::finding::{Finding, Kind};
use super::turn::{expect, steps};
use super::{Call, Ground};
use crate::scenario::{Ended, Expect, Moves, PlacedStep, Refuse, Scenario, ScenarioFile, Silence, Span, Step, Suite};
use crate::situation::CalleeThen;
use callbox_dialogue::Time;
use callbox_dialogue::time::Millis;

/// What a scenario is called at most, in characters.
const NAME: usize = 120;
/// How often a question is asked at most of somebody who does nothing; more are not tried.
const SAID: usize = 4;

/// The call as a scenario, and whether that was read as it is written, played, and has shown the same.
pub(super) async fn proven(ground: &Ground, call: &Call, finding: &Finding) -> (Scenario, bool) {
    let first = scenario(ground, call, finding, false, 1);
    // Behind which prompt nothing comes may have been said before, to somebody who did nothing.
    let times = if finding.kind == Kind::DeadEnd { SAID } else { 1 };
    for said in 1..=times {
        for exact in [false, true] {
            let scenario = scenario(ground, call, finding, exact, said);
            if shows(ground, &scenario, finding).await {
                return (scenario, true);
            }
        }
    }
    (first, false)
}

async fn shows(ground: &Ground, scenario: &Scenario, finding: &Finding) -> bool {
    let file = ScenarioFile { scenarios: vec![scenario.clone()], ..ScenarioFile::default() };
    let Ok(suite) = Suite::read("found", &file.to_yaml()) else { return false };
    let Some(mut run) = suite.runs.into_iter().next() else { return false };
    // The scenario is to fail on its last step; what is looked for is what the call shows.
    let failed = run.play(&ground.stage).await.failure.is_some();
    run.steps.retain(|PlacedStep { step, .. }| !matches!(step, Step::Ended(_)) && !is_sign_of_life(step));
    run.steps.extend(wait(finding, ground.dead_after).map(|step| PlacedStep { step, place: run.place }));
    let told = run.play(&ground.stage).await.told;
    failed && ground.finding(&told).is_some_and(|found| found.is(finding))
}

fn scenario(ground: &Ground, call: &Call, finding: &Finding, exact: bool, said: usize) -> Scenario {
    let mut all = Vec::new();
    all.extend(callee(&call.circumstances));
    all.extend(steps(&call.turns, exact));
    // What is to come instead. A script that fails makes its scenario fail by itself.
    match finding.kind {
        Kind::DeadEnd => {
            let behind = finding.behind.as_deref().and_then(expect);
            all.extend(std::iter::repeat_n(behind, said).flatten());
            all.push(sign_of_life(ground.dead_after));
        }
        // Whoever is not answered gives up: within what it took to say the same so often, and a bit.
        Kind::Loop => all.push(Step::Ended(Ended { within: Some(until(finding.at)), ..Ended::default() })),
        Kind::Trap | Kind::Error | Kind::Budget if all.is_empty() => all.push(Step::Silence(Silence::UntilRobot)),
        Kind::Trap | Kind::Error | Kind::Budget => {}
    }
    let first = finding.what.lines().next().unwrap_or_default();
    let mut name: String = format!("{}: {first}", finding.kind);
    if name.chars().count() > NAME {
        name = name.chars().take(NAME).chain(['…']).collect();
    }
    let given = call.circumstances.given(&ground.bases);
    Scenario { name, given, steps: all, cases: Vec::new() }.literally()
}

/// The robot says anything.
fn sign_of_life(within: Millis) -> Step {
    Step::Expect(Expect { matches: Some(".".into()), within: Some(Span(within)), ..Expect::default() })
}

fn is_sign_of_life(step: &Step) -> bool {
    matches!(step, Step::Expect(Expect { matches: Some(_), within: Some(_), .. }))
}

/// Somebody who stays for long enough to see it.
fn wait(finding: &Finding, dead_after: Millis) -> Option<Step> {
    match finding.kind {
        Kind::DeadEnd => Some(Step::Wait(Span(dead_after.saturating_add(1_000)))),
        Kind::Loop => Some(Step::Wait(until(finding.at))),
        Kind::Trap | Kind::Error | Kind::Budget => None,
    }
}

/// A little after a moment, in full seconds.
fn until(at: Time) -> Span {
    Span(Millis::try_from(at.0 / 1_000 * 1_000).unwrap_or(Millis::MAX).saturating_add(2_000))
}

/// What the callee of an outbound call does.
fn callee(circumstances: &Circumstances) -> Option<Step> {
    let plan = circumstances.callee.as_ref()?;
    let after = Some(Span(plan.after));
    match &plan.then {
        CalleeThen::Answers => Some(Step::PickUp(Moves { after })),
        CalleeThen::Refuses { status, reason } => {
            Some(Step::Refuse(Refuse { status: *status, reason: Some(reason.clone()), after }))
        }
        CalleeThen::Nothing => None,
    }
}
