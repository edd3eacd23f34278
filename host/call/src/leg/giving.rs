//! The transfer of a leg that is under way: at most one.

use super::LegSignal;
use crate::bridge::{Bridge, BridgeEnd, BridgeRequest};
use crate::outbound::{Dial, is_caller_id};
use callbox_dialogue::leg::{LegEvent, TransferId, TransferResult};
use callbox_dialogue::script::TransferMode;
use callbox_media::Session;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The status of a transfer whose target or caller is not allowed.
const FORBIDDEN: u16 = 403;

/// A transfer, if any.
#[derive(Default)]
pub(crate) struct Giving(Option<Transfer>);

struct Transfer {
    id: TransferId,
    /// None for a REFER.
    bridge: Option<Bridge>,
}

pub(crate) fn failed(transfer: TransferId, status: u16, reason: &str) -> LegEvent {
    let result = TransferResult::Failed { status, reason: reason.to_owned() };
    LegEvent::TransferEnded { transfer, result }
}

impl Giving {
    /// Whom a transfer goes to.
    ///
    /// # Errors
    /// What the engine is told, where it goes nowhere.
    pub(crate) fn target(
        &self,
        id: TransferId,
        mode: TransferMode,
        request: &BridgeRequest,
        dial: &Dial,
    ) -> Result<crate::outbound::Target, LegEvent> {
        if self.0.is_some() {
            return Err(failed(id, 491, "another transfer is under way"));
        }
        if request.caller_id.as_deref().is_some_and(|caller| !is_caller_id(caller)) {
            return Err(failed(id, FORBIDDEN, "the caller id is neither a number nor a plain name"));
        }
        let target = dial.resolve(&request.target, mode);
        let target = target.ok_or_else(|| failed(id, FORBIDDEN, "the target is not allowed"))?;
        // A bridge is our own call, and looked at when it is placed.
        if mode == TransferMode::Refer
            && let Some(number) = target.number()
        {
            let passed = dial.tolls.pass(&dial.payer, &number);
            passed.map_err(|refusal| failed(id, refusal.status(), &refusal.to_string()))?;
        }
        Ok(target)
    }

    /// The far end has been asked to call there itself.
    pub(crate) fn referred(&mut self, id: TransferId) {
        self.0 = Some(Transfer { id, bridge: None });
    }

    /// Calls the target and joins both.
    pub(crate) fn bridge(
        &mut self,
        id: TransferId,
        target: crate::outbound::Target,
        request: BridgeRequest,
        dial: &Dial,
        media: &Arc<Session>,
        signals: mpsc::Sender<LegSignal>,
    ) {
        let bridge = Bridge::start(id, target, request, dial, media, signals);
        self.0 = Some(Transfer { id, bridge: Some(bridge) });
    }

    /// The caller pressed a key that is not in its audio.
    pub(crate) fn key(&self, digit: char) {
        if let Some(Transfer { bridge: Some(bridge), .. }) = &self.0 {
            bridge.key(digit);
        }
    }

    /// The caller is taken back.
    pub(crate) fn cancel(&mut self, id: TransferId) -> Option<LegEvent> {
        let transfer = self.0.take_if(|transfer| transfer.id == id)?;
        Some(match transfer.bridge {
            // It has taken place: the caller is back as if the target had left.
            Some(bridge) if bridge.is_joined() => {
                LegEvent::TransferEnded { transfer: id, result: TransferResult::Returned }
            }
            _ => failed(id, 487, "cancelled"),
        })
    }

    /// How the REFER goes that the far end follows.
    pub(crate) fn refer_progress(&mut self, status: u16, reason: String) -> Option<LegEvent> {
        if status < 200 {
            return None;
        }
        let transfer = self.0.take_if(|transfer| transfer.bridge.is_none())?.id;
        let result = match status {
            200..300 => TransferResult::Connected,
            _ => TransferResult::Failed { status, reason },
        };
        Some(LegEvent::TransferEnded { transfer, result })
    }

    /// The second leg is over while the caller stayed.
    pub(crate) fn bridge_over(&mut self, id: TransferId, end: BridgeEnd) -> Option<LegEvent> {
        let transfer = self.0.take_if(|transfer| transfer.id == id)?.id;
        let result = match end {
            BridgeEnd::NotAnswered { status, reason } => TransferResult::Failed { status, reason },
            BridgeEnd::TargetLeft => TransferResult::Returned,
        };
        Some(LegEvent::TransferEnded { transfer, result })
    }

    /// The caller is gone: one who leaves a bridge has been served by the target.
    pub(crate) fn caller_left(&mut self) -> Option<LegEvent> {
        let Transfer { id, bridge } = self.0.take()?;
        Some(LegEvent::TransferEnded { transfer: id, result: bridge?.caller_left() })
    }
}
