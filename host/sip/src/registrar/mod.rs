//! The registrar (RFC 3261 §10, RFC 3327, RFC 5626): which phone of which account is reached where.
//!
//! The rules and the table of bindings are pure; [`ua`](crate::ua) lets requests in and answers them, and the edge
//! looks accounts up. Nothing is written to disk: after a restart phones register again.

mod accounts;
mod bindings;
mod guard;
mod hearing;
mod request;

pub use accounts::{Account, AccountLookup, Accounts, AccountsUnavailable};
pub use bindings::BoundContact;
pub(crate) use bindings::{Bindings, Refused, Registering};
pub(crate) use guard::{Guard, Toll};
pub(crate) use hearing::Hearing;
pub(crate) use request::{Asked, Wanted};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What the registrar allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrarRules {
    /// The realm in challenges, which the stored hashes of passwords are made with. Phones show it to their users, and
    /// a change makes all stored hashes useless.
    pub realm: String,
    /// Host names in `From` that are ours besides the realm: a call from such an address has to be an account's.
    pub domains: Vec<String>,
    /// Whether a call whose `From` names the realm or one of `domains` is challenged. Off, such calls pass without an
    /// account unless they bring credentials or come from where a phone is registered. Calls from other hosts always
    /// pass, without an account.
    pub require_for_realm: bool,
    /// The shortest registration; a shorter one is refused with 423.
    pub min_expires: Duration,
    /// What is granted to a phone that asks for nothing.
    pub default_expires: Duration,
    /// What is granted to a phone that asks for more.
    pub max_expires: Duration,
    /// Phones of one account; one more takes the place of the one that was registered the longest time ago.
    pub max_contacts: usize,
    /// Phones of all accounts; one more gets 503.
    pub max_bindings: usize,
    /// Phones behind one address; one more gets 403.
    pub max_per_source: usize,
    /// How long a challenge can be answered.
    pub nonce_lifetime: Duration,
    /// How often a phone behind a NAT gets an empty datagram over UDP, so that the NAT keeps the way open.
    pub keep_alive: Duration,
}

impl Default for RegistrarRules {
    fn default() -> Self {
        Self {
            realm: "callbox".to_owned(),
            domains: Vec::new(),
            require_for_realm: true,
            min_expires: Duration::from_secs(60),
            default_expires: Duration::from_secs(3_600),
            max_expires: Duration::from_secs(7_200),
            max_contacts: 10,
            max_bindings: 100_000,
            max_per_source: 20_000,
            nonce_lifetime: Duration::from_secs(600),
            keep_alive: Duration::from_secs(25),
        }
    }
}

/// A registrar as the stack is given it.
#[derive(Clone)]
pub struct RegistrarConfig {
    /// Who may register.
    pub accounts: Arc<dyn Accounts>,
    /// What is allowed.
    pub rules: RegistrarRules,
}

impl fmt::Debug for RegistrarConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrarConfig").field("rules", &self.rules).finish_non_exhaustive()
    }
}
