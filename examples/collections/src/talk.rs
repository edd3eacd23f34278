//! The dialogue, from hello to goodbye.

use crate::Findings;
use crate::case::Case;
use crate::promise::{ask_for_day, day_and_month, spoken};
use callbox_guest::call::{self, Transferred};
use callbox_guest::{Ask, EndCause, Error, Outcome, Prompt, Result, ask, choice, results, say, secs, settings, warn};

/// Who has answered.
#[derive(Clone, Copy)]
enum Who {
    Customer,
    SomebodyElse,
    WrongNumber,
    NeverAgain,
}

/// What the customer does about it.
#[derive(Clone, Copy)]
enum Wish {
    Pay,
    Promise,
    Dispute,
    NeverAgain,
}

/// How no more calls are asked for.
const NEVER_AGAIN: [&str; 4] = ["no more calls", "stop calling", "never call again", "do not call again"];

/// Speaks with whoever answered; returns what came of it.
pub fn converse(case: &Case, findings: &mut Findings) -> Result<&'static str> {
    results::node("who")?;
    let company = settings::get("company").unwrap_or_default();
    let name = &case.name;
    let who = question(format!(
        "Hello. This is an automatic call from {company} for {name}. If you are {name}, press 1. If {name} is not \
         there, press 2. If this is not their number, press 3. For no more calls, press 9."
    ))
    .for_choice([
        choice(Who::Customer)
            .say(["yes", "that's me", "yes that's me", "yes I am", "speaking", "yes speaking"])
            .key('1'),
        choice(Who::SomebodyElse).say(["not here", "is not here", "isn't here", "not at home", "no"]).key('2'),
        choice(Who::WrongNumber).say(["wrong number", "you have the wrong number", "not their number"]).key('3'),
        choice(Who::NeverAgain).say(NEVER_AGAIN).key('9'),
    ])
    .answer()?;
    match who {
        Outcome::Got(Who::Customer) => {}
        Outcome::Got(Who::SomebodyElse) => {
            results::node("somebody_else")?;
            results::tag("call_back")?;
            say("Thank you. We will call again another time. Goodbye.")?;
            return Ok("somebody_else");
        }
        Outcome::Got(Who::WrongNumber) => {
            results::node("wrong_number")?;
            results::tag("wrong_number")?;
            say("I am sorry to have troubled you. We will not call this number again. Goodbye.")?;
            return Ok("wrong_number");
        }
        Outcome::Got(Who::NeverAgain) => return opt_out(),
        Outcome::Silence | Outcome::NoMatch(_) | Outcome::Operator => return no_answer(),
    }

    if let Some(outcome) = check_identity(case)? {
        return Ok(outcome);
    }
    results::set("verified", &true)?;

    results::node("debt")?;
    say(format!(
        "Thank you, {name}. It is about your account with {}. {} have been due since {}.",
        case.creditor,
        case.amount(),
        day_and_month(case.due)
    ))?;
    offer(case, findings)
}

/// Asks for the proof, three times. Returns what came of the call where it was
/// not given.
fn check_identity(case: &Case) -> Result<Option<&'static str>> {
    results::node("check")?;
    let proof = ask(format!(
        "This is a private matter, so please show that it is you. Enter {}, and then press the hash key.",
        case.check.asks_for
    ))
    // A few more than there are: the hash key ends it, and does not run into what is said next.
    .digits(case.check.keys..=case.check.keys.saturating_add(4))
    .terminator('#')
    .sensitive()
    .start_timeout(secs(10))
    .on_silence("I did not hear a key.")
    .on_no_match("That is not what I have here.")
    .accept(|digits| case.check.passes(digits).then_some(()))?;
    match proof {
        Outcome::Got(()) => Ok(None),
        Outcome::Silence | Outcome::Operator => no_answer().map(Some),
        // What was entered is nobody's business, not even a log's.
        Outcome::NoMatch(_) => {
            results::node("not_verified")?;
            say(
                "I am sorry, I could not make sure that it is you, and can say no more here. Please call us. Goodbye.",
            )?;
            Ok(Some("not_verified"))
        }
    }
}

