//! A scenario file. `cargo +nightly fuzz run scenario`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_sim::fuzz::scenario(data));
