//! See `callbox_delivery::fuzz::model`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_delivery::fuzz::model(data));
