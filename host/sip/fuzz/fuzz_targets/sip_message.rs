//! See `callbox_sip::fuzz::sip_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_sip::fuzz::sip_message(data));
