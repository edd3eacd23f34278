//! See `callbox_grammar::fuzz::json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_grammar::fuzz::json(data));
