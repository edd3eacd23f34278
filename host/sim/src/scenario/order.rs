//! What a scenario may say beyond what its types can hold: values that make sense, in an order that can happen.

use super::given::{Given, SourceAnswer, TransferAnswer};
use super::model::{Asked, ModelAnswer};
use super::problem::{Fault, Place, shown};
use super::step::{Expect, Heard, Interrupt, Logged, Press, Refuse, Say, Step};
use super::suite::PlacedStep;
use super::tree::Tree;
use callbox_dialogue::Direction;
use std::ops::RangeInclusive;

/// Characters of a regular expression.
const MAX_PATTERN: usize = 1_000;
/// What can be said in a minute.
const RATES: RangeInclusive<u16> = 80..=400;
/// What refuses a call or a transfer.
const REFUSALS: RangeInclusive<u16> = 300..=699;

/// What is wrong with what is given.
pub(super) fn given(given: &Given, tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, source) in &given.sources {
        faults.extend(source_answer(source, tree.place(&["sources", name])));
    }
    for (name, answers) in &given.models {
        faults.extend(model_answers(answers, tree.place(&["models", name])));
    }
    for (target, plan) in &given.transfers {
        faults.extend(status(&plan.answers, tree.place(&["transfers", target])));
    }
    faults.extend(rate(given.words_a_minute, tree.place(&["words_a_minute"])));
    faults
}

/// What is wrong with one step.
pub(super) fn step(step: &Step, tree: &Tree) -> Option<Fault> {
    let here = tree.place(&[step.verb()]);
    let at = |field: &str| tree.place(&[step.verb(), field]);
    match step {
        Step::Expect(Expect { contains, exact, matches, .. }) => {
            one_of(&["contains", "exact", "matches"], &[contains.is_some(), exact.is_some(), matches.is_some()], here)
                .or_else(|| pattern(matches.as_deref(), at("matches")))
                .or_else(|| not_empty(contains.as_deref(), "contains", here))
        }
        Step::Heard(Heard { contains, exact, matches, complete }) => {
            let said = [contains.is_some(), exact.is_some(), matches.is_some()];
            let nothing = !said.contains(&true) && complete.is_none();
            (nothing || said.iter().filter(|said| **said).count() > 1)
                .then(|| {
                    Fault::new("say one of `contains`, `exact` and `matches`, or `complete`")
                        .help("write for example `heard: \"Your appointment\"`")
                        .at(here)
                })
                .or_else(|| pattern(matches.as_deref(), at("matches")))
        }
        Step::Logged(Logged { level, contains, matches }) => {
            (level.is_none() && contains.is_none() && matches.is_none())
                .then(|| Fault::new("`logged` says nothing to look for").at(here))
                .or_else(|| pattern(matches.as_deref(), at("matches")))
        }
        Step::Press(Press { keys, .. }) => pressed(keys, at("keys")),
        Step::Say(Say { text, words_a_minute, confidence, .. }) => {
            spoken(text, at("text")).or_else(|| rate(*words_a_minute, at("words_a_minute"))).or_else(|| {
                let wrong = confidence.is_some_and(|confidence| !(0.0..=1.0).contains(&confidence));
                wrong.then(|| Fault::new("a confidence is a number from 0 to 1").at(at("confidence")))
            })
        }
        Step::Interrupt(Interrupt { say, press, .. }) => {
            one_of(&["say", "press"], &[say.is_some(), press.is_some()], here)
                .or_else(|| pressed(press.as_deref()?, at("press")))
                .or_else(|| spoken(say.as_deref()?, at("say")))
        }
        Step::Source(change) => source_answer(&change.answer(), here),
        Step::Model(change) => model_answers(&change.answers, at("answers")),
        Step::Asked(Asked { contains, .. }) => not_empty(contains.as_deref(), "contains", here),
        Step::Transfer(transfer) => {
            not_empty(Some(&transfer.to), "to", here).or_else(|| status(transfer.answers.as_ref()?, at("answers")))
        }
        Step::Refuse(Refuse { status, .. }) => {
            (!REFUSALS.contains(status)).then(|| Fault::new("a status that refuses is 300 to 699").at(at("status")))
        }
        Step::DigitsSent(keys) => {
            let keys: String = keys.chars().filter(|c| *c != ',').collect();
            pressed(&keys, here)
        }
        Step::Result(result) => (*result == Default::default()).then(|| {
            Fault::new("`result` says nothing to look for")
                .help("write for example `result: {disposition: done}`")
                .at(here)
        }),
        Step::Silence(_)
        | Step::Noise(_)
        | Step::HangUp(_)
        | Step::PickUp(_)
        | Step::Message(_)
        | Step::Wait(_)
        | Step::OperatorHangUp(_)
        | Step::Drain(_)
        | Step::Node(_)
        | Step::Fetched(_)
        | Step::Pushed(_)
        | Step::Ended(_) => None,
    }
}

