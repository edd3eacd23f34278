//! What a leg tells its user.

use super::flow::{LegId, Transport};
use super::registration::RegistrationId;
use std::net::SocketAddr;

/// Something that happened in a dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialogEvent {
    /// Outgoing call: the far end rings (180, 181, 182, 183 without a description).
    Ringing,
    /// Outgoing call: the far end sends media before it answers. A later one of the same branch may bring another
    /// answer, which takes the place of the first; so may [`Answered`](Self::Answered).
    Progress {
        /// Its session description, where one came.
        sdp: Option<Vec<u8>>,
        /// Which of the early dialogs of a forked call, counted from 0 in the order in which they showed up. The media
        /// of one can be played to a caller at a time: that of the first that described any.
        branch: u8,
    },
    /// Outgoing call without an offer: the far end made its offer before it answers, in a reliable provisional response
    /// (RFC 3262 §5). The answer goes with [`Dialog::ack`](crate::Dialog::ack) within ten seconds.
    EarlyOffer {
        /// The far end's offer.
        sdp: Vec<u8>,
    },
    /// Outgoing call: the far end answered. The stack acknowledges it; where our INVITE had no offer, `sdp` is the
    /// far end's offer and the answer goes with [`Dialog::ack`](crate::Dialog::ack).
    Answered {
        /// Answer, or offer for a late one. What the far end answered last in the same early dialog stands here
        /// again when the 2xx itself says nothing new. None where the last offer was the far end's and has its answer:
        /// [`EarlyOffer`](Self::EarlyOffer), [`Reinvite`](Self::Reinvite).
        sdp: Option<Vec<u8>>,
    },
    /// Incoming call without an offer: the far end answered the offer that went with
    /// [`Dialog::progress`](crate::Dialog::progress).
    EarlyAnswer {
        /// The far end's answer.
        sdp: Vec<u8>,
    },
    /// Incoming call, or a re-INVITE of the far end: our 200 was acknowledged.
    Confirmed {
        /// The answer, where our 200 carried the offer.
        sdp: Option<Vec<u8>>,
    },
    /// The far end wants to change the session; answer with
    /// [`Dialog::answer_reinvite`](crate::Dialog::answer_reinvite) within ten seconds. An UPDATE looks the same, and so
    /// does an offer in a PRACK; both may come before the call is answered. An offer that repeats the last one is
    /// answered by the stack as the last one was, and nobody is told.
    Reinvite {
        /// The new offer; none asks for ours.
        sdp: Option<Vec<u8>>,
    },
    /// Our re-INVITE or UPDATE was accepted. Also told when the far end answered a refresh of the session, which the
    /// stack sends by itself, with something new.
    ReinviteAnswered {
        /// The far end's answer.
        sdp: Option<Vec<u8>>,
    },
    /// Our re-INVITE or UPDATE was refused; the session stays as it was.
    ReinviteFailed {
        /// Status of the refusal; 408 when nothing came.
        status: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// A key, by INFO (`application/dtmf-relay` or `application/dtmf`).
    Digit {
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digit: char,
        /// How long it was pressed, in milliseconds; 0 when the message did not say.
        duration_ms: u32,
    },
    /// How the transfer asked for by [`Dialog::refer`](crate::Dialog::refer) goes; final when 200 or more.
    ReferProgress {
        /// Status of the call to the new target, or of the refused REFER itself.
        status: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// The far end asks us to call somebody else. Answer with [`Dialog::answer_refer`](crate::Dialog::answer_refer)
    /// within ten seconds, then tell how it goes by [`Dialog::refer_progress`](crate::Dialog::refer_progress).
    ReferRequested {
        /// Whom: the URI in `Refer-To`, without its headers.
        target: String,
        /// The `Replaces` that the new call has to carry, for an attended transfer: a header value as it is.
        replaces: Option<String>,
        /// Who says so (`Referred-By`, RFC 3892), to be repeated in the new call.
        referred_by: Option<String>,
    },
    /// The dialog is over. The last event.
    Ended {
        /// Whether the far end (or the network) ended it, and not we.
        by_remote: bool,
        /// The final status of an INVITE that failed; 408 for silence, 487 for a call cancelled before its answer. 603
        /// is a person's refusal, 607 that of a person for good (RFC 8197), 608 that of an intermediary (RFC 8688).
        status: Option<u16>,
        /// The text of `Reason` or the reason phrase.
        reason: Option<String>,
        /// The Q.850 cause in `Reason` (RFC 3326).
        q850: Option<u8>,
        /// Where a 3xx points to, the best first; not followed, see [`Redirects`](super::Redirects).
        contacts: Vec<String>,
    },
}

impl DialogEvent {
    /// What it is, for the logs: nothing of its content, which may be private.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ringing => "ringing",
            Self::Progress { .. } => "progress",
            Self::EarlyOffer { .. } => "early_offer",
            Self::EarlyAnswer { .. } => "early_answer",
            Self::Answered { .. } => "answered",
            Self::Confirmed { .. } => "confirmed",
            Self::Reinvite { .. } => "reinvite",
            Self::ReinviteAnswered { .. } => "reinvite_answered",
            Self::ReinviteFailed { .. } => "reinvite_failed",
            Self::Digit { .. } => "digit",
            Self::ReferProgress { .. } => "refer_progress",
            Self::ReferRequested { .. } => "refer_requested",
            Self::Ended { .. } => "ended",
        }
    }
}

/// One side of a call as a header names it. All of it is chosen by the peer and not to be trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The display name, without quotes.
    pub display_name: Option<String>,
    /// The URI as received, lossily as text.
    pub uri: String,
    /// The user part with escapes decoded, or the number of a `tel:` URI.
    pub user: Option<String>,
}

/// An INVITE as its receiver sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteInfo {
    /// The request URI as received.
    pub request_uri: String,
    /// Its user part with escapes decoded: what the router looks up.
    pub request_user: Option<String>,
    /// Who calls.
    pub from: Identity,
    /// Who is called, by the caller's first choice.
    pub to: Identity,
    /// The `Call-ID`.
    pub call_id: String,
    /// All header fields in order, names in lower case, values lossily as text.
    pub headers: Vec<(String, String)>,
    /// The session description; none asks for our offer in the 200.
    pub offer: Option<Vec<u8>>,
    /// Where the INVITE came from.
    pub source: SocketAddr,
    /// Our address that it reached, as concrete as the system can tell.
    pub local: SocketAddr,
    /// How it came.
    pub transport: Transport,
    /// Whom the peer proved to be by its TLS certificate, which one of our client CAs signed: the SIP identity of its
    /// subject alternative names (RFC 5922 §7.1), `sip:` URIs before DNS names. None without such a certificate.
    pub tls_identity: Option<String>,
    /// All identities of that certificate; `tls_identity` is the first.
    pub tls_identities: Vec<String>,
    /// Whose call it is, where it is one of our [`Accounts`](crate::Accounts): [`Account::id`](crate::Account). It
    /// proved so by its password, or came by the connection that it is registered by.
    pub account: Option<String>,
    /// The registration of ours that brought it here.
    pub registration: Option<RegistrationId>,
    /// The call whose place it takes: move what is connected to that one to this, answer, then end the other
    /// (RFC 3891).
    pub replaces: Option<Replaced>,
}

/// The call that a new one takes the place of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Its leg ([`Dialog::leg`](crate::Dialog::leg)).
    pub leg: LegId,
    /// Its `Call-ID`.
    pub call_id: String,
    /// Whether it is a call of ours that was not answered yet.
    pub early: bool,
}
