//! The cryptography of `jsonwebtoken`, by `ring`.
//!
//! `ring` is part of the program through rustls. Its private-key operations run in constant time,
//! and the nonces of its ECDSA signatures depend on key, message and randomness, so they do not
//! repeat even if the random numbers do.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::rsa::{KeyPair as RsaKeyPair, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ED25519,
    EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, UnparsedPublicKey,
    VerificationAlgorithm,
};

use crate::crypto::random;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes this the process-wide provider of `jsonwebtoken`, unless there is one already.
///
/// A program that mounts the routes may have installed another one, which then has to know the
/// algorithms of the keys.
pub(super) fn install() {
    // An error means that a provider is installed already, this one or another.
    let _ = PROVIDER.install_default();
}

/// A private key.
enum SigningKey {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the provider's signature"
)]
fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    let bytes = key.as_bytes();
    let key = match algorithm {
        Algorithm::ES256 => {
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            EcdsaKeyPair::from_pkcs8(algorithm, bytes, &random::system()).map(SigningKey::Es256)
        }
        // Keys of other programs may lack the public key; where it is present, it is checked.
        Algorithm::EdDSA => {
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).map(SigningKey::EdDsa)
        }
        Algorithm::RS256 => RsaKeyPair::from_der(bytes).map(SigningKey::Rs256),
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    Ok(Box::new(RingSigner {
        algorithm: *algorithm,
        key: key.map_err(|_| ErrorKind::InvalidKeyFormat)?,
    }))
}

struct RingSigner {
    algorithm: Algorithm,
    key: SigningKey,
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let failed = |_| signature::Error::new();
        match &self.key {
            SigningKey::Es256(key) => {
                let signature = key.sign(&random::system(), message).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            SigningKey::EdDsa(key) => Ok(key.sign(message).as_ref().to_vec()),
            SigningKey::Rs256(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(
                    &RSA_PKCS1_SHA256,
                    &random::system(),
                    message,
                    &mut signature,
                )
                .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// A public key.
enum VerifyingKey {
    Encoded(UnparsedPublicKey<Vec<u8>>),
    Rsa(&'static RsaParameters, PublicKeyComponents<Vec<u8>>),
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the provider's signature"
)]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let encoded = |algorithm: &'static dyn VerificationAlgorithm| -> Result<VerifyingKey, Error> {
        let bytes = key.try_get_as_bytes()?.to_vec();
        Ok(VerifyingKey::Encoded(UnparsedPublicKey::new(
            algorithm, bytes,
        )))
    };
    let rsa = |parameters: &'static RsaParameters| match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            let (n, e) = (n.clone(), e.clone());
            Ok(VerifyingKey::Rsa(parameters, PublicKeyComponents { n, e }))
        }
        DecodingKeyKind::SecretOrDer(_) => encoded(parameters),
    };
    let key = match algorithm {
        Algorithm::ES256 => encoded(&ECDSA_P256_SHA256_FIXED)?,
        Algorithm::EdDSA => encoded(&ED25519)?,
        Algorithm::RS256 => rsa(&RSA_PKCS1_2048_8192_SHA256)?,
        // Those of other issuers alone.
        Algorithm::ES384 => encoded(&ECDSA_P384_SHA384_FIXED)?,
        Algorithm::RS384 => rsa(&RSA_PKCS1_2048_8192_SHA384)?,
        Algorithm::RS512 => rsa(&RSA_PKCS1_2048_8192_SHA512)?,
        Algorithm::PS256 => rsa(&RSA_PSS_2048_8192_SHA256)?,
        Algorithm::PS384 => rsa(&RSA_PSS_2048_8192_SHA384)?,
        Algorithm::PS512 => rsa(&RSA_PSS_2048_8192_SHA512)?,
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    Ok(Box::new(RingVerifier {
        algorithm: *algorithm,
        key,
    }))
}

struct RingVerifier {
    algorithm: Algorithm,
    key: VerifyingKey,
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        match &self.key {
            VerifyingKey::Encoded(key) => key.verify(message, signature),
            VerifyingKey::Rsa(parameters, key) => key.verify(parameters, message, signature),
        }
        .map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
