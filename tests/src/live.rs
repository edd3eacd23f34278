//! A scenario, played on a live host: a real telephone does what its caller does, in real time, by RTP; a real business
//! system answers its sources and takes its messages; a second telephone is the target of its transfers.
//!
//! What the steps expect is not looked at here: whoever played it compares what is left of the call with what the
//! simulator leaves.

use crate::{Answer, Business, Host, Line, Phone, eventually};
use callbox_dialogue::script::{Playout, PlayoutEnd, Segment};
use callbox_dialogue::{Direction, HostCall, HostReply};
use callbox_script::Manifest;
use callbox_script::tape::{Entry, Recording, Tape};
use callbox_sim::scenario::{
    Given, HangUp, Interrupt, Moves, PlacedStep, Press, Run, Silence, SourceAnswer, SourceFailure, Span, Step,
    TransferAnswer, TransferPlan,
};
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

/// How often the transcript of a running call is looked at.
const LOOK: Duration = Duration::from_millis(60);
/// How long a caller thinks, as in the simulator.
const REACTION: Duration = Duration::from_millis(300);
/// How long a target lets it ring, and how long it talks: on a live host nobody waits for longer than shows the point.
const RINGS: Duration = Duration::from_millis(200);
/// When a call is taken that no step picks up.
const PICK_UP: Duration = Duration::from_millis(1_500);
/// How long the robot may say nothing new before the play has gone wrong.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a deployment waits for a source that answers, in milliseconds, and for one of which nothing is said.
const IN_TIME: u64 = 20_000;
const USUAL_LIMIT: u64 = 2_000;
/// What a source waits that never answers: longer than any time limit of a scenario.
const NEVER: Duration = Duration::from_secs(30);

/// What is left of a scenario that was played.
#[derive(Debug)]
pub struct Played {
    /// The call's record, as the API has it.
    pub record: Value,
    /// The tape.
    pub tape: Recording,
    /// Messages as they arrived: destination and body, in the order in which they were sent.
    pub pushes: Vec<(String, Value)>,
}

/// Why a scenario cannot be played on a live host; none where it can. To be honest about what is not compared.
#[must_use]
pub fn why_not(run: &Run) -> Option<&'static str> {
    let given = &run.given;
    if given.at.is_some() {
        return Some("the clock of a live host is not set");
    }
    if given.limits.is_some() || given.words_a_minute.is_some() || given.seed.is_some() {
        return Some("it sets what a live host has for all of its calls");
    }
    if given.sources.values().any(|source| source.on_failure.is_some()) {
        return Some("it is about a policy of the deployment");
    }
    run.steps.iter().find_map(|PlacedStep { step, .. }| match step {
        Step::Say(_) | Step::Noise(_) | Step::Interrupt(Interrupt { say: Some(_), .. }) => {
            Some("nobody understands speech on a live host yet")
        }
        Step::Silence(Silence::For(_)) | Step::Wait(_) | Step::Press(Press { after: Some(_), .. }) => {
            Some("it is about an exact time, which a busy machine does not keep")
        }
        Step::Drain(_) => Some("the host would go down for the others, too"),
        Step::Message(_) | Step::DigitsSent(_) => Some("no example needs it"),
        Step::Transfer(transfer) if !transfer.to.starts_with("sip:") => Some("there is no trunk for numbers"),
        _ => None,
    })
}

/// A scenario on its own number, with its own bindings, callers and business system.
pub struct Play<'a> {
    /// The host.
    pub host: &'a Host,
    /// The component's name, as `tools/guests` knows it.
    pub guest: &'a str,
    /// What it declares.
    pub manifest: &'a Manifest,
    /// What happens.
    pub run: &'a Run,
    /// A number that no other play has.
    pub number: &'a str,
    /// Who calls, or is called.
    pub caller: Phone,
    /// Who is at the targets of transfers.
    pub target: Phone,
}

