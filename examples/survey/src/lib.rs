//! A satisfaction survey: a score from 0 to 10, a question that depends on it,
//! and how easy it was. The caller may say no, or not now, or hang up. Answers are
//! spoken or pressed.
//!
//! Every answer is written down at once, so that a caller who hangs up takes
//! none of them along; the destination receives one report per call.

use callbox_guest::{Ask, Choice, Outcome, Prompt, Result, ask, call, choice, results, say, secs, settings};
use serde::Serialize;

callbox_guest::script!(run);

/// What was answered so far. A question that was left out, or not asked, is not
/// in the report.
#[derive(Default, Serialize)]
struct Answers {
    /// 0 to 10: how likely it is that the caller recommends us.
    #[serde(skip_serializing_if = "Option::is_none")]
    recommend: Option<u32>,
    /// What those like best who recommend us (9 and 10).
    #[serde(skip_serializing_if = "Option::is_none")]
    best: Option<&'static str>,
    /// What those miss who might (7 and 8).
    #[serde(skip_serializing_if = "Option::is_none")]
    better: Option<&'static str>,
    /// Whether the matter of those is settled who do not (0 to 6).
    #[serde(skip_serializing_if = "Option::is_none")]
    solved: Option<bool>,
    /// Whether somebody may call them about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    call_back: Option<bool>,
    /// 1 to 5: how easy it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    ease: Option<u32>,
}

/// What the destination `answers` receives.
#[derive(Serialize)]
struct Report<'a> {
    outcome: &'a str,
    relation_id: Option<&'a str>,
    answers: &'a Answers,
}

#[derive(Clone, Copy)]
enum Wish {
    Begin,
    NotNow,
    NeverAgain,
}

fn run() -> Result<()> {
    let company = settings::get("company").unwrap_or_default();
    let info = call::info();
    let relation_id = info.header("X-call-relation-id");
    if let Some(id) = relation_id {
        results::set("relation_id", id)?;
    }

    let mut answers = Answers::default();
    let talked = call::answer().map(|()| converse(&company, &mut answers));
    let outcome = match talked {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) if error.is_ended() && answers.recommend.is_some() => "partial",
        Ok(Err(error)) if error.is_ended() => "hung_up",
        Err(error) if error.is_ended() => "not_reached",
        Ok(Err(error)) | Err(error) => return Err(error),
    };
    results::disposition(outcome)?;
    results::push("answers", &Report { outcome, relation_id, answers: &answers })?;
    Ok(())
}

/// The dialogue from hello to goodbye; returns what came of it.
fn converse(company: &str, answers: &mut Answers) -> Result<&'static str> {
    results::node("greeting")?;
    let wish = question(format!(
        "Hello, this is {company}. You spoke to us recently, and we would like to hear how it went. It takes two \
         minutes. To begin, press 1. If now is a bad time, press 2. If you would rather not be asked again, press 9."
    ))
    .for_choice([
        choice(Wish::Begin).say(["begin", "yes", "yes begin", "okay", "sure", "go ahead", "start"]).key('1'),
        choice(Wish::NotNow).say(["not now", "no", "a bad time", "later", "another time", "I have no time"]).key('2'),
        choice(Wish::NeverAgain).say(["never", "never again", "stop calling", "do not ask me again"]).key('9'),
    ])
    .answer()?;
    match wish {
        Outcome::Got(Wish::Begin) => {}
        Outcome::Got(Wish::NotNow) => {
            results::node("not_now")?;
            results::tag("ask_again")?;
            say("That is fine. Perhaps another time. Goodbye.")?;
            return Ok("not_now");
        }
        Outcome::Got(Wish::NeverAgain) => {
            results::node("opt_out")?;
            results::opt_out()?;
            say("Very well, we will not ask you again. Goodbye.")?;
            return Ok("opt_out");
        }
        Outcome::Silence | Outcome::NoMatch(_) | Outcome::Operator => return nobody_answers(),
    }

    // Whoever leaves the first question out is let go; the others may be left out.
    results::node("recommend")?;
    let score = question(
        "How likely is it that you would recommend us to a friend? Enter a number from 0, not at all, to 10, very \
         likely, and then press the hash key.",
    )
    .on_no_match("That is not a number from 0 to 10.")
    .for_number(0..=10)
    .confirm_below(0.5, |score| format!("Did you say {score}? Say yes or no, or press 1 or 2."))
    .answer()?;
    let Some(score) = noted("recommend", score)? else { return nobody_answers() };
    answers.recommend = Some(score);

    let complete = match score {
        9.. => ask_what_is_best(answers)?,
        7 | 8 => ask_what_would_be_better(answers)?,
        _ => ask_what_is_open(answers)?,
    };

    results::node("ease")?;
    let ease = question("And how easy did we make it for you? Press a key from 1, not easy at all, to 5, very easy.")
        .on_no_match("Press one key, from 1 to 5.")
        .for_number(1..=5)
        .answer()?;
    answers.ease = noted("ease", ease)?;

    results::node("thanks")?;
    say(match answers.call_back {
        Some(true) => "Thank you very much. A colleague will call you. Goodbye.",
        _ => "Thank you very much for your time. Goodbye.",
    })?;
    Ok(if complete && answers.ease.is_some() { "complete" } else { "partial" })
}

