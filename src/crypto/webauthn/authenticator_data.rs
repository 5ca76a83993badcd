//! The authenticator data: what the authenticator says about itself and the use of a passkey.

use minicbor::Decoder;
use minicbor::data::Type;
use sha2::{Digest, Sha256};

use super::{CREDENTIAL_ID_BYTES, RelyingParty, WebauthnError};

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const HAS_CREDENTIAL: u8 = 1 << 6;
const HAS_EXTENSIONS: u8 = 1 << 7;

/// Authenticator data, parsed but not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AuthenticatorData<'a> {
    site_hash: [u8; 32],
    flags: u8,
    /// The signature counter; 0 for authenticators without one.
    pub(super) sign_count: u32,
    /// The new credential, of a registration.
    pub(super) credential: Option<AttestedCredential<'a>>,
}

/// The new credential in authenticator data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AttestedCredential<'a> {
    /// The model of the authenticator.
    pub(super) aaguid: [u8; 16],
    pub(super) id: &'a [u8],
    /// The public key in the encoding of COSE.
    pub(super) public_key: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    /// Parses the bytes that the authenticator signed. Nothing may follow the parts that the flags
    /// announce.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, WebauthnError> {
        read(bytes).ok_or(WebauthnError::AuthenticatorData)
    }

    /// Verifies that it was made for this site, by somebody whom the authenticator has verified.
    pub(super) fn verify(&self, site: &RelyingParty) -> Result<(), WebauthnError> {
        if self.site_hash != *Sha256::digest(site.id.as_bytes()) {
            return Err(WebauthnError::RelyingParty);
        }
        if !self.has(USER_PRESENT) || !self.has(USER_VERIFIED) {
            return Err(WebauthnError::NotVerified);
        }
        // A passkey that cannot be copied has no copy.
        if self.has(BACKED_UP) && !self.has(BACKUP_ELIGIBLE) {
            return Err(WebauthnError::AuthenticatorData);
        }
        Ok(())
    }

    /// Whether the passkey is one that can be copied to other devices.
    pub(super) fn is_backup_eligible(&self) -> bool {
        self.has(BACKUP_ELIGIBLE)
    }

    /// Whether there is a copy of the passkey beside this device.
    pub(super) fn is_backed_up(&self) -> bool {
        self.has(BACKED_UP)
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn read(bytes: &[u8]) -> Option<AuthenticatorData<'_>> {
    let (site_hash, rest) = bytes.split_first_chunk::<32>()?;
    let (flags, rest) = rest.split_first()?;
    let (sign_count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut credential = None;
    if flags & HAS_CREDENTIAL != 0 {
        let (read, after) = read_credential(rest)?;
        credential = Some(read);
        rest = after;
    }
    if flags & HAS_EXTENSIONS != 0 {
        let (_, after) = split_map(rest)?;
        rest = after;
    }
    rest.is_empty().then_some(AuthenticatorData {
        site_hash: *site_hash,
        flags: *flags,
        sign_count: u32::from_be_bytes(*sign_count),
        credential,
    })
}

fn read_credential(bytes: &[u8]) -> Option<(AttestedCredential<'_>, &[u8])> {
    let (aaguid, rest) = bytes.split_first_chunk::<16>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length == 0 || length > CREDENTIAL_ID_BYTES {
        return None;
    }
    let (id, rest) = rest.split_at_checked(length)?;
    let (public_key, rest) = split_map(rest)?;
    let credential = AttestedCredential {
        aaguid: *aaguid,
        id,
        public_key,
    };
    Some((credential, rest))
}

/// Splits off a CBOR map of definite length.
fn split_map(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut decoder = Decoder::new(bytes);
    if decoder.datatype().ok()? != Type::Map {
        return None;
    }
    skip(&mut decoder)?;
    bytes.split_at_checked(decoder.position())
}

/// Skips an item and all in it, which must have definite lengths.
pub(super) fn skip(decoder: &mut Decoder<'_>) -> Option<()> {
    let mut items = 1_u64;
    while items > 0 {
        let inner = match decoder.datatype().ok()? {
            Type::Array => decoder.array().ok()??,
            Type::Map => decoder.map().ok()??.checked_mul(2)?,
            Type::Tag => decoder.tag().map(|_| 1).ok()?,
            Type::ArrayIndef
            | Type::MapIndef
            | Type::BytesIndef
            | Type::StringIndef
            | Type::Break => {
                return None;
            }
            _ => decoder.skip().map(|()| 0).ok()?,
        };
        items = (items - 1).checked_add(inner)?;
    }
    Some(())
}