/// What is wrong with the first answer of a model that makes no sense.
fn model_answers(answers: &[ModelAnswer], place: Place) -> Option<Fault> {
    let wrong = answers.iter().enumerate().find_map(|(index, answer)| Some((index, answer.problem()?)));
    wrong.map(|(index, problem)| Fault::new(format!("answer {}: {problem}", index + 1)).at(place))
}

fn one_of(names: &[&str], said: &[bool], place: Place) -> Option<Fault> {
    let count = said.iter().filter(|said| **said).count();
    let names = super::problem::list(names);
    match count {
        1 => None,
        0 => Some(Fault::new(format!("one of {names} is missing")).at(place)),
        _ => Some(Fault::new(format!("only one of {names} can be said")).at(place)),
    }
}

fn not_empty(text: Option<&str>, name: &str, place: Place) -> Option<Fault> {
    text.is_some_and(|text| text.trim().is_empty()).then(|| Fault::new(format!("`{name}` is empty")).at(place))
}

fn pattern(pattern: Option<&str>, place: Place) -> Option<Fault> {
    let pattern = pattern?;
    if pattern.chars().count() > MAX_PATTERN {
        return Some(Fault::new(format!("a regular expression has at most {MAX_PATTERN} characters")).at(place));
    }
    let error = regex_lite::Regex::new(pattern).err()?;
    Some(Fault::new(format!("`{}` is no regular expression: {error}", shown(pattern))).at(place))
}

fn pressed(keys: &str, place: Place) -> Option<Fault> {
    if keys.is_empty() {
        return Some(Fault::new("no key is named").at(place));
    }
    if keys.len() > 256 {
        return Some(Fault::new("at most 256 keys in one step").at(place));
    }
    let wrong = keys.chars().find(|key| !matches!(key, '0'..='9' | '*' | '#' | 'A'..='D'))?;
    let fault = Fault::new(format!("`{}` is no key of a telephone", shown(&wrong.to_string()))).at(place);
    Some(match wrong {
        ',' | ' ' => fault.help("for a pause write two steps, or `press: {keys: …, pace: 1s}`"),
        _ => fault.help("keys are 0 to 9, `*`, `#` and A to D"),
    })
}

fn spoken(text: &str, place: Place) -> Option<Fault> {
    text.trim().is_empty().then(|| {
        Fault::new("the caller says nothing").help("for silence write `silence: 3s`, for a sound `noise: 1s`").at(place)
    })
}

fn rate(words_a_minute: Option<u16>, place: Place) -> Option<Fault> {
    let wrong = words_a_minute.is_some_and(|rate| !RATES.contains(&rate));
    wrong.then(|| Fault::new(format!("`words_a_minute` is {} to {}", RATES.start(), RATES.end())).at(place))
}