/// To those who recommend us. Returns whether it was answered.
fn ask_what_is_best(answers: &mut Answers) -> Result<bool> {
    results::node("best")?;
    results::intent("recommend", Some('A'))?;
    let menu = "That is good to hear. What did you like best? That it was quick, press 1. That we were friendly, press 2. \
         That we found a solution, press 3.";
    let best = question(menu)
        .for_choice([quick(), friendly(), choice("solution").say(["a solution", "solution", "it was solved"]).key('3')])
        .answer()?;
    answers.best = noted("best", best)?;
    Ok(answers.best.is_some())
}

/// To those who might recommend us. Returns whether it was answered.
fn ask_what_would_be_better(answers: &mut Answers) -> Result<bool> {
    results::node("better")?;
    results::intent("recommend", Some('C'))?;
    let menu = "Thank you. What could we do better? Be quicker, press 1. Be friendlier, press 2. Know more, press 3.";
    let better = question(menu)
        .for_choice([quick(), friendly(), choice("knowledge").say(["know more", "knowledge", "expertise"]).key('3')])
        .answer()?;
    answers.better = noted("better", better)?;
    Ok(answers.better.is_some())
}

/// To those who do not recommend us: first whether something is still open, and
/// then whether we may call. Returns whether all of it was answered.
fn ask_what_is_open(answers: &mut Answers) -> Result<bool> {
    results::node("solved")?;
    results::intent("recommend", Some('E'))?;
    let solved = question("I am sorry to hear that. Is your matter settled? For yes press 1, for no press 2.")
        .for_yes_no()
        .answer()?;
    answers.solved = noted("solved", solved)?;
    if answers.solved != Some(false) {
        return Ok(answers.solved.is_some());
    }
    results::node("call_back")?;
    let call_back =
        question("May a colleague call you about it? For yes press 1, for no press 2.").for_yes_no().answer()?;
    answers.call_back = noted("call_back", call_back)?;
    if answers.call_back == Some(true) {
        results::tag("call_back")?;
    }
    Ok(answers.call_back.is_some())
}

/// The manner of all questions: asked twice.
fn question(words: impl Into<Prompt>) -> Ask {
    ask(words)
        .tries(2)
        .start_timeout(secs(6))
        .on_silence("I did not hear you.")
        .on_no_match("I did not understand that.")
        .help("You can say your answer, or press a key.")
}

fn quick() -> Choice<&'static str> {
    choice("speed").say(["quick", "it was quick", "speed", "be quicker", "quicker", "faster"]).key('1')
}

fn friendly() -> Choice<&'static str> {
    choice("kindness").say(["friendly", "you were friendly", "kindness", "be friendlier", "friendlier"]).key('2')
}

/// Writes an answer down, where there is one.
fn noted<T: Serialize>(question: &str, outcome: Outcome<T>) -> Result<Option<T>> {
    let answer = outcome.got();
    if let Some(answer) = &answer {
        results::set(question, answer)?;
    }
    Ok(answer)
}

fn nobody_answers() -> Result<&'static str> {
    results::node("no_answer")?;
    say("I do not hear you. Perhaps another time. Goodbye.")?;
    Ok("no_answer")
}
