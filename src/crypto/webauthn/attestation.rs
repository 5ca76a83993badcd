//! The attestation object of a new passkey.
//!
//! No attestation is asked for, so a statement about the make of the authenticator proves nothing
//! here and is not judged. One that the new key has signed itself is verified, because a wrong one
//! shows that something is broken.

use minicbor::Decoder;
use minicbor::data::Type;

use super::WebauthnError;
use super::authenticator_data::skip;
use super::public_key::PublicKey;

/// An attestation object in CBOR, parsed but not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AttestationObject<'a> {
    format: &'a str,
    statement: Statement<'a>,
    pub(super) authenticator_data: &'a [u8],
}

/// What matters of an attestation statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Statement<'a> {
    is_empty: bool,
    algorithm: Option<i64>,
    signature: Option<&'a [u8]>,
    has_certificates: bool,
}

impl<'a> AttestationObject<'a> {
    /// Parses the object of a registration.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, WebauthnError> {
        Self::read(bytes).ok_or(WebauthnError::Attestation)
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let count = decoder.map().ok()??;
        let (mut format, mut statement, mut data) = (None, None, None);
        for _ in 0..count {
            let is_first = match decoder.str().ok()? {
                "fmt" => format.replace(decoder.str().ok()?).is_none(),
                "attStmt" => statement.replace(Statement::read(&mut decoder)?).is_none(),
                "authData" => data.replace(decoder.bytes().ok()?).is_none(),
                _ => {
                    skip(&mut decoder)?;
                    true
                }
            };
            if !is_first {
                return None;
            }
        }
        let object = Self {
            format: format?,
            statement: statement?,
            authenticator_data: data?,
        };
        (decoder.position() == bytes.len()).then_some(object)
    }

    /// Verifies the statement as far as it proves something. `signed` is the authenticator data with
    /// the hash of the client data.
    pub(super) fn verify(&self, key: &PublicKey, signed: &[u8]) -> Result<(), WebauthnError> {
        match self.format {
            "none" if self.statement.is_empty => Ok(()),
            "none" => Err(WebauthnError::Attestation),
            "packed" if !self.statement.has_certificates => {
                if self.statement.algorithm != Some(key.algorithm()) {
                    return Err(WebauthnError::Attestation);
                }
                let signature = self.statement.signature.ok_or(WebauthnError::Attestation)?;
                key.verify(signed, signature)
            }
            _ => Ok(()),
        }
    }
}

impl<'a> Statement<'a> {
    fn read(decoder: &mut Decoder<'a>) -> Option<Self> {
        let count = decoder.map().ok()??;
        let mut statement = Self {
            is_empty: count == 0,
            ..Self::default()
        };
        for _ in 0..count {
            let is_first = match decoder.str().ok()? {
                "alg" if is_integer(decoder) => {
                    statement.algorithm.replace(decoder.i64().ok()?).is_none()
                }
                "sig" if decoder.datatype().ok()? == Type::Bytes => {
                    statement.signature.replace(decoder.bytes().ok()?).is_none()
                }
                name => {
                    statement.has_certificates |= name == "x5c";
                    skip(decoder)?;
                    true
                }
            };
            if !is_first {
                return None;
            }
        }
        Some(statement)
    }
}

fn is_integer(decoder: &Decoder<'_>) -> bool {
    use Type::{I8, I16, I32, I64, Int, U8, U16, U32, U64};
    matches!(
        decoder.datatype(),
        Ok(U8 | U16 | U32 | U64 | I8 | I16 | I32 | I64 | Int)
    )
}
