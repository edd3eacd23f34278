//! Giving the call away.

use super::handles::Item;
use super::{Engine, Timer, arguments};
use crate::call::{EndCause, EndReason, Transport};
use crate::leg::{LegCommand, TransferId, TransferResult};
use crate::record::{EndedBy, TransferRecord};
use crate::script::{Handle, HostError, TransferMode, TransferOptions, TransferOutcome};

use super::wording::floor;

/// What a REFER may take beyond its ring timeout.
const REFER_SLACK: u64 = 10_000;
/// What taking the caller back may take.
const CANCEL_LIMIT: u64 = 5_000;

/// The transfer under way.
#[derive(Debug)]
pub(super) struct Giving {
    id: TransferId,
    item: Option<Handle>,
    target: String,
    options: TransferOptions,
    /// The leg knows: the call is up.
    ordered: bool,
    /// The caller is being taken back.
    cancelled: bool,
}

impl Engine {
    /// Begins a transfer for the script.
    pub(super) fn start_transfer(
        &mut self,
        target: String,
        options: TransferOptions,
        held: bool,
    ) -> Result<Handle, HostError> {
        self.alive()?;
        arguments::transfer(&target, &options)?;
        if self.transfer.is_some() {
            return Err(HostError::LimitExceeded("a transfer is under way; wait for it or cancel it".into()));
        }
        if held {
            self.handles.room(self.setup.limits.max_handles)?;
        }
        self.ensure_answer();
        let id = self.name_transfer();
        let item = self.handles.add(Item::Transfer { transfer: id, result: None }, held);
        self.give(id, target, options, Some(item));
        Ok(item)
    }

    /// A name that no transfer of this call had.
    pub(super) const fn name_transfer(&mut self) -> TransferId {
        self.transfers = self.transfers.wrapping_add(1);
        TransferId(self.transfers)
    }

    /// Begins a transfer.
    pub(super) fn give(&mut self, id: TransferId, target: String, mut options: TransferOptions, item: Option<Handle>) {
        // A browser cannot be asked to call somebody else: the caller gets there all the same.
        if self.setup.info.transport == Transport::Webrtc {
            options.mode = TransferMode::Bridge;
        }
        self.journal.note(self.now, "transfer", format!("to {target}"));
        self.journal.record.transfer =
            Some(TransferRecord { target: target.clone(), mode: options.mode, at: self.now, outcome: None });
        self.transfer = Some(Giving { id, item, target, options, ordered: false, cancelled: false });
    }

    /// Orders a transfer of the leg once the call is up.
    pub(super) fn advance_transfer(&mut self) {
        let Some(giving) = self.transfer.as_mut().filter(|giving| !giving.ordered) else { return };
        if !self.line.is_up() {
            return;
        }
        giving.ordered = true;
        let options = giving.options.clone();
        let command = LegCommand::Transfer {
            transfer: giving.id,
            target: giving.target.clone(),
            mode: options.mode,
            ring_timeout: options.ring_timeout,
            caller_id: options.caller_id,
            headers: options.headers,
        };
        // A bridge lasts as long as the two talk; only the leg knows when the target has answered.
        if options.mode == TransferMode::Refer {
            self.timers.set(Timer::Transfer, self.now + u64::from(options.ring_timeout) + REFER_SLACK);
        }
        self.leg(command);
    }

    /// Takes the caller back.
    pub(super) fn cancel_transfer(&mut self, id: TransferId) {
        let Some(giving) = self.transfer.as_mut().filter(|giving| giving.id == id && !giving.cancelled) else { return };
        giving.cancelled = true;
        if giving.ordered {
            self.timers.set(Timer::Transfer, self.now + CANCEL_LIMIT);
            self.leg(LegCommand::CancelTransfer { transfer: id });
        } else {
            self.transfer_over(TransferOutcome::Failed(487, "cancelled".into()));
        }
    }

    /// The leg reports the outcome.
    pub(super) fn on_transfer_ended(&mut self, id: TransferId, result: TransferResult) {
        if self.parted == Some(id) {
            // The call was ended under it: the two had talked, or they had not.
            self.parted = None;
            if let (TransferResult::Connected, Some(record)) = (&result, &mut self.journal.record.transfer) {
                record.outcome = Some(TransferOutcome::Connected);
            }
            return;
        }
        if !self.transfer.as_ref().is_some_and(|giving| giving.id == id && giving.ordered) {
            return;
        }
        self.transfer_over(match result {
            TransferResult::Connected => TransferOutcome::Connected,
            TransferResult::Failed { status, mut reason } => {
                reason.truncate(floor(&reason, 256));
                TransferOutcome::Failed(status, reason)
            }
            TransferResult::Returned => TransferOutcome::Returned,
        });
    }

    /// The leg owes the outcome: first the caller is taken back, then the
    /// transfer has failed.
    pub(super) fn on_transfer_limit(&mut self) {
        let Some(giving) = &self.transfer else { return };
        if giving.cancelled {
            self.transfer_over(TransferOutcome::Failed(408, "no outcome in time".into()));
        } else {
            let id = giving.id;
            self.cancel_transfer(id);
        }
    }

    fn transfer_over(&mut self, outcome: TransferOutcome) {
        let Some(giving) = self.transfer.take() else { return };
        self.timers.clear(Timer::Transfer);
        self.active();
        let what = match &outcome {
            TransferOutcome::Connected => "connected".to_owned(),
            TransferOutcome::Failed(status, reason) => format!("failed: {status} {reason}"),
            TransferOutcome::Returned => "returned".to_owned(),
        };
        self.journal.note(self.now, "transfer", what);
        if let Some(record) = &mut self.journal.record.transfer {
            record.outcome = Some(outcome.clone());
        }
        let connected = outcome == TransferOutcome::Connected;
        if let Some(item) = giving.item {
            self.handles.transferred(item, Ok(outcome));
        }
        if connected {
            self.hang_up(EndCause::Transferred, EndReason::TransferCompleted, EndedBy::Script);
        }
    }

    /// The call is over; so is its transfer.
    pub(super) fn close_transfer(&mut self) {
        if let Some(giving) = self.transfer.take() {
            self.timers.clear(Timer::Transfer);
            self.parted = giving.ordered.then_some(giving.id);
            if let Some(record) = &mut self.journal.record.transfer {
                record.outcome = Some(TransferOutcome::Failed(487, "the call was over first".into()));
            }
        }
    }
}
