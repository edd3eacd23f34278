//! See `callbox_sip::fuzz::uri`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_sip::fuzz::uri(data));
