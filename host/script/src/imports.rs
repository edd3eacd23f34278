//! The state of one script and the one way in which it calls the host: every
//! import becomes a [`HostCall`], is counted against the budgets, answered by the
//! session, and recorded.

mod call;
mod data;
mod llm;
mod voice;
mod wait;

use crate::bindings::callbox::dialogue::types;
use crate::budget::{Bucket, LogLimit, MemoryLimit, Meter, Stop, Turnstile};
use crate::config::ScriptLimits;
use crate::resources::{Pollable, SHORT};
use crate::run::thread_cpu_ns;
use crate::session::{AnySession, import_name, may_wait, reply_name};
use crate::tape::Recorder;
use callbox_dialogue::script::{Handle, LogLevel};
use callbox_dialogue::{HostCall, HostError, HostReply, Reply, Time};
use std::sync::Arc;
use wasmtime::component::{Resource, ResourceTable};

/// Why an import did not do what it was asked to: for the script to handle, or
/// the end of the script.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings name it with `pub`")]
pub enum Failure {
    /// The script is told.
    Script(HostError),
    /// The script ends.
    End(wasmtime::Error),
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self::Script(error)
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        Self::End(wasmtime::Error::new(stop))
    }
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Self {
        Self::End(error)
    }
}

/// What an import returns that has an error case.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Everything a store holds besides the instance.
pub(crate) struct State {
    session: Box<dyn AnySession>,
    table: ResourceTable,
    /// Entries of `table`.
    handles: u32,
    max_handles: u32,
    log_line_bytes: usize,
    rate: Bucket,
    calls_per_second: u32,
    pub(crate) meter: Arc<Meter>,
    pub(crate) turnstile: Turnstile,
    /// The call's time at the last answer.
    pub(crate) at: Time,
    pub(crate) memory: MemoryLimit,
    pub(crate) log: LogLimit,
    pub(crate) tape: Recorder,
    /// Host calls so far.
    pub(crate) calls: u64,
    /// The import that is running.
    pub(crate) current: Option<&'static str>,
    /// The one before, and its number. A line of log is none: it does not tell where a script was.
    pub(crate) last: Option<(&'static str, u64)>,
    /// What the script wrote to its log as an error, if that was its last call: the reason of a panic.
    pub(crate) last_words: Option<String>,
}

impl State {
    pub(crate) fn new(
        session: Box<dyn AnySession>,
        limits: &ScriptLimits,
        meter: Arc<Meter>,
        turnstile: Turnstile,
        tape: bool,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles as usize);
        Self {
            session,
            table,
            handles: 0,
            max_handles: limits.handles,
            log_line_bytes: limits.log_line_bytes as usize,
            rate: Bucket::new(limits.host_calls_per_second, limits.host_calls_burst),
            calls_per_second: limits.host_calls_per_second,
            meter,
            turnstile,
            at: Time::ZERO,
            memory: MemoryLimit::new(limits),
            log: LogLimit::new(limits),
            tape: Recorder::new(tape, limits),
            calls: 0,
            current: None,
            last: None,
            last_words: None,
        }
    }

    /// Asks the session. The guest's clock stands still meanwhile.
    async fn ask(&mut self, call: HostCall) -> Result<Reply, Stop> {
        let name = import_name(&call);
        self.current = Some(name);
        // What is over the log's limit never comes here; what comes is bounded by it.
        // And a last line of log may tell of the memory that was refused.
        if !matches!(call, HostCall::Log { .. }) {
            self.memory.coped();
            if !self.rate.take() {
                let limit = self.calls_per_second;
                return Err(Stop::Budget(format!("it calls the host more than {limit} times a second, for too long")));
            }
        }
        self.calls += 1;
        self.meter.leave_guest(thread_cpu_ns())?;
        self.turnstile.leave();
        let waited = may_wait(&call);
        let is_log = matches!(call, HostCall::Log { .. });
        self.last_words = match &call {
            HostCall::Log { level: LogLevel::Error, message } => Some(message.clone()),
            _ => None,
        };
        self.tape.asks(&call);
        let answered = self.session.call(call).await;
        if self.session.is_over() {
            return Err(Stop::Over);
        }
        self.tape.answered(&answered.reply, answered.sensitive, answered.at);
        self.at = self.at.max(answered.at);
        self.rate.advance(answered.at);
        self.log.advance(answered.at);
        self.current = None;
        if !is_log {
            self.last = Some((name, self.calls));
        }
        self.meter.enter_guest(thread_cpu_ns(), waited);
        Ok(answered.reply)
    }

