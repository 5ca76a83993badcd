//! Bytes in JSON: base64url, with or without padding.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes that are text in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base64Url(
    /// The bytes.
    pub Vec<u8>,
);

impl Base64Url {
    /// Parses the text, with or without padding.
    pub fn parse(text: &str) -> Option<Self> {
        BASE64URL.decode(text).ok().map(Self)
    }
}

impl<'de> Deserialize<'de> for Base64Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64URL.decode(text).map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Base64Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(&self.0))
    }
}

/// The text of bytes, without padding.
pub fn encode(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}
