//! Making one-time passwords and the hashes under which they rest.

use std::collections::HashMap;
use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::delivery::Outbox;
use crate::domain::{OtpCode, OtpPurpose, Timestamp};
use crate::mail::MailContent;
use crate::store::{MailLimits, NewOtp, StoreError, StoreResult};

/// How often fresh digits are drawn when the same ones are out for the address already.
const DRAWS: usize = 5;

/// Hashes codes under the server's secret key and knows how long they live.
pub struct Codes {
    key: Vec<u8>,
    life: Duration,
    limits: MailLimits,
    /// The codes of some addresses (in lower case), for development.
    fixed: HashMap<String, OtpCode>,
}

impl Codes {
    /// The name of the key in the store.
    pub const SECRET: &str = "otp_key";

    /// `key` is the secret of the server; codes live for `life`.
    pub fn new(key: Vec<u8>, life: Duration, limits: MailLimits) -> Self {
        Self {
            key,
            life,
            limits,
            fixed: HashMap::new(),
        }
    }

    /// Has some addresses (in lower case) always get the same code.
    #[must_use]
    pub fn with_fixed(self, fixed: HashMap<String, OtpCode>) -> Self {
        Self { fixed, ..self }
    }

    /// How long a code lives, in whole minutes.
    pub fn minutes(&self) -> u64 {
        self.life.as_secs() / 60
    }

    /// How many mails with a code one address may get.
    pub fn limits(&self) -> MailLimits {
        self.limits
    }

    /// The keyed hash of a code, bound to what it is for and to its address (in lower case).
    ///
    /// Comparing two such hashes tells nothing about the code, however the time is measured.
    pub fn hash(&self, purpose: OtpPurpose, email_key: &str, code: &OtpCode) -> Vec<u8> {
        self.mac(&[purpose.as_str(), email_key, code.as_str()])
    }

    /// The hash of the token of a link. The token itself is far too long to be guessed.
    pub fn hash_link(&self, token: &str) -> Vec<u8> {
        self.mac(&["link", token])
    }

    /// The keyed hash under which tries and mails are counted that concern an address (in lower case), whether anybody has it or not.
    pub fn hash_address(&self, email_key: &str) -> Vec<u8> {
        let mut hash = self.mac(&["address", email_key]);
        // Names a counter and guards nothing: half of it is as good.
        hash.truncate(16);
        hash
    }

    fn mac(&self, parts: &[&str]) -> Vec<u8> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(part.as_bytes());
            // NUL is in none of the parts, so the parts cannot run into each other.
            mac.update(&[0]);
        }
        mac.finalize().into_bytes().to_vec()
    }

    /// A code in the form in which it is stored, and the mail that brings it to its owner.
    pub fn new_otp(
        &self,
        outbox: &Outbox,
        purpose: OtpPurpose,
        email_key: &str,
        code: &OtpCode,
        now: Timestamp,
    ) -> NewOtp {
        let fixed = self.fixed.get(email_key);
        let code = fixed.unwrap_or(code);
        let expires_at = now.plus(self.life);
        let content = MailContent::Otp {
            purpose,
            code: code.as_str().to_owned(),
            minutes: self.minutes(),
            link: None,
            ip: None,
            requested_at: None,
        };
        NewOtp {
            code_hash: self.hash(purpose, email_key, code),
            address_hash: self.hash_address(email_key),
            expires_at,
            mail: outbox.new_mail(&content, expires_at),
            replaces_equal: fixed.is_some(),
        }
    }

    /// Calls `operation` with fresh digits until it takes them.
    ///
    /// # Errors
    /// What `operation` says, and [`StoreError::Collision`] when it takes none of several.
    pub async fn draw<T, F>(&self, mut operation: impl FnMut(OtpCode) -> F) -> StoreResult<T>
    where
        F: Future<Output = StoreResult<T>>,
    {
        let mut result = Err(StoreError::Collision);
        for _ in 0..DRAWS {
            result = operation(crate::crypto::random::otp()).await;
            if !matches!(result, Err(StoreError::Collision)) {
                break;
            }
        }
        result
    }
}
