#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| silvertine_fuzz::rows(bytes));
