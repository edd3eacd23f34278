//! How a call by WebRTC was set up, for whoever looks into it later: offers and answers with their times, and what became
//! of them. Nothing with which somebody could take part is in it.

use callbox_sip::ladder;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Steps that are kept; a client that restarts ICE more often than this keeps the first ones.
const STEPS: usize = 64;
/// Bytes of one description, and of what came of something.
const TEXT: usize = 16 * 1_024;
/// Bytes of all of them: a call keeps them in memory, and its books for good.
const ALL: usize = 128 * 1_024;

/// The signalling of a call by WebRTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// In the order of time.
    pub steps: Vec<Step>,
    /// Steps that were not kept.
    pub omitted: u64,
}

/// One thing that was sent, received, or happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// What.
    pub what: What,
    /// Where the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// The page it came from, and what it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The description without the passwords of ICE, or a few words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// What a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The far end's offer.
    Offer,
    /// Our answer.
    Answer,
    /// The far end begins ICE anew, or tells more candidates.
    Ice,
    /// Our side of that.
    IceAnswer,
    /// An offer or a fragment that could not be answered.
    Refused,
    /// ICE has found a way and DTLS is done: packets are protected.
    Connected,
    /// They will not be.
    Failed,
    /// The data channel is open.
    ChannelOpen,
    /// It no longer is.
    ChannelClosed,
    /// The far end hung up: by DELETE, on the data channel, or by ending DTLS.
    HungUp,
    /// Nothing was heard of the far end for too long.
    Lost,
}

impl What {
    /// The word for it in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::Ice => "ice",
            Self::IceAnswer => "ice_answer",
            Self::Refused => "refused",
            Self::Connected => "connected",
            Self::Failed => "failed",
            Self::ChannelOpen => "channel_open",
            Self::ChannelClosed => "channel_closed",
            Self::HungUp => "hung_up",
            Self::Lost => "lost",
        }
    }
}

impl Exchange {
    /// Keeps a step. `text` may hold secrets: they are taken out here.
    pub(crate) fn note(&mut self, at_us: u64, what: What, text: &str) -> Option<&mut Step> {
        if self.steps.len() >= STEPS {
            self.omitted += 1;
            return None;
        }
        // That something happened is told also where there is no room for its words.
        let kept: usize = self.steps.iter().map(|step| step.text.len()).sum();
        let mut text = ladder::without_secrets(text);
        text.truncate(text.floor_char_boundary(TEXT.min(ALL.saturating_sub(kept))));
        self.steps.push(Step { at_us, what, from: None, client: None, text });
        self.steps.last_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_bounded_and_has_no_password() {
        let mut exchange = Exchange::default();
        let offer =
            format!("v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:5ecret5ecret5ecret5ecr\r\na=x:{}\r\n", "é".repeat(TEXT));
        for at in 0..100 {
            exchange.note(at, What::Offer, &offer);
        }
        assert_eq!((exchange.steps.len(), exchange.omitted), (STEPS, 100 - STEPS as u64));
        let text = serde_json::to_string(&exchange).unwrap();
        assert!(!text.contains("5ecret") && text.contains("a=ice-ufrag:abcd"));
        assert!(exchange.steps[0].text.len() <= TEXT && exchange.steps[0].text.len() > TEXT - 4);
        let all: usize = exchange.steps.iter().map(|step| step.text.len()).sum();
        assert!(all <= ALL && all > ALL - 4, "{all}");
        assert_eq!((exchange.steps[STEPS - 1].what, exchange.steps[STEPS - 1].text.as_str()), (What::Offer, ""));
        assert_eq!(serde_json::from_str::<Exchange>(&text).unwrap(), exchange);
    }
}
