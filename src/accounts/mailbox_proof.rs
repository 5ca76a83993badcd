//! Proofs that somebody reads a mailbox: a code with its address, or the token of a link.

use super::{AccountError, Caller, Client};
use crate::app::App;
use crate::domain::{EmailAddress, FieldErrors, FieldReader, OtpCode, OtpPurpose, messages};
use crate::limits::{Ceiling, Limited};
use crate::store::{OtpAttempt, TryLimits};

/// Maximum length of a token in characters.
const TOKEN_LENGTH: usize = 128;

/// A proof as the client sent it.
pub(super) enum TypedProof {
    /// An address and its code.
    Code(EmailAddress, String),
    /// The token of a link.
    Token(String),
}

impl TypedProof {
    /// Reads `token`, or else `email` and `otp`.
    pub(super) fn read(reader: &mut FieldReader<'_>) -> Option<Self> {
        let token = reader.optional_text("token", TOKEN_LENGTH);
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            reader.pass("email");
            reader.pass("otp");
            return Some(Self::Token(token));
        }
        let email = reader.required_email("email");
        let otp = reader.required_text("otp", None);
        Some(Self::Code(email?, otp?))
    }

    /// The address that a code was typed with.
    pub(super) fn email(&self) -> Option<&EmailAddress> {
        match self {
            Self::Code(email, _) => Some(email),
            Self::Token(_) => None,
        }
    }

    /// Counts a code as an attempt of the network, or finds what a token is for.
    ///
    /// # Errors
    /// [`AccountError::Throttled`] for codes, [`AccountError::Fields`] for invalid tokens.
    pub(super) async fn resolve(
        self,
        app: &App,
        client: &Client,
    ) -> Result<MailboxProof, AccountError> {
        match self {
            Self::Code(email, typed) => {
                client.count(app, Limited::OtpTry)?;
                Ok(MailboxProof {
                    email,
                    kind: ProofKind::Code(OtpCode::parse(&typed)),
                })
            }
            Self::Token(token) => {
                let hash = app.codes.hash_link(&token);
                let found = app.store.find_otp_token(&hash, app.clock.now()).await?;
                let found = found.ok_or_else(invalid_token)?;
                let email = EmailAddress::parse(&found.email_key)
                    .map_err(|_| AccountError::Internal("a stored address is invalid".into()))?;
                Ok(MailboxProof {
                    email,
                    kind: ProofKind::Token(hash, found.purpose),
                })
            }
        }
    }
}

/// A proof to be checked by the store.
pub(super) struct MailboxProof {
    /// The address it is for.
    pub(super) email: EmailAddress,
    kind: ProofKind,
}

enum ProofKind {
    /// A code; `None` when it cannot be one.
    Code(Option<OtpCode>),
    /// The hash of a token, and what it is for.
    Token(Vec<u8>, OtpPurpose),
}

impl MailboxProof {
    /// Whether it may be a proof for this purpose.
    pub(super) fn is_for(&self, purpose: OtpPurpose) -> bool {
        match &self.kind {
            ProofKind::Code(_) => true,
            ProofKind::Token(_, of) => *of == purpose,
        }
    }

    /// The attempt to use it.
    pub(super) fn attempt(
        &self,
        app: &App,
        purpose: OtpPurpose,
        client: &Client,
        caller: Option<&Caller>,
    ) -> OtpAttempt {
        let key = self.email.key();
        let (code_hash, token_hash) = match &self.kind {
            ProofKind::Code(code) => (
                code.as_ref().map(|code| app.codes.hash(purpose, key, code)),
                None,
            ),
            ProofKind::Token(hash, _) => (None, Some(hash.clone())),
        };
        OtpAttempt {
            email_key: key.to_owned(),
            address_hash: app.codes.hash_address(key),
            code_hash,
            token_hash,
            network: client.network().to_string(),
            now: app.clock.now(),
            limits: TryLimits::DEFAULT,
            context: client.context(caller),
        }
    }

    /// The one error for an invalid proof. A wrong code counts over all networks.
    pub(super) fn invalid(&self, app: &App) -> AccountError {
        match self.kind {
            ProofKind::Code(_) => wrong_code(app),
            ProofKind::Token(..) => invalid_token(),
        }
    }
}

/// The error for a wrong code, which counts over all networks.
pub(super) fn wrong_code(app: &App) -> AccountError {
    app.limits.note(Ceiling::WrongCodes, app.clock.now());
    AccountError::InvalidOtp
}

fn invalid_token() -> AccountError {
    FieldErrors::one("token", messages::INVALID_TOKEN).into()
}
