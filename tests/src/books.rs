//! The books of a deployment, as those see them who have to do with it: callers who were answered, a receiver of results,
//! whoever uploads scripts, and whoever asks the API afterwards. [`Books::faults`] tells what does not add up. Nothing here
//! talks to a host: the books are filled by whoever does.

use crate::Received;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Calls whose caller saw a 200, by the relation id they were made with.
    pub accepted: BTreeSet<String>,
    /// Versions whose upload was answered with a 2xx.
    pub uploaded: BTreeSet<Version>,
    /// What was published, by whoever saw a 2xx: script and version.
    pub published: BTreeSet<(String, u64)>,
    /// What came to the receiver, in its order, repetitions too.
    pub arrived: Vec<Arrived>,
    /// The calls that the API lists.
    pub calls: Vec<Call>,
    /// The scripts that it lists.
    pub scripts: Vec<Script>,
    /// Files in the hosts' folders of recordings, by name.
    pub files: BTreeSet<String>,
}

/// A version of a script.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// `scr_…`
    pub script: String,
    /// 1, 2, 3 …
    pub version: u64,
    /// `sha256:…`, as the API says.
    pub digest: String,
}

/// A request that came to the receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The `webhook-id`.
    pub id: String,
    /// `call_…`, where it is about one.
    pub call: Option<String>,
    /// Its place among the call's events.
    pub sequence: Option<i64>,
    /// The body as it came.
    pub raw: Vec<u8>,
}

impl From<Received> for Arrived {
    fn from(received: Received) -> Self {
        let call = received.body["call_id"].as_str().map(ToOwned::to_owned);
        Self { id: received.id, call, sequence: received.body["sequence"].as_i64(), raw: received.raw }
    }
}

/// A call that the API lists.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// `call_…`
    pub id: String,
    /// What its caller gave it.
    pub relation: Option<String>,
    /// `active` or `completed`.
    pub state: String,
    /// Its events, in their order.
    pub events: Vec<Event>,
    /// Pushes that its script was told to be accepted, by their ids.
    pub promised: BTreeSet<String>,
    /// Its recordings.
    pub recordings: Vec<Recording>,
}

/// An event of a call.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// `evt_…`
    pub id: String,
    /// `call.completed` …
    pub kind: String,
    /// Its place.
    pub sequence: Option<i64>,
}

impl Event {
    /// As the API lists it.
    #[must_use]
    pub fn read(event: &Value) -> Self {
        let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        Self { id: word("id"), kind: word("type"), sequence: event["sequence"].as_i64() }
    }
}

/// A recording of a call.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// `rec_…`
    pub id: String,
    /// `pending`, `ready` or `failed`.
    pub state: String,
    /// What it should be, hex.
    pub sha256: String,
    /// What was downloaded, where it could be.
    pub found: Option<String>,
}

/// A script that the API lists.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// `scr_…`
    pub id: String,
    /// What answers its numbers.
    pub live: Option<u64>,
    /// What it says was published, ever.
    pub publications: BTreeSet<u64>,
    /// Its versions, with what was downloaded of each: `sha256:…`.
    pub versions: Vec<(Version, Option<String>)>,
}

