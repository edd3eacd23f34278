//! A SIP leg whose far end is a page: SIP over WebSocket, and the media of a browser. What is different: it hears nothing
//! before its packets are protected, it says things on a data channel, and it may be gone without a BYE.

use super::SipLeg;
use crate::webrtc::CONNECT;
use callbox_dialogue::call::{EndCause, Evidence};
use callbox_dialogue::leg::LegEvent;
use callbox_media::MediaEvent;
use tokio::time::{Instant, sleep_until};

/// What is special about a page; nothing of a telephone.
#[derive(Default)]
pub(super) struct Page {
    /// Its packets are protected: it hears us.
    pub(super) connected: bool,
    /// It has our answer before the call is answered, and is to hear something.
    early: bool,
    /// Until then its media has to come.
    due: Option<Instant>,
}

impl Page {
    /// Our answer has gone out.
    pub(super) fn is_expected(&mut self) {
        if !self.connected {
            self.due.get_or_insert_with(|| Instant::now() + CONNECT);
        }
    }

    /// Its media did not come in time; pending for ever where none is due. Cancel-safe.
    pub(super) async fn late(&self) {
        match self.due.filter(|_| !self.connected) {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}

impl SipLeg {
    /// Early media is agreed on: a browser hears it once its packets are protected.
    pub(super) fn early_agreed(&mut self) {
        if self.negotiation.is_browser() && !self.page.connected {
            self.page.early = true;
            self.page.is_expected();
        } else {
            self.audio.reports.push_back(LegEvent::EarlyMedia);
        }
    }

    /// The packets of a browser are protected: it has our answer, or it could not have come so far.
    fn page_connected(&mut self) {
        self.page.connected = true;
        if std::mem::take(&mut self.page.early) {
            self.audio.reports.push_back(LegEvent::EarlyMedia);
        }
        self.up();
    }

    /// What the media of a page tells besides what that of a telephone does.
    pub(super) async fn page_event(&mut self, event: MediaEvent) {
        match event {
            MediaEvent::SecurityEstablished { .. } if self.negotiation.is_browser() => self.page_connected(),
            MediaEvent::Channel { open } => self.audio.channel.opened(open),
            MediaEvent::Message(text) => {
                let hangs_up = self.audio.page_says(&text, &self.giving);
                if hangs_up {
                    self.page_left("it hung up on its data channel").await;
                }
            }
            MediaEvent::Left => self.page_left("it ended its media").await,
            _ => {}
        }
    }

    /// The page has gone, perhaps without its BYE.
    pub(super) async fn page_left(&mut self, why: &str) {
        if !self.ended {
            tracing::debug!(sip_call = self.dialog.id(), why, "a page has left its call");
            self.hang_up(None).await;
            self.over(EndCause::RemoteHangup, Evidence::default(), None);
        }
    }
}