    /// Asks, where the script can be told of a failure.
    async fn host(&mut self, call: HostCall) -> Outcome<HostReply> {
        Ok(self.ask(call).await??)
    }

    /// Asks for something that may need a handle, where the script can be told
    /// that there is none left.
    async fn open<T: Send + 'static>(&mut self, call: HostCall, make: fn(Handle) -> T) -> Outcome<Resource<T>> {
        self.room_for_handle()?;
        let name = import_name(&call);
        match self.host(call).await? {
            HostReply::Handle(handle) => Ok(self.push(make(handle))?),
            other => Err(unexpected(name, &Ok(other)).into()),
        }
    }

    fn room_for_handle(&self) -> Result<(), HostError> {
        if self.handles >= self.max_handles {
            let limit = self.max_handles;
            return Err(HostError::LimitExceeded(format!("{limit} handles are alive; drop some")));
        }
        Ok(())
    }

    /// Puts a resource into the table. Where the script cannot be told that there
    /// is no room, it ends.
    fn push<T: Send + 'static>(&mut self, resource: T) -> wasmtime::Result<Resource<T>> {
        let limit = self.max_handles;
        let pushed = self
            .table
            .push(resource)
            .map_err(|_| wasmtime::Error::new(Stop::Budget(format!("more than {limit} handles alive at once"))))?;
        self.handles += 1;
        Ok(pushed)
    }

    fn remove<T: 'static>(&mut self, resource: Resource<T>) -> wasmtime::Result<T> {
        let removed = self.table.delete(resource)?;
        self.handles = self.handles.saturating_sub(1);
        Ok(removed)
    }

    /// A view of something whose own resource releases it.
    fn view(&mut self, handle: Handle) -> wasmtime::Result<Resource<Pollable>> {
        self.push(Pollable { handle, owned: false })
    }

    /// The script dropped a handle. Whether the call still knows it does not
    /// matter.
    async fn release(&mut self, handle: Handle) -> wasmtime::Result<()> {
        let _known = self.ask(HostCall::Release { handle }).await?;
        Ok(())
    }
}

impl types::Host for State {
    fn convert_error(&mut self, failure: Failure) -> wasmtime::Result<types::Error> {
        match failure {
            Failure::Script(error) => Ok(error.into()),
            Failure::End(error) => Err(error),
        }
    }
}

/// An answer that does not fit the question.
fn unexpected(name: &'static str, reply: &Reply) -> Stop {
    Stop::Platform(format!("the host answered {name} with `{}`", reply_name(reply)))
}

/// Asks and takes the one answer that fits. In functions whose error the script
/// handles.
macro_rules! answer {
    ($state:expr, $call:expr, $reply:pat => $value:expr) => {{
        let call = $call;
        let name = crate::session::import_name(&call);
        match $state.host(call).await? {
            $reply => Ok($value),
            other => Err(crate::imports::unexpected(name, &Ok(other)).into()),
        }
    }};
}

/// The same in functions that cannot tell the script of a failure: a failure ends
/// it, unless `or` gives a value for it.
macro_rules! plain_answer {
    ($state:expr, $call:expr, $reply:pat => $value:expr) => {{
        let call = $call;
        let name = crate::session::import_name(&call);
        match $state.ask(call).await? {
            Ok($reply) => Ok($value),
            Err(error) => Err(wasmtime::Error::new(crate::budget::Stop::Platform(format!("{name}: {error}")))),
            other => Err(wasmtime::Error::new(crate::imports::unexpected(name, &other))),
        }
    }};
    ($state:expr, $call:expr, $reply:pat => $value:expr, or $failed:expr) => {{
        let call = $call;
        let name = crate::session::import_name(&call);
        match $state.ask(call).await? {
            Ok($reply) => Ok($value),
            Err(_) => Ok($failed),
            other => Err(wasmtime::Error::new(crate::imports::unexpected(name, &other))),
        }
    }};
}

use {answer, plain_answer};

/// Checks the length of a text before it goes on.
fn text(what: &str, text: &str, most: usize) -> Result<(), HostError> {
    if text.len() > most {
        let bytes = text.len();
        return Err(HostError::InvalidArgument(format!("{what} has {bytes} bytes; at most {most} are allowed")));
    }
    Ok(())
}

/// Checks the length of a name.
fn name(what: &str, name: &str) -> Result<(), HostError> {
    text(what, name, SHORT)
}
