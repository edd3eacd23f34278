//! Names of things: a prefix that tells the kind, and a UUIDv7, so that ids sort
//! by creation.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// A fresh id: `new("call")` gives `call_` and 32 hex digits.
#[must_use]
pub fn new(prefix: &str) -> String {
    format!("{prefix}_{}", uuid::Uuid::now_v7().simple())
}

/// Whether `text` is an id of this kind: the prefix, `_`, 32 lower-case hex digits.
#[must_use]
pub fn is(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).is_some_and(is_hex32)
}

fn is_hex32(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The customer a row belongs to (`ten_…`). Nearly every function of the store
/// wants one, and finds nothing that belongs to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct TenantId(pub String);

impl TenantId {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who did something, and from where, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// A key's id, or `system`.
    pub id: String,
    /// The address that the request came from.
    pub source: Option<String>,
    /// The request's name in the host's log.
    pub request_id: Option<String>,
}

impl Actor {
    /// Whoever holds this key.
    #[must_use]
    pub fn key(id: &str) -> Self {
        Self { id: id.to_owned(), source: None, request_id: None }
    }

    /// The platform itself.
    #[must_use]
    pub fn system() -> Self {
        Self::key("system")
    }

    /// The same, by a request of this name from this address.
    #[must_use]
    pub fn by_request(self, source: String, request_id: Option<String>) -> Self {
        Self { source: Some(source), request_id, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_creation_and_are_recognised() {
        let ids: Vec<String> = (0..1000).map(|_| new("call")).collect();
        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| is("call", id)));
        assert!(!is("scr", &ids[0]));
        assert!(!is("call", "call_"));
        assert!(!is("call", &ids[0].to_uppercase()));
        assert!(!is("call", "call_0000000000000000000000000000000é"));
    }
}
