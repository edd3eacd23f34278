//! SSML.
use crate::error::SpeechError;
/// stub
pub fn rewrite(_text: &str, _language: &str) -> Result<Option<String>, SpeechError> { Ok(None) }