impl Played {
    /// The scenario for the simulator, so that its caller does as this one did: hears the robot at the pace of the
    /// live voice, and breaks in at the same word. Real words are not all of one length; those of the simulator are.
    #[must_use]
    pub fn as_it_went(&self, run: &Run) -> Run {
        let mut run = run.clone();
        let pace = pace(&self.tape);
        let word = 60_000 / u32::from(pace);
        let cut = |playout: &&Playout| playout.end == PlayoutEnd::CutByDigits;
        let mut cuts = self.tape.entries.iter().filter_map(playout).filter(cut).map(words);
        for placed in &mut run.steps {
            if let Step::Interrupt(interrupt) = &mut placed.step
                && let Some(heard) = cuts.next()
            {
                // In the middle of the next one.
                interrupt.after = Span(heard * word + word / 2);
            }
        }
        run.given.words_a_minute = Some(pace);
        run
    }
}

impl Play<'_> {
    /// Plays it to the end of the call.
    pub async fn play(self) -> Played {
        let business = Business::start().await;
        for (name, answer) in &self.run.given.sources {
            business.answer(&format!("/source/{name}"), live_answer(answer));
        }
        let bindings = bindings(&self.run.given, self.manifest, &business);
        let fallback = self.run.given.fallback.as_ref().map_or(json!({}), |plan| {
            let say: Vec<Value> = plan.say.iter().map(|text| json!({ "text": text })).collect();
            json!({ "fallback": { "say": say } })
        });
        let script = self.host.publish(self.guest, self.number, &bindings, &fallback).await;

        let joined = Notify::new();
        let talks = async {
            tokio::select! {
                () = self.targets(&joined) => {}
                () = self.call(&script, &business, &joined) => {}
            }
        };
        talks.await;
        self.left(&script, &business).await
    }

    /// The telephone at the other end: places or takes the call, and does one step after the other.
    async fn call(&self, script: &str, business: &Business, joined: &Notify) {
        let given = &self.run.given;
        let steps = || self.run.steps.iter().map(|placed| &placed.step);
        let line = if given.direction == Some(Direction::Outbound) {
            let order = json!({ "to": self.caller.uri(), "script_id": script, "parameters": given.parameters });
            self.host.post("/v1/calls", &order).await;
            let ended = self.ended(script);
            tokio::pin!(ended);
            let ringing = tokio::select! {
                call = self.caller.next_call() => call,
                // It was taken back before it rang.
                () = &mut ended => return,
            };
            if ringing.dialog.ring().await.is_err() {
                // It was taken back meanwhile.
                return ended.await;
            }
            let after = match steps().find(|step| matches!(step, Step::PickUp(_) | Step::Refuse(_))) {
                Some(Step::Refuse(refuse)) => {
                    ringing.dialog.reject(refuse.status, refuse.reason.clone(), Vec::new()).await.unwrap();
                    return ended.await;
                }
                Some(Step::PickUp(Moves { after: Some(after) })) => Duration::from_millis(after.millis()),
                // A call in which nothing is said is over before anybody is there.
                None if !steps().any(|step| matches!(step, Step::Expect(_))) => return ended.await,
                _ => PICK_UP,
            };
            tokio::select! {
                () = sleep(after) => {}
                // The script has given up meanwhile.
                () = &mut ended => return,
            }
            self.caller.pick_up(ringing).await
        } else {
            let from = given.caller.as_deref().unwrap_or("+4930123456");
            let from = if from.starts_with("sip:") { from.to_owned() } else { format!("sip:{from}@127.0.0.1") };
            let target = format!("sip:{}@{}", self.number, self.host.sip);
            let headers: Vec<(String, String)> =
                given.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            match self.caller.dial_from(&from, &target, &headers).await {
                Ok(line) => line,
                Err(_) => return self.ended(script).await,
            }
        };
        let call = self.call_of(script).await;
        let mut robot = Robot { host: self.host, call: &call, expected: 0, last: 0 };
        let mut line = line;
        for step in steps() {
            match self.step(step, &mut robot, &mut line, business, joined).await {
                Ok(true) => {}
                Ok(false) | Err(Gone) => break,
            }
        }
        // Until the robot, the target or the caller has ended it.
        self.ended(script).await;
        drop(line);
    }

    /// Does a step; false where the call is over by it.
    async fn step(
        &self,
        step: &Step,
        robot: &mut Robot<'_>,
        line: &mut Line,
        business: &Business,
        joined: &Notify,
    ) -> Result<bool, Gone> {
        let ms = |span: Span| Duration::from_millis(span.millis());
        match step {
            Step::Expect(expected) => {
                let matches = |text: &str| {
                    let whole = expected.exact.as_deref().is_some_and(|exact| text == exact);
                    let part = expected.contains.as_deref().is_some_and(|part| text.contains(part));
                    // A live play goes on with the next prompt; whether it fits is compared in the end.
                    whole || part || expected.matches.is_some()
                };
                robot.says(matches).await?;
            }
            Step::Press(press) => {
                robot.is_quiet_for(press.after.map_or(REACTION, ms)).await?;
                robot.expected = robot.turns().await?.len();
                line.press(&press.keys);
            }
            Step::Interrupt(Interrupt { after, press, .. }) => {
                sleep(ms(*after)).await;
                robot.expected = robot.last + 1;
                line.press(press.as_deref().unwrap_or_default());
            }
            Step::Silence(Silence::For(span)) => robot.is_quiet_for(ms(*span)).await?,
            Step::Silence(Silence::UntilRobot) => {
                let said = robot.turns().await?.len();
                robot.goes_on_after(said).await?;
            }
            Step::Wait(span) => sleep(ms(*span)).await,
            Step::HangUp(HangUp { after }) => {
                match after {
                    Some(after) if after.millis() == 0 => {}
                    after => robot.is_quiet_for(after.map_or(REACTION, ms)).await?,
                }
                line.hang_up().await;
                return Ok(false);
            }
            Step::Transfer(transfer)
                if transfer.plan(self.run.given.transfers.get(&transfer.to)).answers == TransferAnswer::Connected =>
            {
                joined.notified().await;
                sleep(RINGS).await;
                line.hang_up().await;
                return Ok(false);
            }
            Step::Source(change) => business.answer(&format!("/source/{}", change.name), live_answer(&change.answer())),
            Step::OperatorHangUp(Moves { after }) => {
                sleep(after.map_or(Duration::ZERO, ms)).await;
                self.host.request(Method::POST, &format!("/v1/calls/{}/hangup", robot.call), None).await;
                return Ok(false);
            }
            _ => {}
        }
        Ok(true)
    }

    /// The targets of the transfers, each as its step says, in their order.
    async fn targets(&self, joined: &Notify) {
        for placed in &self.run.steps {
            let Step::Transfer(transfer) = &placed.step else { continue };
            let TransferPlan { answers, after, .. } = transfer.plan(self.run.given.transfers.get(&transfer.to));
            let mut call = self.target.next_call().await;
            call.dialog.ring().await.unwrap();
            sleep(RINGS).await;
            let status = match answers {
                TransferAnswer::Connected => {
                    let mut line = self.target.pick_up(call).await;
                    line.hears_for(100).await;
                    joined.notify_one();
                    line.over().await;
                    continue;
                }
                TransferAnswer::Returned => {
                    let mut line = self.target.pick_up(call).await;
                    line.hears_for(300).await;
                    line.hang_up().await;
                    continue;
                }
                TransferAnswer::NoAnswer if after.is_none() => {
                    // Until the host gives up.
                    while call.events.recv().await.is_some() {}
                    continue;
                }
                // Nobody is there for so long, and the far end says so.
                TransferAnswer::NoAnswer => (480, None),
                TransferAnswer::Busy => (486, None),
                TransferAnswer::Status { status, reason } => (status, reason),
            };
            call.dialog.reject(status.0, status.1, Vec::new()).await.unwrap();
        }
        std::future::pending().await
    }

    /// The call of this play, as soon as the host lists it.
    async fn call_of(&self, script: &str) -> String {
        eventually("a call of the script", async || {
            let calls = self.host.get(&format!("/v1/calls?script_id={script}")).await;
            calls["data"].get(0)?["id"].as_str().map(ToOwned::to_owned)
        })
        .await
    }

    /// Waits until the call is over and its record is kept.
    async fn ended(&self, script: &str) {
        let ended = async {
            loop {
                let calls = self.host.get(&format!("/v1/calls?script_id={script}&state=completed")).await;
                if calls["data"].get(0).is_some() {
                    return;
                }
                sleep(4 * LOOK).await;
            }
        };
        timeout(PATIENCE, ended).await.unwrap_or_else(|_| panic!("{}: the call is not over", self.run.name));
    }

    /// What is left of the call.
    async fn left(&self, script: &str, business: &Business) -> Played {
        let call = self.call_of(script).await;
        let record = self.host.get(&format!("/v1/calls/{call}")).await["record"].take();
        let tape = eventually("the tape", async || {
            let (status, _) = self.host.request(Method::GET, &format!("/v1/calls/{call}/tape"), None).await;
            if !status.is_success() {
                return None;
            }
            Some(self.host.text(&format!("/v1/calls/{call}/tape")).await)
        })
        .await;
        let tape = Tape::read(&tape).unwrap();
        let sent = tape.entries.iter().filter(|entry| matches!(entry.call, HostCall::Push { .. })).count();
        let mut pushes: Vec<(u32, String, Value)> = Vec::new();
        while pushes.len() < sent {
            let mut push = business.next().await;
            let Some(destination) = push.path.strip_prefix("/destination/") else { continue };
            let seq = push.id.rsplit('_').next().and_then(|seq| seq.parse().ok()).unwrap_or_default();
            pushes.push((seq, destination.to_owned(), push.body["data"]["body"].take()));
        }
        pushes.sort_by_key(|(seq, ..)| *seq);
        let pushes = pushes.into_iter().map(|(_, destination, body)| (destination, body)).collect();
        Played { record, tape, pushes }
    }
}

