//! Fuzzes `accounts_server::fuzzing::url`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| accounts_server::fuzzing::url(data));
