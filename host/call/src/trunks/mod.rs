//! Carriers, PBXs and telephones: whose trunk a call comes by, by which ways one goes out, and how the trunks are.
//!
//! * [`TrunkBook`] – all trunks in service, as the database has them now
//! * `live` – one trunk: its settings, how many calls it has, how its addresses are
//! * `keeper` – keeps the book up to date, asks addresses how they are, registers
//! * `admission` – what may call in, and where it gets to
//! * `ways` – the ways to a callee, tried one after the other
//! * `accounts` – telephones' accounts, for the registrar
//! * `status` – what the API shows

mod accounts;
mod admission;
mod book;
mod keeper;
mod live;
mod status;
mod ways;

pub use accounts::StoreAccounts;
pub(crate) use admission::Admitted;
pub use book::TrunkBook;
pub(crate) use live::{LiveTrunk, Permit};
pub use status::{AddressStatus, ChannelStatus, RegistrationStatus, TrunkFault, TrunkStatus};
pub(crate) use ways::{Ask, Attempt, Attempts, NoWay, OUTSIDE, TrunkUsed, uri_of};

use callbox_sip::overload::SourcePolicy;

/// What the operator settles for trunks and telephones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkPolicy {
    /// The realm in which telephones sign in. Their stored hashes are made with it: after a change each account needs
    /// its password again.
    pub realm: String,
    /// Who may call in.
    pub inbound: InboundPolicy,
    /// The number that answers calls to numbers that nobody has. None refuses them with 404.
    pub catch_all: Option<String>,
    /// Whom the stack serves and trusts besides the networks of trunks.
    pub sources: SourcePolicy,
}

impl Default for TrunkPolicy {
    fn default() -> Self {
        Self {
            realm: "callbox".into(),
            inbound: InboundPolicy::default(),
            catch_all: None,
            sources: SourcePolicy::default(),
        }
    }
}

/// Whose calls are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InboundPolicy {
    /// Anybody's: a number that is enabled can be called from anywhere.
    #[default]
    Open,
    /// Those of trunks and of telephones that have signed in. A stranger gets 403.
    Known,
}
