//! A soft authenticator: a browser and a device with passkeys, written from Web Authentication level
//! 3, RFC 8949 and RFC 9053. Every statement that it makes can be falsified.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const PRESENT: u8 = 1;
pub const VERIFIED: u8 = 1 << 2;
pub const BACKUP_ELIGIBLE: u8 = 1 << 3;
pub const BACKED_UP: u8 = 1 << 4;
pub const HAS_CREDENTIAL: u8 = 1 << 6;
pub const HAS_EXTENSIONS: u8 = 1 << 7;

/// A key for RS256, as `ring` makes none. It protects nothing.
const RSA_KEY: &str = include_str!("rsa-key.txt");

/// CBOR (RFC 8949), as far as authenticators write it.
pub mod cbor {
    fn head(kind: u8, number: u64) -> Vec<u8> {
        let kind = kind << 5;
        match number {
            0..24 => vec![kind + u8::try_from(number).unwrap()],
            24..256 => vec![kind + 24, u8::try_from(number).unwrap()],
            256..65_536 => {
                let mut bytes = vec![kind + 25];
                bytes.extend(u16::try_from(number).unwrap().to_be_bytes());
                bytes
            }
            _ => {
                let mut bytes = vec![kind + 26];
                bytes.extend(u32::try_from(number).unwrap().to_be_bytes());
                bytes
            }
        }
    }

    pub fn int(number: i64) -> Vec<u8> {
        match u64::try_from(number) {
            Ok(number) => head(0, number),
            Err(_) => head(1, number.unsigned_abs() - 1),
        }
    }

    pub fn bytes(bytes: &[u8]) -> Vec<u8> {
        [head(2, bytes.len() as u64), bytes.to_vec()].concat()
    }

    pub fn text(text: &str) -> Vec<u8> {
        [head(3, text.len() as u64), text.as_bytes().to_vec()].concat()
    }

    pub fn array(items: &[Vec<u8>]) -> Vec<u8> {
        [head(4, items.len() as u64), items.concat()].concat()
    }

    pub fn map(members: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut map = head(5, members.len() as u64);
        for (name, value) in members {
            map.extend_from_slice(name);
            map.extend_from_slice(value);
        }
        map
    }
}

/// The private key of a passkey.
pub enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(Box<RsaKeyPair>),
}

impl Key {
    pub fn es256() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::Es256(EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap())
    }

    pub fn eddsa() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::EdDsa(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    pub fn rs256() -> Self {
        let key = STANDARD.decode(RSA_KEY.trim()).unwrap();
        Self::Rs256(Box::new(RsaKeyPair::from_pkcs8(&key).unwrap()))
    }

    /// Its number in the COSE registry.
    pub fn algorithm(&self) -> i64 {
        match self {
            Self::Es256(_) => -7,
            Self::EdDsa(_) => -8,
            Self::Rs256(_) => -257,
        }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Es256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::EdDsa(key) => key.sign(message).as_ref().to_vec(),
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .unwrap();
                signature
            }
        }
    }

    /// The public key in COSE, as this algorithm.
    pub fn cose(&self, algorithm: i64) -> Vec<u8> {
        let member = |name, value| (cbor::int(name), value);
        let mut members = vec![member(3, cbor::int(algorithm))];
        match self {
            Self::Es256(key) => {
                let point = key.public_key().as_ref();
                members.insert(0, member(1, cbor::int(2)));
                members.push(member(-1, cbor::int(1)));
                members.push(member(-2, cbor::bytes(&point[1..33])));
                members.push(member(-3, cbor::bytes(&point[33..])));
            }
            Self::EdDsa(key) => {
                members.insert(0, member(1, cbor::int(1)));
                members.push(member(-1, cbor::int(6)));
                members.push(member(-2, cbor::bytes(key.public_key().as_ref())));
            }
            Self::Rs256(key) => {
                let public: ring::rsa::PublicKeyComponents<Vec<u8>> = key.public().into();
                members.insert(0, member(1, cbor::int(3)));
                members.push(member(-1, cbor::bytes(&public.n)));
                members.push(member(-2, cbor::bytes(&public.e)));
            }
        }
        cbor::map(&members)
    }
}

/// What an answer states. All of it is true, until a test changes it.
#[derive(Clone)]
pub struct Claims {
    pub kind: String,
    pub challenge: Vec<u8>,
    pub origin: String,
    /// Further members of the client data.
    pub client_data: Vec<(&'static str, Value)>,
    pub rp_id: String,
    pub flags: u8,
    pub count: u32,
    pub credential_id: Vec<u8>,
    /// `None` leaves it out.
    pub user_handle: Option<Vec<u8>>,
    /// The public key in COSE.
    pub public_key: Vec<u8>,
    /// Bytes behind all that belongs into the authenticator data, such as extensions.
    pub trailer: Vec<u8>,
    pub format: String,
    /// The attestation statement in CBOR; `None` for the one that belongs to the format.
    pub statement: Option<Vec<u8>>,
    /// Flips a bit of the signature.
    pub breaks_signature: bool,
}

/// A passkey on a device.
pub struct Passkey {
    pub key: Key,
    pub id: Vec<u8>,
    pub user_handle: Vec<u8>,
    pub count: u32,
}

/// A browser on a page of the site, and its device.
pub struct Authenticator {
    pub origin: String,
    pub passkeys: Vec<Passkey>,
    /// Whether it counts signatures.
    pub counts: bool,
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn decode(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).unwrap();
    bytes
}

impl Authenticator {
    pub fn at(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            passkeys: Vec::new(),
            counts: false,
        }
    }

