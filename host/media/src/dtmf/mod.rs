//! Keys as telephone-events (RFC 4733), both ways.

/// Digits one command may carry.
pub const MAX_DIGITS: usize = 64;
