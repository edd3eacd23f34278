//! See `callbox_speech::fuzz::pipe_wav`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_speech::fuzz::pipe_wav(data));
