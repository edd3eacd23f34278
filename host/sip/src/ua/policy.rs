//! What an endpoint does on its own account in every dialog: provisional responses, session timers, redirects.

/// Whether provisional responses are acknowledged (RFC 3262).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reliable {
    /// Never: `100rel` is not offered, and a caller that requires it gets 420.
    Off,
    /// Where the peer requires it; and for every 18x with a session description where the peer knows how, since a lost
    /// one costs the first words of the call.
    #[default]
    Supported,
    /// Always: our INVITE requires it, and a caller that does not know it gets 421.
    Required,
}

/// What every dialog of an endpoint keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialogPolicy {
    /// Whether provisional responses are acknowledged.
    pub reliable: Reliable,
    /// The session timer we ask for, in seconds (RFC 4028): a session that nobody refreshed for so long is over. 0 asks
    /// for none; one that the peer asks for is kept all the same.
    pub session_expires_s: u32,
    /// The shortest session timer that we accept, in seconds; the RFC allows none below 90.
    pub min_se_s: u32,
}

impl Default for DialogPolicy {
    fn default() -> Self {
        Self { reliable: Reliable::default(), session_expires_s: 1_800, min_se_s: 90 }
    }
}

/// Which redirects (3xx) of the far end an outgoing call follows. None by default: whoever can redirect a call chooses
/// whom we call and pay for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirects {
    /// How many new targets are tried at most, in the order of their `q`.
    pub max: u8,
    /// The hosts that a new target may have, without regard to case; others are passed over.
    pub hosts: Vec<String>,
}
