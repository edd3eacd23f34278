//! See `callbox_speech::fuzz::cache_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_speech::fuzz::cache_file(data));
