//! One-time passwords: drawing them, and the keyed hashes under which they are stored.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::crypto::random;
use crate::crypto::sealing::KEY_BYTES;
use crate::delivery::Outbox;
use crate::domain::{
    ClientNetwork, OtpCode, OtpPurpose, RecoveryCode, Timestamp, UserId, mailbox_key,
};
use crate::links::Links;
use crate::mail::MailContent;
use crate::store::{Field, IDENTITY_PASSWORD, MailLimits, NewOtp, StoreError, StoreResult};

/// How often digits are redrawn when the address already has a code with the same ones.
const DRAWS: usize = 5;

/// The request that a one-time password is mailed for.
#[derive(Clone, Debug)]
pub struct OtpRequest {
    /// The time of the mail.
    pub now: Timestamp,
    /// The client's address.
    pub ip: Option<String>,
    /// The client's network.
    pub network: ClientNetwork,
    /// When the request was made, if earlier than the mail.
    pub requested_at: Option<Timestamp>,
}

/// Makes one-time passwords and hashes them with the server's secret key.
pub struct OtpCodes {
    key: Vec<u8>,
    lifetime: Duration,
    limits: MailLimits,
    links: Arc<Links>,
    /// Fixed codes by address key, for development.
    fixed: HashMap<String, OtpCode>,
}

impl OtpCodes {
    /// Name of the secret key in the store.
    pub const SECRET: &str = "otp_key";

    /// Uses `key` to hash codes, which expire after `lifetime`.
    pub fn new(key: Vec<u8>, lifetime: Duration, limits: MailLimits, links: Arc<Links>) -> Self {
        Self {
            key,
            lifetime,
            limits,
            links,
            fixed: HashMap::new(),
        }
    }

    /// Gives some addresses (by key) the same code every time.
    #[must_use]
    pub fn with_fixed(self, fixed: HashMap<String, OtpCode>) -> Self {
        Self { fixed, ..self }
    }

    /// Lifetime of a code in whole minutes.
    pub fn minutes(&self) -> u64 {
        self.lifetime.as_secs() / 60
    }

    /// Limits on mails with a code to one address.
    pub fn limits(&self) -> MailLimits {
        self.limits
    }

    /// The keyed hash of a code, bound to its purpose and address key.
    ///
    /// Comparing two such hashes leaks nothing about the code through timing.
    pub fn hash(&self, purpose: OtpPurpose, email_key: &str, code: &OtpCode) -> Vec<u8> {
        self.mac(&[purpose.as_str(), email_key, code.as_str()])
    }

    /// The keyed hash of a link's token. The token itself is too long to guess.
    pub fn hash_link(&self, token: &str) -> Vec<u8> {
        self.mac(&["link", token])
    }

    /// The keyed hash under which tries and mails for an address are counted, known or not.
    pub fn hash_address(&self, email_key: &str) -> Vec<u8> {
        let mut hash = self.mac(&["address", email_key]);
        // It names a counter and protects nothing, so half of it is enough.
        hash.truncate(16);
        hash
    }

    /// The keyed hash under which mails to all addresses of a mailbox are counted.
    pub fn hash_mailbox(&self, email_key: &str) -> Vec<u8> {
        let mut hash = self.mac(&["mailbox", &mailbox_key(email_key)]);
        hash.truncate(16);
        hash
    }

    /// The keyed hash of a recovery code of an account.
    pub fn hash_recovery_code(&self, user_id: UserId, code: &RecoveryCode) -> Vec<u8> {
        self.mac(&["recovery_code", &user_id.to_string(), code.as_str()])
    }

    /// The keyed hash of the ticket for the second step of a sign-in.
    pub fn hash_ticket(&self, token: &str) -> Vec<u8> {
        self.mac(&["factor_ticket", token])
    }

    /// The keyed hash of the ticket for an identity that no account has.
    pub fn hash_identity_ticket(&self, token: &str) -> Vec<u8> {
        self.mac(&["identity_ticket", token])
    }

