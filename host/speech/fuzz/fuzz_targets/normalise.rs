//! See `callbox_speech::fuzz::text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_speech::fuzz::text(data));