fn status(answer: &TransferAnswer, place: Place) -> Option<Fault> {
    let TransferAnswer::Status { status, .. } = answer else { return None };
    (!REFUSALS.contains(status)).then(|| Fault::new("a status that refuses is 300 to 699").at(place))
}

fn source_answer(source: &SourceAnswer, place: Place) -> Option<Fault> {
    let said = [source.answers.is_some(), source.fails.is_some(), source.never];
    one_of(&["answers", "fails", "never"], &said, place).map(|fault| {
        fault.help("write {answers: …}, {fails: unavailable} or {never: true}; `after: 3s` goes with the first two")
    })
}

/// What is wrong with the order of the steps of a call.
pub(super) fn steps(given: &Given, steps: &[PlacedStep], whole: Place) -> Vec<Fault> {
    let mut faults = Vec::new();
    if steps.is_empty() {
        faults.push(Fault::new("a scenario without steps shows nothing").at(whole));
    }
    let outbound = given.direction == Some(Direction::Outbound);
    let mut picked_up = !outbound;
    let mut expected = false;
    // The step that ended the call, and what it means.
    let mut over: Option<(&PlacedStep, &str)> = None;
    for placed in steps {
        let PlacedStep { step, place } = placed;
        let verb = step.verb();
        let mut wrong = |message: String, help: &str| faults.push(Fault::new(message).help(help).at(*place));
        if let Some((by, why)) = over
            && (matches!(by.step, Step::Ended(_)) || needs_the_caller(step))
        {
            wrong(
                format!("`{verb}` after `{}` (line {}): {why}", by.step.verb(), by.place.line),
                "move it before that step, or take it out",
            );
            continue;
        }
        match step {
            Step::Expect(_) => expected = true,
            Step::Interrupt(_) if !expected => wrong(
                "`interrupt` before anything is said".into(),
                "put an `expect` before it: the caller breaks into that prompt",
            ),
            Step::Heard(_) if !expected => {
                wrong(
                    "`heard` before anything is said".into(),
                    "put an `expect` before it: `heard` is about that prompt",
                );
            }
            Step::PickUp(_) | Step::Refuse(_) if !outbound => wrong(
                format!("`{verb}` in an inbound call: the script answers, not the caller"),
                "write `given: {direction: outbound}`, or take the step out",
            ),
            Step::PickUp(_) | Step::Refuse(_) if picked_up => {
                wrong(format!("`{verb}`, but the call has been picked up already"), "move it to the beginning");
            }
            Step::PickUp(_) => picked_up = true,
            Step::Press(_) | Step::Say(_) | Step::Noise(_) | Step::Interrupt(_)
                if !picked_up && steps.iter().any(|later| matches!(later.step, Step::PickUp(_) | Step::Refuse(_))) =>
            {
                wrong(format!("`{verb}` before the call is picked up"), "move it behind `pick_up`");
            }
            _ => {}
        }
        match step {
            Step::Ended(_) => over = Some((placed, "the call is over then")),
            Step::HangUp(_) => over = Some((placed, "the caller is gone then")),
            Step::OperatorHangUp(_) => over = Some((placed, "the call is over then")),
            Step::Refuse(_) => over = Some((placed, "there is no call then")),
            Step::Transfer(transfer)
                if transfer.plan(given.transfers.get(&transfer.to)).answers == TransferAnswer::Connected =>
            {
                over = Some((placed, "the caller is connected to the target then"));
            }
            _ => {}
        }
    }
    faults
}

/// Whether a step needs a caller on the line: afterwards the script may still write down what it learnt.
pub(super) const fn needs_the_caller(step: &Step) -> bool {
    !matches!(
        step,
        Step::Wait(_)
            | Step::Source(_)
            | Step::Model(_)
            | Step::Asked(_)
            | Step::Heard(_)
            | Step::Node(_)
            | Step::Fetched(_)
            | Step::Pushed(_)
            | Step::Logged(_)
            | Step::Result(_)
            | Step::Ended(_)
    )
}
