//! See `callbox_sip::ua::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    callbox_sip::ua::fuzz::endpoint(data);
});
