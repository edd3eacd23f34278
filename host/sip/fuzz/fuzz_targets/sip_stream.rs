//! See `callbox_sip::fuzz::sip_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_sip::fuzz::sip_stream(data));
