//! Fuzzes `accounts_server::fuzzing::email`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| accounts_server::fuzzing::email(data));
