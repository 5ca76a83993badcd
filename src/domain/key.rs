//! Key material in the form in which it is stored.

use std::fmt;

use super::Timestamp;

/// An algorithm that signs tokens (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// ECDSA with P-256 and SHA-256: small, and known to practically every library and gateway.
    Es256,
    /// Ed25519: small and deterministic, but unknown to many libraries and gateways.
    EdDsa,
    /// RSA with SHA-256 and 2048 bits: known to everybody, large and slow to sign.
    Rs256,
}

impl SigningAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Es256, Self::EdDsa, Self::Rs256];

    /// The JOSE name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    /// Parses the JOSE name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A stored signing key.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Key id, as in token headers and the published key set (RFC 7517).
    pub kid: String,
    /// JOSE name of its algorithm (RFC 7518, RFC 8037). The key is used with no other.
    pub algorithm: String,
    /// Private key in PKCS #8 DER (RSA: PKCS #1 DER), or its ciphertext.
    pub private_key: Vec<u8>,
    /// Whether the private key is encrypted.
    pub is_sealed: bool,
    /// Public key: Ed25519 key, uncompressed P-256 point, or RSA modulus (its exponent is 65537).
    pub public_key: Vec<u8>,
    /// When the key was created.
    pub created_at: Timestamp,
    /// When it was retired: it no longer signs but still verifies.
    pub retired_at: Option<Timestamp>,
    /// Whether it signs tokens of OAuth clients, rather than those of the account API.
    pub is_for_clients: bool,
}

/// A stored random secret.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// The secret, or its ciphertext.
    pub value: Vec<u8>,
    /// Whether it is encrypted.
    pub is_sealed: bool,
}
