//! An upload, from its first byte to its manifest. `cargo +nightly fuzz run admission`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_script::fuzz::admission(data));
