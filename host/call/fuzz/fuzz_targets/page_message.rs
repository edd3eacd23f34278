//! A message of a page on its data channel. `cargo +nightly fuzz run page_message`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callbox_call::fuzz::page_message(data));
