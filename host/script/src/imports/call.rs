//! `call`.

use super::{Outcome, State, answer, name, plain_answer, text};
use crate::bindings::callbox::dialogue::call;
use crate::resources::{Pollable, SHORT, TransferOptionsBuilder, Transferring};
use callbox_dialogue::time::Millis;
use callbox_dialogue::{HostCall, HostError, HostReply};
use wasmtime::component::Resource;

impl call::Host for State {
    async fn get_info(&mut self) -> wasmtime::Result<call::Info> {
        plain_answer!(self, HostCall::GetInfo, HostReply::Info(info) => (*info).into())
    }

    async fn ring(&mut self) -> Outcome<()> {
        answer!(self, HostCall::Ring, HostReply::Done => ())
    }

    async fn early_media(&mut self) -> Outcome<()> {
        answer!(self, HostCall::EarlyMedia, HostReply::Done => ())
    }

    async fn answer(&mut self) -> Outcome<()> {
        answer!(self, HostCall::Answer, HostReply::Done => ())
    }

    async fn reject(&mut self, status: u16, reason: Option<String>) -> Outcome<()> {
        if !(400..700).contains(&status) {
            return Err(HostError::InvalidArgument(format!("call.reject: {status} is not 400 to 699")).into());
        }
        if let Some(reason) = &reason {
            text("call.reject: the reason", reason, SHORT)?;
            if reason.chars().any(char::is_control) {
                return Err(
                    HostError::InvalidArgument("call.reject: the reason contains control characters".into()).into()
                );
            }
        }
        answer!(self, HostCall::Reject { status, reason }, HostReply::Done => ())
    }

    async fn hangup(&mut self) -> Outcome<()> {
        answer!(self, HostCall::Hangup, HostReply::Done => ())
    }

    async fn send_digits(&mut self, digits: String) -> Outcome<()> {
        text("call.send-digits: the digits", &digits, 64)?;
        answer!(self, HostCall::SendDigits { digits }, HostReply::Done => ())
    }

    async fn transfer(
        &mut self,
        target: String,
        options: Resource<TransferOptionsBuilder>,
    ) -> Outcome<call::TransferOutcome> {
        name("call.transfer: the target", &target)?;
        let options = self.transfer_options(&options)?;
        answer!(self, HostCall::Transfer { target, options }, HostReply::Transfer(outcome) => outcome.into())
    }

    async fn start_transfer(
        &mut self,
        target: String,
        options: Resource<TransferOptionsBuilder>,
    ) -> Outcome<Resource<Transferring>> {
        name("call.start-transfer: the target", &target)?;
        let options = self.transfer_options(&options)?;
        self.open(HostCall::StartTransfer { target, options }, Transferring).await
    }
}

impl State {
    fn transfer_options(
        &self,
        options: &Resource<TransferOptionsBuilder>,
    ) -> Outcome<callbox_dialogue::script::TransferOptions> {
        Ok(self.table.get(options).map_err(wasmtime::Error::from)?.options()?)
    }
}

impl call::HostTransferOptions for State {
    fn new(&mut self, mode: call::TransferMode) -> wasmtime::Result<Resource<TransferOptionsBuilder>> {
        self.push(TransferOptionsBuilder::new(mode.into()))
    }

    fn set_ring_timeout(&mut self, this: Resource<TransferOptionsBuilder>, limit: Millis) -> wasmtime::Result<()> {
        self.table.get_mut(&this)?.set_ring_timeout(limit);
        Ok(())
    }

    fn set_caller_id(&mut self, this: Resource<TransferOptionsBuilder>, number: String) -> wasmtime::Result<()> {
        self.table.get_mut(&this)?.set_caller_id(number);
        Ok(())
    }

    fn set_header(
        &mut self,
        this: Resource<TransferOptionsBuilder>,
        name: String,
        value: String,
    ) -> wasmtime::Result<()> {
        self.table.get_mut(&this)?.set_header(name, value);
        Ok(())
    }

    async fn drop(&mut self, this: Resource<TransferOptionsBuilder>) -> wasmtime::Result<()> {
        self.remove(this).map(drop)
    }
}

impl call::HostTransferring for State {
    fn subscribe(&mut self, this: Resource<Transferring>) -> wasmtime::Result<Resource<Pollable>> {
        let handle = self.table.get(&this)?.0;
        self.view(handle)
    }

    async fn wait(&mut self, this: Resource<Transferring>) -> Outcome<call::TransferOutcome> {
        let handle = self.table.get(&this).map_err(wasmtime::Error::from)?.0;
        answer!(self, HostCall::AwaitTransfer { handle }, HostReply::Transfer(outcome) => outcome.into())
    }

    async fn cancel(&mut self, this: Resource<Transferring>) -> Outcome<()> {
        let handle = self.table.get(&this).map_err(wasmtime::Error::from)?.0;
        answer!(self, HostCall::CancelTransfer { handle }, HostReply::Done => ())
    }

    async fn drop(&mut self, this: Resource<Transferring>) -> wasmtime::Result<()> {
        let Transferring(handle) = self.remove(this)?;
        self.release(handle).await
    }
}
