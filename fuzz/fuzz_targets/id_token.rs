//! Fuzzes `accounts_server::fuzzing::id_token`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| accounts_server::fuzzing::id_token(data));
