//! Adding a passkey.

use super::challenges::{self, TIMEOUT, new_challenge};
use super::management::read_name;
use super::{CREDENTIAL, MOST_PASSKEYS, descriptors, read_answer};
use crate::accounts::factors::recovery_codes::new_codes;
use crate::accounts::new_password::notices;
use crate::accounts::profile::new_undo;
use crate::accounts::recent::require_recent;
use crate::accounts::refresh::recheck;
use crate::accounts::{AccountError, Caller, Client, unread};
use crate::app::App;
use crate::crypto::random;
use crate::crypto::webauthn::{
    CreationOptions, PasskeyAccount, Registration, USER_HANDLE_BYTES, WebauthnError,
};
use crate::domain::{FieldErrors, FieldReader, Fields, RecoveryCode, SecondFactor, User, messages};
use crate::mail::MailContent;
use crate::observability::metrics::FactorEvent;
use crate::store::{
    AddPasskey, AddPasskeyOutcome, FactorEnrolment, Passkey, StartPasskey, StoredPasskey,
};

/// A passkey that was added.
#[derive(Clone)]
pub struct AddedPasskey {
    /// The passkey.
    pub passkey: Passkey,
    /// The recovery codes that came with it, if it is the first factor.
    pub recovery_codes: Option<Vec<RecoveryCode>>,
}

/// Begins the registration of a passkey in the caller's session.
///
/// # Errors
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::TooManyPasskeys`];
/// [`AccountError::Throttled`] when the client's network has started too many.
pub async fn start_passkey(
    app: &App,
    caller: &Caller,
    client: &Client,
) -> Result<CreationOptions, AccountError> {
    require_recent(app, caller).await?;
    let now = app.clock.now();
    let subject = challenges::registration(caller.session());
    let (challenge, kept) = new_challenge(app, client, subject, now)?;
    let start = StartPasskey {
        user_id: caller.user.id,
        new_handle: random::bytes::<USER_HANDLE_BYTES>().to_vec(),
        challenge: kept,
        context: client.context(Some(caller)),
        now,
    };
    let registration = app.store.start_passkey(start).await?;
    if registration.passkeys.len() >= MOST_PASSKEYS {
        return Err(AccountError::TooManyPasskeys);
    }
    let site = &app.relying_party;
    let known = descriptors(site, &registration.passkeys);
    let account = PasskeyAccount {
        handle: &registration.handle,
        name: &caller.user.email,
        display_name: &display_name(&caller.user),
    };
    Ok(CreationOptions::new(
        site, account, &challenge, known, TIMEOUT,
    ))
}

/// What an authenticator shows of an account: the name, or the address of an account without one.
fn display_name(user: &User) -> String {
    let profile = &user.profile;
    let name = format!("{} {}", profile.first_name, profile.last_name);
    match name.trim() {
        "" => user.email.clone(),
        name => name.to_owned(),
    }
}

/// Adds the passkey whose registration was started in this session.
///
/// # Errors
/// [`AccountError::Fields`] for names that are too long, and about `credential` for everything that
/// is wrong with the answer; [`AccountError::SessionEnded`].
pub async fn add_passkey(
    app: &App,
    caller: &Caller,
    fields: &Fields,
    client: &Client,
) -> Result<AddedPasskey, AccountError> {
    let caller = &recheck(app, caller).await?;
    let mut reader = FieldReader::new(fields);
    let (json, name) = read(&mut reader);
    reader.finish()?;
    let (json, name) = json.zip(name).ok_or_else(unread)?;
    let user_id = caller.user.id;
    let record = match verify(app, caller, &json, name).await? {
        Ok(record) => record,
        Err(why) => {
            log::info!("user {user_id}: new passkey refused: {why}");
            return Err(invalid());
        }
    };
    let passkey = record.passkey.clone();
    let (codes, enrolment) = enrolment(app, caller, client, &passkey.name);
    let addition = AddPasskey {
        passkey: record,
        max: MOST_PASSKEYS,
        enrolment,
    };
    match app.store.add_passkey(addition).await? {
        AddPasskeyOutcome::Added { is_first } => {
            app.outbox.wake().await;
            app.metrics
                .count_factor(SecondFactor::Webauthn, FactorEvent::Enrolled);
            log::info!("user {user_id}: passkey added");
            Ok(AddedPasskey {
                passkey,
                recovery_codes: is_first.then_some(codes),
            })
        }
        AddPasskeyOutcome::Taken | AddPasskeyOutcome::TooMany => Err(invalid()),
    }
}

/// What goes with a new passkey: recovery codes for a first factor, notices, and the link that undoes
/// it.
fn enrolment(
    app: &App,
    caller: &Caller,
    client: &Client,
    name: &str,
) -> (Vec<RecoveryCode>, FactorEnrolment) {
    let now = app.clock.now();
    let content = |undo: Option<(String, u64)>| {
        let (link, days) = undo.unzip();
        MailContent::PasskeyAdded {
            name: name.to_owned(),
            ip: client.shown_ip(),
            link,
            days,
        }
    };
    let (codes, recovery_codes) = new_codes(app, caller.user.id);
    let enrolment = FactorEnrolment {
        session: caller.session().clone(),
        recovery_codes,
        notices: notices(app, &content(None)),
        undo: new_undo(app, now, |link, days| content(Some((link, days)))),
        context: client.context(Some(caller)),
        now,
    };
    (codes, enrolment)
}

/// Verifies an answer to creation options. The challenge is used up with it.
async fn verify(
    app: &App,
    caller: &Caller,
    json: &str,
    name: String,
) -> Result<Result<StoredPasskey, String>, AccountError> {
    let refused = |e: WebauthnError| Ok(Err(e.to_string()));
    let registration = match Registration::parse(json) {
        Ok(registration) => registration,
        Err(e) => return refused(e),
    };
    let subject = challenges::registration(caller.session());
    if !challenges::use_up(app, registration.challenge(), subject).await? {
        return Ok(Err("the challenge is unknown, used or expired".to_owned()));
    }
    let site = &app.relying_party;
    let new = match registration.verify(site) {
        Ok(new) => new,
        Err(e) => return refused(e),
    };
    Ok(Ok(StoredPasskey {
        passkey: Passkey {
            id: random::id(),
            name,
            credential_id: new.credential_id,
            rp_id: site.id.clone(),
            transports: new.transports,
            is_backed_up: new.is_backed_up,
            created_at: app.clock.now(),
            last_used_at: None,
        },
        public_key: new.public_key,
        sign_count: new.sign_count,
        aaguid: new.aaguid,
        is_backup_eligible: new.is_backup_eligible,
    }))
}

/// Reads an answer to creation options, and the name of the passkey.
pub(in crate::accounts) fn read(reader: &mut FieldReader<'_>) -> (Option<String>, Option<String>) {
    let json = read_answer(reader);
    (json, read_name(reader))
}

fn invalid() -> AccountError {
    FieldErrors::one(CREDENTIAL, messages::INVALID_CREDENTIAL).into()
}
