//! A leg of either kind, as an actor drives it.

use crate::leg::{self, Closing, SipLeg};
use crate::signalling::Signalling;
use crate::webrtc::{WebCommand, WebHappening, WebLeg};
use callbox_dialogue::CallRecord;
use callbox_dialogue::leg::{LegCommand, LegEvent};

/// The leg of a call.
pub(crate) enum Leg {
    Sip(Box<SipLeg>),
    Web(Box<WebLeg>),
}

/// Something a leg has to look at.
pub(crate) enum Happening {
    Sip(leg::Happening),
    Web(WebHappening),
}

impl Leg {
    /// Waits for something to look at. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Happening {
        match self {
            Self::Sip(leg) => Happening::Sip(leg.next().await),
            Self::Web(leg) => Happening::Web(leg.next().await),
        }
    }

    pub(crate) async fn handle(&mut self, happening: Happening) {
        match (self, happening) {
            (Self::Sip(leg), Happening::Sip(happening)) => leg.handle(happening).await,
            (Self::Web(leg), Happening::Web(happening)) => leg.handle(happening),
            // What a leg waits for is its own.
            (Self::Sip(_), Happening::Web(_)) | (Self::Web(_), Happening::Sip(_)) => {}
        }
    }

    /// Carries out a command of the engine.
    pub(crate) async fn command(&mut self, command: LegCommand) {
        match self {
            Self::Sip(leg) => leg.command(command).await,
            Self::Web(leg) => leg.command(command),
        }
    }

    /// Carries out what came by HTTP; a call by SIP has no such thing.
    pub(crate) async fn web(&mut self, command: WebCommand) {
        match self {
            Self::Sip(_) => {}
            Self::Web(leg) => leg.web(command).await,
        }
    }

    /// What the engine is to be told, in order.
    pub(crate) fn report(&mut self) -> Option<LegEvent> {
        match self {
            Self::Sip(leg) => leg.report(),
            Self::Web(leg) => leg.report(),
        }
    }

    /// What a page says to the script: JSON.
    pub(crate) fn message(&mut self) -> Option<String> {
        match self {
            Self::Sip(leg) => leg.message(),
            Self::Web(leg) => leg.message(),
        }
    }

    /// Tells a page what it does not know of its call yet.
    pub(crate) fn tell(&mut self, record: &CallRecord) {
        match self {
            Self::Sip(leg) => leg.tell(record),
            Self::Web(leg) => leg.tell(record),
        }
    }

    /// Captures the packets of the call from now on.
    pub(crate) fn capture(&self) {
        match self {
            Self::Sip(leg) => leg.capture(),
            Self::Web(leg) => leg.capture(),
        }
    }

    /// What is kept of its signalling.
    pub(crate) fn signalling(&self) -> Signalling {
        match self {
            Self::Sip(leg) => leg.signalling(),
            Self::Web(leg) => leg.signalling(),
        }
    }

    /// Ends what is left and waits for the recording and the statistics.
    pub(crate) async fn close(self) -> Closing {
        match self {
            Self::Sip(leg) => Box::pin(leg.close()).await,
            Self::Web(leg) => Box::pin(leg.close()).await,
        }
    }
}
