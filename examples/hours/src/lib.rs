//! An opening-hours router: offices in several zones, each with its week and its
//! holidays. A caller is led to the office that is meant for them; where that one
//! is closed or busy, to the next that is open. Where all are closed they hear it
//! as early media, which costs them nothing, and when to call again.

mod offices;
mod words;

use callbox_guest::call::{self, Transferred};
use callbox_guest::clock::LocalTime;
use callbox_guest::hours::{Day, Holiday};
use callbox_guest::{EndCause, Error, Result, clock, context, results, say, secs, settings, voice, warn};
use offices::Office;
use serde::Serialize;
use std::collections::BTreeMap;
use words::Words;

callbox_guest::script!(run);

/// What the source `calendar` answers: by office, days that are not as the week says.
type Calendar = BTreeMap<String, BTreeMap<Holiday, Day>>;

/// What the destination `outcome` receives.
#[derive(Serialize)]
struct Report<'a> {
    outcome: &'a str,
    relation_id: Option<&'a str>,
    /// Whom to call back.
    caller: Option<&'a str>,
    /// Who took the call.
    office: Option<&'a str>,
}

/// An office and what its clock shows.
struct Place {
    office: Office,
    now: LocalTime,
}

fn run() -> Result<()> {
    let words = Words::of(settings::get("language").as_deref());
    let info = call::info();
    let relation_id = info.header("X-call-relation-id");
    if let Some(id) = relation_id {
        results::set("relation_id", id)?;
    }

    let caller = info.caller.number.as_deref();
    voice::set_language(words.language)?;
    let places = places(caller)?;
    let (outcome, office) = match route(words, &places) {
        Ok((outcome, office)) => (outcome, office),
        Err(error) if error.is_ended() => ("hung_up", None),
        Err(error) => return Err(error),
    };

    results::disposition(outcome)?;
    if let Some(office) = office {
        results::set("office", office)?;
    }
    results::push("outcome", &Report { outcome, relation_id, caller, office })?;
    Ok(())
}

/// The offices in the order in which they are meant for this caller, with the
/// days of the settings and of the source that are not as their week says.
fn places(caller: Option<&str>) -> Result<Vec<Place>> {
    let mut offices: Vec<Office> = settings::get_as("offices")?.unwrap_or_default();
    let holidays = settings::list("holidays").iter().map(|day| day.parse()).collect::<Result<Vec<Holiday>>>()?;
    // Without the calendar the week and the settings have to do.
    let calendar: Calendar = context::fetch("calendar").or_else(|error| {
        warn!("no calendar: {error}");
        results::tag("no_calendar").map(|()| Calendar::new())
    })?;
    for office in &mut offices {
        for holiday in &holidays {
            office.hours.except(*holiday, Day::CLOSED);
        }
        for (day, hours) in calendar.get(&office.name).into_iter().flatten() {
            office.hours.except(*day, hours.clone());
        }
    }
    // The offices meant for this caller come first; the sort keeps the order of the others.
    offices.sort_by_key(|office| std::cmp::Reverse(office.meant_for(caller)));
    offices.into_iter().map(|office| Ok(Place { now: clock::local(&office.zone)?, office })).collect()
}

/// Leads the caller to somebody, or tells when to call again. Returns what came of
/// it, and which office took the call.
fn route<'a>(words: &Words, places: &'a [Place]) -> Result<(&'static str, Option<&'a str>)> {
    let open: Vec<&Place> = places.iter().filter(|place| place.office.hours.is_open(&place.now)).collect();
    if open.is_empty() {
        return closed(words, places).map(|outcome| (outcome, None));
    }

    results::node("welcome")?;
    say((words.welcome)(&settings::get("company").unwrap_or_default()))?;
    for (index, Place { office, .. }) in open.iter().enumerate() {
        results::node("connecting")?;
        say(if index == 0 { words.connecting } else { words.another_office })?;
        match call::transfer(&office.target).bridge().ring_timeout(secs(20)).connect() {
            Ok(Transferred::Connected) | Err(Error::Ended(EndCause::Transferred)) => {
                return Ok(("connected", Some(&office.name)));
            }
            Ok(Transferred::Returned) => {
                say(words.goodbye)?;
                return Ok(("connected", Some(&office.name)));
            }
            Ok(Transferred::Failed { status, reason }) => warn!("{} did not answer: {status} {reason}", office.name),
            Err(error) => return Err(error),
        }
    }

    results::node("all_busy")?;
    results::tag("call_back")?;
    say(words.all_busy)?;
    Ok(("all_busy", None))
}

/// Nobody is there. Says when somebody is: in the office that is meant for the
/// caller, by its clock. Returning without an answer declines the call (480).
fn closed(words: &Words, places: &[Place]) -> Result<&'static str> {
    results::node("closed")?;
    match call::early_media() {
        // Where nothing can be heard before the answer, speaking picks up.
        Ok(()) | Err(Error::Unavailable(_)) => {}
        Err(error) => return Err(error),
    }
    let next = places.iter().find_map(|Place { office, now }| Some((office, now, office.hours.next_opening(now)?)));
    let told = say(match next {
        Some((office, now, (date, time))) => (words.closed_until)(&office.name, now.date(), date, time),
        None => words.closed.to_owned(),
    });
    match told {
        Err(error) if !error.is_ended() => Err(error),
        // Who hangs up has heard enough.
        _ => Ok("closed"),
    }
}
