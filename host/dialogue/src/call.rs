//! Who calls whom, over what, and how a call ends.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a call: `call_` and a UUIDv7, so that ids sort by creation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub String);

impl CallId {
    /// The id of a push of this call: what `results.push` returns and what the
    /// receiver sees on every attempt. `seq` counts from 1 within the call.
    #[must_use]
    pub fn push_id(&self, seq: u32) -> String {
        format!("evt_{}_{seq}", self.0.strip_prefix("call_").unwrap_or(&self.0))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who placed the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The caller called us.
    Inbound,
    /// We called.
    Outbound,
}

/// How the other party is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// SIP and RTP.
    Sip,
    /// A browser or an app.
    Webrtc,
    /// The local test tools.
    Simulated,
}

/// One end of the call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// SIP URI or WebRTC identity, as signalled.
    pub uri: String,
    /// E.164 number with the plus sign, where one could be derived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// The name shown on displays; the caller chooses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
}

/// What a script is told about its call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallInfo {
    /// The name of the call.
    pub id: CallId,
    /// Who placed it.
    pub direction: Direction,
    /// How the other party is connected.
    pub transport: Transport,
    /// Who calls.
    pub caller: Party,
    /// Who is called.
    pub callee: Party,
    /// BCP 47 tag of the script's configured language.
    pub language: String,
    /// The SIP headers that the manifest lists, names in lower case.
    pub headers: Vec<(String, String)>,
    /// JSON text given by whoever placed the call through the API.
    pub parameters: Option<String>,
}

/// Why the call is over, as a script is told (`types.end-cause`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// The far end hung up.
    RemoteHangup,
    /// The script hung up, rejected, or returned.
    LocalHangup,
    /// The call was given away.
    Transferred,
    /// No audio or no signalling any more.
    NetworkFailure,
    /// The platform ended it; the text says why.
    Operator(String),
    /// Anything else, in words.
    Other(String),
}

/// Why the call is over, as its record says (`end_reason` in `API.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The far end hung up.
    CallerHangup,
    /// The script hung up.
    ScriptHangup,
    /// The script returned.
    ScriptReturned,
    /// The script trapped or returned an error; the fallback ran.
    ScriptTrap,
    /// The script spent its CPU, memory or other budget; the fallback ran.
    ScriptBudget,
    /// The call was given away.
    TransferCompleted,
    /// Nothing was heard for the configured time.
    SilenceTimeout,
    /// The longest call allowed.
    MaxDuration,
    /// No RTP arrived for the configured time.
    MediaTimeout,
    /// The context source failed and its policy was to reject or fall back.
    ContextFailed,
    /// A speech provider failed for good.
    ProviderError,
    /// The host went down.
    PlatformShutdown,
    /// The host failed.
    PlatformError,
    /// Signalling to the far end was lost.
    TrunkLost,
    /// Somebody ended it through the API.
    OperatorHangup,
    /// The call was refused before the answer.
    Rejected,
}

impl EndReason {
    /// The word used in records, for example `caller_hangup`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallerHangup => "caller_hangup",
            Self::ScriptHangup => "script_hangup",
            Self::ScriptReturned => "script_returned",
            Self::ScriptTrap => "script_trap",
            Self::ScriptBudget => "script_budget",
            Self::TransferCompleted => "transfer_completed",
            Self::SilenceTimeout => "silence_timeout",
            Self::MaxDuration => "max_duration",
            Self::MediaTimeout => "media_timeout",
            Self::ContextFailed => "context_failed",
            Self::ProviderError => "provider_error",
            Self::PlatformShutdown => "platform_shutdown",
            Self::PlatformError => "platform_error",
            Self::TrunkLost => "trunk_lost",
            Self::OperatorHangup => "operator_hangup",
            Self::Rejected => "rejected",
        }
    }
}

/// What the network said about the end of a call or of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// SIP status, 100 to 699.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_status: Option<u16>,
    /// SIP reason phrase or the text of a `Reason` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_reason: Option<String>,
    /// Q.850 cause from a `Reason` header (RFC 3326).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q850: Option<u8>,
}