/// The call ended while something of it was waited for.
struct Gone;

/// What the robot has said so far, as its transcript shows while the call runs.
struct Robot<'a> {
    host: &'a Host,
    call: &'a str,
    /// Prompts that were expected or passed over.
    expected: usize,
    /// The prompt that was expected last.
    last: usize,
}

impl Robot<'_> {
    /// Its prompts: what it says, and whether it is through.
    async fn turns(&self) -> Result<Vec<(String, bool)>, Gone> {
        let path = format!("/v1/calls/{}/transcript", self.call);
        let transcript = self.host.get(&path).await;
        let robot = transcript["data"].as_array().into_iter().flatten().filter(|turn| turn["role"] == "robot");
        Ok(robot.map(|turn| (turn["text"].as_str().unwrap().to_owned(), !turn["heard_text"].is_null())).collect())
    }

    async fn is_over(&self) -> bool {
        self.host.get(&format!("/v1/calls/{}", self.call)).await["state"] == "completed"
    }

    /// Waits for something of the prompts; the call may end meanwhile.
    async fn until<T>(&self, what: &str, mut found: impl FnMut(&[(String, bool)]) -> Option<T>) -> Result<T, Gone> {
        let begun = Instant::now();
        loop {
            let turns = self.turns().await?;
            if let Some(found) = found(&turns) {
                return Ok(found);
            }
            if self.is_over().await {
                return Err(Gone);
            }
            assert!(begun.elapsed() < PATIENCE, "{what} did not come; it has said {turns:?}");
            sleep(LOOK).await;
        }
    }

    /// Waits for the next prompt that fits to begin.
    async fn says(&mut self, fits: impl Fn(&str) -> bool) -> Result<(), Gone> {
        let from = self.expected;
        let found = |turns: &[(String, bool)]| (from..turns.len()).find(|index| fits(&turns[*index].0));
        self.last = self.until("a prompt that fits", found).await?;
        self.expected = self.last + 1;
        Ok(())
    }

    /// Waits until it has said nothing for so long after its last prompt.
    async fn is_quiet_for(&self, span: Duration) -> Result<(), Gone> {
        loop {
            let through = |turns: &[(String, bool)]| turns.iter().all(|(_, ended)| *ended).then_some(turns.len());
            let said = self.until("the end of what it says", through).await?;
            sleep(span).await;
            if self.turns().await?.len() == said {
                return Ok(());
            }
        }
    }

    /// Waits until it says more than so many prompts.
    async fn goes_on_after(&self, said: usize) -> Result<(), Gone> {
        self.until("another prompt", |turns| (turns.len() > said).then_some(())).await
    }
}

