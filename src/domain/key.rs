//! Key material in the form in which it is stored.

use super::Timestamp;

/// A stored signing key.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Key id, as in token headers and the published key set (RFC 7517).
    pub kid: String,
    /// JOSE name of its algorithm (RFC 7518, RFC 8037). The key is used with no other.
    pub algorithm: String,
    /// Private key in PKCS #8 DER, or its ciphertext.
    pub private_key: Vec<u8>,
    /// Whether the private key is encrypted.
    pub is_sealed: bool,
    /// Public key.
    pub public_key: Vec<u8>,
    /// When the key was created.
    pub created_at: Timestamp,
    /// When it was retired: it no longer signs but still verifies.
    pub retired_at: Option<Timestamp>,
}

/// A stored random secret.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// The secret, or its ciphertext.
    pub value: Vec<u8>,
    /// Whether it is encrypted.
    pub is_sealed: bool,
}
