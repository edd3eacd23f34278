//! `wait` and `events`.

use super::{State, name, plain_answer};
use crate::bindings::callbox::dialogue::{events, wait};
use crate::budget::Stop;
use crate::resources::Pollable;
use callbox_dialogue::script::Handle;
use callbox_dialogue::time::Millis;
use callbox_dialogue::{HostCall, HostError, HostReply};
use wasmtime::component::Resource;

/// Handles of one `select`.
const SELECT: usize = 256;

impl wait::Host for State {
    async fn after(&mut self, delay: Millis) -> wasmtime::Result<Resource<Pollable>> {
        match self.ask(HostCall::After { delay }).await? {
            Ok(HostReply::Handle(handle)) => self.push(Pollable { handle, owned: true }),
            Err(HostError::LimitExceeded(why)) => Err(wasmtime::Error::new(Stop::Budget(why))),
            // The call is over: a timer is ready early then.
            Err(HostError::Ended(_)) => self.push(Pollable { handle: Handle::EVENTS, owned: false }),
            Err(error) => Err(wasmtime::Error::new(Stop::Platform(format!("wait.after: {error}")))),
            other => Err(wasmtime::Error::new(super::unexpected("wait.after", &other))),
        }
    }

    async fn sleep(&mut self, delay: Millis) -> wasmtime::Result<()> {
        plain_answer!(self, HostCall::Sleep { delay }, HostReply::Done => (), or ())
    }

    async fn select(
        &mut self,
        handles: Vec<Resource<Pollable>>,
        timeout: Option<Millis>,
    ) -> wasmtime::Result<Vec<u32>> {
        if handles.len() > SELECT {
            let found = handles.len();
            let misuse = format!("wait.select was given {found} handles; at most {SELECT} are possible");
            return Err(wasmtime::Error::new(Stop::Misuse(misuse)));
        }
        let handles = handles
            .iter()
            .map(|pollable| Ok(self.table.get(pollable)?.handle))
            .collect::<wasmtime::Result<Vec<_>>>()?;
        plain_answer!(self, HostCall::Select { handles, timeout }, HostReply::Ready(ready) => ready, or Vec::new())
    }
}

impl wait::HostPollable for State {
    async fn ready(&mut self, this: Resource<Pollable>) -> wasmtime::Result<bool> {
        let handle = self.table.get(&this)?.handle;
        plain_answer!(self, HostCall::IsReady { handle }, HostReply::Flag(ready) => ready, or true)
    }

    async fn block(&mut self, this: Resource<Pollable>) -> wasmtime::Result<()> {
        let handle = self.table.get(&this)?.handle;
        let call = HostCall::Select { handles: vec![handle], timeout: None };
        plain_answer!(self, call, HostReply::Ready(_) => (), or ())
    }

    async fn drop(&mut self, this: Resource<Pollable>) -> wasmtime::Result<()> {
        let pollable = self.remove(this)?;
        if pollable.owned { self.release(pollable.handle).await } else { Ok(()) }
    }
}

impl events::Host for State {
    async fn next(&mut self, timeout: Option<Millis>) -> wasmtime::Result<Option<events::Event>> {
        let call = HostCall::NextEvent { timeout };
        plain_answer!(self, call, HostReply::MaybeEvent(event) => event.map(Into::into), or None)
    }

    fn subscribe(&mut self) -> wasmtime::Result<Resource<Pollable>> {
        self.view(Handle::EVENTS)
    }

    async fn enable(&mut self, kind: String) -> wasmtime::Result<bool> {
        if name("events.enable: the kind", &kind).is_err() {
            return Ok(false);
        }
        plain_answer!(self, HostCall::EnableEvent { kind }, HostReply::Flag(known) => known, or false)
    }
}
