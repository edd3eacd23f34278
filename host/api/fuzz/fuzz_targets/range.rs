//! See `callbox_api::fuzz::range_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_api::fuzz::range_header(data));
