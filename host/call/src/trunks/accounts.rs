//! Telephones' accounts, for the registrar.

use callbox_sip::{Account, AccountLookup, Accounts, AccountsUnavailable};
use callbox_store::Store;
use callbox_store::revisions::Topic;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Accounts that are remembered at most; telephones that ask again within the minute are found without the database.
const REMEMBERED: usize = 4_096;
/// A change by another process is seen after so long; one by this process at once.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// How often what is too old is looked for, once there is no room: to do it for each of ten thousand telephones that come
/// at once costs as much as to find them in the database.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The accounts of the database.
#[derive(Debug)]
pub struct StoreAccounts {
    store: Store,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    changes: watch::Receiver<u64>,
    accounts: HashMap<(String, String), (Instant, Account)>,
    swept: Option<Instant>,
}

impl StoreAccounts {
    /// The accounts of this database.
    #[must_use]
    pub fn new(store: Store) -> Self {
        let changes = store.changes(Topic::SipAccounts);
        Self { store, known: Mutex::new(Known { changes, accounts: HashMap::new(), swept: None }) }
    }

    fn known(&self, key: &(String, String)) -> Option<Account> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.changes.has_changed().unwrap_or(true) {
            known.changes.mark_unchanged();
            known.accounts.clear();
        }
        known.accounts.get(key).filter(|(at, _)| at.elapsed() < GOOD_FOR).map(|(_, account)| account.clone())
    }

    fn remember(&self, key: (String, String), account: Account) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Read before a change that has come since: not to be kept.
        if known.changes.has_changed().unwrap_or(true) {
            return;
        }
        if known.accounts.len() >= REMEMBERED && known.swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
            known.swept = Some(Instant::now());
            known.accounts.retain(|_, (at, _)| at.elapsed() < GOOD_FOR);
        }
        // Only what exists is remembered: guessers fill nothing.
        if known.accounts.len() < REMEMBERED {
            known.accounts.insert(key, (Instant::now(), account));
        }
    }
}

impl Accounts for StoreAccounts {
    fn find<'a>(&'a self, username: &'a str, realm: &'a str) -> AccountLookup<'a> {
        Box::pin(async move {
            let key = (username.to_owned(), realm.to_owned());
            if let Some(account) = self.known(&key) {
                return Ok(Some(account));
            }
            let found = self.store.digest_account(username, realm).await;
            let found = found.map_err(|error| AccountsUnavailable(error.to_string()))?;
            let account = found.map(|found| Account {
                id: found.account.id,
                ha1_md5: Some(found.ha1_md5.expose().to_owned()),
                ha1_sha256: Some(found.ha1_sha256.expose().to_owned()),
                max_contacts: None,
            });
            if let Some(account) = &account {
                self.remember(key, account.clone());
            }
            Ok(account)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use callbox_store::Actor;
    use callbox_store::sip_accounts::NewSipAccount;
    use callbox_trunk::settings::Password;

    #[tokio::test]
    async fn an_account_is_remembered_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open("sqlite::memory:", folder.path()).await.unwrap();
        let (tenant, who) = (store.default_tenant().clone(), Actor::system());
        let ada = |enabled| NewSipAccount {
            username: "ada".into(),
            password: Some(Password::new("open sesame".into())),
            display_name: None,
            caller_id: None,
            enabled,
        };
        let accounts = StoreAccounts::new(store.clone());
        assert_eq!(accounts.find("ada", "callbox").await, Ok(None));
        let made = store.create_sip_account(&tenant, ada(true), "callbox", &who).await.unwrap();
        let found = accounts.find("ada", "callbox").await.unwrap().unwrap();
        assert_eq!(found, Account::with_password(&made.id, "ada", "callbox", "open sesame"));
        assert_eq!(accounts.find("ada", "other").await, Ok(None));
        let key = ("ada".to_owned(), "callbox".to_owned());
        assert_eq!(accounts.known(&key), Some(found));
        store.update_sip_account(&tenant, &made.id, ada(false), "callbox", &who).await.unwrap();
        assert_eq!(accounts.known(&key), None);
        assert_eq!(accounts.find("ada", "callbox").await, Ok(None));
        store.update_sip_account(&tenant, &made.id, ada(true), "callbox", &who).await.unwrap();
        assert!(accounts.find("ada", "callbox").await.unwrap().is_some());
        store.close().await;
        assert!(accounts.find("eve", "callbox").await.is_err());
    }
}
