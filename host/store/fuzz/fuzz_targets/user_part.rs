//! See `callbox_store::fuzz::user_part`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_store::fuzz::user_part(data));
