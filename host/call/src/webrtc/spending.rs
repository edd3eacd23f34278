//! A use of a token, taken for a call that begins and given back where none comes of it.

use callbox_store::Store;
use callbox_store::webrtc_tokens::{TokenError, WebToken};

/// One use. Dropping it gives it back.
pub(crate) struct Spending {
    store: Store,
    /// The token's id, until the use is spent.
    token: Option<String>,
}

impl Spending {
    /// Takes one.
    ///
    /// # Errors
    /// There is none left, or the token is over.
    pub(crate) async fn begin(store: &Store, token: &WebToken) -> Result<Self, TokenError> {
        store.spend_webrtc_token(token).await?;
        Ok(Self { store: store.clone(), token: Some(token.id.clone()) })
    }

    /// The call has begun: the use is spent.
    pub(crate) fn done(mut self) {
        self.token = None;
    }
}

impl Drop for Spending {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            self.store.give_back_webrtc_token(token);
        }
    }
}