/// What the names of the manifest are bound to, as a deployment would.
fn bindings(given: &Given, manifest: &Manifest, business: &Business) -> Value {
    let at = |path: String| json!({ "url": business.url(&path), "secret": business.secret });
    let sources: Map<String, Value> = manifest
        .sources
        .keys()
        .map(|name| {
            let mut source = at(format!("/source/{name}"));
            source["timeout_ms"] = json!(time_limit(given.sources.get(name)));
            (name.clone(), source)
        })
        .collect();
    let destinations: Map<String, Value> =
        manifest.destinations.keys().map(|name| (name.clone(), at(format!("/destination/{name}")))).collect();
    let settings: Map<String, Value> =
        given.settings.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({ "sources": sources, "destinations": destinations, "settings": settings })
}

/// How long the deployment waits. A source that fails by taking too long does so by this limit; one that answers in
/// time does so on a busy machine, too.
fn time_limit(source: Option<&SourceAnswer>) -> u64 {
    let Some(source) = source else { return IN_TIME };
    match source.timeout.or(source.after.filter(|_| times_out(source))) {
        Some(limit) if times_out(source) => limit.millis(),
        _ if times_out(source) => USUAL_LIMIT,
        _ => IN_TIME,
    }
}

fn times_out(source: &SourceAnswer) -> bool {
    source.never || source.fails == Some(SourceFailure::TimedOut)
}

