//! JSON in text columns, and numbers that must fit.

use crate::error::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// For a column.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Internal(error.to_string()))
}

/// From a column; `what` names it for the error.
pub(crate) fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::unreadable(what, error))
}

/// A word of a column as an enum that serde names.
pub(crate) fn word<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    use serde::de::IntoDeserializer;
    let text: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
    T::deserialize(text).map_err(|error| StoreError::unreadable(what, error))
}

/// The word of an enum that serde names.
pub(crate) fn as_word<T: Serialize>(value: &T) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        _ => Err(StoreError::Internal("not a word".to_owned())),
    }
}

/// A count that is never negative.
pub(crate) fn count32(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(if value < 0 { 0 } else { u32::MAX })
}

/// A size that is never negative.
pub(crate) fn count64(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// For a column: sizes beyond `i64` do not occur.
pub(crate) fn column(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
