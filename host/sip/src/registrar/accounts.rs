//! Who may register: the look-up that the host provides.

use crate::digest::Algorithm;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// An account of the realm. Of its password only hashes are known here ([`Algorithm::secret`]), and they are not
/// printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// What the host calls it: given back in [`InviteInfo::account`](crate::InviteInfo) and taken by
    /// [`SipStack::contacts`](crate::SipStack::contacts). Often the user name.
    pub id: String,
    /// `MD5(user:realm:password)` in hex; without it the account cannot log in by MD5.
    pub ha1_md5: Option<String>,
    /// `SHA-256(user:realm:password)` in hex; without it the account cannot log in by SHA-256.
    pub ha1_sha256: Option<String>,
    /// How many phones it may have, where that is less than the registrar allows.
    pub max_contacts: Option<usize>,
}

impl Account {
    /// An account by its password.
    #[must_use]
    pub fn with_password(id: impl Into<String>, username: &str, realm: &str, password: &str) -> Self {
        Self {
            id: id.into(),
            ha1_md5: Some(Algorithm::Md5.secret(username, realm, password)),
            ha1_sha256: Some(Algorithm::Sha256.secret(username, realm, password)),
            max_contacts: None,
        }
    }

    /// The hash for an algorithm.
    pub(crate) fn secret(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Md5 => self.ha1_md5.as_deref(),
            Algorithm::Sha256 => self.ha1_sha256.as_deref(),
            Algorithm::Sha512_256 => None,
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("id", &self.id)
            .field("max_contacts", &self.max_contacts)
            .finish_non_exhaustive()
    }
}

/// The store of accounts cannot be asked now. Requests get 503 then, and nobody is taken for a guesser.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("accounts cannot be looked up: {0}")]
pub struct AccountsUnavailable(
    /// Why, for the log.
    pub String,
);

/// What [`Accounts::find`] gives: the account, none of that name, or no word.
pub type AccountLookup<'a> = Pin<Box<dyn Future<Output = Result<Option<Account>, AccountsUnavailable>> + Send + 'a>>;

/// The accounts of a host, in a database most likely. The stack asks for one per REGISTER and per call of an account, at
/// most 64 at the same time, and waits two seconds for each.
pub trait Accounts: Send + Sync + 'static {
    /// The account with that user name: the part before `@`, escapes decoded, compared letter by letter.
    fn find<'a>(&'a self, username: &'a str, realm: &'a str) -> AccountLookup<'a>;
}
