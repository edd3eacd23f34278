//! See `callbox_sip::fuzz::sdp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_sip::fuzz::sdp(data));