/// The ways out of it. A person who does not take the call leaves the others.
fn offer(case: &Case, findings: &mut Findings) -> Result<&'static str> {
    let mut agent = settings::get("agent").filter(|agent| !agent.is_empty());
    loop {
        results::node("menu")?;
        let mut menu = String::new();
        let mut wishes = vec![
            choice(Wish::Promise).say(["name a day", "I will pay later", "pay later", "another day"]).key('2'),
            choice(Wish::Dispute).say(["not right", "that is wrong", "that's wrong", "dispute it"]).key('3'),
            choice(Wish::NeverAgain).say(NEVER_AGAIN).key('9'),
        ];
        if agent.is_some() {
            menu.push_str("To pay now, press 1. ");
            wishes.push(choice(Wish::Pay).say(["pay now", "I will pay now", "pay"]).key('1'));
        }
        menu.push_str(
            "To name a day on which you will pay, press 2. If you think that this is not right, press 3. For no more \
             calls about it, press 9.",
        );
        match (question(menu).for_choice(wishes).answer()?, agent.take()) {
            (Outcome::Got(Wish::Pay), Some(agent)) => {
                if let Some(outcome) = pay(&agent)? {
                    return Ok(outcome);
                }
            }
            (Outcome::Got(Wish::Promise), _) => return promise(case, findings),
            (Outcome::Got(Wish::Dispute), _) => return dispute(findings),
            (Outcome::Got(Wish::NeverAgain), _) => return opt_out(),
            (Outcome::Silence | Outcome::NoMatch(_) | Outcome::Operator | Outcome::Got(Wish::Pay), _) => {
                return no_answer();
            }
        }
    }
}

/// Hands the customer over to somebody who takes payments. None where nobody
/// does; the customer is still there.
fn pay(agent: &str) -> Result<Option<&'static str>> {
    results::node("pay")?;
    results::intent("pay_now", Some('A'))?;
    say("One moment, I am connecting you.")?;
    match call::transfer(agent).bridge().ring_timeout(secs(20)).connect() {
        Ok(Transferred::Connected) | Err(Error::Ended(EndCause::Transferred)) => Ok(Some("connected")),
        Ok(Transferred::Returned) => {
            say("Thank you. Goodbye.")?;
            Ok(Some("connected"))
        }
        Ok(Transferred::Failed { status, reason }) => {
            warn!("nobody took the call: {status} {reason}");
            results::tag("agent_unavailable")?;
            say("I am sorry, nobody can take your call just now.")?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A day on which the customer will pay.
fn promise(case: &Case, findings: &mut Findings) -> Result<&'static str> {
    results::node("promise")?;
    results::intent("pay_later", Some('B'))?;
    let within_days = settings::get_as("promise_days")?.unwrap_or(14);
    let Some(day) = ask_for_day(case, within_days)? else {
        results::node("no_promise")?;
        results::tag("call_back")?;
        say("We have not settled on a day. We will call you again. Goodbye.")?;
        return Ok("no_promise");
    };
    findings.promise = Some(day);
    results::set("promise", &day)?;
    results::node("promised")?;
    say(format!("Thank you. We expect your payment on {}. Goodbye.", spoken(day)))?;
    Ok("promised")
}

/// Why the customer does not pay; nothing is argued about here.
fn dispute(findings: &mut Findings) -> Result<&'static str> {
    results::node("dispute")?;
    results::intent("dispute", Some('D'))?;
    let reason = question(
        "What is not right? If you have paid already, press 1. If the amount is wrong, press 2. If it is not yours, \
         press 3. For anything else, press 4.",
    )
    .for_choice([
        choice("paid").say(["paid already", "I have paid", "I paid it"]).key('1'),
        choice("amount").say(["the amount", "the amount is wrong", "too much"]).key('2'),
        choice("not_mine").say(["not mine", "it is not mine", "that's not mine"]).key('3'),
        choice("other").say(["something else", "anything else", "other"]).key('4'),
    ])
    .answer()?;
    let reason = reason.got().unwrap_or("not_said");
    findings.dispute = Some(reason);
    results::set("dispute", reason)?;
    results::tag("review")?;
    results::node("disputed")?;
    say("Thank you. We will look into it and write to you. Until then you need not do anything. Goodbye.")?;
    Ok("disputed")
}

fn opt_out() -> Result<&'static str> {
    results::node("opt_out")?;
    results::opt_out()?;
    say("Very well, we will not call you again. Goodbye.")?;
    Ok("opt_out")
}

fn no_answer() -> Result<&'static str> {
    results::node("no_answer")?;
    say("I do not hear you. We will try again another time. Goodbye.")?;
    Ok("no_answer")
}

/// The manner of all menus.
fn question(words: impl Into<Prompt>) -> Ask {
    ask(words)
        .start_timeout(secs(6))
        .on_silence("I did not hear you.")
        .on_no_match("I did not understand that.")
        .help("You can say what you want, or press a key.")
}
