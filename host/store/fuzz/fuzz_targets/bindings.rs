//! See `callbox_store::fuzz::bindings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_store::fuzz::bindings(data));