    /// Answers creation options with a new passkey.
    pub fn create(&mut self, options: &Value) -> Value {
        self.create_with(options, Key::es256(), |_| {})
    }

    /// The same with a key, and with statements that `falsify` changes.
    pub fn create_with(
        &mut self,
        options: &Value,
        key: Key,
        falsify: impl FnOnce(&mut Claims),
    ) -> Value {
        let id = random::<32>().to_vec();
        let mut claims = Claims {
            kind: "webauthn.create".to_owned(),
            challenge: decode(&options["challenge"]),
            origin: self.origin.clone(),
            client_data: vec![("crossOrigin", json!(false))],
            rp_id: options["rp"]["id"].as_str().unwrap().to_owned(),
            flags: PRESENT | VERIFIED | BACKUP_ELIGIBLE | BACKED_UP | HAS_CREDENTIAL,
            count: u32::from(self.counts),
            credential_id: id.clone(),
            user_handle: None,
            public_key: key.cose(key.algorithm()),
            trailer: Vec::new(),
            format: "none".to_owned(),
            statement: None,
            breaks_signature: false,
        };
        falsify(&mut claims);
        let client_data = claims.client_data();
        let data = claims.authenticator_data();
        let statement = claims.statement.clone().unwrap_or_else(|| {
            let signed = [&data[..], &Sha256::digest(&client_data)].concat();
            claims.own_statement(&key, &signed)
        });
        let object = cbor::map(&[
            (cbor::text("fmt"), cbor::text(&claims.format)),
            (cbor::text("attStmt"), statement),
            (cbor::text("authData"), cbor::bytes(&data)),
        ]);
        self.passkeys.push(Passkey {
            key,
            id,
            user_handle: decode(&options["user"]["id"]),
            count: claims.count,
        });
        json!({
            "id": encode(&claims.credential_id),
            "rawId": encode(&claims.credential_id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "response": {
                "clientDataJSON": encode(&client_data),
                "attestationObject": encode(&object),
                "transports": ["internal", "hybrid"],
            },
            "clientExtensionResults": {},
        })
    }

    /// Answers request options with its newest passkey that they allow.
    pub fn get(&mut self, options: &Value) -> Value {
        self.get_with(options, |_| {})
    }

    /// The same with statements that `falsify` changes.
    pub fn get_with(&mut self, options: &Value, falsify: impl FnOnce(&mut Claims)) -> Value {
        let allowed: Vec<Vec<u8>> = options["allowCredentials"]
            .as_array()
            .unwrap()
            .iter()
            .map(|descriptor| decode(&descriptor["id"]))
            .collect();
        let counts = self.counts;
        let origin = self.origin.clone();
        let passkey = self
            .passkeys
            .iter_mut()
            .rev()
            .find(|passkey| allowed.is_empty() || allowed.contains(&passkey.id))
            .expect("a passkey is allowed");
        passkey.count += u32::from(counts);
        let mut claims = Claims {
            kind: "webauthn.get".to_owned(),
            challenge: decode(&options["challenge"]),
            origin,
            client_data: vec![("crossOrigin", json!(false))],
            rp_id: options["rpId"].as_str().unwrap().to_owned(),
            flags: PRESENT | VERIFIED | BACKUP_ELIGIBLE | BACKED_UP,
            count: passkey.count,
            credential_id: passkey.id.clone(),
            user_handle: Some(passkey.user_handle.clone()),
            public_key: Vec::new(),
            trailer: Vec::new(),
            format: String::new(),
            statement: None,
            breaks_signature: false,
        };
        falsify(&mut claims);
        let client_data = claims.client_data();
        let data = claims.authenticator_data();
        let signed = [&data[..], &Sha256::digest(&client_data)].concat();
        let mut signature = passkey.key.sign(&signed);
        if claims.breaks_signature {
            *signature.last_mut().unwrap() ^= 1;
        }
        let mut credential = json!({
            "id": encode(&claims.credential_id),
            "rawId": encode(&claims.credential_id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "response": {
                "clientDataJSON": encode(&client_data),
                "authenticatorData": encode(&data),
                "signature": encode(&signature),
            },
            "clientExtensionResults": {},
        });
        if let Some(handle) = &claims.user_handle {
            credential["response"]["userHandle"] = json!(encode(handle));
        }
        credential
    }
}

impl Claims {
    fn client_data(&self) -> Vec<u8> {
        let mut data = json!({
            "type": self.kind,
            "challenge": encode(&self.challenge),
            "origin": self.origin,
        });
        for (name, value) in &self.client_data {
            data[*name] = value.clone();
        }
        data.to_string().into_bytes()
    }

    fn authenticator_data(&self) -> Vec<u8> {
        let mut data = Sha256::digest(self.rp_id.as_bytes()).to_vec();
        data.push(self.flags);
        data.extend(self.count.to_be_bytes());
        if self.flags & HAS_CREDENTIAL != 0 {
            data.extend([0; 16]);
            let length = u16::try_from(self.credential_id.len()).unwrap();
            data.extend(length.to_be_bytes());
            data.extend(&self.credential_id);
            data.extend(&self.public_key);
        }
        data.extend(&self.trailer);
        data
    }

    fn own_statement(&self, key: &Key, signed: &[u8]) -> Vec<u8> {
        if self.format != "packed" {
            return cbor::map(&[]);
        }
        let mut signature = key.sign(signed);
        if self.breaks_signature {
            *signature.last_mut().unwrap() ^= 1;
        }
        cbor::map(&[
            (cbor::text("alg"), cbor::int(key.algorithm())),
            (cbor::text("sig"), cbor::bytes(&signature)),
        ])
    }
}
