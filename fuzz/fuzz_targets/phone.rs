//! Fuzzes `accounts_server::fuzzing::phone`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| accounts_server::fuzzing::phone(data));
