//! The REST management API and its OpenAPI document.
