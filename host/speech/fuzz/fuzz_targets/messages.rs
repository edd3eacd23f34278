//! See `callbox_speech::fuzz::messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_speech::fuzz::messages(data));
