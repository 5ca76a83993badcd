//! External identity providers: their kinds, and the algorithms of their ID tokens.

use std::fmt;

/// A kind of provider that users sign in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// Google.
    Google,
    /// GitHub or a GitHub Enterprise server: OAuth 2.0 without ID tokens.
    Github,
    /// Apple.
    Apple,
    /// Microsoft Entra ID and personal Microsoft accounts.
    Microsoft,
    /// Any other provider with OpenID Connect Discovery 1.0.
    Oidc,
}

impl ProviderKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Google,
        Self::Github,
        Self::Apple,
        Self::Microsoft,
        Self::Oidc,
    ];

    /// The name in settings and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Github => "github",
            Self::Apple => "apple",
            Self::Microsoft => "microsoft",
            Self::Oidc => "oidc",
        }
    }

    /// The kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// What users call it; `None` where only the settings can say.
    pub const fn brand(self) -> Option<&'static str> {
        match self {
            Self::Google => Some("Google"),
            Self::Github => Some("GitHub"),
            Self::Apple => Some("Apple"),
            Self::Microsoft => Some("Microsoft"),
            Self::Oidc => None,
        }
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An algorithm that signs the ID tokens of a provider (RFC 7518, section 3.1; RFC 8037).
///
/// There is neither `none` nor an algorithm with a shared secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdTokenAlgorithm {
    /// RSA with PKCS #1 v1.5 and SHA-256, which every provider has (OpenID Connect Discovery 1.0,
    /// section 3).
    #[default]
    Rs256,
    /// RSA with PKCS #1 v1.5 and SHA-384.
    Rs384,
    /// RSA with PKCS #1 v1.5 and SHA-512.
    Rs512,
    /// RSA with PSS and SHA-256.
    Ps256,
    /// RSA with PSS and SHA-384.
    Ps384,
    /// RSA with PSS and SHA-512.
    Ps512,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl IdTokenAlgorithm {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The JOSE name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm with this JOSE name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }
}

impl fmt::Display for IdTokenAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
