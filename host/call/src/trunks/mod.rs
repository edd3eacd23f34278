//! Carriers, PBXs and telephones.

/// What the operator settles for trunks and telephones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkPolicy {
    /// The realm in which telephones sign in. Their stored hashes are made with it: after a change each account needs
    /// its password again.
    pub realm: String,
    /// Who may call in.
    pub inbound: InboundPolicy,
}

impl Default for TrunkPolicy {
    fn default() -> Self {
        Self { realm: "callbox".into(), inbound: InboundPolicy::default() }
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