impl Books {
    /// All that does not add up, in words; empty where everything does.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        self.judge_callers(&mut faults);
        self.judge_calls(&mut faults);
        self.judge_arrivals(&mut faults);
        self.judge_recordings(&mut faults);
        self.judge_scripts(&mut faults);
        faults
    }

    /// Who was answered has one call.
    fn judge_callers(&self, faults: &mut Vec<String>) {
        for relation in &self.accepted {
            let calls = self.calls.iter().filter(|call| call.relation.as_ref() == Some(relation)).count();
            if calls != 1 {
                faults.push(format!("caller {relation} was answered and has {calls} calls"));
            }
        }
        let mut seen = BTreeSet::new();
        faults.extend(self.calls.iter().filter(|call| !seen.insert(&call.id)).map(|call| format!("{} twice", call.id)));
    }

    /// Each call is over, says so once, and counts without a gap.
    fn judge_calls(&self, faults: &mut Vec<String>) {
        for call in &self.calls {
            let id = &call.id;
            if call.state != "completed" {
                faults.push(format!("{id} is {}", call.state));
            }
            let completed = call.events.iter().filter(|event| event.kind == "call.completed").count();
            if completed != 1 {
                faults.push(format!("{id} has {completed} call.completed"));
            }
            let sequences: Vec<_> = call.events.iter().map(|event| event.sequence.unwrap_or(0)).collect();
            if !sequences.iter().copied().eq(1..=i64::try_from(sequences.len()).unwrap_or(0)) {
                faults.push(format!("{id} counts {sequences:?}"));
            }
            for promised in call.promised.iter().filter(|push| !call.events.iter().any(|event| event.id == **push)) {
                faults.push(format!("{id} has lost the push {promised}"));
            }
        }
    }

    /// Each event has arrived, as one and the same however often, and nothing else has.
    fn judge_arrivals(&self, faults: &mut Vec<String>) {
        let known: BTreeMap<&str, (&str, Option<i64>)> = self
            .calls
            .iter()
            .flat_map(|call| call.events.iter().map(|event| (event.id.as_str(), (call.id.as_str(), event.sequence))))
            .collect();
        let mut first: BTreeMap<&str, &Arrived> = BTreeMap::new();
        for arrived in self.arrived.iter().filter(|arrived| arrived.call.is_some()) {
            let id = arrived.id.as_str();
            let told = (arrived.call.as_deref().unwrap_or_default(), arrived.sequence);
            match known.get(id) {
                None => faults.push(format!("{id} of {} arrived and is nobody's", told.0)),
                Some(kept) if *kept != told => faults.push(format!("{id} arrived as {told:?} and is kept as {kept:?}")),
                Some(_) => {}
            }
            if first.entry(id).or_insert(arrived).raw != arrived.raw {
                faults.push(format!("{id} arrived with two bodies"));
            }
        }
        faults.extend(known.keys().filter(|id| !first.contains_key(**id)).map(|id| format!("{id} has not arrived")));
    }

    /// Each recording is there as it was made, or said to be lost; and each file is somebody's.
    fn judge_recordings(&self, faults: &mut Vec<String>) {
        for call in &self.calls {
            if call.recordings.len() > 1 {
                faults.push(format!("{} has {} recordings", call.id, call.recordings.len()));
            }
            for recording in &call.recordings {
                let fine = match recording.state.as_str() {
                    "ready" => recording.found.as_ref() == Some(&recording.sha256),
                    state => state == "failed",
                };
                if !fine {
                    faults.push(format!("{} of {} is {recording:?}", recording.id, call.id));
                }
            }
        }
        for file in &self.files {
            let call = file.strip_suffix(".wav").unwrap_or(file);
            if !self.calls.iter().any(|known| known.id == call && !known.recordings.is_empty()) {
                faults.push(format!("the file {file} is nobody's"));
            }
        }
    }

    /// Each version is whole, what was acknowledged is there, and what is live is a version.
    fn judge_scripts(&self, faults: &mut Vec<String>) {
        let all: BTreeMap<_, _> = self.scripts.iter().map(|script| (script.id.as_str(), script)).collect();
        for script in &self.scripts {
            for (version, found) in &script.versions {
                if found.as_ref() != Some(&version.digest) {
                    faults.push(format!("version {} of {} holds {found:?}", version.version, script.id));
                }
            }
            for published in script.live.iter().chain(&script.publications) {
                if !script.versions.iter().any(|(version, _)| version.version == *published) {
                    faults.push(format!("{} has published {published}, which is no version", script.id));
                }
            }
            if script.live.is_some_and(|live| !script.publications.contains(&live)) {
                faults.push(format!("{} has {:?} live, which was never published", script.id, script.live));
            }
        }
        for uploaded in &self.uploaded {
            let script = all.get(uploaded.script.as_str());
            if !script.is_some_and(|script| script.versions.iter().any(|(version, _)| version == uploaded)) {
                faults.push(format!("{uploaded:?} was accepted and is gone"));
            }
        }
        for (script, version) in &self.published {
            if !all.get(script.as_str()).is_some_and(|script| script.publications.contains(version)) {
                faults.push(format!("the publication of version {version} of {script} was accepted and is gone"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn arrived(id: &str, sequence: i64) -> Arrived {
        let body = json!({ "call_id": "call_1", "sequence": sequence });
        Received { path: "/".into(), id: id.into(), traceparent: None, raw: id.into(), body }.into()
    }

    fn event(id: &str, kind: &str, sequence: i64) -> Event {
        Event::read(&json!({ "id": id, "type": kind, "sequence": sequence }))
    }

    /// One call with a push and a recording, one script with two versions: all of it right.
    fn good() -> Books {
        let version = |version| Version { script: "scr_1".into(), version, digest: format!("sha256:{version}") };
        let whole = |number| (version(number), Some(format!("sha256:{number}")));
        let recording =
            Recording { id: "rec_1".into(), state: "ready".into(), sha256: "00".into(), found: Some("00".into()) };
        Books {
            accepted: BTreeSet::from(["a".to_owned()]),
            uploaded: BTreeSet::from([version(1), version(2)]),
            published: BTreeSet::from([("scr_1".to_owned(), 1)]),
            // The push came twice.
            arrived: vec![arrived("evt_2", 2), arrived("evt_1", 1), arrived("evt_2", 2), arrived("evt_3", 3)],
            calls: vec![Call {
                id: "call_1".into(),
                relation: Some("a".into()),
                state: "completed".into(),
                events: vec![
                    event("evt_1", "call.started", 1),
                    event("evt_2", "call.push", 2),
                    event("evt_3", "call.completed", 3),
                ],
                promised: BTreeSet::from(["evt_2".to_owned()]),
                recordings: vec![recording],
            }],
            scripts: vec![Script {
                id: "scr_1".into(),
                live: Some(1),
                publications: BTreeSet::from([1]),
                versions: vec![whole(1), whole(2)],
            }],
            files: BTreeSet::from(["call_1.wav".to_owned()]),
        }
    }

    #[test]
    fn good_books_have_no_fault() {
        assert_eq!(good().faults(), Vec::<String>::new());
    }

    /// A way to spoil good books, and a word of what is said about it.
    type Spoiled = (&'static str, fn(&mut Books));

    #[test]
    fn whatever_is_wrong_is_found() {
        let ways: &[Spoiled] = &[
            ("caller b was answered and has 0 calls", |books| {
                books.accepted.insert("b".into());
            }),
            ("call_1 twice", |books| books.calls.push(books.calls[0].clone())),
            ("caller a was answered and has 2 calls", |books| {
                books.calls.push(Call { id: "call_2".into(), ..books.calls[0].clone() });
            }),
            ("call_1 is active", |books| books.calls[0].state = "active".into()),
            ("has 0 call.completed", |books| books.calls[0].events[2].kind = "call.answered".into()),
            ("has 2 call.completed", |books| books.calls[0].events[0].kind = "call.completed".into()),
            ("counts [1, 3]", |books| drop(books.calls[0].events.remove(1))),
            ("counts [1, 2, 4]", |books| books.calls[0].events[2].sequence = Some(4)),
            ("has lost the push evt_9", |books| {
                books.calls[0].promised.insert("evt_9".into());
            }),
            ("evt_3 has not arrived", |books| drop(books.arrived.pop())),
            ("evt_9 of call_1 arrived and is nobody's", |books| books.arrived.push(arrived("evt_9", 4))),
            ("evt_1 arrived as", |books| books.arrived.push(arrived("evt_1", 7))),
            ("evt_1 arrived with two bodies", |books| {
                books.arrived.push(Arrived { raw: Vec::new(), ..arrived("evt_1", 1) });
            }),
            ("rec_1 of call_1", |books| books.calls[0].recordings[0].state = "pending".into()),
            ("rec_1 of call_1", |books| books.calls[0].recordings[0].found = None),
            ("rec_1 of call_1", |books| books.calls[0].recordings[0].found = Some("01".into())),
            ("call_1 has 2 recordings", |books| {
                let again = books.calls[0].recordings[0].clone();
                books.calls[0].recordings.push(again);
            }),
            ("the file call_9.wav is nobody's", |books| {
                books.files.insert("call_9.wav".into());
            }),
            ("the file call_1.wav is nobody's", |books| books.calls[0].recordings.clear()),
            ("version 2 of scr_1 holds None", |books| books.scripts[0].versions[1].1 = None),
            ("version 2 of scr_1 holds", |books| books.scripts[0].versions[1].1 = Some("sha256:9".into())),
            ("which is no version", |books| {
                books.scripts[0].publications.insert(9);
            }),
            ("which was never published", |books| books.scripts[0].live = Some(2)),
            ("was accepted and is gone", |books| drop(books.scripts[0].versions.pop())),
            ("the publication of version 2", |books| {
                books.published.insert(("scr_1".into(), 2));
            }),
        ];
        for (words, spoil) in ways {
            let mut books = good();
            spoil(&mut books);
            let faults = books.faults();
            assert!(faults.iter().any(|fault| fault.contains(words)), "{words:?} is not among {faults:?}");
        }
    }

    #[test]
    fn a_recording_that_is_said_to_be_lost_needs_no_file() {
        let mut books = good();
        books.files.clear();
        books.calls[0].recordings[0] = Recording { state: "failed".into(), ..Recording::default() };
        assert_eq!(books.faults(), Vec::<String>::new());
    }
}