    /// A password hash that no password matches, for sign-ups by an identity: two of them are the same
    /// for the same identity only.
    pub fn identity_password(&self, issuer: &str, subject: &str) -> String {
        let [issuer, subject] = [issuer, subject].map(|text| URL_SAFE_NO_PAD.encode(text));
        let mac = self.mac(&["identity_password", &issuer, &subject]);
        format!("{IDENTITY_PASSWORD}{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// The keyed hash of the random state of a request to a provider.
    pub fn hash_provider_state(&self, state: &str) -> Vec<u8> {
        self.mac(&["provider_state", state])
    }

    /// The nonce of a request to a provider, which follows from its state: 256 bits.
    pub fn provider_nonce(&self, state: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.mac(&["provider_nonce", state]))
    }

    /// The verifier (RFC 7636) of a request to a provider, which follows from its state: 256 bits.
    pub fn provider_verifier(&self, state: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.mac(&["provider_verifier", state]))
    }

    /// The keyed hash of the one-time code under which an app fetches a provider's answer.
    pub fn hash_provider_code(&self, code: &str) -> Vec<u8> {
        self.mac(&["provider_code", code])
    }

    /// The key that encrypts a provider's answer for the holder of a secret: the state or the code. The
    /// database has neither.
    pub(crate) fn provider_answer_key(&self, secret: &str) -> [u8; KEY_BYTES] {
        let mac = self.mac(&["provider_answer", secret]);
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(&mac[..KEY_BYTES]);
        key
    }

    /// The keyed hash of a challenge for a passkey.
    pub fn hash_challenge(&self, challenge: &[u8]) -> Vec<u8> {
        self.mac(&["passkey_challenge", &URL_SAFE_NO_PAD.encode(challenge)])
    }

    /// The keyed hash of the id of a sign-in with a passkey.
    pub fn hash_passkey_session(&self, session_id: &str) -> Vec<u8> {
        self.mac(&["passkey_session", session_id])
    }

    /// The token in the forms of a browser with this cookie.
    pub fn form_token(&self, cookie: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.mac(&["form", cookie]))
    }

    fn mac(&self, parts: &[&str]) -> Vec<u8> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC accepts keys of any length");
        for part in parts {
            mac.update(part.as_bytes());
            // No part contains NUL, so the encoding is unambiguous.
            mac.update(&[0]);
        }
        mac.finalize().into_bytes().to_vec()
    }

    /// The salt for passwords of sign-ups with an address.
    ///
    /// It is the same for all of them, so that two sign-ups with one password have one hash and the
    /// store can tell them from contested ones without hashing again.
    pub fn sign_up_salt(&self, email_key: &str) -> [u8; 16] {
        let mac = self.mac(&["sign_up_salt", email_key]);
        let mut salt = [0; 16];
        salt.copy_from_slice(&mac[..16]);
        salt
    }

    /// A code as the store keeps it, with the mail that carries it.
    pub fn new_otp(
        &self,
        outbox: &Outbox,
        purpose: OtpPurpose,
        email_key: &str,
        code: &OtpCode,
        request: &OtpRequest,
    ) -> NewOtp {
        let now = request.now;
        let fixed = self.fixed.get(email_key);
        let code = fixed.unwrap_or(code);
        let expires_at = now.plus(self.lifetime);
        let token = random::id();
        let link = self.links.otp(purpose, &token);
        let token_hash = link.is_some().then(|| self.hash_link(&token));
        let content = MailContent::Otp {
            purpose,
            code: code.as_str().to_owned(),
            minutes: self.minutes(),
            link,
            ip: request.ip.clone(),
            requested_at: request.requested_at.map(Timestamp::unix_seconds),
        };
        NewOtp {
            code_hash: self.hash(purpose, email_key, code),
            address_hash: self.hash_address(email_key),
            mailbox_hash: self.hash_mailbox(email_key),
            token_hash,
            requester: Some(request.network),
            expires_at,
            mail: outbox.new_mail(&content, expires_at),
            replaces_equal: fixed.is_some(),
        }
    }

    /// Calls `operation` with new digits until the store accepts them.
    ///
    /// # Errors
    /// Those of `operation`, and [`StoreError::Taken`] when it accepts none of several.
    pub async fn draw<T, F>(&self, mut operation: impl FnMut(OtpCode) -> F) -> StoreResult<T>
    where
        F: Future<Output = StoreResult<T>>,
    {
        let mut result = Err(StoreError::Taken(Field::Otp));
        for _ in 0..DRAWS {
            result = operation(random::otp()).await;
            if !matches!(result, Err(StoreError::Taken(Field::Otp))) {
                break;
            }
        }
        result
    }
}
