//! Fuzzes `accounts_server::fuzzing::body`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| accounts_server::fuzzing::body(data));
