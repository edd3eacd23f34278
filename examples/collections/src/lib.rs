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
use serde::{Deserialize, Serialize};

callbox_guest::script!(run);

/// What whoever places the call gives with it (`parameters` of the API). The
/// source gets it with its request.
#[derive(Default, Deserialize, Serialize)]
struct Order {
    /// The case that the call is about.
    case: Option<String>,
    /// Comes back in the results.
    relation_id: Option<String>,
}

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
    #[serde(flatten)]
    order: &'a Order,
    #[serde(flatten)]
    findings: &'a Findings,
}

fn run() -> Result<()> {
    let order: Order = call::info().parameters_as()?.unwrap_or_default();
    if let Some(id) = &order.relation_id {
        results::set("relation_id", id)?;
    }

    // The request has been under way since the call was placed.
    let case: Result<Case> = context::fetch("case").inspect_err(|error| error!("no case: {error}"));
    let mut findings = Findings::default();
    let outcome = match &case {
        Ok(case) => serve(case, &mut findings)?,
        Err(_) => give_up("no_case")?,
    };

    // The customer may be gone by now; results are still taken.
    results::disposition(outcome)?;
    results::push("outcome", &Report { outcome, order: &order, findings: &findings })?;
    Ok(())
}

/// Calls where calling is allowed; returns what came of it.
fn serve(case: &Case, findings: &mut Findings) -> Result<&'static str> {
    // A case with a zone that there is not is none that anybody could be called about.
    let now = match clock::local(&case.zone) {
        Err(error) if !error.is_ended() => {
            error!("no case: {error}");
            return give_up("no_case");
        }
        now => now?,
    };
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
