//! What makes load, as far as tests use it too.

pub mod http;
pub mod times;
pub mod webrtc;
