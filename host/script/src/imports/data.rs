//! `clock`, `random`, `context`, `results`, `settings` and `log`.

use super::{Outcome, State, answer, name, plain_answer, text};
use crate::bindings::callbox::dialogue::{clock, context, log, random, results, settings};
use crate::budget::Stop;
use crate::resources::{Fetching, JSON, Pollable};
use crate::text::truncated;
use callbox_dialogue::{HostCall, HostError, HostReply};
use wasmtime::component::Resource;

/// Parameters of one fetch.
const PARAMETERS: usize = 64;
/// Bytes of one draw.
const RANDOM: u32 = 1_024;

impl clock::Host for State {
    async fn now(&mut self) -> wasmtime::Result<u64> {
        plain_answer!(self, HostCall::Now, HostReply::Number(ms) => ms)
    }

    async fn elapsed(&mut self) -> wasmtime::Result<u64> {
        plain_answer!(self, HostCall::Elapsed, HostReply::Number(ms) => ms)
    }

    async fn local(&mut self, zone: String) -> Outcome<clock::LocalTime> {
        name("clock.local: the zone", &zone)?;
        answer!(self, HostCall::LocalTime { zone }, HostReply::LocalTime(time) => time.into())
    }
}

impl random::Host for State {
    async fn number(&mut self) -> wasmtime::Result<u64> {
        plain_answer!(self, HostCall::RandomNumber, HostReply::Number(number) => number)
    }

    async fn bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        if count > RANDOM {
            let misuse = format!("random.bytes was asked for {count} bytes; at most {RANDOM} are possible");
            return Err(wasmtime::Error::new(Stop::Misuse(misuse)));
        }
        plain_answer!(self, HostCall::RandomBytes { count }, HostReply::Bytes(bytes) => bytes)
    }
}

fn parameters(what: &str, source: &str, parameters: &[(String, String)]) -> Result<(), HostError> {
    name(&format!("{what}: the source"), source)?;
    if parameters.len() > PARAMETERS {
        let found = parameters.len();
        return Err(HostError::InvalidArgument(format!(
            "{what}: {found} parameters; at most {PARAMETERS} are allowed"
        )));
    }
    let bytes: usize = parameters.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > JSON {
        return Err(HostError::InvalidArgument(format!(
            "{what}: {bytes} bytes of parameters; at most {JSON} are allowed"
        )));
    }
    Ok(())
}

impl context::Host for State {
    async fn fetch(&mut self, source: String, params: Vec<(String, String)>) -> Outcome<String> {
        parameters("context.fetch", &source, &params)?;
        answer!(self, HostCall::Fetch { source, parameters: params }, HostReply::Json(json) => json)
    }

    async fn start_fetch(&mut self, source: String, params: Vec<(String, String)>) -> Outcome<Resource<Fetching>> {
        parameters("context.start-fetch", &source, &params)?;
        self.open(HostCall::StartFetch { source, parameters: params }, Fetching).await
    }
}

impl context::HostFetching for State {
    fn subscribe(&mut self, this: Resource<Fetching>) -> wasmtime::Result<Resource<Pollable>> {
        let handle = self.table.get(&this)?.0;
        self.view(handle)
    }

    async fn wait(&mut self, this: Resource<Fetching>) -> Outcome<String> {
        let handle = self.table.get(&this).map_err(wasmtime::Error::from)?.0;
        answer!(self, HostCall::AwaitFetch { handle }, HostReply::Json(json) => json)
    }

    async fn drop(&mut self, this: Resource<Fetching>) -> wasmtime::Result<()> {
        let Fetching(handle) = self.remove(this)?;
        self.release(handle).await
    }
}

impl results::Host for State {
    async fn set(&mut self, field: String, value: String) -> Outcome<()> {
        name("results.set: the name", &field)?;
        text("results.set: the value", &value, JSON)?;
        answer!(self, HostCall::SetField { name: field, value }, HostReply::Done => ())
    }

    async fn set_disposition(&mut self, disposition: String) -> Outcome<()> {
        name("results.set-disposition", &disposition)?;
        answer!(self, HostCall::SetDisposition { disposition }, HostReply::Done => ())
    }

    async fn set_intent(&mut self, intent: String, grade: Option<char>) -> Outcome<()> {
        name("results.set-intent: the name", &intent)?;
        if let Some(grade) = grade.filter(|grade| !('A'..='F').contains(grade)) {
            let shown = grade.escape_default();
            return Err(
                HostError::InvalidArgument(format!("results.set-intent: the grade `{shown}` is not A to F")).into()
            );
        }
        answer!(self, HostCall::SetIntent { name: intent, grade }, HostReply::Done => ())
    }

    async fn add_tag(&mut self, tag: String) -> Outcome<()> {
        name("results.add-tag", &tag)?;
        answer!(self, HostCall::AddTag { tag }, HostReply::Done => ())
    }

    async fn set_opt_out(&mut self) -> Outcome<()> {
        answer!(self, HostCall::SetOptOut, HostReply::Done => ())
    }

    async fn enter_node(&mut self, node: String) -> Outcome<()> {
        name("results.enter-node", &node)?;
        answer!(self, HostCall::EnterNode { name: node }, HostReply::Done => ())
    }

    async fn push(&mut self, destination: String, body: String) -> Outcome<String> {
        name("results.push: the destination", &destination)?;
        text("results.push: the body", &body, JSON)?;
        answer!(self, HostCall::Push { destination, body }, HostReply::Text(id) => id)
    }
}

impl settings::Host for State {
    async fn get(&mut self, setting: String) -> wasmtime::Result<Option<String>> {
        if name("settings.get", &setting).is_err() {
            return Ok(None);
        }
        plain_answer!(self, HostCall::GetSetting { name: setting }, HostReply::MaybeText(value) => value, or None)
    }
}

impl log::Host for State {
    async fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let line = truncated(&message, self.log_line_bytes);
        if !self.log.admit(line.len() as u64) {
            return Ok(());
        }
        let message = if line.len() == message.len() { message } else { format!("{line}…") };
        plain_answer!(self, HostCall::Log { level: level.into(), message }, HostReply::Done => (), or ())
    }
}
