//! Cryptography: randomness, encryption of stored secrets, signing keys and tokens.

pub mod factor_key;
pub mod keyring;
pub(crate) mod pkce;
pub(crate) mod random;
pub(crate) mod sealing;
pub mod tokens;
pub(crate) mod totp;
pub mod webauthn;
