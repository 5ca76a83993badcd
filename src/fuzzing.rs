//! What strangers send, read as the program reads it: one function for each kind of reading. For the targets in `fuzz/` and
//! for the replay of their seeds in the tests; no part of what this crate promises.
//!
//! None of these may panic, whatever the bytes, and each checks what must hold for anything that it takes.

use std::time::Duration;

use bytes::Bytes;

use crate::accounts::read_imported_user;
use crate::cli::read_rows;
use crate::domain::{EmailAddress, PhoneNumber, Timestamp, parse_json_object};
use crate::http::read_fields;
use crate::tokens::{TokenOptions, Tokens, generate_key};

/// Reads something.
pub type Reading = fn(&[u8]);

/// The kinds, by the names of their targets.
pub const KINDS: &[(&str, Reading)] = &[
    ("body", body),
    ("email", email),
    ("import", import),
    ("phone", phone),
    ("token", token),
];

/// The moment at which everything is read.
const NOW: Timestamp = Timestamp::from_unix_millis(1_733_227_200_000);

/// A request body: its media type on the first line, then the body.
pub fn body(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (media_type, body) = data.split_at(end.unwrap_or(data.len()));
    let media_type = String::from_utf8_lossy(media_type);
    let body = Bytes::copy_from_slice(body.get(1..).unwrap_or_default());
    let _ = read_fields(media_type.trim(), body);
}

/// An address of mail.
pub fn email(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(email) = EmailAddress::parse(&text) {
        // What is stored is read again and is the same mailbox.
        let again = EmailAddress::parse(email.as_str()).expect("a stored address is one");
        assert_eq!(again.key(), email.key());
        assert_eq!(email.key(), email.key().to_lowercase());
        assert!(!email.as_str().contains(['\r', '\n', '\0']));
    }
}

/// A telephone number.
pub fn phone(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(phone) = PhoneNumber::parse(&text) {
        let stored = phone.as_str();
        assert!(stored.starts_with('+') && stored[1..].bytes().all(|b| b.is_ascii_digit()));
        assert_eq!(
            PhoneNumber::parse(stored)
                .expect("a stored number is one")
                .as_str(),
            stored
        );
    }
}

/// A token.
pub fn token(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let options = TokenOptions {
        issuer: "http://localhost:8000".into(),
        audience: None,
        access_life: Duration::from_mins(5),
        refresh_life: Duration::from_hours(1),
    };
    let key = generate_key([7; 32], NOW).expect("32 bytes make a key");
    let tokens = Tokens::new(options, &[key]).expect("a key signs");
    assert!(tokens.verify(&text, NOW).is_err(), "nobody has the key");
}

/// A file of accounts.
pub fn import(data: &[u8]) {
    for fields in read_rows(data) {
        if let Ok(user) = read_imported_user(&fields, NOW) {
            assert!(user.id.is_none_or(|id| id > 0));
        }
    }
    if let Ok(fields) = parse_json_object(data) {
        let _ = read_imported_user(&fields, NOW);
    }
}
