//! See `callbox_api::fuzz::body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_api::fuzz::body(data));
