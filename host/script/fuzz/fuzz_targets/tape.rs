//! A tape. `cargo +nightly fuzz run tape`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_script::fuzz::tape(data));
