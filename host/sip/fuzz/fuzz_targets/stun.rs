//! See `callbox_sip::fuzz::stun`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_sip::fuzz::stun(data));
