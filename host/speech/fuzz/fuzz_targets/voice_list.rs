//! See `callbox_speech::fuzz::voice_list`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_speech::fuzz::voice_list(data));