/// What the business system answers, so that the script is told what the scenario says.
fn live_answer(source: &SourceAnswer) -> Answer {
    let after =
        if times_out(source) { NEVER } else { Duration::from_millis(source.after.map_or(0, |span| span.millis())) };
    let status = match source.fails {
        Some(SourceFailure::NotFound) => 404,
        Some(_) => 503,
        None => 200,
    };
    Answer { status, body: source.answers.clone().unwrap_or(Value::Null), after }
}

/// Words a minute of what was played to its end, of prompts that are text alone; the usual 160 without any.
fn pace(tape: &Recording) -> u16 {
    let whole = tape.entries.iter().filter_map(|entry| {
        let (HostCall::Say { prompt } | HostCall::Ask { prompt, .. }) = &entry.call else { return None };
        let playout = playout(entry).filter(|playout| playout.end == PlayoutEnd::Finished)?;
        let text = prompt.segments.iter().all(|segment| matches!(segment, Segment::Text(_)));
        text.then(|| (words(playout), playout.played))
    });
    let (words, ms) = whole.fold((0, 0), |(words, ms), (more, longer)| (words + more, ms + longer));
    (words * 60_000).checked_div(ms).and_then(|pace| u16::try_from(pace).ok()).map_or(160, |pace| pace.clamp(80, 400))
}

/// What the caller got of a prompt.
fn playout(entry: &Entry) -> Option<&Playout> {
    match entry.reply.as_ref().ok()? {
        HostReply::Playout(playout) | HostReply::Answer { prompt: playout, .. } => Some(playout),
        _ => None,
    }
}

/// Words that the caller got.
fn words(playout: &Playout) -> u32 {
    u32::try_from(playout.heard_text.split_whitespace().count()).unwrap_or(u32::MAX)
}
