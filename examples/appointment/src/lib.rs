//! An appointment reminder: says who, when and where, and asks whether it
//! holds. The caller says so, or presses a key: 1 confirms, 2 asks for another
//! time, 3 leads to a person. Where nobody listens for words, the keys are left.
//!
//! Whatever happens – silence, wrong keys, a hang-up, a business system that
//! does not answer – the caller hears a polite end and the business system
//! receives one outcome.

mod words;

use callbox_guest::call::{self, Transferred};
use callbox_guest::{
    Ask, EndCause, Error, Outcome, Result, ask, choice, context, ms, results, say, secs, settings, voice, warn,
};
use serde::{Deserialize, Serialize};
use words::Words;

callbox_guest::script!(run);

/// What the source `appointment` answers.
#[derive(Deserialize, Serialize)]
struct Appointment {
    name: String,
    date: String,
    time: String,
    place: String,
}

/// What the destination `outcome` receives.
#[derive(Serialize)]
struct Report<'a> {
    outcome: &'a str,
    relation_id: Option<&'a str>,
    appointment: Option<&'a Appointment>,
}

#[derive(Clone, Copy)]
enum Wish {
    Confirm,
    Move,
    Person,
}

fn run() -> Result<()> {
    let words = Words::of(settings::get("language").as_deref());
    let agent = settings::get("agent").filter(|agent| !agent.is_empty());
    let info = call::info();
    let relation_id = info.header("X-call-relation-id");
    if let Some(id) = relation_id {
        results::set("relation_id", id)?;
    }

    // The request has been under way since the phone rang.
    let appointment: Option<Appointment> =
        context::fetch("appointment").inspect_err(|error| warn!("no appointment: {error}")).ok();

    let outcome = match converse(words, appointment.as_ref(), agent.as_deref()) {
        Ok(outcome) => outcome,
        Err(error) if error.is_ended() => "hung_up",
        Err(error) => return Err(error),
    };

    // The caller may be gone by now; results are still taken.
    results::disposition(outcome)?;
    if let Some(appointment) = &appointment {
        results::set("appointment", appointment)?;
    }
    results::push("outcome", &Report { outcome, relation_id, appointment: appointment.as_ref() })?;
    Ok(())
}

/// The dialogue from hello to goodbye; returns what came of it.
fn converse(words: &Words, appointment: Option<&Appointment>, agent: Option<&str>) -> Result<&'static str> {
    voice::set_language(words.language)?;
    call::answer()?;
    let Some(appointment) = appointment else { return without_details(words, agent) };

    results::node("greeting")?;
    say(voice::asset("chime.wav").silence(ms(200)).text(words.greeting(appointment)))?;

    results::node("menu")?;
    let mut wishes =
        vec![choice(Wish::Confirm).say(words.to_confirm).key('1'), choice(Wish::Move).say(words.to_move).key('2')];
    if agent.is_some() {
        wishes.push(choice(Wish::Person).say(words.to_talk).key('3'));
    }
    let menu = manner(ask(words.menu(agent.is_some())), words, agent)
        .on_silence(words.silence)
        .on_no_match([words.not_understood, words.explained])
        .help(words.explained);
    let answer = menu.for_choice(wishes).answer()?;

    match (answer, agent) {
        (Outcome::Got(Wish::Confirm), _) => {
            results::node("confirmed")?;
            results::intent("keep_appointment", Some('A'))?;
            say(words.confirmed)?;
            Ok("confirmed")
        }
        (Outcome::Got(Wish::Move), _) => {
            results::node("moved")?;
            results::intent("move_appointment", Some('B'))?;
            results::tag("call_back")?;
            say(words.moved)?;
            Ok("move_requested")
        }
        (Outcome::Got(Wish::Person) | Outcome::Operator, Some(agent)) => connect(words, agent),
        (Outcome::NoMatch(_), _) => {
            results::tag("not_understood")?;
            say(words.no_answer)?;
            Ok("no_answer")
        }
        (Outcome::Silence | Outcome::Got(Wish::Person) | Outcome::Operator, _) => {
            results::tag("silence")?;
            say(words.no_answer)?;
            Ok("no_answer")
        }
    }
}

/// The business system did not tell which appointment it is.
fn without_details(words: &Words, agent: Option<&str>) -> Result<&'static str> {
    results::node("no_details")?;
    results::tag("no_context")?;
    say(words.no_details)?;
    if let Some(agent) = agent {
        let offer = manner(ask(words.offer_person), words, Some(agent)).tries(1);
        let person = choice(true).say(words.to_talk).say(words.yes).key('3');
        let answer = offer.for_choice([person, choice(false).say(words.no)]).answer()?;
        if matches!(answer, Outcome::Got(true) | Outcome::Operator) {
            return connect(words, agent);
        }
    }
    say(words.call_back)?;
    Ok("no_details")
}

/// The manner of all questions: a person is there for who asks for one, if there is one.
fn manner(question: Ask, words: &Words, agent: Option<&str>) -> Ask {
    let question = question.start_timeout(secs(6)).languages([words.language]);
    if agent.is_some() { question.operator() } else { question }
}

/// Hands the caller over; takes them back when nobody picks up.
fn connect(words: &Words, agent: &str) -> Result<&'static str> {
    results::node("person")?;
    results::intent("talk_to_person", Some('C'))?;
    say(words.connecting)?;
    match call::transfer(agent).bridge().ring_timeout(secs(20)).connect() {
        Ok(Transferred::Connected) | Err(Error::Ended(EndCause::Transferred)) => Ok("transferred"),
        Ok(Transferred::Returned) => {
            say(words.goodbye)?;
            Ok("transferred")
        }
        Err(error) if error.is_ended() => Err(error),
        failed => {
            warn!("{agent} did not take the call: {failed:?}");
            results::tag("call_back")?;
            say(words.nobody_there)?;
            Ok("person_unavailable")
        }
    }
}
