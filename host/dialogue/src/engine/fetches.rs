//! Asking context sources: prefetch, time limits, and what a failure does.

use super::ending::Course;
use super::handles::Item;
use super::{Engine, Output, Timer, arguments};
use crate::call::{EndCause, EndReason};
use crate::record::{EndedBy, With};
use crate::script::{Handle, HostError};
use crate::setup::SourcePolicy;
use std::collections::BTreeMap;

/// Requests under way at once.
const RUNNING: usize = 16;

/// The requests of one call.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    running: BTreeMap<Handle, Request>,
    /// By source.
    prefetched: BTreeMap<String, Prefetched>,
}

#[derive(Debug)]
struct Request {
    source: String,
    prefetch: bool,
    /// Where it is noted.
    exchange: Option<usize>,
}

/// What became of a prefetch.
#[derive(Debug)]
enum Prefetched {
    /// On its way.
    Running(Handle),
    /// It answers every fetch without parameters. A failure answers one: the
    /// next tries again.
    Done(Result<String, HostError>),
}

impl Engine {
    /// Asks the sources that the manifest wants asked at once.
    pub(super) fn prefetch(&mut self) {
        let sources: Vec<String> =
            self.setup.sources.iter().filter(|(_, source)| source.prefetch).map(|(name, _)| name.clone()).collect();
        for source in sources {
            let request = self.request(source.clone(), Vec::new(), true);
            self.fetches.prefetched.insert(source, Prefetched::Running(request));
        }
    }

    fn request(&mut self, source: String, parameters: Vec<(String, String)>, prefetch: bool) -> Handle {
        let request = self.handles.name();
        let limit = self.setup.sources.get(&source).map_or(0, |source| source.timeout);
        self.timers.set(Timer::Fetch(request), self.now + u64::from(limit));
        self.journal.note(self.now, "fetch", source.clone());
        let exchange = self.journal.asks(self.now, With::Source, &source);
        self.fetches.running.insert(request, Request { source: source.clone(), prefetch, exchange });
        self.outputs.push_back(Output::Fetch { fetch: request, source, parameters });
        request
    }

    /// Asks a source for the script.
    pub(super) fn start_fetch(
        &mut self,
        source: String,
        parameters: Vec<(String, String)>,
        held: bool,
    ) -> Result<Handle, HostError> {
        if !self.setup.sources.contains_key(&source) {
            let mut source = source;
            source.truncate(super::wording::floor(&source, 128));
            return Err(HostError::Denied(format!("the manifest declares no source {source:?}; add it to `sources`")));
        }
        arguments::parameters(&parameters)?;
        if held {
            self.handles.room(self.setup.limits.max_handles)?;
        }
        if parameters.is_empty() {
            match self.fetches.prefetched.get(&source) {
                Some(Prefetched::Running(request)) => {
                    let request = *request;
                    return Ok(self.handles.add(Item::Fetch { request, result: None }, held));
                }
                Some(Prefetched::Done(result)) => {
                    let result = result.clone();
                    if result.is_err() {
                        self.fetches.prefetched.remove(&source);
                    }
                    return Ok(self.handles.add(Item::Fetch { request: Handle::EVENTS, result: Some(result) }, held));
                }
                None => {}
            }
        }
        if self.fetches.running.len() >= RUNNING {
            return Err(HostError::LimitExceeded(format!("context requests: {RUNNING} are under way; wait for one")));
        }
        let request = self.request(source, parameters, false);
        Ok(self.handles.add(Item::Fetch { request, result: None }, held))
    }

    /// A source answered, or is late.
    pub(super) fn on_fetched(&mut self, request: Handle, result: Result<String, HostError>) {
        let Some(Request { source, prefetch, exchange }) = self.fetches.running.remove(&request) else { return };
        self.timers.clear(Timer::Fetch(request));
        let result = result.and_then(|json| match arguments::json("answer", &json) {
            Ok(_) => Ok(json),
            Err(error) => Err(HostError::Unavailable(format!("the source {source:?} answered badly: {error}"))),
        });
        let how = match &result {
            Ok(_) => format!("{source}: answered"),
            Err(error) => format!("{source}: {error}"),
        };
        self.journal.note(self.now, "fetched", how);
        self.journal.answered(self.now, exchange, result.is_err());
        self.handles.fetched(request, &result);
        if prefetch {
            let failed = result.is_err();
            self.fetches.prefetched.insert(source.clone(), Prefetched::Done(result));
            if failed {
                self.prefetch_failed(&source);
            }
        }
    }

    fn prefetch_failed(&mut self, source: &str) {
        if self.ended.is_some() || self.course != Course::Script {
            return;
        }
        match self.setup.sources.get(source).map(|source| source.on_failure) {
            None | Some(SourcePolicy::Continue) => {}
            Some(SourcePolicy::Fallback) => self.fall_back(EndReason::ContextFailed, EndedBy::Platform, 503),
            Some(SourcePolicy::Reject) => {
                let cause = EndCause::Operator(format!("the context source {source:?} failed"));
                self.part(cause, EndReason::ContextFailed, EndedBy::Platform, 503);
            }
        }
    }
}
