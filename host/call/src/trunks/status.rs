//! How a trunk is just now, as the API shows it.

use callbox_store::UnixMs;
use callbox_trunk::health::State;
use callbox_trunk::settings::Transport;
use serde::Serialize;
use utoipa::ToSchema;

/// How a trunk is just now, on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrunkStatus {
    /// `trk_…`
    pub trunk_id: String,
    /// Whether it is in service: enabled, and taken over by the host.
    pub in_service: bool,
    /// By its addresses: `up` while all can be used, `degraded` while some can, `down` when none can, `unknown` where
    /// nobody asks.
    pub state: State,
    /// In the order of the trunk.
    pub addresses: Vec<AddressStatus>,
    /// Where we register; none where we do not.
    pub registration: Option<RegistrationStatus>,
    /// Calls, now and since the host began.
    pub channels: ChannelStatus,
    /// What went wrong last, the newest first; at most ten.
    pub last_errors: Vec<TrunkFault>,
}

/// How an address is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AddressStatus {
    /// As in the trunk.
    pub host: String,
    /// As in the trunk.
    pub port: Option<u16>,
    /// As in the trunk.
    pub transport: Option<Transport>,
    /// By its answers to OPTIONS.
    pub state: State,
    /// Status of the last answer; none for silence.
    pub last_status: Option<u16>,
    /// From OPTIONS to its answer.
    pub rtt_ms: Option<u32>,
    /// When it was asked last.
    pub checked_at: Option<UnixMs>,
}

/// How our registration stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RegistrationStatus {
    /// `trying`, `registered`, `failed`
    pub state: &'static str,
    /// It runs out then; it is refreshed long before.
    pub until: Option<UnixMs>,
    /// What the registrar said, where it failed.
    pub status: Option<u16>,
    /// Why it failed.
    pub reason: Option<String>,
    /// When it is tried again, where it failed.
    pub retry_at: Option<UnixMs>,
}

/// Calls by a trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChannelStatus {
    /// Calls that came in, now.
    pub inbound: u32,
    /// Calls that we placed, now.
    pub outbound: u32,
    /// As many at once as there may be.
    pub limit: Option<u32>,
    /// Calls that came in since the host began.
    pub inbound_total: u64,
    /// Calls that we placed since the host began.
    pub outbound_total: u64,
    /// Calls that were refused, or went another way, because of `limits`.
    pub refused_total: u64,
    /// Attempts after which another way was tried.
    pub failed_over_total: u64,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrunkFault {
    /// When.
    pub at: UnixMs,
    /// With which address; none where it was the registration.
    pub address: Option<String>,
    /// What.
    pub error: String,
}
