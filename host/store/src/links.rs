//! Links to recordings that need no API key: signed by us, and good for a time.

use crate::secrets::{self, Secret};
use crate::{Store, StoreError, UnixMs};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Whose secret the key is kept as.
const OWNER: &str = "host";
/// Its name.
const NAME: &str = "links";

/// Signs links. One key for the database, made when it is opened first; every host has the same.
#[derive(Clone)]
pub struct LinkKey(Secret);

impl std::fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkKey(…)")
    }
}

impl LinkKey {
    /// The path and query of a link to a recording, good until then.
    #[must_use]
    pub fn link(&self, recording: &str, expires: UnixMs) -> String {
        format!("/v1/recordings/{recording}?expires={}&signature={}", expires.0 / 1_000, self.sign(recording, expires))
    }

    /// Whether we have signed this, whatever the time is.
    #[must_use]
    pub fn is_ours(&self, recording: &str, expires_s: i64, signature: &str) -> bool {
        let ours = self.sign(recording, UnixMs(expires_s.saturating_mul(1_000)));
        ours.as_bytes().ct_eq(signature.as_bytes()).into()
    }

    fn sign(&self, recording: &str, expires: UnixMs) -> String {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.expose().as_bytes()) else { return String::new() };
        mac.update(format!("recording\n{recording}\n{}", expires.0 / 1_000).as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }
}

impl Store {
    /// The key that signs links; made where this database has none yet.
    ///
    /// # Errors
    /// Transient ones, the first time only: then it is kept in memory.
    pub async fn link_key(&self) -> Result<&LinkKey, StoreError> {
        self.links().get_or_try_init(|| self.load_link_key()).await
    }

    async fn load_link_key(&self) -> Result<LinkKey, StoreError> {
        let tenant = self.default_tenant();
        loop {
            if let Some(key) = self.held_secret(tenant, OWNER, NAME).await?.into_iter().next() {
                return Ok(LinkKey(key));
            }
            let (tenant, key, now) = (tenant.clone(), secrets::generate_signing_secret()?, self.now());
            // Another host may make it at the same time: what is stored counts.
            let vault = self.vault().clone();
            self.write(move |db| {
                Box::pin(async move { secrets::put_new(db, &vault, &tenant, OWNER, NAME, &key, now).await })
            })
            .await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_is_ours() {
        let key = LinkKey(Secret::new("whsec_dGVzdCB0ZXN0IHRlc3QgdGVzdCB0ZXN0".into()));
        let link = key.link("rec_1", UnixMs(1_900_000_000_999));
        let signature = link.strip_prefix("/v1/recordings/rec_1?expires=1900000000&signature=").unwrap_or_default();
        assert!(key.is_ours("rec_1", 1_900_000_000, signature), "{link}");
        assert!(!key.is_ours("rec_2", 1_900_000_000, signature));
        assert!(!key.is_ours("rec_1", 1_900_000_001, signature));
        assert!(!key.is_ours("rec_1", 1_900_000_000, ""));
        assert!(!key.is_ours("rec_1", i64::MAX, signature));
        assert!(!key.is_ours("rec_1", i64::MIN, signature));
        let other = LinkKey(Secret::new("whsec_YW5vdGhlciBhbm90aGVyIGFub3RoZXI=".into()));
        assert!(!other.is_ours("rec_1", 1_900_000_000, signature));
    }
}
