//! See `callbox_grammar::fuzz::words`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_grammar::fuzz::words(data));
