//! Confirming an address by its code, and resending the code.

use std::sync::Arc;

use super::detached;
use super::factors::read_optional_ticket;
use super::mailbox_proof::{MailboxProof, TypedProof};
use super::new_password::notices;
use super::{AccountError, Caller, Client, Signed, unread};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{AuthMethod, EmailAddress, FieldReader, Fields, OtpPurpose};
use crate::limits::{Ceiling, Limited};
use crate::mail::MailContent;
use crate::otp_codes::OtpRequest;
use crate::store::{AccountOtp, ConfirmSignUp, IdentityTicket, OtpCandidates, ReissueOtp};

/// The effect of a right code.
pub enum Confirmed {
    /// The account of a sign-up is active and signed in.
    SignUp {
        /// The proof of the session.
        signed: Signed,
        /// Whether the account has no password and no identity yet, because the sign-up was contested
        /// or the ticket of its identity did not come along.
        needs_password: bool,
    },
    /// The caller's new address is confirmed.
    EmailChange,
}

/// Confirms an address with its code: the caller's own new address, or that of a sign-up.
///
/// # Errors
/// The same [`AccountError::Fields`] for wrong, used, expired, unknown and dead codes.
pub async fn confirm(
    app: &App,
    caller: Option<&Caller>,
    fields: &Fields,
    client: &Client,
) -> Result<Confirmed, AccountError> {
    let mut reader = FieldReader::new(fields);
    let Confirmation {
        proof,
        password,
        ticket,
    } = read(&mut reader);
    reader.finish()?;
    let now = app.clock.now();
    let proof = proof.ok_or_else(unread)?.resolve(app, client).await?;
    let (email, invalid_otp) = (&proof.email, || proof.invalid(app));
    let attempt = |purpose| proof.attempt(app, purpose, client, caller);
    // The address decides: that of an unconfirmed change is never that of a sign-up.
    if let Some(caller) = caller
        && has_new_address(caller, email.key())
        && proof.is_for(OtpPurpose::EmailChange)
    {
        let otp = AccountOtp {
            user_id: caller.user.id,
            attempt: attempt(OtpPurpose::EmailChange),
            notices: notices(
                app,
                &MailContent::AddressConfirmed {
                    new_email: email.as_str().to_owned(),
                    ip: Some(client.shown_ip()),
                },
            ),
        };
        return match app.store.confirm_email_change(otp).await? {
            Some(user) => {
                app.outbox.wake().await;
                log::info!("user {}: new address confirmed", user.id);
                Ok(Confirmed::EmailChange)
            }
            None => Err(invalid_otp()),
        };
    }
    let proven_hash = match password {
        Some(password) => prove_password(app, &proof, password, client).await?,
        None => None,
    };
    let starting = client.new_session(app, now, AuthMethod::Otp);
    let request = client.otp_request(now);
    let confirmed = app
        .codes
        .draw(async |code| {
            let purpose = OtpPurpose::PasswordReset;
            let confirmation = ConfirmSignUp {
                attempt: attempt(OtpPurpose::SignUp),
                session: starting.session.clone(),
                proven_hash: proven_hash.clone(),
                identity: ticket.as_deref().map(|ticket| IdentityTicket {
                    token_hash: app.codes.hash_identity_ticket(ticket),
                    new_id: random::id(),
                }),
                reset: app
                    .codes
                    .new_otp(&app.outbox, purpose, email.key(), &code, &request),
            };
            app.store.confirm_sign_up(confirmation).await
        })
        .await?
        .ok_or_else(invalid_otp)?;
    let user = confirmed.user;
    log::info!("user {}: address confirmed, signed in", user.id);
    if confirmed.needs_password {
        app.outbox.wake().await;
        log::info!(
            "user {}: nothing of the sign-up counts, password reset mailed",
            user.id
        );
    }
    Ok(Confirmed::SignUp {
        signed: starting.signed(app, &user).await?,
        needs_password: confirmed.needs_password,
    })
}

/// The password hash of the code's own sign-up, if the account is contested and `password` matches.
///
/// # Errors
/// When the code is invalid.
async fn prove_password(
    app: &App,
    proof: &MailboxProof,
    password: String,
    client: &Client,
) -> Result<Option<String>, AccountError> {
    let attempt = proof.attempt(app, OtpPurpose::SignUp, client, None);
    let hash = app
        .store
        .find_contested_password(attempt)
        .await?
        .ok_or_else(|| proof.invalid(app))?;
    let Some(hash) = hash else {
        return Ok(None);
    };
    let hashing = app.passwords.asked_by(client.requester(false));
    let is_right = hashing.verify(password, Some(&hash)).await?;
    Ok(is_right.then_some(hash))
}

/// The fields of a confirmation.
pub(super) struct Confirmation {
    proof: Option<TypedProof>,
    password: Option<String>,
    ticket: Option<String>,
}

/// Reads the code or token, and what a sign-up may bring along: its password, or the ticket of its
/// identity.
pub(super) fn read(reader: &mut FieldReader<'_>) -> Confirmation {
    Confirmation {
        proof: TypedProof::read(reader),
        password: reader.optional_secret("password", None),
        ticket: read_optional_ticket(reader),
    }
}

fn has_new_address(caller: &Caller, email_key: &str) -> bool {
    caller
        .user
        .new_email
        .as_ref()
        .and_then(|new| EmailAddress::parse(new).ok())
        .is_some_and(|new| new.key() == email_key)
}

/// Reads the address that a code is requested for.
pub(super) fn read_address(reader: &mut FieldReader<'_>) -> Option<EmailAddress> {
    reader.required_email("email")
}

/// Resends the code of a pending sign-up or of an unconfirmed new address.
///
/// The outcome is the same for known and unknown addresses.
///
/// # Errors
/// Only for malformed fields and rate limits.
pub async fn resend(app: &Arc<App>, fields: &Fields, client: &Client) -> Result<(), AccountError> {
    let mut reader = FieldReader::new(fields);
    let email = read_address(&mut reader);
    reader.finish()?;
    let Some(email) = email else {
        return Err(unread());
    };
    client.count(app, Limited::Resend)?;
    let client = client.clone();
    let app = Arc::clone(app);
    detached(async move {
        let now = app.clock.now();
        let network = client.network().to_string();
        let sign_up = app
            .store
            .find_resent_sign_up(email.key(), &network, now)
            .await?;
        // The mail names the sign-up that it repeats, not the resend.
        let otp_request = match sign_up {
            Some((requested_at, ip)) => OtpRequest {
                now,
                network: client.network(),
                ip: Some(ip).filter(|ip| !ip.is_empty()),
                requested_at: Some(requested_at),
            },
            None => client.otp_request(now),
        };
        let reissued = app
            .codes
            .draw(async |code| {
                let otp = |purpose| {
                    app.codes
                        .new_otp(&app.outbox, purpose, email.key(), &code, &otp_request)
                };
                let request = ReissueOtp {
                    email_key: email.key().to_owned(),
                    network: network.clone(),
                    codes: OtpCandidates {
                        sign_up: otp(OtpPurpose::SignUp),
                        email_change: otp(OtpPurpose::EmailChange),
                    },
                    now,
                    limits: app.codes.limits(),
                };
                app.store.reissue_otp(request).await
            })
            .await?;
        if let Some(reissued) = reissued {
            app.limits.note(Ceiling::NewAddressMails, now);
            app.outbox.wake().await;
            log::info!("user {}: code resent", reissued.user_id);
        }
        Ok(())
    })
    .await?
}
