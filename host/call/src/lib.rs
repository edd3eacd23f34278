//! One actor per call that ties leg, engine, script and record together.
//!
//! * [`Platform`] – the rooms a call needs, the calls that run, the ways in
//! * `inbound`, `outbound` – from an INVITE, or from the API, to an actor
//! * `actor` – drives one engine, carries out its outputs
//! * `leg`, `negotiation`, `policy`, `prompts`, `hearing`, `bridge` – the SIP leg: dialog, offer and answer, what its trunk wants,
//!   audio, words, second leg
//! * `legs` – a leg of either kind; [`webrtc`] – that of a browser or an app
//! * `context`, `models`, `breakers` – asks the customer's system, and language models while they work
//! * `ledger`, `completion` – the books of a call, while it runs and at its end
//! * `recordings` – from the folder in which they are made to where files are kept
//! * `trunks` – carriers, PBXs and telephones: by whom a call comes, by which ways it goes out
//! * `signalling`, `packets` – the SIP messages of a call, and on request its packets
//! * `takeover` – a call that moves to another dialog: REFER and Replaces of the far end
//! * `observer`, `figures` – what the operator sees of calls that are over: traces, and figures for Prometheus
//! * `live` – the registry of running calls; `quotas`, `tolls` – how many a tenant may have, and whom it may call
//!
//! What this room never does: hold a rule of the dialogue, hold a lock across an
//! await, or make a call wait for a disk or for a customer's system.

mod actor;
mod breakers;
mod bridge;
mod completion;
mod context;
mod figures;
#[doc(hidden)]
pub mod fuzz;
mod hearing;
mod inbound;
mod ledger;
mod leg;
mod legs;
mod live;
mod models;
mod negotiation;
mod observer;
mod orphan;
mod outbound;
mod packets;
mod place;
mod platform;
mod policy;
mod prompts;
mod quotas;
mod recordings;
mod signalling;
mod takeover;
mod tolls;
mod trunks;
pub mod webrtc;

pub use figures::{BUCKETS_MS, CallCounts, OutsideCounts, Spread};
pub use live::{LiveError, Snapshot};
pub use negotiation::{Negotiation, Terms};
pub use outbound::OutboundPolicy;
pub use place::{PlaceCall, PlaceError, Talker};
pub use platform::{CallPolicy, Platform, Rooms};
pub use policy::{DtmfManner, LegPolicy};
pub use quotas::Quota;
pub use recordings::{RecordingPolicy, Recordings};
pub use signalling::SignallingRecord;
pub use tolls::TollRefusal;
pub use trunks::{
    AddressStatus, ChannelStatus, InboundPolicy, RegistrationStatus, StoreAccounts, TrunkBook, TrunkFault, TrunkPolicy,
    TrunkStatus,
};
