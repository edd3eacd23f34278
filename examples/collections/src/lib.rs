//! A call about a debt. It says for whom it is, and makes sure by keys that they
//! are there, before it says what about. Then: pay now (1), promise a day (2),
//! dispute it (3), no more calls (9).
//!
//! What it keeps to:
//! * nobody is called outside the hours of their own clock;
//! * whoever else answers does not learn what the call is about;
//! * what is entered as a proof is masked everywhere, is not said back, and is
//!   compared with a hash: the digits stand nowhere.

mod case;
mod promise;
mod talk;

use callbox_guest::hours::{Day, Hours};
use callbox_guest::{Result, call, clock, context, error, info, results, settings};
use case::Case;
use serde::Serialize;

callbox_guest::script!(run);

/// What came of the call so far.
#[derive(Default, Serialize)]
struct Findings {
    /// The day on which the customer will pay.
    promise: Option<callbox_guest::calendar::Date>,
    /// Why the customer does not.
    dispute: Option<&'static str>,
}

/// What the destination `outcome` receives.
#[derive(Serialize)]
struct Report<'a> {
    outcome: &'a str,
    relation_id: Option<&'a str>,
    case: Option<&'a str>,
    #[serde(flatten)]
    findings: &'a Findings,
}

fn run() -> Result<()> {
    let call = call::info();
    let relation_id = call.header("X-call-relation-id");
    if let Some(id) = relation_id {
        results::set("relation_id", id)?;
    }

    // The request has been under way since the call was placed.
    let case: Option<Case> = context::fetch("case").inspect_err(|error| error!("no case: {error}")).ok();
    let mut findings = Findings::default();
    let outcome = match &case {
        Some(case) => {
            results::set("case", &case.id)?;
            serve(case, &mut findings)?
        }
        None => give_up("no_case")?,
    };

    // The customer may be gone by now; results are still taken.
    results::disposition(outcome)?;
    let case = case.as_ref().map(|case| case.id.as_str());
    results::push("outcome", &Report { outcome, relation_id, case, findings: &findings })?;
    Ok(())
}

/// Calls where calling is allowed; returns what came of it.
fn serve(case: &Case, findings: &mut Findings) -> Result<&'static str> {
    let now = clock::local(&case.zone)?;
    if !calling_hours()?.is_open(&now) {
        info!("it is {} on {} in {}", now.time_of_day(), now.date().weekday(), case.zone);
        return give_up("outside_hours");
    }
    match call::answer() {
        Ok(()) => {}
        Err(error) if error.is_ended() => return Ok("not_reached"),
        Err(error) => return Err(error),
    }
    match talk::converse(case, findings) {
        Err(error) if error.is_ended() => Ok("hung_up"),
        outcome => outcome,
    }
}

/// Takes the call back before anybody has answered.
fn give_up(outcome: &'static str) -> Result<&'static str> {
    match call::hangup() {
        Err(error) if !error.is_ended() => Err(error),
        _ => Ok(outcome),
    }
}

/// When people may be called: the week of the setting, without the days of the other.
fn calling_hours() -> Result<Hours> {
    let mut hours: Hours = settings::get("hours").unwrap_or_default().parse()?;
    for day in settings::list("no_calls") {
        hours.except(day.parse()?, Day::CLOSED);
    }
    Ok(hours)
}
